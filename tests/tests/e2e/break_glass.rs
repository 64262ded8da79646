//! The offline key, with a real Vault core: what opens, what starts and what stays as it was when
//! nothing else is alive.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Peer, SealArguments, Selkie, Site, VaultCore, binary, free_port, key_ids, python, until,
};
use serde_json::{Value, json};

use crate::azure::{Azure, decrypt, encrypt};
use crate::vault::Deployment;

const STORED_KEYS: &str = "core/hsm/barrier-unseal-keys";
const RECOVERY_KEY: &str = "core/recovery-key";

/// A server under a static and a break-glass seal, and the desk of whoever has the private key.
struct Break {
    site: Site,
    vault_token: String,
    admin_token: String,
    /// The arguments that name the private key and its passphrase.
    key: Vec<String>,
}

impl Break {
    fn new(options: &[&str]) -> Result<Self> {
        Self::beside(Site::new()?, options)
    }

    /// The same beside the seal of `site`.
    fn beside(mut site: Site, options: &[&str]) -> Result<Self> {
        site.secret_file("passphrase", b"six words that nobody else knows\n")?;
        let file = |name: &str| site.dir().join(name).display().to_string();
        let (key, passphrase) = (file("key"), file("passphrase"));
        let words = ["break-glass", "keygen", "--out", &key, "--passphrase-file", &passphrase];
        let stanza = String::from_utf8(done(selkie(&[&words[..], options].concat())?)?)?;
        let mut key = vec!["--passphrase-file".to_owned(), passphrase];
        let is_split = options.contains(&"--shares");
        for name in if is_split { &["key.3", "key.1"][..] } else { &["key"] } {
            key.extend(["--key".to_owned(), file(name)]);
        }
        site.extra += &format!("realm = \"emergency\"\n{stanza}");
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        let vault_token = site.client("vault-core", &["seal"], "period = \"1h\"")?;
        let admin_token = site.client("admin", &["root"], "")?;
        Ok(Self { site, vault_token, admin_token, key })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.dir().join(name)
    }

    fn extract(&self, from: &str, storage: &Path) -> Result<PathBuf> {
        let file = self.path("blobs");
        let (storage, output) = (storage.display().to_string(), file.display().to_string());
        done(selkie(&["extract", "--from", from, &storage, "-o", &output])?)?;
        Ok(file)
    }

    fn open(&self, blobs: &Path, record: &str) -> Result<Vec<u8>> {
        let blobs = blobs.display().to_string();
        let words = ["break-glass", "open", "--record", record, &blobs];
        let key: Vec<_> = self.key.iter().map(String::as_str).collect();
        done(selkie(&[&words[..], &key].concat())?)
    }

    /// The arguments of `serve` for these blobs, on a port of its own.
    fn serving(&self, blobs: &Path, further: &[&str]) -> Result<Vec<OsString>> {
        let token = self.site.secret_file("token", self.vault_token.as_bytes())?;
        let mut words: Vec<OsString> = vec!["break-glass".into(), "serve".into()];
        words.extend(self.key.iter().map(OsString::from));
        words.extend(["--blobs".into(), blobs.into(), "--token-file".into(), token.into()]);
        words.extend(["--listen".into(), format!("127.0.0.1:{}", free_port()?).into()]);
        words.extend(["--audit".into(), self.path("audit.log").into(), "--plain-http".into()]);
        words.extend(further.iter().map(OsString::from));
        Ok(words)
    }
}

fn selkie(words: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).env_clear().stdin(Stdio::null()).args(words).output()?)
}

/// What a command printed, if it did what it was asked for.
fn done(output: Output) -> Result<Vec<u8>> {
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

#[test]
fn a_vault_starts_from_the_laptop_with_nothing_else_alive_and_notices_nothing() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let site = Break::new(&[])?;
    let mut server = site.site.start()?;
    let vault = Deployment::new(program, site.site.dir(), &server, &site.vault_token, "autounseal");
    let root = vault.with_secret()?;
    let ids = key_ids(&vault.storage)?;
    server.stop()?;
    fs::rename(site.path("k1"), site.path("locked-away"))?;

    let blobs = site.extract("vault-file", &vault.storage)?;
    let stored: Value = serde_json::from_slice(&site.open(&blobs, STORED_KEYS)?)?;
    assert!(stored[0].as_str().is_some_and(|key| key.len() == 44), "a key in base64");
    assert_eq!(site.open(&blobs, RECOVERY_KEY)?.len(), 32);

    let refused = Command::new(binary()?).env_clear().args(site.serving(&blobs, &[])?).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("--without static"), "{said}");

    let words = site.serving(&blobs, &["--without", "static"])?;
    let mut laptop = Selkie::start(&binary()?, words, 1)?;
    let moved = SealArguments { address: laptop.url(), ..vault.seal.clone() };
    let elsewhere = Deployment { seal: moved, storage: vault.storage.clone(), ..vault };
    elsewhere.assert_comes_up_by_itself(&root)?;
    laptop.stop()?;
    assert_eq!(key_ids(&elsewhere.storage)?, ids, "nothing was encrypted for the laptop");
    let audited = fs::read_to_string(site.path("audit.log"))?;
    assert!(audited.contains("transit/decrypt/autounseal"), "{audited}");

    fs::rename(site.path("locked-away"), site.path("k1"))?;
    server.restart()?;
    let back = SealArguments { address: server.url(), ..elsewhere.seal.clone() };
    let back = Deployment { seal: back, ..elsewhere };
    back.assert_comes_up_by_itself(&root)?;
    assert_eq!(key_ids(&back.storage)?, ids);
    Ok(())
}

#[test]
fn what_the_laptop_encrypts_opens_by_the_servers_later_and_no_other_client_is_served() -> Result<()>
{
    let site = Break::new(&[])?;
    let mut server = site.site.start()?;
    let client = server.client().with_token(&site.vault_token);
    let body = json!({"plaintext": "cm9vdCBrZXk="});
    let stored = client.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
    server.stop()?;
    let blobs = site.site.secret_file("blobs", stored.as_bytes())?;
    let config = site.path("selkie.hcl").display().to_string();
    let mut laptop = Selkie::start(&binary()?, site.serving(&blobs, &["--config", &config])?, 1)?;
    let client = laptop.client().with_token(&site.vault_token);
    let made = client.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
    assert_eq!(made.split(':').nth(1), stored.split(':').nth(1), "the version is repeated");
    let opened = client.put("transit/decrypt/autounseal", &json!({"ciphertext": stored}))?;
    assert_eq!(opened.field("plaintext")?, "cm9vdCBrZXk=");
    let renewed = client.put("auth/token/renew-self", &json!({"increment": 0}))?;
    assert_eq!((renewed.status, renewed.json()["auth"]["renewable"].clone()), (200, json!(true)));
    assert_eq!(client.put("transit/encrypt/other", &body)?.status, 403);
    let stranger = laptop.client().with_token(&site.admin_token);
    assert_eq!(stranger.put("transit/encrypt/autounseal", &body)?.status, 403);
    laptop.stop()?;
    server.restart()?;
    let client = server.client().with_token(&site.vault_token);
    let opened = client.put("transit/decrypt/autounseal", &json!({"ciphertext": made}))?;
    assert_eq!(opened.field("plaintext")?, "cm9vdCBrZXk=");
    Ok(())
}

#[test]
fn pin_files_let_the_laptop_wrap_for_a_key_vault_that_it_cannot_reach() -> Result<()> {
    let Azure { emulator, site, .. } = Azure::new()?;
    let site = Break::beside(site, &[])?;
    let mut server = site.site.start()?;
    let client = server.client().with_token(&site.vault_token);
    let stored = until("the master key is confirmed", || {
        let (status, ciphertext) = encrypt(&client)?;
        Ok((status == 200).then_some(ciphertext))
    })?;
    server.stop()?;
    let blobs = site.site.secret_file("blobs", stored.as_bytes())?;
    let config = site.path("selkie.hcl").display().to_string();
    let refused = site.serving(&blobs, &["--config", &config])?;
    let refused = Command::new(binary()?).env_clear().args(refused).output()?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("its pin file is not trusted"), "{said}");
    let pins = site.path("data").join("pins").display().to_string();
    let mut laptop = Selkie::start(&binary()?, site.serving(&blobs, &["--pins", &pins])?, 1)?;
    let client = laptop.client().with_token(&site.vault_token);
    assert_eq!(decrypt(&client, &stored)?, 200);
    let (status, made) = encrypt(&client)?;
    assert_eq!((status, made.split(':').nth(1)), (200, stored.split(':').nth(1)));
    laptop.stop()?;
    server.restart()?;
    let client = server.client().with_token(&site.vault_token);
    assert_eq!(decrypt(&client, &made)?, 200, "by Key Vault");
    drop(emulator);
    Ok(())
}

#[test]
fn status_and_drill_know_that_the_key_is_offline() -> Result<()> {
    let site = Break::new(&[])?;
    let server = site.site.start()?;
    let token = site.site.secret_file("admin", site.admin_token.as_bytes())?;
    let (url, token) = (server.url(), token.display().to_string());
    let of_server = ["--address", &url, "--token-file", &token];
    let told = |command: &str| -> Result<String> {
        let words = [&[command][..], &of_server].concat();
        Ok(String::from_utf8(done(selkie(&words)?)?)?)
    };
    assert!(told("status")?.contains("break-glass (break-glass): offline\n"));
    let drill = told("drill")?;
    assert!(drill.contains("its key is offline: break-glass\n"), "{drill}");
    Ok(())
}

#[test]
fn the_records_of_a_raft_snapshot_open_by_shares_of_the_key() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let site = Break::new(&["--shares", "3", "--needed", "2"])?;
    let server = site.site.start()?;
    let mut vault =
        Deployment::new(program, site.site.dir(), &server, &site.vault_token, "autounseal");
    vault.seal.with_raft()?;
    let mut core: VaultCore = vault.start()?;
    core.initialise()?;
    let snapshot = core.client.get("sys/storage/raft/snapshot")?;
    ensure!(snapshot.status == 200, "{}", snapshot.text());
    core.process.kill()?;
    let file = site.site.secret_file("raft.snap", &snapshot.body)?;
    let blobs = site.extract("raft", &file)?;
    let stored: Value = serde_json::from_slice(&site.open(&blobs, STORED_KEYS)?)?;
    assert!(stored[0].is_string(), "{stored}");
    assert_eq!(site.open(&blobs, RECOVERY_KEY)?.len(), 32);
    let database = vault.storage.join("vault.db").display().to_string();
    let refused = selkie(&["extract", "--from", "raft-db", &database])?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("bbolt get"));
    Ok(())
}

/// The recipes of docs/break-glass.md.
#[test]
fn jwcrypto_opens_a_ciphertext_with_the_break_glass_key_or_its_shares() -> Result<()> {
    let Some(python) = python()? else { return Ok(()) };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("jwcrypto/break_glass.py");
    for (options, keys) in [
        (&[][..], &["key"][..]),
        (&["--x25519"], &["key"]),
        (&["--shares", "3", "--needed", "2"], &["key.2", "key.3"]),
        (&["--x25519", "--shares", "3", "--needed", "3"], &["key.2", "key.3", "key.1"]),
    ] {
        let site = Break::new(options)?;
        let server = site.site.start()?;
        let client = server.client().with_token(&site.vault_token);
        let body = json!({"plaintext": "cm9vdCBrZXk="});
        let sealed = client.put("transit/encrypt/autounseal", &body)?.field("ciphertext")?;
        let file = site.site.secret_file("ciphertext", sealed.as_bytes())?;
        let mut command = Command::new(&python);
        command.env_clear().arg(&script).stdin(fs::File::open(file)?);
        for key in keys {
            command.args([site.path(key), site.path("passphrase")]);
        }
        let opened = done(command.output()?).with_context(|| format!("{options:?}"))?;
        assert_eq!(opened, b"root key", "{options:?}");
    }
    Ok(())
}
