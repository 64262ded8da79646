//! That these checks can fail: a server without limits, under the same attacks.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use selkie_tests::{Client, Process, Resident, free_port, python, until};

use super::Victim;
use super::honest::Honest;
use super::large::{LARGE_BOUND_MIB, hold_large_bodies};

/// Answers whatever is asked, and trusts everybody: one connection after the other, or all at once.
const NAIVE: &str = "
import http.server, json, sys
port, kind = sys.argv[1:]
class Naive(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_PUT(self):
        self.rfile.read(int(self.headers['Content-Length']))
        reply = json.dumps({'data': {'ciphertext': 'x', 'plaintext': 'YQ=='}}).encode()
        self.send_response(200)
        self.send_header('Content-Length', str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)
    def log_message(self, *_):
        pass
made = http.server.ThreadingHTTPServer if kind == 'threads' else http.server.HTTPServer
# Python's five are not enough for 32 who come at once.
made.request_queue_size = 64
served = made(('127.0.0.1', int(port)), Naive)
print('ready', flush=True)
served.serve_forever()
";

pub(super) fn naive(kind: &str) -> Result<Option<(Process, Client)>> {
    let Some(python) = python()? else { return Ok(None) };
    let port = free_port()?;
    let mut command = Command::new(python);
    command.env_clear().args(["-c", NAIVE, &port.to_string(), kind]);
    let process = Process::start(command)?;
    process.stdout_line(|line| (line == "ready").then_some(()))?;
    let client = Client::plain(([127, 0, 0, 1], port).into()).with_token("any");
    Ok(Some((process, client)))
}

#[test]
fn control_one_slow_head_stops_a_server_that_waits_for_it() -> Result<()> {
    let Some((_process, client)) = naive("one by one")? else { return Ok(()) };
    Honest::new(&client).asks_once()?;
    let mut slow = TcpStream::connect(client.address)?;
    slow.write_all(b"PUT /v1/")?;
    // It bears less than the others, only so that this takes less time.
    let hurried = Client { patience: Duration::from_millis(1500), ..client.clone() };
    assert!(Honest::new(&hurried).asks_once().is_err(), "it was served");
    drop(slow);
    Honest::new(&client).asks_once()
}

#[test]
fn control_large_bodies_fill_a_server_without_a_bound() -> Result<()> {
    let Some((process, client)) = naive("threads")? else { return Ok(()) };
    Honest::new(&client).asks_once()?;
    let held = hold_large_bodies(&client)?;
    // What was sent may still lie in the kernel.
    until("the server holds more than the bound", || {
        let memory = Resident::of(process.id())?;
        Ok((memory.peak > LARGE_BOUND_MIB << 10).then_some(()))
    })?;
    drop(held);
    Ok(())
}

#[test]
fn control_a_victim_over_its_bound_or_with_open_descriptors_is_found_out() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let endured = victim.endures(1, |_victim, _honest| Ok(()));
    let error = endured.err().context("one MiB was enough")?;
    assert!(error.to_string().contains("more than 1 MiB"), "{error:#}");
    Ok(())
}
