//! Slowloris: heads, bodies and replies that take for ever.

use anyhow::Result;
use selkie_tests::{Request, Site, evidence};

use super::dribble::Dribble;
use super::{COMMAND, Toll, Victim, sealing};

/// As many as are let in, and half as many again that wait.
const ALLOWED: &str = "max_connections = 800";
const SLOW: usize = 1_200;

/// More connections than are allowed send `start`, and then `rest` byte by byte: how many of them were
/// closed for an honest client, which at least one has to be, and what that took.
fn give_way(
    victim: &mut Victim,
    bound_mib: u64,
    start: &[u8],
    rest: &[u8],
) -> Result<(usize, Toll)> {
    let mut closed = 0;
    let toll = victim.endures(bound_mib, |victim, honest| {
        let mut slow = Dribble::open(victim.client.address, SLOW, start, rest)?;
        slow.until_served(honest, 60)?;
        closed = slow.closed;
        Ok(())
    })?;
    assert!(closed > 0, "none had to go: {toll}");
    Ok((closed, toll))
}

#[test]
fn slow_heads_take_no_place_from_an_honest_client() -> Result<()> {
    let mut victim = Victim::plain(ALLOWED)?;
    let text = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Filler: xxxxxxxxxxxxxxxxxxxxxxxxxxx";
    let (closed, toll) = give_way(&mut victim, 64, b"", text)?;
    evidence(
        "slow heads on more connections than are allowed keep nobody out",
        COMMAND,
        format!("{SLOW} at 800 places, {closed} closed; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

#[test]
fn slow_heads_after_a_request_take_no_place_either() -> Result<()> {
    let mut victim = Victim::plain(ALLOWED)?;
    let whole = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n\r\nGET /v1/sys";
    give_way(&mut victim, 64, whole, b"/health HTTP/1.1\r\n").map(drop)
}

#[test]
fn slow_bodies_of_strangers_are_not_waited_for() -> Result<()> {
    let mut victim = Victim::plain(ALLOWED)?;
    let toll = victim.endures(64, |victim, honest| {
        let head = Victim::head(Some("hvs.of-nobody"), 1 << 20);
        let mut slow = Dribble::open(victim.client.address, SLOW, head.as_bytes(), b" ")?;
        slow.until_served(honest, 60)
    })?;
    evidence(
        "slow bodies of strangers hold no place",
        COMMAND,
        format!("{SLOW} at 800 places; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

/// A login is a stranger's until its body is read.
#[test]
fn slow_bodies_of_logins_take_no_place_from_an_honest_client() -> Result<()> {
    let mut site = Site::new()?;
    // So that nothing else ends them.
    site.listener = format!("{ALLOWED}\n  http_read_timeout = \"1h\"");
    site.extra += "storage \"inmem\" {}\nauth \"approle\" {\n  role \"r\" { role_id = \"r\" }\n}\n";
    let mut victim = Victim::of(site, None)?;
    let head = b"POST /v1/auth/approle/login HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let (closed, toll) = give_way(&mut victim, 96, head, b" ")?;
    evidence(
        "slow bodies of logins on more connections than are allowed keep nobody out",
        COMMAND,
        format!("{SLOW} at 800 places, {closed} closed; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

#[test]
fn slow_bodies_of_a_client_gone_wrong_leave_places_to_others() -> Result<()> {
    let mut victim = Victim::plain("max_in_flight_requests = 64")?;
    // 1,200 bodies of 60 KiB and as many buffers of connections: what is touched of them varies from
    // 70 to 135 MiB.
    let toll = victim.endures(192, |victim, honest| {
        let head = Victim::head(Some(victim.token()?), 60 << 10);
        let mut slow = Dribble::open(victim.client.address, SLOW, head.as_bytes(), b" ")?;
        slow.until_served(honest, 60)
    })?;
    evidence(
        "slow bodies of a known client take no place of a request in flight",
        COMMAND,
        format!("{SLOW} with 64 places in flight; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}

#[test]
fn replies_that_nobody_takes_hold_no_more_than_their_share() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let toll = victim.endures(700, |victim, honest| {
        let mut held = Vec::new();
        let plaintext = "QUFB".repeat((6 << 20) / 4);
        let body = sealing(&plaintext).to_string();
        for _ in 0..48 {
            let mut connection = victim.client.connect()?;
            connection.write(Victim::head(Some(victim.token()?), body.len()).as_bytes())?;
            // Refused for want of memory, with the body unread, is as good an end.
            connection.write(body.as_bytes()).ok();
            held.push(connection);
        }
        honest.is_served(60)?;
        drop(held);
        Ok(())
    })?;
    evidence(
        "replies that nobody takes are bounded in memory",
        COMMAND,
        format!("48 replies of 8 MiB; {toll}"),
        "a server without the bound holds the same bodies whole",
    )
}

#[test]
fn pipelined_requests_whose_replies_nobody_takes_are_not_read_on() -> Result<()> {
    let mut victim = Victim::plain("max_connections = 100")?;
    let toll = victim.endures(64, |victim, honest| {
        let health =
            Request::absolute("GET", "/v1/sys/health").header("X-Filler", &"x".repeat(1_000));
        let health = health.bytes();
        let start = health.repeat(50);
        let mut deaf = Dribble::open(victim.client.address, 200, &start, &health)?;
        deaf.until_served(honest, 60)
    })?;
    evidence(
        "pipelined requests whose replies nobody takes keep nobody out",
        COMMAND,
        format!("200 connections at 100 places; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}
