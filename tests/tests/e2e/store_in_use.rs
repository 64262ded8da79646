//! A storage in etcd that servers use: nothing is put into it, and it is not left, under them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Etcd, Replicas, Site, binary, until};
use serde_json::json;

const KEY: &str = "transit/keys/managed";

/// Two replicas on one etcd, and what their operator holds.
struct Pair {
    replicas: Replicas,
    token: String,
    site: Site,
    _etcd: Etcd,
}

impl Pair {
    fn start() -> Result<Option<Self>> {
        let Some(etcd) = Etcd::start()? else { return Ok(None) };
        let mut site = Site::new()?;
        site.extra += &format!(
            "data_dir = \"{}\"\nstorage \"etcd\" {{\n  address = \"{}\"\n  path = \"selkie/\"\n}}\n",
            Replicas::DATA_DIR,
            etcd.url()
        );
        let token = site.client("admin", &["root"], "")?;
        let replicas = Replicas::start(&site, 2)?;
        let pair = Self { replicas, token, site, _etcd: etcd };
        pair.rotates(0, &[])?;
        pair.rotates(1, &[0])?;
        Ok(Some(pair))
    }

    fn client(&self, replica: usize) -> Client {
        self.replicas.members[replica].client().with_token(&self.token)
    }

    /// One replica changes the key, and the others hear of it.
    fn rotates(&self, replica: usize, others: &[usize]) -> Result<()> {
        let client = self.client(replica);
        until("a change is taken", || {
            let made = client.put(KEY, &json!({}))?.status < 300;
            let rotated = client.put(&format!("{KEY}/rotate"), &json!({}))?.status < 300;
            Ok((made && rotated).then_some(()))
        })?;
        let latest = |client: &Client| {
            let key = client.get(KEY)?.data()?;
            key["latest_version"].as_u64().context("no version")
        };
        let goal = latest(&client)?;
        others.iter().try_for_each(|other| {
            let other = self.client(*other);
            until("it is heard of", || Ok((latest(&other)? >= goal).then_some(())))
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.site.dir().join(name)
    }

    fn config(&self, replica: usize) -> String {
        shown(&self.file(&format!("replica{replica}.hcl")))
    }

    /// A backup of all that is there.
    fn backup(&self) -> Result<String> {
        let backup = shown(&self.file("backup"));
        let token = shown(&self.site.secret_file("token", self.token.as_bytes())?);
        let address = self.replicas.members[0].url();
        let made = ["backup", "--output", &backup, "--address", &address, "--token-file", &token];
        run(&made)?.map_err(anyhow::Error::msg)?;
        Ok(backup)
    }

    /// The configuration of a replica with sled in place of etcd, below a directory of its own.
    fn on_sled(&self) -> Result<String> {
        let text = fs::read_to_string(self.config(0))?;
        let (before, _) = text.split_once("storage \"etcd\"").context("no stanza")?;
        let (_, after) = text.split_once("path = \"selkie/\"\n}\n").context("no stanza")?;
        let path = self.file("sled");
        let file = self.file("sled.hcl");
        fs::write(&file, format!("{before}storage \"sled\" {{ path = {path:?} }}\n{after}"))?;
        Ok(shown(&file))
    }

    /// That no command has done anything to the replicas.
    fn assert_well(&self) -> Result<()> {
        self.rotates(0, &[1])?;
        self.rotates(1, &[0])?;
        for replica in &self.replicas.members {
            ensure!(!replica.log().contains("tampered"), "{}", replica.log());
        }
        ensure!(self.file("replica1/state-checkpoint").exists(), "the checkpoint is gone");
        Ok(())
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Runs the program; what it complains about if that does not end well.
fn run(arguments: &[&str]) -> Result<Result<(), String>> {
    let output = Command::new(binary()?).env_clear().args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(()) } else { Err(said) })
}

/// As a refusal calls the server of a replica.
fn named(pair: &Pair, replica: usize) -> String {
    format!("process {} on ", pair.replicas.members[replica].process.id())
}

#[test]
fn nothing_is_restored_or_migrated_under_servers_until_they_have_stopped() -> Result<()> {
    let Some(mut pair) = Pair::start()? else { return Ok(()) };
    let (backup, first, second) = (pair.backup()?, pair.config(0), pair.config(1));
    let restore = ["restore", "--config", &first, &backup];
    let forced = ["restore", "--force", "--config", &first, &backup];
    let sled = pair.on_sled()?;
    let away = ["migrate", "--from", &first, "--to", &sled];
    for command in [&restore[..], &forced, &away] {
        let refused = run(command)?.err().with_context(|| format!("{command:?} is done"))?;
        for replica in 0..pair.replicas.members.len() {
            let named = named(&pair, replica);
            ensure!(refused.contains(&named), "{command:?}: no {named:?} in {refused}");
        }
    }
    let same = run(&["migrate", "--from", &first, "--to", &second])?.err().context("it is done")?;
    ensure!(same.contains("name the same storage: nothing was done"), "{same}");
    pair.assert_well()?;

    let stopped = named(&pair, 0);
    pair.replicas.members[0].stop()?;
    let refused = run(&forced)?.err().context("it is done")?;
    ensure!(!refused.contains(&stopped), "it has stopped: {refused}");
    ensure!(refused.contains(&named(&pair, 1)), "it has not: {refused}");
    let same = run(&["migrate", "--from", &first, "--to", &second])?.err().context("it is done")?;
    ensure!(same.contains("name the same storage: nothing was done"), "{same}");
    // What nobody could stop goes by itself.
    pair.replicas.members[1].kill()?;
    until("a server that was killed is forgotten", || Ok(run(&forced)?.ok()))?;
    run(&away)?.map_err(anyhow::Error::msg)?;
    fs::remove_file(pair.file("replica1/state-checkpoint"))?;
    for replica in &mut pair.replicas.members {
        replica.restart()?;
    }
    pair.rotates(0, &[1])
}
