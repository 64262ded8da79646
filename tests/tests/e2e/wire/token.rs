//! The token's own paths.

use anyhow::Result;
use selkie_tests::{Client, Selkie, Site};
use serde_json::json;

use super::dev;
use crate::answer::{assert_envelope, assert_headers, assert_refused};

fn periodic() -> Result<(Selkie, Client)> {
    let mut site = Site::new()?;
    let token = site.client("vault-a", &["default"], "period = \"24h\"")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((selkie, client))
}

#[test]
fn a_periodic_token_renews_to_its_full_period() -> Result<()> {
    let (_selkie, client) = periodic()?;
    let answer = client.put("auth/token/renew-self", &json!({ "increment": 0 }))?;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_headers(&answer);
    let body = answer.json();
    assert_eq!(body["data"], json!(null));
    let auth = &body["auth"];
    // The watcher goes on with this token, so it must be the real one (§1.8).
    assert_eq!(auth["client_token"].as_str(), client.token.as_deref());
    assert_eq!((&auth["renewable"], &auth["lease_duration"]), (&json!(true), &json!(86_400)));
    assert_eq!(auth["policies"], json!(["default"]));
    assert_eq!(auth["token_policies"], json!(["default"]));
    assert_eq!((&auth["token_type"], &auth["orphan"]), (&json!("service"), &json!(true)));
    for field in ["accessor", "metadata", "entity_id", "mfa_requirement", "num_uses"] {
        assert!(auth.get(field).is_some(), "no {field}: {auth}");
    }
    assert_ne!(auth["accessor"].as_str(), client.token.as_deref());
    Ok(())
}

#[test]
fn a_token_that_does_not_expire_has_no_lease_to_renew() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.put("auth/token/renew-self", &json!({ "increment": 0 }))?;
    assert_refused(&answer, 400, "invalid lease ID");
    let mut site = Site::new()?;
    let token = site.client("c", &["default"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    let answer = client.put("auth/token/renew-self", &json!({}))?;
    assert_refused(&answer, 400, "invalid lease ID");
    Ok(())
}

#[test]
fn nobody_renews_without_a_token() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.without_token().put("auth/token/renew-self", &json!({}))?;
    assert_refused(&answer, 403, "permission denied");
    Ok(())
}

#[test]
fn lookup_self_tells_who_asks() -> Result<()> {
    let (_selkie, client) = periodic()?;
    let data = assert_envelope(&client.get("auth/token/lookup-self")?)?;
    assert_eq!(data["id"].as_str(), client.token.as_deref());
    assert_eq!((&data["period"], &data["creation_ttl"]), (&json!(86_400), &json!(86_400)));
    assert_eq!((&data["renewable"], &data["orphan"]), (&json!(true), &json!(true)));
    assert_eq!(data["policies"], json!(["default"]));
    assert!(data["ttl"].as_u64().is_some_and(|ttl| ttl > 86_000), "{data}");
    for field in [
        "accessor",
        "path",
        "meta",
        "display_name",
        "num_uses",
        "creation_time",
        "expire_time",
        "explicit_max_ttl",
        "entity_id",
        "type",
    ] {
        assert!(data.get(field).is_some(), "no {field}: {data}");
    }
    // As in Vault, whose policy "default" allows the read alone.
    let by_put = client.put("auth/token/lookup-self", &json!({}))?;
    assert_eq!(by_put.status, 403, "{}", by_put.text());
    Ok(())
}

#[test]
fn the_root_token_does_not_expire() -> Result<()> {
    let (_selkie, root) = dev()?;
    let data = assert_envelope(&root.get("auth/token/lookup-self")?)?;
    assert_eq!(data["policies"], json!(["root"]));
    assert_eq!((&data["ttl"], &data["expire_time"]), (&json!(0), &json!(null)));
    Ok(())
}
