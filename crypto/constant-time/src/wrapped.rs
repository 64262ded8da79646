//! Responses under their wrapping token.

use std::error::Error;

use selkie_crypto::{RandomError, unwrap_response, wrap_response};

use crate::poisoned;
use crate::table::{Call, Expected, Table};

pub(crate) fn observe(table: &mut Table) -> Result<(), Box<dyn Error>> {
    for bytes in [32, 1000] {
        let mut sealed = wrap(table, bytes)?;
        unwrap(table, bytes, &sealed)?;
        *sealed.last_mut().ok_or("nothing was sealed")? ^= 1;
        let name = "unwrap_response, bad tag";
        let token = poisoned::bytes(28);
        match table.observe(call(name, bytes, ACCEPT), || unwrap_response(&token, &sealed)) {
            Ok(_) => return Err("a bad tag was accepted".into()),
            Err(_) => continue,
        }
    }
    Ok(())
}

const ACCEPT: Expected = Expected::Between(1, 3);
const REASON: &str = "accept or refuse: aead::decrypt's, and unless joined once more";

const fn call(name: &'static str, bytes: usize, expected: Expected) -> Call {
    let reason = match expected {
        Expected::Exactly(_) | Expected::AtLeastOne => "",
        Expected::Between(..) => REASON,
    };
    Call { name, bytes, expected, reason }
}

/// The random salt and nonce are public: they are drawn unpoisoned.
fn public_random(buffer: &mut [u8]) -> Result<(), RandomError> {
    buffer.fill(5);
    Ok(())
}

fn wrap(table: &mut Table, bytes: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let (token, response) = (poisoned::bytes(28), poisoned::plaintext(bytes));
    let wrap = || wrap_response(&token, response, &public_random);
    let mut sealed = table.observe(call("wrap_response", bytes, Expected::Exactly(0)), wrap)?;
    table.publish(&mut sealed);
    Ok(sealed)
}

fn unwrap(table: &mut Table, bytes: usize, sealed: &[u8]) -> Result<(), Box<dyn Error>> {
    let token = poisoned::bytes(28);
    let unwrap = || unwrap_response(&token, sealed);
    let opened = table
        .observe(call("unwrap_response", bytes, ACCEPT), unwrap)
        .map_err(|_| "a good tag was refused")?;
    table.must_carry_secret(opened.expose_for_reply());
    Ok(())
}
