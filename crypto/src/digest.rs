use sha2::{Digest, Sha256};

/// SHA-256 of `data` (FIPS 180-4), 32 bytes; what a client's token is declared and found by.
#[must_use]
pub fn sha256(data: &[u8]) -> [u8; 32] {
    selkie_memory::with_scrubbed_stack(|| Sha256::digest(data).into())
}
