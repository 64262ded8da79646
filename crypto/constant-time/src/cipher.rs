//! AES-256-GCM.

use std::error::Error;

use selkie_crypto::aead::{self, NONCE_BYTES};

use crate::poisoned;
use crate::table::{Call, Expected, Table};

const NONCE: [u8; NONCE_BYTES] = [1; NONCE_BYTES];
/// The decision is one bit, which the caller of aes-gcm reads again.
const ACCEPT: &str = "accept or refuse, in aes-gcm and, unless joined, after it";
const AAD: &[u8] = b"protected header";

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    for bytes in [32, 1000] {
        let encrypted = encrypt(table, bytes)?;
        decrypt(table, &encrypted)?;
        decrypt_bad_tag(table, encrypted)?;
    }
    Ok(())
}

fn encrypt(table: &mut Table, bytes: usize) -> Result<aead::Encrypted, Box<dyn Error>> {
    let dek = poisoned::dek(7);
    let plaintext = poisoned::plaintext(bytes);
    let call = Call { name: "aead::encrypt", bytes, expected: Expected::Exactly(0), reason: "" };
    let mut encrypted = table
        .observe(call, || aead::encrypt(&dek, &NONCE, AAD, plaintext))
        .map_err(|_| "too long")?;
    table.publish(&mut encrypted.ciphertext);
    table.publish(&mut encrypted.tag);
    Ok(encrypted)
}

fn decrypt(table: &mut Table, encrypted: &aead::Encrypted) -> Result<(), Box<dyn Error>> {
    let dek = poisoned::dek(7);
    let call = Call {
        name: "aead::decrypt",
        bytes: encrypted.ciphertext.len(),
        expected: Expected::Between(1, 2),
        reason: ACCEPT,
    };
    let plaintext = table
        .observe(call, || aead::decrypt(&dek, &NONCE, AAD, &encrypted.ciphertext, &encrypted.tag))
        .map_err(|_| "a good tag was refused")?;
    table.must_carry_secret(plaintext.expose_for_reply());
    Ok(())
}

fn decrypt_bad_tag(
    table: &mut Table,
    mut encrypted: aead::Encrypted,
) -> Result<(), Box<dyn Error>> {
    let dek = poisoned::dek(7);
    encrypted.tag[15] ^= 1;
    let call = Call {
        name: "aead::decrypt, bad tag",
        bytes: encrypted.ciphertext.len(),
        expected: Expected::Between(1, 2),
        reason: ACCEPT,
    };
    match table
        .observe(call, || aead::decrypt(&dek, &NONCE, AAD, &encrypted.ciphertext, &encrypted.tag))
    {
        Ok(_) => Err("a bad tag was accepted".into()),
        Err(aead::TagMismatch) => Ok(()),
    }
}
