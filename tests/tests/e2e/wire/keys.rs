//! `keys/…`: create, read, list, configure, rotate, trim, delete.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{dev, encrypted};
use crate::answer::{assert_empty_refusal, assert_envelope, assert_headers, assert_refused};

const READ_FIELDS: [&str; 17] = [
    "allow_plaintext_backup",
    "auto_rotate_period",
    "deletion_allowed",
    "derived",
    "exportable",
    "imported_key",
    "keys",
    "latest_version",
    "min_available_version",
    "min_decryption_version",
    "min_encryption_version",
    "name",
    "supports_decryption",
    "supports_derivation",
    "supports_encryption",
    "supports_signing",
    "type",
];

fn assert_is_key(data: &Value, name: &str) -> Result<()> {
    let fields: Vec<_> = data.as_object().context("no object")?.keys().collect();
    assert_eq!(fields, READ_FIELDS);
    assert_eq!((&data["name"], &data["type"]), (&json!(name), &json!("aes256-gcm96")));
    for flag in ["supports_encryption", "supports_decryption", "supports_derivation"] {
        assert_eq!(data[flag], true, "{flag}");
    }
    for flag in ["supports_signing", "exportable", "allow_plaintext_backup", "imported_key"] {
        assert_eq!(data[flag], false, "{flag}");
    }
    assert_eq!(data["auto_rotate_period"], 0);
    Ok(())
}

#[test]
fn create_answers_with_the_key_as_read_does() -> Result<()> {
    let (_selkie, root) = dev()?;
    let created = assert_envelope(&root.put("transit/keys/k", &json!({}))?)?;
    assert_is_key(&created, "k")?;
    assert_eq!(assert_envelope(&root.get("transit/keys/k")?)?, created);
    let defaults = json!({
        "latest_version": 1, "min_available_version": 0, "min_decryption_version": 1,
        "min_encryption_version": 0, "deletion_allowed": false, "derived": false,
    });
    for (field, value) in defaults.as_object().context("no object")? {
        assert_eq!(&created[field], value, "{field}");
    }
    let made = created["keys"]["1"].as_u64().context("no creation time")?;
    assert!(made > 1_700_000_000, "unix seconds: {made}");
    Ok(())
}

#[test]
fn creating_a_key_again_changes_nothing() -> Result<()> {
    let (_selkie, root) = dev()?;
    let first = root.put("transit/keys/k", &json!({}))?.data()?;
    let again = root.put("transit/keys/k", &json!({ "derived": true }))?.data()?;
    assert_eq!(again, first);
    Ok(())
}

#[test]
fn key_types_that_are_not_built_are_refused() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.put("transit/keys/k", &json!({ "type": "nonsense" }))?;
    assert_refused(&answer, 400, "unknown key type nonsense");
    let answer = root.put("transit/keys/k", &json!({ "type": "rsa-2048" }))?;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_empty_refusal(&root.get("transit/keys/k")?, 404);
    Ok(())
}

#[test]
fn an_unknown_key_is_an_empty_404() -> Result<()> {
    let (_selkie, root) = dev()?;
    assert_empty_refusal(&root.get("transit/keys/nobody")?, 404);
    Ok(())
}

#[test]
fn keys_are_listed_in_order_by_both_ways() -> Result<()> {
    let (_selkie, root) = dev()?;
    for name in ["zeta", "Alpha", "beta"] {
        root.put(&format!("transit/keys/{name}"), &json!({}))?.data()?;
    }
    let expected = json!({ "keys": ["Alpha", "autounseal", "beta", "zeta"] });
    for path in ["transit/keys", "transit/keys/"] {
        assert_eq!(assert_envelope(&root.list(path)?)?, expected);
        assert_eq!(assert_envelope(&root.get(&format!("{path}?list=true"))?)?, expected);
    }
    let text = "1 error occurred:\n\t* unsupported operation\n\n";
    assert_refused(&root.get("transit/keys")?, 405, text);
    Ok(())
}

#[test]
fn rotation_adds_a_version_and_old_ciphertexts_still_open() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let first = encrypted(&root, "k", "YQ==")?;
    let rotated = assert_envelope(&root.put("transit/keys/k/rotate", &json!({}))?)?;
    assert_is_key(&rotated, "k")?;
    assert_eq!(rotated["latest_version"], 2);
    assert_eq!(rotated["keys"].as_object().map(serde_json::Map::len), Some(2));
    assert!(encrypted(&root, "k", "YQ==")?.starts_with("vault:v2:"));
    let opened = root.put("transit/decrypt/k", &json!({ "ciphertext": first }))?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    let unknown = root.put("transit/keys/nobody/rotate", &json!({}))?;
    assert_refused(&unknown, 400, "key not found");
    Ok(())
}

#[test]
fn a_minimum_decryption_version_shuts_older_ciphertexts_out() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let first = encrypted(&root, "k", "YQ==")?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    let body = json!({ "min_decryption_version": 2 });
    let configured = assert_envelope(&root.put("transit/keys/k/config", &body)?)?;
    assert_is_key(&configured, "k")?;
    assert_eq!(configured["min_decryption_version"], 2);
    let versions: Vec<_> = configured["keys"].as_object().context("no keys")?.keys().collect();
    assert_eq!(versions, ["2"]);
    let answer = root.put("transit/decrypt/k", &json!({ "ciphertext": first }))?;
    let text = "ciphertext or signature version is disallowed by policy (too old)";
    assert_refused(&answer, 400, text);
    Ok(())
}

#[test]
fn a_minimum_encryption_version_shuts_older_versions_out() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    root.put("transit/keys/k/config", &json!({ "min_encryption_version": 2 }))?.data()?;
    let body = json!({ "plaintext": "YQ==", "key_version": 1 });
    let text = "requested version for encryption is less than the minimum encryption key version";
    assert_refused(&root.put("transit/encrypt/k", &body)?, 400, text);
    Ok(())
}

#[test]
fn settings_that_cannot_be_are_refused_with_vaults_texts() -> Result<()> {
    let (_selkie, root) = dev()?;
    let unknown = root.put("transit/keys/nobody/config", &json!({}))?;
    assert_refused(&unknown, 400, "no existing key named nobody could be found");
    root.put("transit/keys/k", &json!({}))?.data()?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    for (body, text) in [
        (json!({ "min_decryption_version": -1 }), "min decryption version cannot be negative"),
        (json!({ "min_encryption_version": -1 }), "min encryption version cannot be negative"),
        (
            json!({ "min_decryption_version": 3 }),
            "cannot set min decryption version of 3, latest key version is 2",
        ),
        (
            json!({ "min_encryption_version": 3 }),
            "cannot set min encryption version of 3, latest key version is 2",
        ),
        (
            json!({ "min_encryption_version": 1, "min_decryption_version": 2 }),
            "cannot set min encryption/decryption values; min encryption version of 1 must be \
             greater than or equal to min decryption version of 2",
        ),
    ] {
        assert_refused(&root.put("transit/keys/k/config", &body)?, 400, text);
    }
    assert_eq!(root.get("transit/keys/k")?.data()?["min_decryption_version"], 1);
    Ok(())
}

#[test]
fn a_minimum_of_zero_becomes_one_with_a_warning() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let answer = root.put("transit/keys/k/config", &json!({ "min_decryption_version": 0 }))?;
    assert_eq!(assert_envelope(&answer)?["min_decryption_version"], 1);
    let warning = "since Vault 0.3, transit key numbering starts at 1; forcing minimum to 1";
    assert_eq!(answer.json()["warnings"], json!([warning]));
    Ok(())
}

#[test]
fn trimming_needs_both_minima_and_forgets_for_good() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    root.put("transit/keys/k/rotate", &json!({}))?.data()?;
    let trim = |version: i64| {
        root.put("transit/keys/k/trim", &json!({ "min_available_version": version }))
    };
    let start = "minimum available version";
    let text = format!("{start} cannot be set when minimum encryption version is not set");
    assert_refused(&trim(2)?, 400, &text);
    let minima = json!({ "min_encryption_version": 2, "min_decryption_version": 2 });
    root.put("transit/keys/k/config", &minima)?.data()?;
    assert_refused(&trim(-1)?, 400, &format!("{start} cannot be decremented"));
    assert_refused(&trim(0)?, 400, &format!("{start} should be positive"));
    let text = format!("{start} cannot be greater than minmum encryption version");
    assert_refused(&trim(3)?, 400, &text);
    assert_eq!(assert_envelope(&trim(2)?)?["min_available_version"], 2);
    assert_refused(&trim(1)?, 400, &format!("{start} cannot be decremented"));
    let answer = root.put("transit/keys/k/trim", &json!({}))?;
    assert_refused(&answer, 400, "missing min_available_version");
    let unknown = root.put("transit/keys/nobody/trim", &json!({ "min_available_version": 1 }))?;
    assert_refused(&unknown, 400, "invalid key name");
    Ok(())
}

#[test]
fn deletion_needs_to_be_allowed_first() -> Result<()> {
    let (_selkie, root) = dev()?;
    root.put("transit/keys/k", &json!({}))?.data()?;
    let text = "error deleting policy k: deletion is not allowed for this key";
    assert_refused(&root.delete("transit/keys/k")?, 400, text);
    root.put("transit/keys/k/config", &json!({ "deletion_allowed": true }))?.data()?;
    let deleted = root.delete("transit/keys/k")?;
    assert_eq!((deleted.status, deleted.text().as_str()), (204, ""));
    assert_headers(&deleted);
    assert_empty_refusal(&root.get("transit/keys/k")?, 404);
    let text = "error deleting policy k: could not delete key; not found";
    assert_refused(&root.delete("transit/keys/k")?, 400, text);
    Ok(())
}

#[test]
fn a_deleted_key_no_longer_decrypts() -> Result<()> {
    let (_selkie, root) = dev()?;
    let ciphertext = encrypted(&root, "k", "YQ==")?;
    root.put("transit/keys/k/config", &json!({ "deletion_allowed": true }))?.data()?;
    assert_eq!(root.delete("transit/keys/k")?.status, 204);
    let answer = root.put("transit/decrypt/k", &json!({ "ciphertext": ciphertext }))?;
    assert_refused(&answer, 400, "encryption key not found");
    Ok(())
}
