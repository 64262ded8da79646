//! Base64 of secrets, and the digest by which a token is found.

use std::error::Error;

use selkie_crypto::base64::{decode_secret, encode_into, encoded_len};
use selkie_crypto::sha256;

use crate::memcheck::poison;
use crate::poisoned;
use crate::table::{Call, Expected, Table};

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    // One, none and two characters of padding.
    for bytes in [32, 48, 1000] {
        encode(table, bytes);
        decode(table, bytes)?;
        digest(table, bytes);
    }
    Ok(())
}

fn encode(table: &mut Table, bytes: usize) {
    let secret = poisoned::bytes(bytes);
    let mut text = Vec::with_capacity(encoded_len(bytes));
    let call =
        Call { name: "base64::encode_into", bytes, expected: Expected::Exactly(0), reason: "" };
    table.observe(call, || encode_into(&secret, &mut text));
    table.must_carry_secret(&text);
}

fn decode(table: &mut Table, bytes: usize) -> Result<(), Box<dyn Error>> {
    let mut text = poisoned_text(bytes);
    let call = |name, expected, reason| Call {
        name,
        bytes,
        expected: Expected::Exactly(expected),
        reason,
    };
    let good = call("base64::decode_secret", 1, "accept or refuse: alphabet and unused bits");
    let secret =
        table.observe(good, || decode_secret(&text)).map_err(|_| "valid base64 was refused")?;
    table.must_carry_secret(secret.expose_for_reply());

    text[0] = b'!';
    poison(&mut text[..1]);
    let bad = call(
        "base64::decode_secret, bad character",
        1,
        "accept or refuse: alphabet and unused bits",
    );
    match table.observe(bad, || decode_secret(&text)) {
        Ok(_) => Err("invalid base64 was accepted".into()),
        Err(_) => Ok(()),
    }
}

/// Poisoned, but for the two places where padding may stand: whether it does is asked there, and
/// says no more than the length of the secret.
fn poisoned_text(bytes: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(encoded_len(bytes));
    encode_into(&vec![0xA5; bytes], &mut text);
    let padding = text.len() - 2;
    poison(&mut text[..padding]);
    text
}

fn digest(table: &mut Table, bytes: usize) {
    let token = poisoned::bytes(bytes);
    let call = Call { name: "sha256", bytes, expected: Expected::Exactly(0), reason: "" };
    let mut digest = table.observe(call, || sha256(&token));
    table.publish(&mut digest);
}
