//! That what a row is about has happened: the emulator is asked, before it forgets.

use anyhow::{Context, Result, ensure};
use selkie_tests::Emulator;
use serde_json::{Value, json};

/// All that a running server asks Key Vault for.
const ASKED: [&str; 4] = ["get", "versions", "wrap", "unwrap"];

/// What Key Vault refuses while it is read-only, after a failover.
const CHANGES: [&str; 9] =
    ["create", "import", "update", "rotate", "delete", "recover", "purge", "restore", "policy"];

/// Every fault rule was met, and by a request that the client waited for.
pub(super) fn faults_happened(emulator: &Emulator) -> Result<()> {
    let mut rules = list(emulator, "faults")?;
    rules.retain(|rule| !is_one_of(&CHANGES, &rule["match"]["operation"]));
    for rule in &rules {
        let applied = rule["applied"].as_u64().context("no count")?;
        let happened = rule["times"].as_u64().map_or(applied > 0, |times| applied == times);
        ensure!(happened, "the fault did not happen: {rule}");
    }
    let requests = requests(emulator)?;
    let was_waited_for = |request: &Value| {
        request["fault"] == true && is_one_of(&["unwrap", "token"], &request["operation"])
    };
    let happened = rules.is_empty() || requests.iter().any(was_waited_for);
    ensure!(happened, "no request that matters met the fault: {requests:?}");
    Ok(())
}

/// The server asked for nothing but what it says that it needs.
pub(super) fn nothing_else_was_asked(emulator: &Emulator) -> Result<()> {
    let stats = emulator.control("GET", "stats", &Value::Null)?;
    let operations = stats["by"]["keyvault"].as_object().into_iter().flatten();
    for (operation, counts) in operations {
        ensure!(ASKED.contains(&operation.as_str()), "asked for {operation}: {counts}");
    }
    Ok(())
}

/// Key Vault refused a token.
pub(super) fn a_token_was_refused(emulator: &Emulator) -> Result<()> {
    let requests = requests(emulator)?;
    let is_it = |request: &Value| {
        request["service"] == "keyvault"
            && request["authenticated"] == true
            && request["status"] == 401
    };
    ensure!(requests.iter().any(is_it), "all tokens were good: {requests:?}");
    Ok(())
}

/// Where the log shows Key Vault's status, it shows the id of a request that had it.
pub(super) fn the_request_is_named(emulator: &Emulator, reason: &str) -> Result<()> {
    let Some(status) = after(reason, "status ").filter(|_| reason.contains("Key Vault")) else {
        return Ok(());
    };
    let id = after(reason, "request ").with_context(|| format!("no request id: {reason}"))?;
    let status: u16 = status.parse()?;
    let requests = requests(emulator)?;
    let is_it = |request: &Value| {
        request["service"] == "keyvault"
            && request["request_id"] == id
            && request["status"] == status
    };
    ensure!(requests.iter().any(is_it), "no such request: {reason}\n{requests:?}");
    Ok(())
}

/// Makes Key Vault refuse every change, as it does after a failover, and sees that it does.
pub(super) fn make_read_only(emulator: &Emulator) -> Result<()> {
    let rule = |operation| {
        json!({
            "match": { "service": "keyvault", "operation": operation },
            "how": { "status": 403, "message": "The vault is read-only." },
        })
    };
    emulator.control("POST", "faults", &CHANGES.map(rule).into())?;
    let answer = emulator.key_vault("POST", "/keys/selkie/rotate", &json!({}))?;
    ensure!(answer.status == 403, "rotated: {} {}", answer.status, answer.text());
    emulator.forget_counts()
}

fn requests(emulator: &Emulator) -> Result<Vec<Value>> {
    list(emulator, "requests?last=1000")
}

fn list(emulator: &Emulator, path: &str) -> Result<Vec<Value>> {
    let list = emulator.control("GET", path, &Value::Null)?;
    list.as_array().cloned().with_context(|| format!("{path}: {list}"))
}

fn is_one_of(names: &[&str], name: &Value) -> bool {
    name.as_str().is_some_and(|name| names.contains(&name))
}

/// The word after these.
fn after<'a>(text: &'a str, words: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(words)?;
    rest.split([',', ')', ' ']).next()
}
