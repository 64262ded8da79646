//! Requests that a proxy in front could read otherwise than the server does. Whatever is ambiguous is
//! refused, or at least the last of its connection: what follows it is never taken for a request.

use std::time::Duration;

use anyhow::{Result, ensure};
use selkie_tests::{Client, evidence};

use super::{COMMAND, Victim};

/// What comes after each probe and must not be answered.
const SMUGGLED: &str = "GET /v1/sys/seal-status HTTP/1.1\r\nHost: x\r\n\r\n";
const BODY: &str = "{\"plaintext\":\"YQ==\"}";
const CHUNKS: &str = "14\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n";

/// Fields and what follows them, of a request to encrypt.
const AMBIGUOUS: &[(&str, &str, &str)] = &[
    ("CL.TE", "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", CHUNKS),
    ("TE.CL", "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", CHUNKS),
    ("TE.TE", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", CHUNKS),
    ("chunked is not the last coding", "Transfer-Encoding: chunked, identity\r\n", CHUNKS),
    ("another coding", "Transfer-Encoding: xchunked\r\n", CHUNKS),
    ("a quoted coding", "Transfer-Encoding: \"chunked\"\r\n", CHUNKS),
    ("vertical tab before the coding", "Transfer-Encoding:\u{b}chunked\r\n", CHUNKS),
    ("space before the colon, TE", "Transfer-Encoding : chunked\r\n", CHUNKS),
    ("space before the colon, CL", "Content-Length : 20\r\n", BODY),
    ("obs-fold with a length in it", "X-A: b\r\n Content-Length: 20\r\n", BODY),
    ("obs-fold before the coding", "Transfer-Encoding:\r\n chunked\r\n", CHUNKS),
    ("bare CR with a length behind it", "X-A: b\rContent-Length: 20\r\n", BODY),
    ("two lengths", "Content-Length: 20\r\nContent-Length: 21\r\n", BODY),
    ("a list of lengths", "Content-Length: 20, 20\r\n", BODY),
    ("a signed length", "Content-Length: +20\r\n", BODY),
    ("a length with a space in it", "Content-Length: 2 0\r\n", BODY),
    ("a hexadecimal length", "Content-Length: 0x14\r\n", BODY),
    ("a length beyond 64 bits", "Content-Length: 99999999999999999999\r\n", BODY),
    ("an empty length", "Content-Length: \r\n", BODY),
    ("NUL after the length", "Content-Length: 20\0\r\n", BODY),
    ("NUL in a name", "X\0Y: z\r\nContent-Length: 20\r\n", BODY),
    (
        "bare LF after a chunk's size",
        "Transfer-Encoding: chunked\r\n",
        "14\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n",
    ),
    (
        "bare LF in a chunk's extension",
        "Transfer-Encoding: chunked\r\n",
        "14;a\nb\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n",
    ),
    (
        "a chunk's size in C's way",
        "Transfer-Encoding: chunked\r\n",
        "0x14\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n",
    ),
    (
        "a negative chunk",
        "Transfer-Encoding: chunked\r\n",
        "-14\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n",
    ),
    (
        "a chunk beyond 64 bits",
        "Transfer-Encoding: chunked\r\n",
        "10000000000000014\r\n{\"plaintext\":\"YQ==\"}\r\n0\r\n\r\n",
    ),
    (
        "a chunk that is longer than it says",
        "Transfer-Encoding: chunked\r\n",
        "14\r\n{\"plaintext\":\"YQ==\"}XX0\r\n\r\n",
    ),
];

/// What is no HTTP/1.1 at all.
const OTHER: &[(&str, &str)] = &[
    ("HTTP/0.9", "GET /v1/sys/health\r\n\r\n"),
    ("HTTP/1.2", "GET /v1/sys/health HTTP/1.2\r\nHost: x\r\n\r\n"),
    ("chunks in HTTP/1.0", "PUT /v1/x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
    ("a first field that is folded", "GET /v1/sys/health HTTP/1.1\r\n X: y\r\nHost: x\r\n\r\n"),
];

/// What everybody reads in the same way: here the second request is one. Chunks are not among them:
/// their connection ends with them.
const PLAIN: &[(&str, &str)] = &[
    ("an ordinary request", "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("absolute form", "GET http://other/v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n"),
    (
        "an offer of h2c, not taken",
        "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n\
      Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    ),
    (
        "a request within a body",
        "GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nContent-Length: 38\r\n\r\n\
      GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
];

/// The statuses that are heard, and whether the connection is closed.
fn replies(client: &Client, sent: &[u8], wait: Duration) -> Result<(Vec<String>, bool)> {
    let mut connection = client.connect()?;
    connection.write(sent)?;
    let (heard, is_closed) = connection.heard_within(wait)?;
    let heard = String::from_utf8_lossy(&heard).into_owned();
    let statuses = heard.split("HTTP/1.1 ").skip(1).filter_map(|reply| reply.get(..3));
    Ok((statuses.map(str::to_owned).collect(), is_closed))
}

fn nothing_is_smuggled(client: &Client, name: &str, probe: &str) -> Result<()> {
    let sent = format!("{probe}{SMUGGLED}");
    let (statuses, is_closed) = replies(client, sent.as_bytes(), client.patience)?;
    ensure!(is_closed && statuses.len() <= 1, "{name}: {statuses:?}, closed: {is_closed}");
    Ok(())
}

#[test]
fn nothing_is_smuggled_behind_an_ambiguous_request() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let toll = victim.endures(64, |victim, _honest| {
        for (name, fields, rest) in AMBIGUOUS {
            let token = victim.token()?;
            let probe = format!(
                "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\n\
                 X-Vault-Token: {token}\r\n{fields}\r\n{rest}"
            );
            nothing_is_smuggled(&victim.client, name, &probe)?;
        }
        OTHER.iter().try_for_each(|(name, probe)| nothing_is_smuggled(&victim.client, name, probe))
    })?;
    // The control: where nothing is ambiguous, the very same search finds two replies.
    for (name, probe) in PLAIN {
        let sent = format!("{probe}{SMUGGLED}");
        let heard = selkie_tests::until("both are answered", || {
            let heard = replies(&victim.client, sent.as_bytes(), Duration::from_millis(500))?;
            Ok((heard.0.len() == 2).then_some(heard))
        });
        let (_, is_closed) = heard.map_err(|error| error.context(*name))?;
        ensure!(!is_closed, "{name}: closed");
    }
    evidence(
        "nothing is smuggled behind an ambiguous request",
        COMMAND,
        format!("{} probes; {toll}", AMBIGUOUS.len() + OTHER.len()),
        "behind requests that are not ambiguous the same second request is answered",
    )
}
