//! Ports for servers that must come back at the same place.

use std::net::TcpListener;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below the range that Linux gives to outgoing connections, so that none of those can be in the
/// way when a server comes back.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// A port of the loopback interface that nobody listens on, and that this process gives out once.
///
/// # Errors
///
/// If there is none.
pub fn free_port() -> Result<u16> {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let seed = u16::try_from(getrandom::u32()? % u32::from(COUNT))?;
    let next = NEXT.get_or_init(|| AtomicU16::new(seed));
    for _ in 0..COUNT {
        let port = FIRST + next.fetch_add(1, Ordering::Relaxed) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port is free")
}
