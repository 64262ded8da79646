//! HashiCorp's published seal wrappers, and its Go API client.

use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{Peer, Selkie, Site};
use serde_json::Value;

fn site() -> Result<(Site, Selkie, String)> {
    let mut site = Site::new()?;
    site.policy(
        "seal",
        &[("transit/encrypt/autounseal", &["update"]), ("transit/decrypt/autounseal", &["update"])],
    );
    let token = site.client("vault", &["seal", "default"], "period = \"3s\"")?;
    let selkie = site.start()?;
    Ok((site, selkie, token))
}

/// Runs a program that prints one JSON object.
fn run(peer: Peer, arguments: &[&str]) -> Result<Option<(i32, Value, String)>> {
    let Some(program) = peer.find()? else { return Ok(None) };
    let output = Command::new(program).env_clear().args(arguments).output()?;
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout).with_context(|| log.clone())?;
    Ok(Some((output.status.code().context("killed")?, report, log)))
}

fn renews_and_round_trips(wrapper: Peer) -> Result<()> {
    let (_site, selkie, token) = site()?;
    let url = selkie.url();
    let stanza = ["-address", &url, "-token", &token, "-mount", "transit", "-key", "autounseal"];
    let watch = ["-watch", "12s", "-min-renewals", "3"];
    let Some((code, report, log)) = run(wrapper, &[&stanza[..], &watch].concat())? else {
        return Ok(());
    };
    assert_eq!((code, &report["error"]), (0, &Value::Null), "{report}\n{log}");
    assert_eq!((&report["key_id"], &report["key_id_after_watch"]), (&"v1".into(), &"v1".into()));
    assert_eq!(report["round_trips"], 12, "{report}");
    assert_eq!(report["renewal_stopped"], false, "{report}\n{log}");
    Ok(())
}

#[test]
fn wrapper_v0_round_trips_and_renews_over_several_periods() -> Result<()> {
    renews_and_round_trips(Peer::WrapperV0)
}

#[test]
fn wrapper_v2_round_trips_and_renews_over_several_periods() -> Result<()> {
    renews_and_round_trips(Peer::WrapperV2)
}

fn works_with_a_token_that_does_not_expire(wrapper: Peer) -> Result<()> {
    let selkie = Selkie::dev(&["--dev-tls"])?;
    let authority = selkie.dev_authority()?.display().to_string();
    let (url, token) = (selkie.url(), selkie.root()?.token.context("no token")?);
    let stanza = ["-address", &url, "-token", &token, "-mount", "transit/", "-key", "autounseal"];
    let more = ["-ca-cert", &authority, "-namespace", "team/a"];
    let Some((code, report, log)) = run(wrapper, &[&stanza[..], &more].concat())? else {
        return Ok(());
    };
    assert_eq!((code, &report["round_trips"]), (0, &4.into()), "{report}\n{log}");
    assert_eq!(report["renewals"], 0, "{report}");
    Ok(())
}

#[test]
fn wrapper_v0_works_over_tls_with_a_token_that_does_not_expire() -> Result<()> {
    works_with_a_token_that_does_not_expire(Peer::WrapperV0)
}

#[test]
fn wrapper_v2_works_over_tls_with_a_token_that_does_not_expire() -> Result<()> {
    works_with_a_token_that_does_not_expire(Peer::WrapperV2)
}

#[test]
fn wrappers_survive_a_refusal() -> Result<()> {
    let (_site, selkie, _token) = site()?;
    let (url, wrong) = (selkie.url(), selkie_tests::token()?);
    let stanza = ["-address", &url, "-token", &wrong, "-mount", "transit", "-key", "autounseal"];
    for wrapper in [Peer::WrapperV0, Peer::WrapperV2] {
        let Some((code, report, log)) = run(wrapper, &stanza)? else { continue };
        let error = report["error"].as_str().context("no error")?;
        assert_eq!(code, 2, "{report}\n{log}");
        assert!(error.contains("permission denied") && !error.contains("panic"), "{error}");
    }
    Ok(())
}

#[test]
fn the_go_api_client_makes_uses_and_deletes_a_key() -> Result<()> {
    let selkie = Selkie::dev(&[])?;
    let (url, token) = (selkie.url(), selkie.root()?.token.context("no token")?);
    let arguments = ["-address", &url, "-token", &token];
    let Some((code, report, log)) = run(Peer::ApiClient, &arguments)? else { return Ok(()) };
    assert_eq!((code, &report["error"]), (0, &Value::Null), "{report}\n{log}");
    Ok(())
}
