//! SHA-256 of what may be a secret; the stack that it used is wiped.

use sha2::{Digest, Sha256};

/// SHA-256 keeps one block, its schedule and its state: less than 1 KiB.
const STACK_BYTES: usize = 4096;

/// SHA-256 of `data` (FIPS 180-4), 32 bytes; what a client's token is declared and found by.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    selkie_memory::with_scrubbed_bytes::<STACK_BYTES, _>(|| Sha256::digest(data).into())
}
