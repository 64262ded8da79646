//! What is declared in the configuration wins over the API (I6), and without storage nothing is
//! made through it.

use anyhow::Result;
use selkie_tests::{Selkie, Site};
use serde_json::json;

use super::encrypted;
use crate::answer::assert_envelope;

fn configured(extra: &str) -> Result<(Site, Selkie, selkie_tests::Client)> {
    let mut site = Site::new()?;
    site.extra += extra;
    let token = site.client("admin", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((site, selkie, client))
}

#[test]
fn a_declared_key_cannot_be_changed_through_the_api() -> Result<()> {
    let (_site, _selkie, client) = configured("storage \"inmem\" {}\n")?;
    let before = client.get("transit/keys/autounseal")?.data()?;
    for answer in [
        client.put("transit/keys/autounseal/rotate", &json!({}))?,
        client.put("transit/keys/autounseal/config", &json!({ "deletion_allowed": true }))?,
        client.put("transit/keys/autounseal/trim", &json!({ "min_available_version": 1 }))?,
        client.delete("transit/keys/autounseal")?,
    ] {
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().contains("declared"), "{}", answer.text());
    }
    assert_eq!(client.get("transit/keys/autounseal")?.data()?, before);
    Ok(())
}

#[test]
fn a_declared_key_reads_like_any_other() -> Result<()> {
    let (_site, _selkie, client) = configured("")?;
    let key = assert_envelope(&client.get("transit/keys/autounseal")?)?;
    assert_eq!((&key["latest_version"], &key["name"]), (&json!(1), &json!("autounseal")));
    assert!(key["keys"]["1"].is_u64(), "{key}");
    Ok(())
}

#[test]
fn without_storage_the_refusal_says_what_to_declare() -> Result<()> {
    let (_site, _selkie, client) = configured("")?;
    for answer in [
        client.put("transit/keys/new", &json!({}))?,
        client.put("transit/encrypt/new", &json!({ "plaintext": "YQ==" }))?,
    ] {
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        let text = answer.text();
        assert!(text.contains("declare") && text.contains("storage"), "{text}");
    }
    assert!(encrypted(&client, "autounseal", "YQ==").is_ok());
    Ok(())
}

#[test]
fn a_second_copy_of_a_declared_server_opens_the_ciphertexts_of_the_first() -> Result<()> {
    let (site, mut selkie, client) = configured("")?;
    let ciphertext = encrypted(&client, "autounseal", "YQ==")?;
    selkie.kill()?;
    let _other = site.start()?;
    let opened = client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    Ok(())
}
