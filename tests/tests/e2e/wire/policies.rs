//! Vault's policies, as far as they decide a request.

use anyhow::Result;
use selkie_tests::{Client, Selkie, Site};
use serde_json::json;

use crate::answer::assert_envelope;

/// A server on which one client has these rules.
fn with_rules(rules: &[(&str, &[&str])]) -> Result<(Site, Selkie, Client)> {
    let mut site = Site::new()?;
    site.keys += "key \"other\" {}\n";
    site.extra += "storage \"inmem\" {}\n";
    site.policy("p", rules);
    let token = site.client("c", &["p"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((site, selkie, client))
}

fn encrypts(client: &Client, key: &str) -> Result<u16> {
    let body = json!({ "plaintext": "YQ==" });
    Ok(client.put(&format!("transit/encrypt/{key}"), &body)?.status)
}

#[test]
fn a_deny_wins_over_a_glob() -> Result<()> {
    let (_site, _selkie, client) =
        with_rules(&[("transit/*", &["update"]), ("transit/encrypt/other", &["deny"])])?;
    assert_eq!(encrypts(&client, "autounseal")?, 200);
    assert_eq!(encrypts(&client, "other")?, 403);
    Ok(())
}

#[test]
fn a_plus_stands_for_one_segment() -> Result<()> {
    let (_site, _selkie, client) = with_rules(&[("transit/+/autounseal", &["update"])])?;
    assert_eq!(encrypts(&client, "autounseal")?, 200);
    assert_eq!(encrypts(&client, "other")?, 403);
    assert_eq!(client.put("transit/keys/autounseal/rotate", &json!({}))?.status, 403);
    Ok(())
}

#[test]
fn upsert_needs_create_and_update_is_not_enough() -> Result<()> {
    let (_site, _selkie, client) = with_rules(&[
        ("transit/encrypt/made", &["create", "update"]),
        ("transit/encrypt/missing", &["update"]),
    ])?;
    assert_eq!(encrypts(&client, "missing")?, 403);
    assert_eq!(encrypts(&client, "made")?, 200);
    assert_eq!(encrypts(&client, "made")?, 200, "the second time it is an update");
    Ok(())
}

#[test]
fn reading_listing_and_deleting_are_rights_of_their_own() -> Result<()> {
    let (_site, _selkie, client) = with_rules(&[
        ("transit/keys/autounseal", &["read"]),
        ("transit/keys/", &["list"]),
        ("transit/keys/other", &["delete"]),
    ])?;
    assert_envelope(&client.get("transit/keys/autounseal")?)?;
    assert_envelope(&client.list("transit/keys")?)?;
    assert_eq!(client.get("transit/keys/other")?.status, 403);
    assert_eq!(client.delete("transit/keys/autounseal")?.status, 403);
    assert_eq!(client.delete("transit/keys/other")?.status, 400, "allowed, but declared");
    Ok(())
}

#[test]
fn capabilities_self_tells_what_the_policies_give() -> Result<()> {
    let (_site, _selkie, client) = with_rules(&[
        ("transit/encrypt/autounseal", &["update", "create"]),
        ("transit/encrypt/other", &["deny"]),
    ])?;
    let paths = ["transit/encrypt/autounseal", "transit/encrypt/other", "nowhere"];
    let answer = client.put("sys/capabilities-self", &json!({ "paths": paths }))?;
    let data = assert_envelope(&answer)?;
    let expected = json!({
        "transit/encrypt/autounseal": ["create", "update"],
        "transit/encrypt/other": ["deny"],
        "nowhere": ["deny"],
    });
    assert_eq!(data, expected);
    assert_eq!(answer.json()["nowhere"], json!(["deny"]), "at the top level too");
    Ok(())
}
