//! encrypt, decrypt, rewrap of one item.

use anyhow::{Context, Result};
use serde_json::json;

use super::{STORED_KEYS, dev, encrypted};
use crate::answer::{assert_envelope, assert_refused};

#[test]
fn encrypt_returns_three_fields_and_the_version_of_the_key() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.put("transit/encrypt/autounseal", &json!({ "plaintext": STORED_KEYS }))?;
    let data = assert_envelope(&answer)?;
    let ciphertext = data["ciphertext"].as_str().context("no ciphertext")?;
    let fields: Vec<_> = ciphertext.split(':').collect();
    assert_eq!(fields.len(), 3, "{ciphertext}");
    let version = data["key_version"].as_u64().context("no key_version")?;
    assert_eq!((fields[0], fields[1]), ("vault", format!("v{version}").as_str()));
    assert_eq!(data.as_object().map(serde_json::Map::len), Some(2));
    Ok(())
}

#[test]
fn decrypt_returns_what_was_encrypted_and_nothing_else() -> Result<()> {
    let (_selkie, root) = dev()?;
    for plaintext in ["YQ==", "AA==", "", STORED_KEYS, &"QUFB".repeat(20_000)] {
        let ciphertext = encrypted(&root, "autounseal", plaintext)?;
        let answer =
            root.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
        assert_eq!(assert_envelope(&answer)?, json!({ "plaintext": plaintext }));
    }
    Ok(())
}

#[test]
fn equal_plaintexts_have_different_ciphertexts() -> Result<()> {
    let (_selkie, root) = dev()?;
    let [one, other] =
        [encrypted(&root, "autounseal", "YQ==")?, encrypted(&root, "autounseal", "YQ==")?];
    assert_ne!(one, other);
    Ok(())
}

#[test]
fn associated_data_must_be_the_same_again() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "YQ==", "associated_data": "YWFk" });
    let ciphertext = root.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
    let with = |aad: &str| {
        let body = json!({ "ciphertext": ciphertext, "associated_data": aad });
        root.put("transit/decrypt/autounseal", &body)
    };
    assert_eq!(with("YWFk")?.field("plaintext")?, "YQ==");
    assert_refused(&with("YWFl")?, 400, "cipher: message authentication failed");
    assert_refused(&with("")?, 400, "cipher: message authentication failed");
    Ok(())
}

#[test]
fn associated_data_that_is_no_base64_is_vaults_internal_error() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "YQ==", "associated_data": "!" });
    let answer = root.put("transit/encrypt/autounseal", &body)?;
    assert_eq!(answer.status, 500);
    let text = "unable to get associated_data/additional_data from factory[0]";
    assert!(answer.text().contains(text), "{}", answer.text());
    Ok(())
}

#[test]
fn rewrap_moves_a_ciphertext_to_the_newest_version() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let first = encrypted(&root, "k", "YQ==")?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    let answer = root.put("transit/rewrap/k", &json!({ "ciphertext": first }))?;
    let data = assert_envelope(&answer)?;
    assert_eq!(data["key_version"], 2);
    let second = data["ciphertext"].as_str().context("no ciphertext")?;
    assert!(second.starts_with("vault:v2:"), "{second}");
    for ciphertext in [first.as_str(), second] {
        let answer = root.put("transit/decrypt/k", &json!({ "ciphertext": ciphertext }))?;
        assert_eq!(answer.field("plaintext")?, "YQ==");
    }
    Ok(())
}

#[test]
fn an_older_version_is_used_if_it_is_asked_for() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    // As a number, and as text, which OpenBao's kms/transit sends (§1.11).
    for version in [json!(1), json!("1")] {
        let body = json!({ "plaintext": "YQ==", "key_version": version });
        let data = root.put("transit/encrypt/k", &body)?.data()?;
        assert_eq!(data["key_version"], 1);
        let ciphertext = data["ciphertext"].as_str().context("no ciphertext")?;
        assert!(ciphertext.starts_with("vault:v1:"), "{ciphertext}");
    }
    Ok(())
}

#[test]
fn a_version_that_is_not_there_is_refused() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    for (version, text) in [
        (-1, "requested version for encryption is negative"),
        (2, "requested version for encryption is higher than the latest key version"),
    ] {
        let body = json!({ "plaintext": "YQ==", "key_version": version });
        assert_refused(&root.put("transit/encrypt/k", &body)?, 400, text);
    }
    Ok(())
}

#[test]
fn encrypt_with_the_right_to_create_makes_the_key() -> Result<()> {
    let (_selkie, root) = dev()?;
    let ciphertext = encrypted(&root, "upserted", "YQ==")?;
    assert!(ciphertext.starts_with("vault:v1:"), "{ciphertext}");
    let key = root.get("transit/keys/upserted")?.data()?;
    assert_eq!((&key["latest_version"], &key["type"]), (&json!(1), &json!("aes256-gcm96")));
    Ok(())
}

#[test]
fn a_context_is_needed_again_and_exactly() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({ "derived": true }))?.data()?;
    let missing = "missing 'context' for key derivation; the key was created using a derived key, \
                   which means additional, per-request information must be included in order to \
                   perform operations with the key";
    let answer = root.put("transit/encrypt/k", &json!({ "plaintext": "YQ==" }))?;
    assert_refused(&answer, 400, missing);
    let body = json!({ "plaintext": "YQ==", "context": "Y3R4" });
    let ciphertext = root.put("transit/encrypt/k", &body)?.field("ciphertext")?;
    let with = |context: &str| {
        let body = json!({ "ciphertext": ciphertext, "context": context });
        root.put("transit/decrypt/k", &body)
    };
    assert_eq!(with("Y3R4")?.field("plaintext")?, "YQ==");
    assert_refused(&with("b3RoZXI=")?, 400, "cipher: message authentication failed");
    assert_refused(&with("!")?, 400, "illegal base64 data at input byte 0");
    Ok(())
}

#[test]
fn line_ends_within_base64_are_ignored_as_go_does() -> Result<()> {
    let (_selkie, root) = dev()?;
    let ciphertext = encrypted(&root, "autounseal", "Y\nQ=\r\n=")?;
    let answer = root.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
    assert_eq!(answer.field("plaintext")?, "YQ==");
    Ok(())
}

#[test]
fn fields_that_nobody_knows_are_named_in_a_warning() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "YQ==", "zeta": 1, "alpha": 2 });
    let answer = root.put("transit/encrypt/autounseal", &body)?;
    let warning = "Endpoint ignored these unrecognized parameters: [alpha zeta]";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    Ok(())
}

#[test]
fn a_field_that_repeats_the_path_is_named_in_a_warning() -> Result<()> {
    let (_selkie, root) = dev()?;
    let body = json!({ "plaintext": "YQ==", "name": "other" });
    let answer = root.put("transit/encrypt/autounseal", &body)?;
    let warning = "Endpoint replaced the value of these parameters with the values captured from \
                   the endpoint's path: [name]";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    Ok(())
}
