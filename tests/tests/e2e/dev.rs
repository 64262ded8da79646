//! Dev mode: what a newcomer sees first.

use anyhow::{Context, Result};
use selkie_tests::{Client, Peer, Process, SealArguments, Selkie, Target, VaultCore, binary};
use serde_json::json;
use std::process::Command;

use crate::answer::assert_envelope;
use crate::config::field;

/// The printed `seal "transit"` stanza.
fn stanza(selkie: &Selkie) -> Result<String> {
    let printed = selkie.process.stdout().join("\n");
    let (_, rest) = printed.split_once("seal \"transit\"").with_context(|| printed.clone())?;
    let (stanza, _) = rest.split_once('}').with_context(|| printed.clone())?;
    Ok(stanza.to_owned())
}

#[test]
fn it_prints_what_to_type_and_says_that_it_is_for_trying_out() -> Result<()> {
    let selkie = Selkie::dev(&[])?;
    let token = selkie.root()?.token.context("no token")?;
    selkie.process.stdout_line(|line| {
        (line.trim() == format!("export VAULT_ADDR='{}'", selkie.url())).then_some(())
    })?;
    selkie.process.stdout_line(|line| {
        (line.trim() == format!("export VAULT_TOKEN='{token}'")).then_some(())
    })?;
    let printed = selkie.process.stdout().join("\n").to_lowercase();
    assert!(printed.contains("never") || printed.contains("not for production"), "{printed}");
    Ok(())
}

#[test]
fn without_a_given_root_token_it_makes_one() -> Result<()> {
    let arguments = ["server", "--dev", "--dev-listen-address=127.0.0.1:0"];
    let tokens = [0, 1].map(|_| {
        let mut command = Command::new(binary()?);
        command.env_clear().args(arguments);
        let process = Process::start(command)?;
        let address = process.stdout_line(|line| {
            line.strip_prefix("selkie: listening on http://").and_then(|a| a.parse().ok())
        })?;
        let token = process.stdout_line(|line| {
            let token = line.trim().strip_prefix("export VAULT_TOKEN='")?;
            Some(token.trim_end_matches('\'').to_owned())
        })?;
        let client = Client::plain(address).with_token(&token);
        assert_envelope(&client.get("auth/token/lookup-self")?)?;
        anyhow::Ok(token)
    });
    let [one, other] = tokens;
    assert_ne!(one?, other?);
    Ok(())
}

#[test]
fn what_was_pasted_outlives_a_restart_with_the_same_root_token() -> Result<()> {
    let mut selkie = Selkie::dev(&[])?;
    let before = stanza(&selkie)?;
    let seal = selkie.client().with_token(&field(&before, "token")?);
    let sealed = seal.put("transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    selkie.kill()?;
    selkie.restart()?;
    assert_eq!(stanza(&selkie)?, before);
    let body = json!({ "ciphertext": sealed.field("ciphertext")? });
    assert_eq!(seal.put("transit/decrypt/autounseal", &body)?.field("plaintext")?, "YQ==");
    Ok(())
}

#[test]
fn port_0_is_the_systems_to_choose() -> Result<()> {
    let arguments = ["server", "--dev", "--dev-listen-address=127.0.0.1:0"].map(Into::into);
    let selkie = Selkie::start(&binary()?, arguments.to_vec(), 1)?;
    let [Target { address, is_tls: false }] = selkie.targets[..] else {
        anyhow::bail!("{:?}", selkie.targets);
    };
    assert_ne!(address.port(), 0);
    Ok(())
}

#[test]
fn the_printed_stanza_is_all_that_a_seal_needs() -> Result<()> {
    let selkie = Selkie::dev(&[])?;
    let stanza = stanza(&selkie)?;
    assert_eq!(field(&stanza, "address")?, selkie.url());
    let (mount, key) = (field(&stanza, "mount_path")?, field(&stanza, "key_name")?);
    assert_eq!((mount.trim_end_matches('/'), key.as_str()), ("transit", "autounseal"));
    let token = field(&stanza, "token")?;
    assert_ne!(Some(&token), selkie.root()?.token.as_ref(), "not the root token");
    let seal = selkie.client().with_token(&token);
    let sealed = seal.put("transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    let body = json!({ "ciphertext": sealed.field("ciphertext")? });
    assert_eq!(seal.put("transit/decrypt/autounseal", &body)?.field("plaintext")?, "YQ==");
    let renewed = seal.put("auth/token/renew-self", &json!({ "increment": 0 }))?;
    assert_eq!(renewed.json()["auth"]["renewable"], true, "{}", renewed.text());
    for refused in [
        seal.put("transit/encrypt/other", &json!({ "plaintext": "YQ==" }))?,
        seal.put("transit/keys/autounseal/rotate", &json!({}))?,
        seal.list("transit/keys")?,
    ] {
        assert_eq!(refused.status, 403);
    }
    Ok(())
}

#[test]
fn the_printed_stanza_seals_a_vault_over_tls() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let selkie = Selkie::dev(&["--dev-tls"])?;
    let stanza = stanza(&selkie)?;
    let authority = field(&stanza, "tls_ca_cert")?;
    assert_eq!(authority, selkie.dev_authority()?.display().to_string());
    let seal = SealArguments {
        address: field(&stanza, "address")?,
        token: field(&stanza, "token")?,
        key: field(&stanza, "key_name")?,
        further: vec!["-seal-ca-cert".into(), authority],
    };
    let dir = tempfile::tempdir()?;
    let mut vault = VaultCore::start(&program, dir.path(), &seal)?;
    vault.initialise()?;
    Ok(())
}
