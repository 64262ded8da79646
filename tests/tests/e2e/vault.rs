//! A real Vault core whose seal is Selkie.

use anyhow::{Context, Result};
use selkie_tests::{
    Client, Peer, SealArguments, Selkie, Signal, Site, VaultCore, evidence, key_ids, until,
};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(crate) const SECRET: &str = "what a Vault keeps";

/// A Vault's storage and what it needs to start.
pub(crate) struct Deployment {
    pub(crate) program: PathBuf,
    pub(crate) storage: PathBuf,
    pub(crate) seal: SealArguments,
}

impl Deployment {
    pub(crate) fn new(
        program: PathBuf,
        dir: &Path,
        selkie: &Selkie,
        token: &str,
        key: &str,
    ) -> Self {
        let seal = SealArguments {
            address: selkie.url(),
            token: token.to_owned(),
            key: key.to_owned(),
            further: Vec::new(),
        };
        Self { program, storage: dir.join("vault"), seal }
    }

    pub(crate) fn start(&self) -> Result<VaultCore> {
        VaultCore::start(&self.program, &self.storage, &self.seal)
    }

    /// A Vault that was initialised, holds the secret, and was then killed; its root token.
    pub(crate) fn with_secret(&self) -> Result<String> {
        let mut vault = self.start()?;
        let token = vault.initialise()?;
        vault.write_secret(SECRET)?;
        vault.process.kill()?;
        Ok(token)
    }

    pub(crate) fn assert_comes_up_by_itself(&self, token: &str) -> Result<()> {
        let mut vault = self.start()?;
        vault.client.token = Some(token.to_owned());
        vault.unsealed()?;
        assert_eq!(vault.read_secret()?, SECRET);
        vault.process.kill()
    }
}

/// A configured server with a periodic token of the seal's rights, and an administrator.
struct Served {
    selkie: Selkie,
    site: Site,
    vault_token: String,
    admin: Client,
}

impl Served {
    fn new() -> Result<Self> {
        let mut site = Site::new()?;
        site.extra += "storage \"inmem\" {}\n";
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        let vault_token = site.client("vault", &["seal"], "period = \"1h\"")?;
        let admin = site.client("admin", &["root"], "")?;
        let selkie = site.start()?;
        let admin = selkie.client().with_token(&admin);
        Ok(Self { site, selkie, vault_token, admin })
    }

    fn deployment(&self, program: PathBuf, key: &str) -> Deployment {
        Deployment::new(program, self.site.dir(), &self.selkie, &self.vault_token, key)
    }
}

#[test]
fn a_vault_in_dev_mode_unseals_itself_after_a_kill() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let selkie = Selkie::dev(&[])?;
    let dir = tempfile::tempdir()?;
    let token = selkie.root()?.token.context("no token")?;
    let deployment = Deployment::new(program, dir.path(), &selkie, &token, "autounseal");
    let vault_token = deployment.with_secret()?;
    deployment.assert_comes_up_by_itself(&vault_token)
}

#[test]
fn a_vault_unseals_itself_over_tls() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let selkie = Selkie::dev(&["--dev-tls"])?;
    let dir = tempfile::tempdir()?;
    let token = selkie.root()?.token.context("no token")?;
    let mut deployment = Deployment::new(program, dir.path(), &selkie, &token, "autounseal");
    let authority = selkie.dev_authority()?;
    deployment.seal.further = vec!["-seal-ca-cert".into(), authority.display().to_string()];
    let vault_token = deployment.with_secret()?;
    deployment.assert_comes_up_by_itself(&vault_token)
}

#[test]
fn a_vault_on_raft_unseals_itself() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let served = Served::new()?;
    let mut deployment = served.deployment(program, "autounseal");
    deployment.seal.with_raft()?;
    let vault_token = deployment.with_secret()?;
    deployment.assert_comes_up_by_itself(&vault_token)
}

#[test]
fn a_restart_of_selkie_in_between_changes_nothing() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut served = Served::new()?;
    let deployment = served.deployment(program, "autounseal");
    let vault_token = deployment.with_secret()?;
    served.selkie.kill()?;
    served.selkie.restart()?;
    deployment.assert_comes_up_by_itself(&vault_token)?;
    let mut vault = deployment.start()?;
    vault.client.token = Some(vault_token);
    vault.unsealed()?;
    served.selkie.stop()?;
    served.selkie.restart()?;
    assert_eq!(vault.read_secret()?, SECRET, "a running Vault needs no seal");
    Ok(())
}

#[test]
fn a_rotated_managed_key_moves_the_stored_keys_at_the_next_start() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let served = Served::new()?;
    served.admin.put("transit/keys/managed", &json!({}))?.data()?;
    let deployment = served.deployment(program, "managed");
    let vault_token = deployment.with_secret()?;
    assert_eq!(key_ids(&deployment.storage)?, ["v1", "v1"]);
    served.admin.put("transit/keys/managed/rotate", &json!({}))?.data()?;
    deployment.assert_comes_up_by_itself(&vault_token)?;
    assert_eq!(key_ids(&deployment.storage)?, ["v2", "v2"]);
    // Nothing old is left, so the first version can go.
    let minimum = json!({ "min_decryption_version": 2 });
    served.admin.put("transit/keys/managed/config", &minimum)?.data()?;
    deployment.assert_comes_up_by_itself(&vault_token)
}

#[test]
fn a_new_master_key_version_moves_the_stored_keys_of_a_declared_key() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut served = Served::new()?;
    let deployment = served.deployment(program, "autounseal");
    let vault_token = deployment.with_secret()?;
    assert_eq!(key_ids(&deployment.storage)?, ["v1", "v1"]);
    let k1 = served.site.dir().join("k1");
    let k2 = served.site.random_key("k2")?;
    served.site.seal = format!(
        "  current_key_id = \"k2\"\n  current_key = \"{k2}\"\n  \
         previous \"k1\" {{ key = \"file://{}\" }}\n",
        k1.display()
    );
    served.site.write()?;
    served.selkie.process.signal(Signal::HUP)?;
    until("the key has a second version", || {
        let key = served.admin.get("transit/keys/autounseal")?.data()?;
        Ok((key["latest_version"] == 2).then_some(()))
    })?;
    deployment.assert_comes_up_by_itself(&vault_token)?;
    assert_eq!(key_ids(&deployment.storage)?, ["v2", "v2"]);
    Ok(())
}

#[test]
fn a_vault_that_starts_without_selkie_exits_as_vault_does() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut served = Served::new()?;
    let deployment = served.deployment(program, "autounseal");
    let vault_token = deployment.with_secret()?;
    served.selkie.stop()?;
    let mut vault = VaultCore::launch(&deployment.program, &deployment.storage, &deployment.seal)?;
    assert_eq!(vault.exit_code()?, 1);
    let said = vault.stderr().join("\n");
    assert!(said.contains("Error parsing Seal configuration"), "{said}");
    served.selkie.restart()?;
    deployment.assert_comes_up_by_itself(&vault_token)
}

#[test]
fn a_vault_that_loses_selkie_in_its_unseal_loop_heals_by_itself() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut served = Served::new()?;
    let mut deployment = served.deployment(program, "autounseal");
    let vault_token = deployment.with_secret()?;
    deployment.seal.further = vec!["-unseal-delay".into(), "3s".into()];
    let mut vault = deployment.start()?;
    served.selkie.kill()?;
    vault.process.stderr_line(0, |line| line.contains("failed to unseal core").then_some(()))?;
    served.selkie.restart()?;
    vault.client.token = Some(vault_token);
    vault.unsealed()?;
    assert_eq!(vault.read_secret()?, SECRET);
    evidence(
        "A Vault whose Selkie was killed while it unseals heals by itself",
        "cargo test -p selkie-tests --test e2e a_vault",
        "unsealed after Selkie's return, its secret unchanged; also over TLS, on raft, by v0 and v2 seal clients",
        "without Selkie at its start it exits with 1, with a wrong token too",
    )
}

#[test]
fn a_vault_with_a_wrong_token_is_told_so_at_once() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let served = Served::new()?;
    let mut deployment = served.deployment(program, "autounseal");
    deployment.seal.token = selkie_tests::token()?;
    let mut vault = VaultCore::launch(&deployment.program, &deployment.storage, &deployment.seal)?;
    assert_eq!(vault.exit_code()?, 1);
    let said = vault.stderr().join("\n");
    assert!(said.contains("Code: 403"), "{said}");
    Ok(())
}
