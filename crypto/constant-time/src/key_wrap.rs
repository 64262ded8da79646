//! AES key wrap and RSA-OAEP: what a KEK does to a DEK.

use std::error::Error;
use std::hint::black_box;

use selkie_crypto::{RsaPublicKey, WRAPPED_DEK_BYTES};

use crate::memcheck::declassify;
use crate::poisoned;
use crate::table::{Call, Expected, Table};

/// A key made for this program; its private half was thrown away.
const RSA_2048_SPKI: &[u8] = include_bytes!("rsa_2048.spki.der");

const ACCEPT: &str = "accept or refuse: the library's, and unless joined the box's";

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let wrapped = wrap(table)?;
    unwrap(table, wrapped)?;
    compare(table)?;
    fingerprint(table)?;
    wrap_rsa(table)
}

const fn call(name: &'static str, expected: usize, reason: &'static str) -> Call {
    Call { name, bytes: 32, expected: Expected::Exactly(expected), reason }
}

fn wrap(table: &mut Table) -> Result<[u8; WRAPPED_DEK_BYTES], Box<dyn Error>> {
    let (kek, dek) = (poisoned::kek(3)?, poisoned::dek(7));
    let mut wrapped = table.observe(call("Kek::wrap_dek", 0, ""), || kek.wrap_dek(&dek));
    table.publish(&mut wrapped);
    Ok(wrapped)
}

fn unwrap(table: &mut Table, mut wrapped: [u8; WRAPPED_DEK_BYTES]) -> Result<(), Box<dyn Error>> {
    let kek = poisoned::kek(3)?;
    let call = |name| Call { name, bytes: 32, expected: Expected::Between(1, 2), reason: ACCEPT };
    let good = call("Kek::unwrap_dek");
    let dek = table.observe(good, || kek.unwrap_dek(&wrapped))?;
    table.must_carry_secret(dek.expose_for_wrap());

    wrapped[0] ^= 1;
    let bad = call("Kek::unwrap_dek, changed byte");
    match table.observe(bad, || kek.unwrap_dek(&wrapped)) {
        Ok(_) => Err("a changed wrapping was accepted".into()),
        Err(_) => Ok(()),
    }
}

fn compare(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let kek = poisoned::kek(3)?;
    for (name, other, same) in [
        ("Kek::is_same_key, same", poisoned::kek(3)?, 1),
        ("Kek::is_same_key, another", poisoned::kek(4)?, 0),
    ] {
        let mut answer = [0];
        table.observe(call(name, 0, ""), || answer[0] = u8::from(kek.is_same_key(&other)));
        table.must_carry_secret(&answer);
        declassify(&mut answer);
        if answer[0] != same {
            return Err("is_same_key is wrong".into());
        }
    }
    Ok(())
}

/// What comes of it is public and has no bytes to look at: it is only printed and compared.
fn fingerprint(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let (kek, origin_key) = (poisoned::kek(3)?, poisoned::origin_key(5)?);
    black_box(table.observe(call("Kek::fingerprint", 0, ""), || kek.fingerprint()));
    black_box(table.observe(call("OriginKey::fingerprint", 0, ""), || origin_key.fingerprint()));
    Ok(())
}

fn wrap_rsa(table: &mut Table) -> Result<(), Box<dyn Error>> {
    let public_key = RsaPublicKey::from_spki_der(RSA_2048_SPKI)?;
    let dek = poisoned::dek(7);
    let reason = "aws-lc's bn_reduce_once asserts a borrow of 0 or 1; true of every DEK";
    let mut wrapped =
        table.observe(call("RsaPublicKey::wrap_dek", 1, reason), || public_key.wrap_dek(&dek))?;
    table.publish(&mut wrapped);
    Ok(())
}
