//! Vectors of others through a running server: what Google's Wycheproof says of AES key wrap, in
//! envelopes that jwcrypto made; and our own test kit, run by jwcrypto.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use selkie_tests::{Site, evidence, python, skip};
use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::keywrap::{Test, TestName, TestSet};

use crate::jwcrypto::{hex, interop, script};

/// The vectors of a length that a wrapped DEK has: 32 bytes under 256 bits.
fn vectors() -> Result<Vec<Test>> {
    let set = TestSet::load(TestName::AesKeyWrap).map_err(|error| anyhow::anyhow!("{error}"))?;
    let groups = set.test_groups.into_iter().filter(|group| group.key_size == 256);
    Ok(groups.flat_map(|group| group.tests).filter(|test| test.ct.len() == 40).collect())
}

/// A server whose static seal has the vector's key, and what it answers to an envelope whose DEK the
/// vector wraps.
fn decrypted(python: &Path, test: &Test) -> Result<(u16, Value)> {
    let mut site = Site::new()?;
    site.secret_file("k1", &test.key)?;
    site.extra += "realm = \"tests\"\n";
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    let request = json!({
        "header": {
            "purpose": "client", "realm": "tests", "mount": "transit", "key": "autounseal",
            "version": 1, "created": 1_764_000_000,
        },
        "plaintext": hex(b"root key"),
        "dek": hex(if test.pt.len() == 32 { &test.pt } else { &[0; 32] }),
        "recipients": [{ "seal": "static", "kid": "k1", "encrypted_key": hex(&test.ct) }],
    });
    let made = interop(python, "make", &request)?;
    let envelope = made["envelope"].as_str().context("no envelope")?;
    let ciphertext = format!("vault:v1:{}", Base64::encode_string(envelope.as_bytes()));
    let reply = client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
    let plaintext =
        if reply.status == 200 { reply.field("plaintext")?.into() } else { Value::Null };
    Ok((reply.status, plaintext))
}

#[test]
fn a_server_unwraps_what_wycheproof_says_and_nothing_else() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let (mut valid, mut invalid) = (0, 0);
    for test in vectors()? {
        let (status, plaintext) = decrypted(&python, &test)?;
        if test.result == TestResult::Invalid {
            assert_eq!(status, 400, "{}", test.tc_id);
            invalid += 1;
        } else {
            assert_eq!((status, plaintext), (200, "cm9vdCBrZXk=".into()), "{}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), COUNTS, "valid, invalid");
    evidence(
        "Test vectors of others hold through the HTTP API",
        "cargo test -p selkie-tests --test e2e vectors",
        format!("{valid} valid and {invalid} invalid vectors of AES key wrap (Wycheproof)"),
        "each invalid vector is a genuine one with a change, and was refused",
    )
}

/// As docs/vectors.md says.
const COUNTS: (usize, usize) = (4, 12);

#[test]
fn jwcrypto_opens_the_valid_half_of_the_test_kit_and_refuses_the_rest() -> Result<()> {
    let Some(python) = python()? else { return skip("Python", "make peers") };
    let kit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crypto/testkit/envelopes.json");
    let output = Command::new(python).env_clear().arg(script()).arg("kit").arg(kit).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    evidence(
        "The envelope's test kit holds in another implementation (jwcrypto)",
        "tests/jwcrypto/interop.py kit crypto/testkit/envelopes.json",
        said.trim(),
        "every invalid case was refused by it too, or is listed as beyond it",
    )
}
