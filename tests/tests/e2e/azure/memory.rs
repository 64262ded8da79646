//! Invariant I3 with the master key in Key Vault: unwrapped DEKs come in over the network and are
//! nowhere either, while the connections to Key Vault are open.

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use selkie_tests::{Emulator, Needles};
use serde_json::{Value, json};

use super::Azure;
use crate::memory::{CONNECTIONS, Traffic, assert_clean, may_look};

/// The DEK of a ciphertext, which Key Vault unwraps for us as for anybody with the role: raw, and
/// as it travels.
fn dek(emulator: &Emulator, ciphertext: &str) -> Result<(Vec<u8>, String)> {
    let envelope = ciphertext.strip_prefix("vault:v1:").context("another version")?;
    let envelope = Base64::decode_vec(envelope).map_err(anyhow::Error::msg)?;
    let envelope: Value = serde_json::from_slice(&envelope)?;
    let recipient = &envelope["recipients"][0];
    let kid = recipient["header"]["kid"].as_str().context("no kid")?;
    let (_, path) = kid.split_once("/keys/").context("no key id")?;
    let body = json!({ "alg": "RSA-OAEP-256", "value": recipient["encrypted_key"] });
    let answer = emulator.key_vault("POST", &format!("/keys/{path}/unwrapkey"), &body)?;
    ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
    let text = answer.json()["value"].as_str().context("no value")?.to_owned();
    let raw = Base64UrlUnpadded::decode_vec(&text).map_err(anyhow::Error::msg)?;
    Ok((raw, text))
}

/// The DEKs of some of these.
fn deks(emulator: &Emulator, ciphertexts: &[String]) -> Result<Needles> {
    let mut needles = Needles::default();
    for ciphertext in ciphertexts.iter().step_by(4) {
        let (raw, text) = dek(emulator, ciphertext)?;
        needles.plaintext(&raw, &text);
    }
    Ok(needles)
}

#[test]
fn no_secret_and_no_dek_stays_in_a_server_under_key_vault() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let mut azure = Azure::new()?;
    let tokens = (0..CONNECTIONS).map(|i| azure.site.client(&format!("c{i}"), &["root"], ""));
    let tokens: Vec<_> = tokens.collect::<Result<_>>()?;
    let selkie = azure.start()?;
    let clients: Vec<_> = tokens.iter().map(|token| selkie.client().with_token(token)).collect();
    let traffic = Traffic::send(&clients)?;
    let stats = azure.emulator.control("GET", "stats", &Value::Null)?;
    assert!(stats["open_connections"].as_u64() > Some(0), "the pool is empty: {stats}");
    let deks = deks(&azure.emulator, &traffic.ciphertexts)?;
    // That these needles can be found shows the emulator, which wipes nothing.
    let there = deks.search(azure.emulator.process.id())?;
    assert!(!there.is_clean(), "{there:?}");
    let here = deks.search(selkie.process.id())?;
    assert!(here.searched > 1 << 20 && here.is_clean(), "DEKs: {here:?}");
    assert_clean(&selkie, traffic)
}
