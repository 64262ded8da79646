//! jwcrypto, an implementation of JOSE by other people, against ours: both ways, with the crypto
//! core and with a running server (invariant I1: ciphertext, seal and master key are enough).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use selkie_tests::{Client, Selkie, Site, python, skip};
use serde_json::{Value, json};

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jwcrypto/interop.py")
}

/// What the script answers to a command and a request.
fn interop(python: &Path, command: &str, request: &Value) -> Result<Value> {
    let mut child = Command::new(python)
        .env_clear()
        .arg(script())
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(request.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A configured server with an origin key, and its master key in hexadecimal.
fn served() -> Result<(Site, Selkie, Client, Value)> {
    let mut site = Site::new()?;
    let origin_key = site.random_key("origin")?;
    // A field of the top level stands before the blocks of `extra` as well as anywhere.
    site.extra += &format!("realm = \"tests\"\norigin_key = \"{origin_key}\"\n");
    let token = site.client("c", &["root"], "")?;
    let keys = json!({
        "kek": hex(&fs::read(site.dir().join("k1"))?),
        "origin_key": hex(&fs::read(site.dir().join("origin"))?),
    });
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    Ok((site, selkie, client, keys))
}

#[test]
fn jwcrypto_and_the_crypto_core_open_each_others_envelopes() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/examples/envelope");
    if !program.exists() {
        let how = "make build";
        return skip("crypto's example program", how);
    }
    let output =
        Command::new(python).env_clear().arg(script()).arg("cross").arg(program).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("jwcrypto makes, Selkie opens"), "{said}");
    Ok(())
}

#[test]
fn jwcrypto_opens_a_servers_ciphertext_with_the_master_key_alone() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let (_site, _selkie, client, keys) = served()?;
    for (associated_data, encoded) in [("", ""), ("616164", "YWFk")] {
        let body = json!({ "plaintext": "c2VjcmV0", "associated_data": encoded });
        let sealed = client.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
        let text = sealed.strip_prefix("vault:v1:").context("another prefix")?;
        let envelope = Base64::decode_vec(text).map_err(anyhow::Error::msg)?;
        let request = json!({
            "envelope": String::from_utf8(envelope)?,
            "kek": keys["kek"],
            "origin_key": keys["origin_key"],
            "associated_data": associated_data,
        });
        let opened = interop(&python, "open", &request)?;
        assert_eq!(opened, json!({ "plaintext": hex(b"secret"), "origin": "good" }));
    }
    Ok(())
}

#[test]
fn a_server_opens_what_jwcrypto_made_for_its_master_key() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let (_site, _selkie, client, keys) = served()?;
    let header = json!({
        "purpose": "client", "realm": "tests", "mount": "transit", "key": "autounseal",
        "version": 1, "created": 1_764_000_000,
    });
    let recipients = json!([{ "seal": "static", "kid": "k1", "kek": keys["kek"] }]);
    let decrypt = |request: Value| {
        let made = interop(&python, "make", &request)?;
        let envelope = made["envelope"].as_str().context("no envelope")?;
        let ciphertext = format!("vault:v1:{}", Base64::encode_string(envelope.as_bytes()));
        client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))
    };
    let mut request = json!({
        "header": header, "plaintext": hex(b"secret"), "recipients": recipients,
        "origin_key": keys["origin_key"],
    });
    assert_eq!(decrypt(request.clone())?.field("plaintext")?, "c2VjcmV0");
    for (field, wrong) in [
        ("origin_key", json!("00".repeat(32))),
        ("origin_key", json!("")),
        ("associated_data", json!("00")),
    ] {
        let mut request = request.clone();
        request[field] = wrong;
        assert_eq!(decrypt(request)?.status, 400, "{field}");
    }
    request["header"]["realm"] = "elsewhere".into();
    assert_eq!(decrypt(request)?.status, 400, "another realm");
    Ok(())
}
