//! A real Vault core whose seal is Selkie, whose seal is in Key Vault.

use std::fs;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Peer, Selkie, VaultCore, key_ids, until};
use serde_json::{Value, json};

use super::{Azure, decrypt, encrypt};
use crate::vault::{Deployment, SECRET};

/// A Vault that was initialised and stopped, and everything that it stands on.
struct Chain {
    selkie: Selkie,
    azure: Azure,
    deployment: Deployment,
    root: String,
}

impl Chain {
    fn new() -> Result<Option<Self>> {
        let Some(program) = Peer::VaultCore.find()? else { return Ok(None) };
        let azure = Azure::new()?;
        let selkie = azure.start()?;
        let (dir, token) = (azure.site.dir(), &azure.token);
        let deployment = Deployment::new(program, dir, &selkie, token, "autounseal");
        let root = deployment.with_secret()?;
        Ok(Some(Self { azure, selkie, deployment, root }))
    }

    fn client(&self) -> Client {
        self.selkie.client().with_token(&self.azure.token)
    }

    /// A Vault that has come up sealed and says so in its log.
    fn sealed_vault(&self) -> Result<VaultCore> {
        let mut vault = self.deployment.start()?;
        let failed = |line: &str| line.contains("failed to unseal core").then_some(());
        vault.process.stderr_line(0, failed)?;
        ensure!(vault.process.is_running()?, "it is dead: {:?}", vault.process.stderr());
        vault.client.token = Some(self.root.clone());
        Ok(vault)
    }

    fn assert_unseals_by_itself(vault: &VaultCore) -> Result<()> {
        vault.unsealed()?;
        assert_eq!(vault.read_secret()?, SECRET);
        Ok(())
    }

    fn latest_version(&self) -> Result<Value> {
        Ok(self.client().get("transit/keys/autounseal")?.data()?["latest_version"].clone())
    }
}

#[test]
fn a_vault_under_key_vault_unseals_itself_after_a_kill() -> Result<()> {
    let Some(mut chain) = Chain::new()? else { return Ok(()) };
    chain.deployment.assert_comes_up_by_itself(&chain.root)?;
    chain.selkie.kill()?;
    chain.selkie.restart()?;
    chain.deployment.assert_comes_up_by_itself(&chain.root)
}

#[test]
fn a_rotation_in_key_vault_moves_a_vaults_stored_keys() -> Result<()> {
    let Some(chain) = Chain::new()? else { return Ok(()) };
    let storage = &chain.deployment.storage;
    assert_eq!(key_ids(storage)?, ["v1", "v1"]);
    let (_, old) = encrypt(&chain.client())?;
    chain.azure.emulator.rotate()?;
    until("the rotation is seen", || Ok((chain.latest_version()? == 2).then_some(())))?;
    chain.deployment.assert_comes_up_by_itself(&chain.root)?;
    assert_eq!(key_ids(storage)?, ["v2", "v2"]);
    assert_eq!(decrypt(&chain.client(), &old)?, 200, "what was there before still opens");
    Ok(())
}

#[test]
fn a_vault_that_starts_while_key_vault_is_away_heals_by_itself() -> Result<()> {
    let Some(chain) = Chain::new()? else { return Ok(()) };
    chain.azure.emulator.listen("closed")?;
    let vault = chain.sealed_vault()?;
    chain.azure.emulator.listen("open")?;
    Chain::assert_unseals_by_itself(&vault)
}

#[test]
fn a_vault_that_loses_key_vault_in_its_unseal_loop_heals_by_itself() -> Result<()> {
    let Some(mut chain) = Chain::new()? else { return Ok(()) };
    chain.deployment.seal.further = vec!["-unseal-delay".into(), "2s".into()];
    let vault = chain.deployment.start()?;
    chain.azure.emulator.stop()?;
    let failed = |line: &str| line.contains("failed to unseal core").then_some(());
    vault.process.stderr_line(0, failed)?;
    chain.azure.emulator.restart()?;
    let vault = VaultCore { client: vault.client.with_token(&chain.root), ..vault };
    Chain::assert_unseals_by_itself(&vault)?;
    // And once more without any of them between.
    vault_is_untouched_by_an_outage(&chain, &vault)
}

fn vault_is_untouched_by_an_outage(chain: &Chain, vault: &VaultCore) -> Result<()> {
    chain.azure.emulator.listen("silent")?;
    assert_eq!(vault.read_secret()?, SECRET, "a running Vault needs no master key");
    chain.azure.emulator.listen("open")
}

/// Stops Selkie, takes Key Vault away, and starts Selkie again with this beside the usual.
fn restarted_without_key_vault(chain: &mut Chain, seal: &str, extra: &str) -> Result<()> {
    chain.selkie.stop()?;
    chain.azure.emulator.listen("closed")?;
    chain.azure.site.seal += seal;
    chain.azure.site.extra += extra;
    chain.selkie = chain.azure.site.start()?;
    Ok(())
}

#[test]
fn a_declared_public_key_serves_a_vault_before_key_vault_is_back() -> Result<()> {
    let Some(mut chain) = Chain::new()? else { return Ok(()) };
    let fingerprint = fingerprint(&chain.selkie)?;
    let declared = format!("  public_key_sha256 = \"{fingerprint}\"\n");
    restarted_without_key_vault(&mut chain, &declared, "")?;
    let vault = chain.sealed_vault()?;
    chain.azure.emulator.listen("open")?;
    Chain::assert_unseals_by_itself(&vault)
}

/// What the start-up log says to paste.
fn fingerprint(selkie: &Selkie) -> Result<String> {
    selkie.says("public_key_sha256 = ")?;
    let log = selkie.log();
    let (_, rest) = log.split_once("public_key_sha256 = ").context(log.clone())?;
    // The line stands within a line of JSON.
    Ok(rest.trim_start_matches(['\\', '"']).chars().take(64).collect())
}

#[test]
fn a_pin_under_the_local_key_serves_a_vault_before_key_vault_is_back() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut azure = Azure::new()?;
    let local_key = azure.site.random_key("local")?;
    azure.site.extra += &format!("local_key = \"{local_key}\"\n");
    let selkie = azure.start()?;
    let deployment =
        Deployment::new(program, azure.site.dir(), &selkie, &azure.token, "autounseal");
    let root = deployment.with_secret()?;
    let mut chain = Chain { azure, selkie, deployment, root };
    restarted_without_key_vault(&mut chain, "", "")?;
    let vault = chain.sealed_vault()?;
    chain.azure.emulator.listen("open")?;
    Chain::assert_unseals_by_itself(&vault)
}

#[test]
fn a_pin_that_nothing_vouches_for_is_not_used() -> Result<()> {
    let Some(mut chain) = Chain::new()? else { return Ok(()) };
    restarted_without_key_vault(&mut chain, "", "")?;
    assert_eq!(encrypt(&chain.client())?.0, 503);
    let deployment = &chain.deployment;
    let mut vault = VaultCore::launch(&deployment.program, &deployment.storage, &deployment.seal)?;
    assert_eq!(vault.exit_code()?, 1, "its test encrypt is not answered, as documented");
    chain.azure.emulator.listen("open")?;
    until("Key Vault is seen again", || Ok((encrypt(&chain.client())?.0 == 200).then_some(())))?;
    chain.deployment.assert_comes_up_by_itself(&chain.root)
}

#[test]
fn key_vault_is_asked_as_rarely_as_can_be() -> Result<()> {
    let mut azure = Azure::new()?;
    azure.site.seal = azure.site.seal.replace("\"1s\"", "\"1h\"");
    let selkie = azure.start()?;
    let client = selkie.client().with_token(&azure.token);
    let asked = |what: &dyn Fn() -> Result<()>| {
        azure.emulator.forget_counts()?;
        what()?;
        anyhow::Ok((azure.emulator.count("wrap")?, azure.emulator.count("unwrap")?))
    };
    let (_, ciphertext) = encrypt(&client)?;
    assert_eq!(asked(&|| encrypt(&client).map(drop))?, (0, 0), "an encrypt");
    assert_eq!(asked(&|| decrypt(&client, &ciphertext).map(drop))?, (0, 1), "a decrypt");
    let others: Vec<_> = (0..10).map(|_| Ok(encrypt(&client)?.1)).collect::<Result<_>>()?;
    let items: Vec<_> =
        others.iter().cycle().take(100).map(|text| json!({ "ciphertext": text })).collect();
    let rewrap = || {
        let body = json!({ "batch_input": items });
        let results = client.put("transit/rewrap/autounseal", &body)?.data()?;
        let results = results["batch_results"].as_array().context("no results")?.clone();
        ensure!(results.iter().all(|item| item["ciphertext"].is_string()), "{results:?}");
        Ok(())
    };
    let (wraps, unwraps) = asked(&rewrap)?;
    assert!(wraps == 0 && unwraps <= 10, "100 rewraps of 10 DEKs: {wraps} and {unwraps}");
    Ok(())
}

#[test]
fn every_wrap_is_in_key_vaults_own_log_if_so_configured() -> Result<()> {
    let mut azure = Azure::new()?;
    azure.site.seal += "  wrap = \"remote\"\n";
    let selkie = azure.start()?;
    let client = selkie.client().with_token(&azure.token);
    azure.emulator.forget_counts()?;
    let (status, ciphertext) = encrypt(&client)?;
    assert_eq!((status, azure.emulator.count("wrap")?), (200, 1));
    assert_eq!(decrypt(&client, &ciphertext)?, 200);
    azure.emulator.listen("closed")?;
    assert_eq!(encrypt(&client)?.0, 503);
    Ok(())
}

#[test]
fn the_pin_file_is_its_owners_alone() -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let azure = Azure::new()?;
    let _selkie = azure.start()?;
    let pins = azure.site.dir().join("data/pins");
    let file = pins.join("azurekeyvault.json");
    until("the pin is kept", || Ok(file.exists().then_some(())))?;
    for path in [file, pins] {
        let mode = fs::metadata(&path)?.permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
    }
    Ok(())
}
