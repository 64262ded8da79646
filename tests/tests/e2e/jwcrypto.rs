//! jwcrypto, an implementation of JOSE by other people, against ours: both ways, with the crypto
//! core and with a running server (invariant I1: ciphertext, seal and master key are enough).

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use base16ct::lower::encode_string as hex;
use base64ct::{Base64, Encoding};
use selkie_tests::{Client, Selkie, Site, evidence, python, skip};
use serde_json::{Value, json};

pub(crate) fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("jwcrypto/interop.py")
}

/// What the script answers to a command and a request.
pub(crate) fn interop(python: &Path, command: &str, request: &Value) -> Result<Value> {
    answer(Command::new(python).arg(script()).arg(command), request)
}

fn answer(program: &mut Command, request: &Value) -> Result<Value> {
    let mut child = program
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child.stdin.take().context("no input")?.write_all(request.to_string().as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
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

/// crypto's example program, which the stage `build` of tests/run makes.
fn example() -> Result<Option<PathBuf>> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/examples/envelope");
    if program.exists() {
        return Ok(Some(program));
    }
    skip("crypto's example program", "make build").map(|()| None)
}

/// An envelope for three static seals, of which two are needed, in a file as a client keeps it.
fn quorum_in(dir: &Path, program: &Path) -> Result<PathBuf> {
    let mut recipients = Vec::new();
    for seal in ["one", "two", "three"] {
        let kek = [u8::try_from(seal.len())?; 32].map(|byte| byte ^ seal.as_bytes()[0]);
        fs::write(dir.join(seal), kek)?;
        recipients.push(json!({ "seal": seal, "kid": seal, "kek": hex(&kek) }));
    }
    let header = json!({
        "purpose": "client", "realm": "tests", "mount": "transit", "key": "autounseal",
        "version": 1, "created": 1_764_000_000,
    });
    let request = json!({
        "header": header, "plaintext": hex(b"root key"), "recipients": recipients, "quorum": 2,
        "associated_data": hex(b"vault-1"),
    });
    let reply = answer(Command::new(program).arg("make"), &request)?;
    let envelope = reply["envelope"].as_str().context("no envelope")?;
    let (ciphertext, bound) = (dir.join("ciphertext"), dir.join("bound"));
    fs::write(&ciphertext, format!("vault:v1:{}", Base64::encode_string(envelope.as_bytes())))?;
    fs::write(bound, "vault-1")?;
    Ok(ciphertext)
}

#[test]
fn the_script_of_the_docs_opens_a_quorum_and_nothing_less() -> Result<()> {
    let (Some(python), Some(program)) = (python()?, example()?) else { return Ok(()) };
    let site = Site::new()?;
    let dir = site.dir();
    let ciphertext = quorum_in(dir, &program)?;
    let open = |keys: &[&str], bound: bool| -> Result<Option<Vec<u8>>> {
        let mut command = Command::new(&python);
        command.env_clear().arg(script().with_file_name("quorum.py"));
        if bound {
            command.arg("--associated-data").arg(dir.join("bound"));
        }
        command.arg(&ciphertext);
        command.args(keys.iter().map(|key| format!("{key}={}/{key}", dir.display())));
        let output = command.output()?;
        Ok(output.status.success().then_some(output.stdout))
    };
    for keys in [["one", "two"], ["two", "three"], ["three", "one"]] {
        assert_eq!(open(&keys, true)?.as_deref(), Some(&b"root key"[..]), "{keys:?}");
        assert_eq!(open(&keys[1..], true)?, None, "{keys:?} without the first");
        assert_eq!(open(&keys, false)?, None, "without the associated data");
    }
    Ok(())
}

#[test]
fn jwcrypto_and_the_crypto_core_open_each_others_envelopes() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let Some(program) = example()? else { return Ok(()) };
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
    evidence(
        "A ciphertext opens with the master key alone, without Selkie (I1)",
        "cargo test -p selkie-tests --test e2e jwcrypto",
        "jwcrypto opens a server's ciphertexts, with and without associated data",
        "less than a quorum's keys, or other associated data, opens nothing",
    )
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
