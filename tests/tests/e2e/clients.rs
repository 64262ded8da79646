//! Other clients: hvac, vaultrs, curl.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{Peer, Selkie, Site, python};
use serde_json::Value;
use vaultrs::api::transit::responses::ReadKeyData;
use vaultrs::client::{VaultClient, VaultClientSettingsBuilder};
use vaultrs::error::ClientError;
use vaultrs::transit::{data, key};

#[test]
fn hvac_makes_every_call_and_raises_its_own_exceptions() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let mut site = Site::new()?;
    site.extra += "storage \"inmem\" {}\n";
    site.policy("seal", &[("transit/encrypt/autounseal", &["update"])]);
    let root = site.client("root", &["root"], "")?;
    let periodic = site.client("vault", &["seal", "default"], "period = \"1h\"")?;
    let selkie = site.start()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("hvac/calls.py");
    let output = Command::new(python)
        .env_clear()
        .arg(script)
        .args([&selkie.url(), &root, &periodic])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("all calls as expected"), "{said}");
    Ok(())
}

#[test]
fn vaultrs_encrypts_decrypts_and_reads_a_key() -> Result<()> {
    let selkie = Selkie::dev(&[])?;
    let settings = VaultClientSettingsBuilder::default()
        .address(selkie.url())
        .token(selkie.root()?.token.context("no token")?)
        .build()?;
    let client = VaultClient::new(settings)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        key::create(&client, "transit", "k", None).await?;
        let sealed = data::encrypt(&client, "transit", "k", "YQ==", None).await?;
        let opened = data::decrypt(&client, "transit", "k", &sealed.ciphertext, None).await?;
        assert_eq!(opened.plaintext, "YQ==");
        let rewrapped = data::rewrap(&client, "transit", "k", &sealed.ciphertext, None).await?;
        assert!(rewrapped.ciphertext.starts_with("vault:v1:"), "{}", rewrapped.ciphertext);
        key::rotate(&client, "transit", "k").await?;
        let read = key::read(&client, "transit", "k").await?;
        assert_eq!((read.min_decryption_version, read.name.as_str()), (1, "k"));
        assert!(matches!(read.keys, ReadKeyData::Symmetric(versions) if versions.len() == 2));
        let keys = key::list(&client, "transit").await?.keys;
        assert_eq!(keys, ["autounseal", "k"]);
        let refused = data::decrypt(&client, "transit", "k", "nonsense", None).await;
        let Err(ClientError::APIError { code: 400, errors }) = refused else {
            anyhow::bail!("{refused:?}");
        };
        assert_eq!(errors, ["invalid ciphertext: no prefix"]);
        Ok(())
    })
}

/// A server, a directory, and curl.
struct Curl {
    program: PathBuf,
    selkie: Selkie,
    token: String,
    dir: tempfile::TempDir,
}

impl Curl {
    fn find() -> Result<Option<Self>> {
        let Some(program) = Peer::Curl.find()? else { return Ok(None) };
        let selkie = Selkie::dev(&[])?;
        let token = selkie.root()?.token.context("no token")?;
        Ok(Some(Self { program, selkie, token, dir: tempfile::tempdir()? }))
    }

    /// Runs curl on a path with these further arguments; the answer's `data`.
    fn data(&self, path: &str, arguments: &[&str]) -> Result<Value> {
        let output = Command::new(&self.program)
            .env_clear()
            .current_dir(self.dir.path())
            .args(["-sS", "--fail-with-body", "-H", &format!("X-Vault-Token: {}", self.token)])
            .args(arguments)
            .arg(format!("{}/v1/{path}", self.selkie.url()))
            .output()?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "curl {arguments:?}: {said}");
        let body: Value = serde_json::from_slice(&output.stdout)?;
        Ok(body["data"].clone())
    }

    fn encrypts(&self, arguments: &[&str]) -> Result<()> {
        let data = self.data("transit/encrypt/autounseal", arguments)?;
        let ciphertext = data["ciphertext"].as_str().context("no ciphertext")?;
        assert!(ciphertext.starts_with("vault:v1:"), "{ciphertext}");
        Ok(())
    }
}

const BODY: &str = "{\"plaintext\":\"YQ==\"}";

#[test]
fn curl_works_as_people_type_it() -> Result<()> {
    let Some(curl) = Curl::find()? else { return Ok(()) };
    std::fs::write(curl.dir.path().join("payload.json"), BODY)?;
    // `-d` sends a form's content type.
    curl.encrypts(&["-d", BODY])?;
    curl.encrypts(&["-d", "@payload.json"])?;
    curl.encrypts(&["-X", "PUT", "-d", "@payload.json"])?;
    curl.encrypts(&["-H", "Content-Type:", "-d", BODY])?;
    curl.encrypts(&["-H", "Content-Type: application/json", "-d", BODY])?;
    curl.encrypts(&["-T", "payload.json"])?;
    let keys = curl.data("transit/keys", &["-X", "LIST"])?;
    assert_eq!(keys["keys"], serde_json::json!(["autounseal"]));
    Ok(())
}

#[test]
fn curl_waits_for_100_continue_with_a_larger_body() -> Result<()> {
    let Some(curl) = Curl::find()? else { return Ok(()) };
    let body = format!("{{\"plaintext\":\"{}\"}}", "QUFB".repeat(2000));
    std::fs::write(curl.dir.path().join("large.json"), body)?;
    let expect = ["-H", "Expect: 100-continue", "--expect100-timeout", "30"];
    curl.encrypts(&[&expect[..], &["-d", "@large.json"]].concat())
}

#[test]
fn curl_may_send_chunks() -> Result<()> {
    let Some(curl) = Curl::find()? else { return Ok(()) };
    curl.encrypts(&["-H", "Transfer-Encoding: chunked", "-d", BODY])
}
