//! Invariant I8 where clients hang up half-way: each request that was worked on has both its lines.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Aim, Client, evidence, until};
use serde_json::{Value, json};

use crate::azure::Azure;

const CLIENTS: usize = 20;

/// Of each request by its id: how many lines came before the operation, and which ones after it.
fn requests(log: &Path) -> Result<BTreeMap<String, (usize, Vec<Value>)>> {
    let mut requests = BTreeMap::<String, (usize, Vec<Value>)>::new();
    let text = fs::read_to_string(log)?;
    // What comes behind the last line end is still being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    for line in whole.lines() {
        let line: Value = serde_json::from_str(line)?;
        let Some(id) = line["request"]["id"].as_str() else { continue };
        let of = requests.entry(id.to_owned()).or_default();
        if line["type"] == "request" { of.0 += 1 } else { of.1.push(line) }
    }
    Ok(requests)
}

#[test]
fn a_client_that_hangs_up_while_key_vault_works_leaves_both_lines() -> Result<()> {
    let mut azure = Azure::new()?;
    let key = azure.site.random_key("audit-key")?;
    let log = azure.site.dir().join("audit.log");
    azure.site.extra +=
        &format!("audit_key = {key:?}\naudit \"file\" {{\n  file_path = {log:?}\n}}\n");
    let mut selkie = azure.start()?;
    let client = selkie.client().with_token(&azure.token);
    let sealed = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "aGVsbG8=" }))?;
    let body = json!({ "ciphertext": sealed.field("ciphertext")? });
    azure
        .emulator
        .fault(Aim { service: "keyvault", operation: "unwrap" }, &json!({ "effect": "hang" }))?;
    let impatient = Client { patience: Duration::from_millis(100), ..client };
    let cut_off = |line: &Value| line["error"].as_str().unwrap_or("").starts_with("cut off");
    let count = || -> Result<usize> {
        Ok(requests(&log)?.values().flat_map(|(_, after)| after).filter(|one| cut_off(one)).count())
    };
    let (waited_for, mut hung_up) = (requests(&log)?.len(), 0);
    // On a busy machine some are gone before their request is read, which leaves no line.
    until("enough are told", || {
        if count()? >= CLIENTS {
            return Ok(Some(()));
        }
        ensure!(impatient.put("transit/decrypt/autounseal", &body).is_err(), "it was answered");
        hung_up += 1;
        Ok(None)
    })?;
    selkie.stop()?;
    let requests = requests(&log)?;
    for (id, (before, after)) in &requests {
        assert_eq!((*before, after.len()), (1, 1), "{id}: {after:?}");
    }
    let told = count()?;
    ensure!(told <= hung_up, "{told} were cut off, and only {hung_up} clients hung up");
    ensure!(told + waited_for == requests.len(), "{told} of {} were cut off", requests.len());
    let answered = requests.values().flat_map(|(_, after)| after).find(|one| !cut_off(one));
    let answered = answered.context("nobody was answered")?;
    evidence(
        "A request whose client hangs up has its response line all the same (I8)",
        "cargo test -p selkie-tests --test e2e hang_ups",
        format!(
            "{told} clients hung up while Key Vault worked: each of {} requests has one line before \
             and one after, {told} of them \"cut off\"",
            requests.len()
        ),
        &format!("requests that were waited for have status {}", answered["response"]["status"]),
    )
}
