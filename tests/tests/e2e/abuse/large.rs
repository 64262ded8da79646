//! Bodies of 32 MiB, many at once.

use std::thread;

use anyhow::{Result, ensure};
use selkie_tests::{Client, Connection, evidence};

use super::{COMMAND, Victim};

const BODY_BYTES: usize = 32 << 20;
const BODIES: usize = 32;
/// The bound of large bodies and replies, all together, and what else there is.
pub(super) const LARGE_BOUND_MIB: u64 = 700;

/// Begins requests with the largest bodies that are allowed, all but the last byte.
pub(super) fn hold_large_bodies(client: &Client) -> Result<Vec<Connection>> {
    let head = Victim::head(client.token.as_deref(), BODY_BYTES);
    let filler = vec![b' '; 1 << 20];
    let send = || {
        let mut connection = client.connect()?;
        connection.write(head.as_bytes())?;
        for _ in 1..BODY_BYTES >> 20 {
            // Refused in the middle is what a bound looks like.
            if connection.write(&filler).is_err() {
                break;
            }
        }
        anyhow::Ok(connection)
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..BODIES).map(|_| scope.spawn(send)).collect();
        let join = |sender: thread::ScopedJoinHandle<'_, Result<Connection>>| {
            sender.join().map_err(|_panic| anyhow::anyhow!("a sender panicked"))?
        };
        senders.into_iter().map(join).collect()
    })
}

#[test]
fn thirty_two_bodies_of_32_mib_at_once_stay_within_the_bound() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let mut refused = 0;
    let toll = victim.endures(LARGE_BOUND_MIB, |victim, honest| {
        for mut held in hold_large_bodies(&victim.client)? {
            // A last piece more than announced ends those that are still wanted.
            held.write(&vec![b' '; 1 << 20]).ok();
            let Ok(answer) = held.answer(false) else { continue };
            ensure!(matches!(answer.status, 400 | 503), "{}", answer.status);
            refused += usize::from(answer.status == 503);
        }
        honest.is_served(10)
    })?;
    assert!(refused > 0, "the bound was never met: {toll}");
    evidence(
        "32 bodies of 32 MiB at once stay within the memory that large bodies share",
        COMMAND,
        format!("{refused} refused with 503; {toll}"),
        "a server without the bound holds them all and takes more than the bound",
    )
}

#[test]
fn large_bodies_of_strangers_are_not_read() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let toll = victim.endures(64, |victim, honest| {
        drop(hold_large_bodies(&victim.client.with_token("hvs.of-nobody"))?);
        honest.is_served(10)
    })?;
    evidence(
        "32 bodies of 32 MiB from strangers are not read",
        COMMAND,
        toll,
        "a server without the bound holds them all and takes more than the bound",
    )
}
