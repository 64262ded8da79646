//! The ways in and out that need Vault's own `-migrate`, with a real Vault core: from Shamir shares or
//! the native seal "azurekeyvault" to Selkie, and from Selkie to shares or to another transit server.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Emulator, Peer, Selkie, Site, UpstreamVault, VaultCore, key_ids, until};
use serde_json::{Value, json};

use crate::vault::SECRET;

const KEY: &str = "autounseal";

/// A Vault whose stanzas change, and what its operator holds.
struct Operated {
    program: PathBuf,
    storage: PathBuf,
    root: String,
    /// As many recovery keys, or shares that unseal, as are needed.
    keys: Vec<String>,
}

/// The arguments of vault-core for one stanza; before each stands `seal` or `old-seal`.
type Stanza = Vec<(&'static str, String)>;

fn stanza(which: &str, stanza: &Stanza) -> Vec<String> {
    stanza.iter().map(|(field, value)| format!("-{which}-{field}={value}")).collect()
}

fn transit(address: &str, token: &str) -> Stanza {
    vec![
        ("type", "transit".to_owned()),
        ("address", address.to_owned()),
        ("token", token.to_owned()),
        ("mount", "transit".to_owned()),
        ("key", KEY.to_owned()),
        ("disable-renewal", "true".to_owned()),
    ]
}

fn shamir() -> Stanza {
    vec![("type", "shamir".to_owned())]
}

impl Operated {
    /// A Vault that was initialised under `seal`, holds the secret, and was then stopped.
    fn under(program: PathBuf, site: &Site, seal: &Stanza, further: &[String]) -> Result<Self> {
        let storage = site.dir().join("vault");
        let arguments = [stanza("seal", seal), further.to_vec()].concat();
        let mut vault = VaultCore::start_with(&program, &storage, &arguments)?;
        let shares = json!({ "recovery_shares": 1, "recovery_threshold": 1 });
        let made = vault.client.put("sys/init", &shares)?.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let root = text(&made["root_token"]).with_context(|| made.to_string())?;
        let keys = vec![text(&made["recovery_keys"][0]).with_context(|| made.to_string())?];
        vault.client.token = Some(root.clone());
        vault.unsealed()?;
        vault.write_secret(SECRET)?;
        vault.process.kill()?;
        Ok(Self { program, storage, root, keys })
    }

    /// The same without a seal, under three shares of which two are needed.
    fn under_shares(program: PathBuf, site: &Site) -> Result<Self> {
        let storage = site.dir().join("vault");
        let mut vault = VaultCore::start_with(&program, &storage, &stanza("seal", &shamir()))?;
        let shares = json!({ "secret_shares": 3, "secret_threshold": 2 });
        let made = vault.client.put("sys/init", &shares)?.json();
        let root = made["root_token"].as_str().with_context(|| made.to_string())?.to_owned();
        let keys = made["keys"].as_array().with_context(|| made.to_string())?;
        let keys = keys.iter().take(2).filter_map(|key| key.as_str().map(str::to_owned)).collect();
        let operated = Self { program, storage, root, keys };
        vault.client.token = Some(operated.root.clone());
        operated.unseal(&mut vault, &json!({}))?;
        vault.write_secret(SECRET)?;
        vault.process.kill()?;
        Ok(operated)
    }

    /// Gives all keys, with these further fields.
    fn unseal(&self, vault: &mut VaultCore, further: &Value) -> Result<()> {
        for key in &self.keys {
            let mut body = further.clone();
            body["key"] = json!(key);
            let answer = vault.client.put("sys/unseal", &body)?;
            ensure!(answer.status == 200, "{} {}", answer.status, answer.text());
        }
        vault.unsealed()
    }

    fn start(&self, arguments: &[String]) -> Result<VaultCore> {
        let vault = VaultCore::start_with(&self.program, &self.storage, arguments)?;
        Ok(VaultCore { client: vault.client.with_token(&self.root), ..vault })
    }

    /// `vault operator unseal -migrate` between these stanzas.
    fn migrate(&self, from: &Stanza, to: &Stanza, further: &[String]) -> Result<()> {
        let old = stanza("old-seal", from);
        self.migrate_with(&[stanza("seal", to), old, further.to_vec()].concat())
    }

    fn migrate_with(&self, arguments: &[String]) -> Result<()> {
        let mut vault = self.start(arguments)?;
        let migrating = |line: &str| line.contains("entering seal migration mode").then_some(());
        vault.process.stderr_line(0, migrating)?;
        self.unseal(&mut vault, &json!({ "migrate": true }))?;
        assert_eq!(vault.read_secret()?, SECRET);
        let done = |line: &str| line.contains("seal migration complete").then_some(());
        vault.process.stderr_line(0, done)?;
        vault.process.kill()
    }

    /// With the new stanza alone, it needs nobody.
    fn assert_comes_up_by_itself(&self, seal: &Stanza) -> Result<()> {
        let mut vault = self.start(&stanza("seal", seal))?;
        vault.unsealed()?;
        assert_eq!(vault.read_secret()?, SECRET);
        vault.process.kill()
    }
}

/// Selkie with a client that may do what a seal does.
fn selkie() -> Result<(Site, Selkie, Stanza)> {
    let mut site = Site::new()?;
    site.policy("seal", &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])]);
    let token = site.client("vault", &["seal"], "")?;
    let selkie = site.start()?;
    let stanza = transit(&selkie.url(), &token);
    Ok((site, selkie, stanza))
}

#[test]
fn a_vault_on_the_native_seal_of_azure_migrates_to_selkie() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut emulator = Emulator::new()?;
    let (site, _selkie, to) = selkie()?;
    let native = vec![
        ("type", "azurekeyvault".to_owned()),
        ("vault-name", "kv1".to_owned()),
        ("resource", "vault.emulator.test".to_owned()),
        ("key", "selkie".to_owned()),
    ];
    let azure = [
        format!("-azure={}", emulator.https),
        format!("-azure-ca={}", emulator.ca_file().display()),
        format!("-azure-identity={}/msi/token", emulator.http_url()),
    ];
    let vault = Operated::under(program, &site, &native, &azure)?;
    vault.migrate(&native, &to, &azure)?;
    assert_eq!(key_ids(&vault.storage)?, ["v1", "v1"]);
    emulator.stop()?;
    vault.assert_comes_up_by_itself(&to)
}

/// The shares are the recovery keys afterwards: the way back takes them.
#[test]
fn a_vault_with_unseal_keys_migrates_to_selkie_and_keeps_them_as_recovery_keys() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let (site, mut selkie, to) = selkie()?;
    let vault = Operated::under_shares(program, &site)?;
    vault.migrate_with(&stanza("seal", &to))?;
    assert_eq!(key_ids(&vault.storage)?, ["v1", "v1"]);
    vault.assert_comes_up_by_itself(&to)?;
    vault.migrate(&to, &shamir(), &[])?;
    selkie.stop()?;
    let mut alone = vault.start(&stanza("seal", &shamir()))?;
    vault.unseal(&mut alone, &json!({}))?;
    assert_eq!(alone.read_secret()?, SECRET);
    alone.process.kill()
}

#[test]
fn the_way_out_leads_from_selkie_to_shamir() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let (site, mut selkie, from) = selkie()?;
    let vault = Operated::under(program, &site, &from, &[])?;
    vault.migrate(&from, &shamir(), &[])?;
    selkie.stop()?;
    let mut alone = vault.start(&stanza("seal", &shamir()))?;
    assert_eq!(alone.client.get("sys/health")?.status, 503, "it is sealed");
    // The recovery key has become the share that unseals.
    vault.unseal(&mut alone, &json!({}))?;
    assert_eq!(alone.read_secret()?, SECRET);
    alone.process.kill()
}

#[test]
fn the_way_out_leads_from_selkie_to_another_transit_server() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let (site, mut selkie, from) = selkie()?;
    let other = UpstreamVault::start(&program, &site.dir().join("other"))?;
    other.root.put(&format!("transit/keys/{KEY}"), &json!({}))?.data()?;
    let token = other.root.token.clone().context("no token")?;
    let to = transit(&other.url(), &token);
    let vault = Operated::under(program, &site, &from, &[])?;
    vault.migrate(&from, &to, &[])?;
    selkie.stop()?;
    vault.assert_comes_up_by_itself(&to)
}

/// What an `-migrate` needs is there or it changes nothing.
#[test]
fn a_migration_without_the_old_stanza_is_refused_and_the_vault_stays_as_it_was() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let (site, _selkie, from) = selkie()?;
    let vault = Operated::under(program, &site, &from, &[])?;
    let mut refused =
        VaultCore::launch_with(&vault.program, &vault.storage, &stanza("seal", &shamir()))?;
    assert_eq!(refused.exit_code()?, 1);
    until("it says why", || {
        let said = refused.stderr().join("\n");
        Ok(said.contains("no disabled seal in configuration").then_some(()))
    })?;
    vault.assert_comes_up_by_itself(&from)
}
