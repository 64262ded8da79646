//! The emulator as a product: what it says, how it ends, and whether the clients that nobody here
//! wrote take it for Key Vault.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use selkie_tests::{Emulator, Peer, emulator_binary, python};
use serde_json::{Value, json};

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(emulator_binary()?).env_clear().args(arguments).output()?)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_emulator_starts_serves_and_ends_when_asked() -> Result<()> {
    let mut emulator = Emulator::new()?;
    let key = emulator.key_vault("GET", "/keys/selkie", &Value::Null)?;
    assert_eq!((key.status, &key.json()["key"]["kty"]), (200, &json!("RSA")), "{}", key.text());
    emulator.stop()
}

#[test]
fn the_emulators_keys_outlive_a_restart() -> Result<()> {
    let mut emulator = Emulator::new()?;
    let modulus = |emulator: &Emulator| {
        let key = emulator.key_vault("GET", "/keys/selkie", &Value::Null)?.json();
        anyhow::Ok(key["key"]["n"].as_str().context("no modulus")?.to_owned())
    };
    let before = modulus(&emulator)?;
    emulator.stop()?;
    emulator.restart()?;
    assert_eq!(modulus(&emulator)?, before);
    Ok(())
}

#[test]
fn the_emulators_help_shows_how_it_is_used() -> Result<()> {
    let output = run(&["--help"])?;
    let help = text(&output.stdout);
    assert!(output.status.success(), "{help}");
    for part in ["--listen", "--vaults", "--faults", "curl", "/control/"] {
        assert!(help.contains(part), "no {part} in: {help}");
    }
    Ok(())
}

#[test]
fn the_emulator_says_what_is_wrong_with_a_file_and_where() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("vaults.json");
    let path = file.to_str().context("a path in UTF-8")?;
    for (content, said) in [
        ("{\n  \"vaults\": [\n    { \"name\": \"kv1\", }\n  ]\n}", "line 3"),
        ("{ \"vaults\": [{ \"name\": \"kv1\", \"acess\": \"rbac\" }] }", "acess"),
        (
            "{ \"vaults\": [{ \"name\": \"kv1\", \"roles\": [{ \"principal\": \"x\", \"role\": \"King\" }] }] }",
            "King",
        ),
    ] {
        std::fs::write(&file, content)?;
        let output =
            run(&["--listen=127.0.0.1:0", "--identity-listen=127.0.0.1:0", "--vaults", path])?;
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(path) && error.contains(said), "no {said} in: {error}");
        assert_eq!(error.trim().lines().count(), 1, "{error}");
    }
    let output = run(&["--vaults", "/nowhere/vaults.json"])?;
    assert!(text(&output.stderr).contains("/nowhere/vaults.json"), "{}", text(&output.stderr));
    assert_eq!(run(&["--nonsense"])?.status.code(), Some(2));
    Ok(())
}

#[test]
fn microsofts_clients_take_the_emulator_for_azure() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let emulator = Emulator::new()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("azure/clients.py");
    let mut command = Command::new(python);
    let output = command.env_clear().arg(script).arg(emulator.http_url()).output()?;
    let (passed, error) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{passed}{error}");
    assert!(passed.lines().count() >= 34, "{passed}");
    Ok(())
}

#[test]
fn the_native_seal_takes_the_emulator_for_azure() -> Result<()> {
    let Some(program) = Peer::AzureKeyVaultWrapper.find()? else { return Ok(()) };
    let emulator = Emulator::new()?;
    let rotate = format!("{}/control/vaults/kv1/keys/selkie/rotate", emulator.http_url());
    let output = Command::new(program)
        .env_clear()
        .env("SSL_CERT_FILE", emulator.ca_file())
        .env("IDENTITY_ENDPOINT", format!("{}/msi/token", emulator.http_url()))
        .env("IDENTITY_HEADER", "emulator-header")
        .args(["-emulator", &emulator.https.to_string(), "-rotate", &rotate])
        .output()?;
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout)?;
    let versions = report["key_ids"].as_array().context("no key ids")?;
    assert_eq!(versions.len(), 2);
    assert_ne!(versions[0], versions[1], "the second envelope is under the new version");
    Ok(())
}
