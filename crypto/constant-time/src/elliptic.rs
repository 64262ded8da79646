//! Elliptic-curve keys: the private number, the agreed secret, the KEK that follows, and the DEK.

use std::error::Error;

use selkie_crypto::{EcCurve, EcPrivateKey, os_random};

use crate::memcheck::poison;
use crate::poisoned;
use crate::table::{Call, Expected, Table};

/// What differs between the curves.
struct Rows {
    curve: EcCurve,
    wrap: &'static str,
    read: Call,
    unwrap: Call,
    unwrap_changed: Call,
}

const CHECKS: &str =
    "aws-lc's checks, which every key passes: in range, finite, on its curve, a pair";
const P256_UNWRAP: &str = "the same checks, of number and secret; accept or refuse";
const X25519_UNWRAP: &str = "the secret is not zero; accept or refuse";

const P256: Rows = Rows {
    curve: EcCurve::P256,
    wrap: "EcPublicKey::wrap_dek, P-256",
    read: call("EcPrivateKey::from_pkcs8, P-256", 18, CHECKS),
    unwrap: unwraps("EcPrivateKey::unwrap_dek, P-256", 13, P256_UNWRAP),
    unwrap_changed: unwraps("EcPrivateKey::unwrap_dek, P-256, changed", 13, P256_UNWRAP),
};
const X25519: Rows = Rows {
    curve: EcCurve::X25519,
    wrap: "EcPublicKey::wrap_dek, X25519",
    read: call("EcPrivateKey::from_pkcs8, X25519", 0, ""),
    unwrap: unwraps("EcPrivateKey::unwrap_dek, X25519", 2, X25519_UNWRAP),
    unwrap_changed: unwraps("EcPrivateKey::unwrap_dek, X25519, changed", 2, X25519_UNWRAP),
};

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    for rows in [P256, X25519] {
        let private = EcPrivateKey::generate(rows.curve, &os_random)?;
        let mut wrapped = wrap(table, rows.wrap, &private)?;
        let private = read(table, rows.read, &private)?;
        unwrap(table, rows.unwrap, &private, &wrapped)?;
        *wrapped.last_mut().ok_or("nothing was wrapped")? ^= 1;
        refuse(table, rows.unwrap_changed, &private, &wrapped)?;
    }
    Ok(())
}

const fn call(name: &'static str, expected: usize, reason: &'static str) -> Call {
    Call { name, bytes: 32, expected: Expected::Exactly(expected), reason }
}

/// As `Kek::unwrap_dek`, accept or refuse is asked once more unless the compiler joins the two.
const fn unwraps(name: &'static str, least: usize, reason: &'static str) -> Call {
    Call { name, bytes: 32, expected: Expected::Between(least, least + 1), reason }
}

fn wrap(
    table: &mut Table,
    name: &'static str,
    private: &EcPrivateKey,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let dek = poisoned::dek(7);
    // The ephemeral number is drawn inside, unpoisoned; the same code runs on a poisoned one below.
    let mut wrapped = table.observe(call(name, 0, ""), || private.public_key().wrap_dek(&dek))?;
    table.publish(&mut wrapped);
    Ok(wrapped)
}

/// Where the private number stands in our PKCS#8.
const fn number_at(curve: EcCurve) -> std::ops::Range<usize> {
    match curve {
        EcCurve::P256 => 36..68,
        EcCurve::X25519 => 16..48,
    }
}

/// The same key with its number poisoned.
fn read(
    table: &mut Table,
    call: Call,
    private: &EcPrivateKey,
) -> Result<EcPrivateKey, Box<dyn Error>> {
    let mut der = private.to_pkcs8().expose_for_writing().to_vec();
    poison(
        der.get_mut(number_at(private.public_key().curve())).ok_or("a PKCS#8 of another length")?,
    );
    let read = table.observe(call, || EcPrivateKey::from_pkcs8(&der))?;
    table.must_carry_secret(read.public_key().spki_der());
    Ok(read)
}

fn unwrap(
    table: &mut Table,
    call: Call,
    private: &EcPrivateKey,
    wrapped: &[u8],
) -> Result<(), Box<dyn Error>> {
    let dek = table.observe(call, || private.unwrap_dek(wrapped))?;
    table.must_carry_secret(dek.expose_for_wrap());
    Ok(())
}

fn refuse(
    table: &mut Table,
    call: Call,
    private: &EcPrivateKey,
    wrapped: &[u8],
) -> Result<(), Box<dyn Error>> {
    match table.observe(call, || private.unwrap_dek(wrapped)) {
        Ok(_) => Err("a changed wrapping was accepted".into()),
        Err(_) => Ok(()),
    }
}
