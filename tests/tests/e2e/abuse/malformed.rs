//! Requests that are wrong, by the thousand: whole ones with some bytes changed.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Request, evidence};

use super::{Victim, count};

/// As many as there are seeds below.
const THREADS: usize = 4;

/// Where a change is likely to matter.
const SPICES: [&[u8]; 16] = [
    b"\r\n",
    b"\n",
    b"\0",
    b":",
    b" ",
    b"\"",
    b"\\u0000",
    b"{",
    b"[",
    b"]",
    b"}",
    b",",
    b"-1",
    b"1e999",
    b"\xff\xfe",
    b"chunked",
];

/// xorshift64: the same requests in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % bound.max(1)
    }
}

/// What is changed.
fn templates(token: &str) -> Vec<Vec<u8>> {
    let put = |path: &str, body: &str| {
        Request::new("PUT", path).header("X-Vault-Token", token).body(body).bytes()
    };
    let chunked = Victim::head(Some(token), 0)
        .replace("Content-Length: 0", "Transfer-Encoding: chunked")
        + "14\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n";
    let envelope = "{\"ciphertext\":\"vault:v1:eyJwcm90ZWN0ZWQiOiJlMzAiLCJyZWNpcGllbnRzIjpbXX0=\"}";
    vec![
        put("transit/encrypt/autounseal", "{\"plaintext\":\"YQ==\"}"),
        put("transit/encrypt/autounseal", "{\"batch_input\":[{\"plaintext\":\"YQ==\"},{}]}"),
        put("transit/decrypt/autounseal", envelope),
        put("transit/rewrap/autounseal", envelope),
        put("auth/token/renew-self", "{\"increment\":0}"),
        put("transit/keys/another", "{\"type\":\"aes256-gcm96\"}"),
        Request::new("GET", "sys/health?standbyok=true&x=%41").bytes(),
        Request::new("LIST", "transit/keys").header("X-Vault-Token", token).bytes(),
        chunked.into_bytes(),
    ]
}

/// Some changes of bytes, a cut, or something put in.
fn spoil(request: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let at = random.below(request.len());
        match random.below(5) {
            0 => request.truncate(at),
            1 | 2 => {
                let spice = SPICES.get(random.below(SPICES.len())).copied().unwrap_or_default();
                request.splice(at..at, spice.iter().copied());
            }
            3 => {
                let end = (at + random.below(20)).min(request.len());
                request.drain(at..end);
            }
            _ => {
                if let Some(byte) = request.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
        }
    }
}

/// Comes after each, so that one which has lost its end is ended all the same.
const END: &[u8] = b"\r\n\r\n0\r\n\r\n";
const PADDING: [u8; 512] = [0; 512];
/// For those that wait for more even so.
const PATIENCE: Duration = Duration::from_millis(200);

/// Sends it on a connection of its own and reads to the end; the status.
fn send(victim: &Victim, request: &[u8]) -> Result<Option<u16>> {
    let mut stream = TcpStream::connect(victim.client.address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // Refused before it is all said, it may be closed while we still say it.
    stream.write_all(&[request, END, &PADDING].concat()).ok();
    let mut heard = Vec::new();
    if let Err(error) = stream.read_to_end(&mut heard)
        && error.kind() != ErrorKind::ConnectionReset
    {
        stream.shutdown(Shutdown::Write).ok();
        stream.set_read_timeout(Some(victim.client.patience))?;
        match stream.read_to_end(&mut heard) {
            Err(error) if error.kind() != ErrorKind::ConnectionReset => {
                return Err(error).context("no answer and no end");
            }
            _ => {}
        }
    }
    if heard.is_empty() {
        return Ok(None);
    }
    let status = heard.strip_prefix(b"HTTP/1.1 ").or_else(|| heard.strip_prefix(b"HTTP/1.0 "));
    let status = status.and_then(|rest| rest.get(..3)).context("no HTTP")?;
    // Vault has a 500 for a batch that is none; this is another.
    ensure!(!String::from_utf8_lossy(&heard).contains("internal error"), "an internal error");
    Ok(Some(std::str::from_utf8(status)?.parse()?))
}

#[test]
fn malformed_requests_by_the_thousand_leave_the_server_as_it_was() -> Result<()> {
    let wanted = count("SELKIE_MALFORMED", 20_000)?;
    let mut victim = Victim::plain("")?;
    let refused = AtomicUsize::new(0);
    let toll = victim.endures(64, |victim, _honest| {
        let templates = templates(victim.token()?);
        thread::scope(|scope| {
            let some = |seed: u64| -> Result<()> {
                let mut random = Random(seed);
                for _ in 0..wanted / THREADS {
                    let template = templates.get(random.below(templates.len()));
                    let mut request = template.context("no template")?.clone();
                    spoil(&mut request, &mut random);
                    let status = send(victim, &request)
                        .with_context(|| String::from_utf8_lossy(&request).into_owned())?;
                    let is_fine = status.is_none_or(|status| status <= 500 || status == 503);
                    ensure!(is_fine, "{status:?} {}", String::from_utf8_lossy(&request));
                    refused.fetch_add(usize::from(status != Some(200)), Ordering::Relaxed);
                }
                Ok(())
            };
            let seeds = (1..=4).map(|thread| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(thread));
            let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || some(seed))).collect();
            for thread in threads {
                thread.join().map_err(|_panic| anyhow::anyhow!("a sender panicked"))??;
            }
            Ok(())
        })
    })?;
    let refused = refused.into_inner();
    assert!(refused > wanted / 2, "only {refused} were malformed");
    evidence(
        "malformed requests leave the server small and working",
        &format!(
            "SELKIE_MALFORMED={wanted} cargo test -p selkie-tests --test e2e abuse::malformed"
        ),
        format!("{wanted} sent, {refused} refused; {toll}"),
        "a bound of 1 MiB is found to be broken",
    )
}
