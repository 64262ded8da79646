//! Managed state in a directory of the server's own: what was acknowledged outlives any kill.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use selkie_tests::{Client, Selkie, Site, evidence, until};
use serde_json::{Value, json};

use crate::azure::Azure;
use crate::trio::{encrypt, opens};

const ROUNDS: u64 = 20;

fn stanza(site: &Site) -> String {
    format!("storage \"sled\" {{ path = {:?} }}\n", site.dir().join("state"))
}

/// Makes the key `managed` as soon as the state is open.
fn makes_managed(client: &Client) -> Result<()> {
    until("a key can be made", || {
        let answer = client.put("transit/keys/managed", &json!({}))?;
        Ok((answer.status < 300).then_some(()))
    })
}

/// The latest version of a key, once the state is open: until then it is 503, and never 404.
fn latest(client: &Client, key: &str) -> Result<u64> {
    let data = until("the state is open", || {
        let answer = client.get(&format!("transit/keys/{key}"))?;
        if answer.status == 503 { Ok(None) } else { answer.data().map(Some) }
    })?;
    data["latest_version"].as_u64().context("no version")
}

/// Rotates a key until the server is gone; how often that was acknowledged is in `acknowledged`.
fn rotate_to_the_end(client: &Client, key: &str, acknowledged: &AtomicU64) {
    let path = format!("transit/keys/{key}/rotate");
    while client.put(&path, &json!({})).is_ok_and(|answer| answer.status < 300) {
        acknowledged.fetch_add(1, Ordering::SeqCst);
    }
}

/// Kills the server in the middle of rotations, after `after` of them; how many it acknowledged.
fn killed_while_rotating(selkie: &mut Selkie, client: &Client, after: u64) -> Result<u64> {
    let acknowledged = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            rotate_to_the_end(client, "managed", &acknowledged);
            is_over.store(true, Ordering::SeqCst);
        });
        until("enough is acknowledged", || {
            let enough = acknowledged.load(Ordering::SeqCst) >= after;
            Ok((enough || is_over.load(Ordering::SeqCst)).then_some(()))
        })?;
        selkie.kill()
    })?;
    let acknowledged = acknowledged.into_inner();
    anyhow::ensure!(acknowledged >= after, "rotations ended by themselves: {}", selkie.log());
    Ok(acknowledged)
}

#[test]
fn no_acknowledged_change_is_lost_in_twenty_kills() -> Result<()> {
    let mut site = Site::new()?;
    site.extra += &stanza(&site);
    let token = site.client("admin", &["root"], "")?;
    let mut selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    makes_managed(&client)?;
    let mut sealed = Vec::new();
    let mut version = 1;
    for round in 0..ROUNDS {
        let made = format!("made{round}");
        client.put(&format!("transit/keys/{made}"), &json!({}))?.data()?;
        sealed.push((made.clone(), encrypt(&client, &made)?.field("ciphertext")?));
        sealed.push(("managed".to_owned(), encrypt(&client, "managed")?.field("ciphertext")?));
        let acknowledged = killed_while_rotating(&mut selkie, &client, round % 7)?;
        selkie.restart()?;
        let found = latest(&client, "managed")?;
        let (least, most) = (version + acknowledged, version + acknowledged + 1);
        assert!((least..=most).contains(&found), "round {round}: {found}, not {least} or {most}");
        version = found;
    }
    for (key, ciphertext) in &sealed {
        opens(&client, key, ciphertext)?;
    }
    evidence(
        "A server that is killed while keys rotate loses no acknowledged version (I7)",
        "cargo test -p selkie-tests --test e2e twenty_kills",
        format!(
            "{ROUNDS} kills; {} ciphertexts of before each kill open, versions only grew",
            sealed.len()
        ),
        "the version found must be the acknowledged one or the next, in each round",
    )
}

#[test]
fn with_the_local_key_managed_keys_encrypt_after_a_restart_without_key_vault() -> Result<()> {
    let mut azure = Azure::new()?;
    let local_key = azure.site.random_key("local")?;
    azure.site.extra += &format!("local_key = \"{local_key}\"\n{}", stanza(&azure.site));
    let mut selkie = azure.start()?;
    let client = selkie.client().with_token(&azure.token);
    makes_managed(&client)?;
    let before = encrypt(&client, "managed")?.field("ciphertext")?;
    selkie.stop()?;
    azure.emulator.listen("closed")?;
    selkie.restart()?;
    assert_eq!(latest(&client, "managed")?, 1);
    let during = encrypt(&client, "managed")?.field("ciphertext")?;
    let rotated = client.put("transit/keys/managed/rotate", &json!({}))?;
    assert!(rotated.status < 300, "{} {}", rotated.status, rotated.text());
    azure.emulator.listen("open")?;
    for ciphertext in [before, during] {
        until("Key Vault is seen again", || {
            let body = json!({ "ciphertext": ciphertext });
            let answer = client.put("transit/decrypt/managed", &body)?;
            Ok((answer.status != 503).then_some(()))
        })?;
        opens(&client, "managed", &ciphertext)?;
    }
    Ok(())
}

#[test]
fn without_it_they_wait_for_key_vault_and_are_never_unknown() -> Result<()> {
    let mut azure = Azure::new()?;
    azure.site.extra += &stanza(&azure.site);
    let mut selkie = azure.start()?;
    let client = selkie.client().with_token(&azure.token);
    makes_managed(&client)?;
    selkie.stop()?;
    azure.emulator.listen("closed")?;
    selkie.restart()?;
    for path in ["transit/keys/managed", "transit/keys/never-made"] {
        let answer = client.get(path)?;
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
    }
    azure.emulator.listen("open")?;
    assert_eq!(latest(&client, "managed")?, 1);
    assert_eq!(client.get("transit/keys/never-made")?.json()["data"], Value::Null);
    Ok(())
}
