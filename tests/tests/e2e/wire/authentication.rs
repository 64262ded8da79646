//! Who is asked for a token, and what the answers give away.

use anyhow::Result;
use selkie_tests::{Request, Site, token};
use serde_json::json;

use super::dev;
use crate::answer::{assert_envelope, assert_refused};

const DENIED_BY_POLICY: &str = "1 error occurred:\n\t* permission denied\n\n";

#[test]
fn no_token_and_a_wrong_token_are_denied_alike() -> Result<()> {
    let (_selkie, root) = dev()?;
    for path in ["transit/encrypt/autounseal", "transit/encrypt/nobody", "transit/decrypt/nobody"] {
        let body = json!({ "plaintext": "YQ==", "ciphertext": "vault:v1:AAAA" });
        let without = root.without_token().put(path, &body)?;
        let wrong = root.with_token(&token()?).put(path, &body)?;
        assert_refused(&without, 403, "permission denied");
        assert_refused(&wrong, 403, "permission denied");
    }
    Ok(())
}

#[test]
fn a_bearer_header_is_as_good() -> Result<()> {
    let (_selkie, root) = dev()?;
    let bearer = format!("Bearer {}", root.token.clone().unwrap_or_default());
    let request = Request::new("GET", "transit/keys/autounseal").header("Authorization", &bearer);
    assert_envelope(&root.without_token().send(request)?)?;
    Ok(())
}

#[test]
fn odd_tokens_are_denied() -> Result<()> {
    let (_selkie, root) = dev()?;
    let long = "x".repeat(8000);
    for odd in ["", " ", "hvs.", "\u{e4}", long.as_str(), "root-token-of-the-test"] {
        let answer = root.with_token(odd).get("transit/keys/autounseal")?;
        assert!(matches!(answer.status, 400 | 403), "{odd:?}: {}", answer.status);
    }
    Ok(())
}

#[test]
fn a_seal_client_may_do_what_its_policy_says_and_no_more() -> Result<()> {
    let mut site = Site::new()?;
    site.policy(
        "seal",
        &[("transit/encrypt/autounseal", &["update"]), ("transit/decrypt/autounseal", &["update"])],
    );
    let token = site.client("vault", &["seal"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    let sealed = super::encrypted(&client, "autounseal", "YQ==")?;
    let opened = client.put("transit/decrypt/autounseal", &json!({ "ciphertext": sealed }))?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    for answer in [
        client.put("transit/rewrap/autounseal", &json!({ "ciphertext": sealed }))?,
        client.put("transit/encrypt/other", &json!({ "plaintext": "YQ==" }))?,
        client.put("transit/keys/autounseal/rotate", &json!({}))?,
        client.get("transit/keys/autounseal")?,
        client.list("transit/keys")?,
        client.delete("transit/keys/autounseal")?,
        client.get("sys/mounts")?,
    ] {
        assert_refused(&answer, 403, DENIED_BY_POLICY);
    }
    Ok(())
}

#[test]
fn a_token_is_bound_to_its_addresses() -> Result<()> {
    let mut site = Site::new()?;
    let here = site.client("here", &["root"], "token_bound_cidrs = [\"127.0.0.0/8\"]")?;
    let away = site.client("away", &["root"], "token_bound_cidrs = [\"10.9.8.0/24\"]")?;
    let selkie = site.start()?;
    let body = json!({ "plaintext": "YQ==" });
    let put =
        |token: &str| selkie.client().with_token(token).put("transit/encrypt/autounseal", &body);
    assert_envelope(&put(&here)?)?;
    assert_refused(&put(&away)?, 403, "permission denied");
    Ok(())
}
