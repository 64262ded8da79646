//! Connections without requests: thousands that idle, handshakes by the thousand, half-closed ones.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, ensure};
use selkie_tests::{Client, Connection, Peer, Request, evidence, open_files};
use serde_json::Value;

use super::honest::Honest;
use super::{COMMAND, Victim, count};

const THREADS: usize = 4;
/// Half-way handshakes that a flood keeps open at its end: several for each place of the server.
const MOST_STOPPED: usize = 2_000;

/// Does something so many times, in several threads.
fn many<T: Send>(times: usize, once: impl Fn() -> Result<T> + Sync) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let some = || (0..times / THREADS).map(|_| once()).collect::<Result<Vec<_>>>();
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(some)).collect();
        let mut all = Vec::with_capacity(times);
        for thread in threads {
            all.extend(thread.join().map_err(|_panic| anyhow!("a thread panicked"))??);
        }
        Ok(all)
    })
}

/// A connection that has been used once and then idles.
fn used(client: &Client) -> Result<Connection> {
    let mut connection = client.connect()?;
    ensure!(connection.send(Request::new("GET", "sys/health"))?.status == 200, "no health");
    Ok(connection)
}

/// The published Go wrapper as the honest client, beside ours.
fn wrapper(victim: &Victim) -> Result<()> {
    let Some(program) = Peer::WrapperV2.find()? else { return Ok(()) };
    let authority = victim.site.dir().join("ca.pem");
    let mut command = Command::new(program);
    command.env_clear().args(["-address", &victim.selkie.url(), "-token", victim.token()?]);
    command.args(["-mount", "transit", "-key", "autounseal", "-ca-cert"]).arg(authority);
    let output = command.output()?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && report["error"].is_null(), "{report}\n{log}");
    Ok(())
}

#[test]
fn ten_thousand_idle_tls_connections_do_not_disturb() -> Result<()> {
    let idle = count("SELKIE_IDLE", 10_000)?;
    let mut victim = Victim::tls("max_connections = 12000")?;
    let mut open = 0;
    let toll = victim.endures(512, |victim, honest| {
        let connections = many(idle, || used(&victim.client))?;
        open = open_files(victim.process())?;
        honest.is_served(30)?;
        wrapper(victim)?;
        drop(connections);
        Ok(())
    })?;
    assert!(open >= idle, "{open} descriptors");
    let [before, peak] = toll.memory;
    let each = (peak - before) / u64::try_from(idle)?;
    evidence(
        "10,000 idle TLS connections cost bounded memory and keep nobody out",
        COMMAND,
        format!("{idle} open, {each} KiB each; {toll}, and so was the published Go wrapper"),
        "a server that serves one after another keeps the same client waiting",
    )
}

/// A handshake that nobody needs: whole, broken, or stopped half-way, which holds its place.
fn useless_handshake(victim: &Victim, number: usize) -> Result<Option<TcpStream>> {
    if number.is_multiple_of(3) {
        victim.client.connect()?.write(b"").context("handshake")?;
        return Ok(None);
    }
    let is_broken = number % 3 == 1;
    let start: &[u8] =
        if is_broken { b"GET / HTTP/1.1\r\n\r\n" } else { b"\x16\x03\x01\x02\x00\x01" };
    let mut tcp = TcpStream::connect(victim.client.address)?;
    tcp.write_all(start)?;
    Ok(Some(tcp).filter(|_| !is_broken))
}

#[test]
fn a_flood_of_handshakes_leaves_room_for_an_honest_one() -> Result<()> {
    let handshakes = count("SELKIE_HANDSHAKES", 4_500)?;
    let mut victim = Victim::tls("max_connections = 500")?;
    let number = AtomicUsize::new(0);
    let toll = victim.endures(128, |victim, honest| {
        let next = || number.fetch_add(1, Ordering::Relaxed);
        let stopped = Mutex::new(VecDeque::new());
        many(handshakes, || {
            let one = useless_handshake(victim, next())?;
            let mut stopped = stopped.lock().map_err(|_poisoned| anyhow!("a thread panicked"))?;
            stopped.extend(one);
            // The server has closed the oldest long since, and our descriptors are few.
            let excess = stopped.len().saturating_sub(MOST_STOPPED);
            drop(stopped.drain(..excess));
            Ok(())
        })?;
        honest.is_served(10)?;
        drop(stopped);
        Ok(())
    })?;
    victim.selkie.says("connections were refused too fast for the log")?;
    evidence(
        "a flood of handshakes, whole, broken and stopped half-way, keeps nobody out",
        COMMAND,
        format!("{handshakes} at 500 places; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

#[test]
fn half_closed_connections_are_ended() -> Result<()> {
    let mut victim = Victim::plain("max_connections = 800")?;
    let toll = victim.endures(64, |victim, honest| {
        let mut half_closed = Vec::new();
        for at in 0..1_000 {
            half_closed.push(half_close(victim, at)?);
        }
        for mut stream in half_closed {
            // Who says that nothing more comes is taken for gone, as by hyper always.
            stream.read_to_end(&mut Vec::new()).context("it is not ended in time")?;
        }
        honest.is_served(10)
    })?;
    evidence(
        "half-closed connections are ended at once",
        COMMAND,
        format!("1,000 at 800 places; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

/// Says nothing more after a request, a part of its body, a part of its head, or nothing.
fn half_close(victim: &Victim, at: usize) -> Result<TcpStream> {
    let head = Victim::head(Some(victim.token()?), 20);
    let whole = "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n";
    let said = match at % 4 {
        0 => whole,
        1 => &head,
        2 => head.get(..50).unwrap_or_default(),
        _ => "",
    };
    let mut stream = TcpStream::connect(victim.client.address)?;
    stream.set_read_timeout(Some(victim.client.patience))?;
    stream.write_all(said.as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    Ok(stream)
}

#[test]
fn an_honest_client_is_served_at_the_limit_of_connections() -> Result<()> {
    let mut victim = Victim::tls("max_connections = 300")?;
    let toll = victim.endures(64, |victim, honest: &Honest<'_>| {
        for _ in 0..3 {
            let silent = many(600, || {
                let mut tcp = TcpStream::connect(victim.client.address)?;
                tcp.write_all(b"\x16")?;
                Ok(tcp)
            })?;
            honest.is_served(10)?;
            drop(silent);
        }
        Ok(())
    })?;
    evidence(
        "silent connections beyond the limit give their places to those who ask",
        COMMAND,
        format!("600 at 300 places, three times; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}
