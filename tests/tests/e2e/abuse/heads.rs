//! Heads that are bombs.

use anyhow::Result;
use selkie_tests::{Connection, evidence};

use super::{COMMAND, Victim};

const BOMBS: usize = 200;

/// A head of several MiB: one long field, many fields, a long target, one that never ends.
fn bomb(kind: usize) -> Vec<u8> {
    let start = b"GET /v1/sys/health HTTP/1.1\r\nHost: x\r\n".to_vec();
    match kind % 4 {
        0 => [start, b"X-Long: ".to_vec(), vec![b'y'; 4 << 20], b"\r\n\r\n".to_vec()].concat(),
        1 => [start, b"X-Y: z\r\n".repeat(200_000), b"\r\n".to_vec()].concat(),
        2 => [b"GET /".to_vec(), vec![b'a'; 4 << 20], b" HTTP/1.1\r\n\r\n".to_vec()].concat(),
        _ => vec![b'\n'; 1 << 20],
    }
}

fn explode(victim: &Victim, kind: usize) -> Result<Connection> {
    let mut connection = victim.client.connect()?;
    // The server stops reading at its limit.
    connection.write(&bomb(kind)).ok();
    Ok(connection)
}

#[test]
fn heads_of_several_mib_are_refused_at_64_kib() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let toll = victim.endures(64, |victim, honest| {
        let mut bombs = Vec::new();
        for kind in 0..BOMBS {
            bombs.push(explode(victim, kind)?);
        }
        for mut connection in bombs {
            // Gone before its answer could be read is an answer too.
            let Ok(answer) = connection.answer(false) else { continue };
            assert!(matches!(answer.status, 400 | 414 | 431), "{}", answer.status);
        }
        honest.is_served(10)
    })?;
    evidence(
        "heads of 1 to 4 MiB are refused before they are read",
        COMMAND,
        format!("{BOMBS} bombs; {toll}"),
        "a bound of 1 MiB is found to be broken",
    )
}

#[test]
fn heads_just_within_the_limit_on_many_connections_stay_small() -> Result<()> {
    let mut victim = Victim::plain("max_connections = 1000")?;
    let toll = victim.endures(192, |victim, honest| {
        let filler = format!("GET /v1/sys/health HTTP/1.1\r\nX-Long: {}", "y".repeat(63_000));
        let mut held = Vec::new();
        for _ in 0..1_000 {
            let mut connection = victim.client.connect()?;
            connection.write(filler.as_bytes()).ok();
            held.push(connection);
        }
        honest.is_served(10)?;
        drop(held);
        Ok(())
    })?;
    evidence(
        "a thousand heads that stop just before their limit cost 64 KiB each",
        COMMAND,
        toll,
        "a bound of 1 MiB is found to be broken",
    )
}
