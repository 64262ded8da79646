//! Calls that do leak. Were one of them not reported, poisoning would not work and every other
//! row would mean nothing.

use std::hint::black_box;

use crate::poisoned;
use crate::table::{Call, Expected, Table};

pub(crate) fn observe(table: &mut Table) {
    let control = |name, reason| Call { name, bytes: 32, expected: Expected::AtLeastOne, reason };
    let dek = poisoned::dek(7);
    let secret = dek.expose_for_wrap();
    let eight = secret.first_chunk().unwrap_or(&[0; 8]);
    table.observe(control("CONTROL early-exit comparison", "branches on the secret"), || {
        equals_early_exit(secret, black_box(&[7; 32]))
    });
    table.observe(control("CONTROL table look-up", "indexes by the secret"), || {
        secret.iter().fold(0, |sum, byte| sum ^ SQUARES[usize::from(*byte)])
    });
    table.observe(
        control("CONTROL division", "a short or a long division, by the size of the secret"),
        || black_box(1_000_000) / (u64::from_le_bytes(*eight) | 1),
    );
    table.observe(control("CONTROL length", "copies as many bytes as the secret says"), || {
        black_box(vec![0_u8; 256])[..usize::from(secret[0])].to_vec()
    });
}

#[inline(never)]
fn equals_early_exit(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).all(|(one, other)| black_box(*one) == *other)
}

static SQUARES: [u16; 256] = {
    let mut squares = [0; 256];
    let mut at: u16 = 0;
    while at < 256 {
        squares[at as usize] = at.wrapping_mul(at);
        at += 1;
    }
    squares
};
