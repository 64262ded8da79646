//! Replicas that share an etcd: a day behind a load balancer, with a key made through the API.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Etcd, EtcdCluster, Peer, Selkie, binary, free_port, until};
use serde_json::json;

use crate::trio::{Trio, encrypt, opens};
use crate::unsealing::{Tally, Unsealing};

const KEY: &str = "managed";

fn stanza(urls: &str) -> String {
    format!("storage \"etcd\" {{\n  address = \"{urls}\"\n  path = \"selkie/\"\n}}\n")
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{line}")?)
}

/// Status of a rotation.
fn rotate(client: &Client) -> Result<u16> {
    Ok(client.put(&format!("transit/keys/{KEY}/rotate"), &json!({}))?.status)
}

/// Rotates once it works; the latest version then. A refusal in between may have made a version too:
/// what is undecided is answered by 503.
fn rotated(client: &Client) -> Result<u64> {
    until("a rotation is acknowledged", || Ok((rotate(client)? < 300).then_some(())))?;
    let key = client.get(&format!("transit/keys/{KEY}"))?.data()?;
    key["latest_version"].as_u64().context("no version")
}

/// A day: the replicas, their etcd, and a Vault that comes and goes under the managed key.
struct Day {
    etcd: EtcdCluster,
    trio: Trio,
    vault: Unsealing,
    /// What was encrypted so far.
    sealed: Vec<String>,
    /// The key's latest version.
    latest: u64,
}

impl Day {
    /// The key is made on one replica, and known to all.
    fn begin(program: &Path) -> Result<Option<Self>> {
        let Some(etcd) = EtcdCluster::start(3)? else { return Ok(None) };
        let trio = Trio::new(&stanza(&etcd.urls()))?;
        let first = trio.client(0);
        until("a key can be made", || {
            let answer = first.put(&format!("transit/keys/{KEY}"), &json!({}))?;
            Ok((answer.status < 300).then_some(()))
        })?;
        trio.agree(KEY, 1)?;
        trio.assert_all_open_all(KEY)?;
        let vault = trio.unsealing(program, KEY)?;
        Ok(Some(Self { etcd, trio, vault, sealed: Vec::new(), latest: 1 }))
    }

    /// Something happens, and the Vault comes and goes at least twice from then on. All replicas
    /// open all that was ever encrypted.
    fn hour(&mut self, what: &str, event: fn(&mut Self) -> Result<()>) -> Result<Tally> {
        let before = self.vault.tally();
        self.sealed.extend(self.trio.each(|client| encrypt(client, KEY)?.field("ciphertext"))?);
        event(self).with_context(|| what.to_owned())?;
        self.vault.rounds(2)?;
        for ciphertext in &self.sealed {
            self.trio.each(|client| opens(client, KEY, ciphertext))?;
        }
        let tally = self.vault.tally().since(&before);
        say(&format!("{what}: {}", tally.told()))?;
        Ok(tally)
    }

    /// One replica rotates the key, and all know.
    fn rotates(&mut self, replica: usize) -> Result<Duration> {
        self.latest = rotated(&self.trio.client(replica))?;
        self.trio.agree(KEY, self.latest)
    }

    fn rotation(&mut self) -> Result<()> {
        let apart = self.rotates(1)?;
        say(&format!("the replicas were not of one mind for {} ms", apart.as_millis()))?;
        self.vault.moves_to(&format!("v{}", self.latest))
    }

    fn kill_replica(&mut self) -> Result<()> {
        self.trio.replicas.members[0].kill()?;
        self.vault.rounds(2)?;
        self.latest = rotated(&self.trio.client(1))?;
        self.trio.replicas.members[0].restart()?;
        self.trio.serves(0)?;
        self.trio.agree(KEY, self.latest).map(drop)
    }

    fn kill_leader(&mut self) -> Result<()> {
        let leader = self.etcd.leader()?;
        self.etcd.members[leader].kill()?;
        self.trio.assert_all_open_all(KEY)?;
        self.rotates(2)?;
        self.etcd.members[leader].restart()
    }

    fn outage(&mut self) -> Result<()> {
        self.etcd.members.iter_mut().try_for_each(Etcd::kill)?;
        self.trio.assert_all_open_all(KEY)?;
        for status in self.trio.each(rotate)? {
            assert_eq!(status, 503);
        }
        self.vault.rounds(2)?;
        self.trio.agree(KEY, self.latest)?;
        self.etcd.revive()?;
        self.rotates(0).map(drop)
    }

    /// A server that starts meanwhile has its declared keys; the managed ones are 503, never 404.
    fn restart_while_away(&mut self) -> Result<()> {
        let address = self.trio.replicas.addresses()[2];
        self.trio.balancer.remove(address);
        self.etcd.members.iter_mut().try_for_each(Etcd::kill)?;
        self.trio.replicas.members[2].kill()?;
        self.trio.replicas.members[2].restart()?;
        let client = self.trio.client(2);
        until("declared keys serve", || {
            Ok((encrypt(&client, "autounseal")?.status == 200).then_some(()))
        })?;
        assert_eq!(encrypt(&client, KEY)?.status, 503);
        self.etcd.revive()?;
        until("managed keys serve", || Ok((encrypt(&client, KEY)?.status == 200).then_some(())))?;
        self.trio.balancer.add(address)?;
        self.trio.agree(KEY, self.latest).map(drop)
    }

    /// What a frozen etcd is told, it may still do when it thaws: then a version more is no harm,
    /// and the replicas agree all the same.
    fn frozen(&mut self) -> Result<()> {
        self.etcd.members.iter().try_for_each(Etcd::freeze)?;
        self.trio.assert_all_open_all(KEY)?;
        assert_eq!(rotate(&self.trio.client(1))?, 503);
        self.etcd.members.iter().try_for_each(Etcd::thaw)?;
        self.etcd.members.iter().try_for_each(Etcd::ready)?;
        let before = self.latest;
        self.rotates(1)?;
        assert!((before + 1..=before + 2).contains(&self.latest), "{before} {}", self.latest);
        Ok(())
    }

    /// The state is put into another etcd, under a server that has seen neither before.
    fn restored(&self) -> Result<()> {
        let latest = self.trio.client(0).get(&format!("transit/keys/{KEY}"))?.data()?;
        let elsewhere = Etcd::start()?.context("etcd has gone")?;
        let (site, dir) = (&self.trio.azure.site, self.trio.azure.site.dir());
        let (backup, old) = (dir.join("backup"), dir.join("replica0.hcl"));
        let token = shown(&site.secret_file("token", self.trio.azure.token.as_bytes())?);
        let from = ["--address", &self.trio.replicas.members[0].url(), "--token-file", &token];
        run(&[&["backup", "--output", &shown(&backup)], &from[..]].concat())?;
        let text = fs::read_to_string(&old)?
            .replace(&self.etcd.urls(), &elsewhere.url())
            .replace(&shown(&dir.join("replica0")), &shown(&dir.join("elsewhere")));
        let address = self.trio.replicas.addresses()[0].to_string();
        let text = text.replace(&address, &format!("127.0.0.1:{}", free_port()?));
        fs::create_dir(dir.join("elsewhere"))?;
        let new = dir.join("elsewhere.hcl");
        fs::write(&new, text)?;
        run(&["restore", "--config", &shown(&new), &shown(&backup)])?;
        let selkie = Selkie::configured(&new, 1)?;
        let client = selkie.client().with_token(&self.trio.azure.token);
        until("managed keys serve", || Ok((encrypt(&client, KEY)?.status == 200).then_some(())))?;
        let found = client.get(&format!("transit/keys/{KEY}"))?.data()?;
        assert_eq!(found["latest_version"], latest["latest_version"]);
        self.sealed.iter().try_for_each(|ciphertext| opens(&client, KEY, ciphertext))
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Runs the program.
fn run(arguments: &[&str]) -> Result<()> {
    let output = Command::new(binary()?).env_clear().args(arguments).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {} {said}", output.status);
    Ok(())
}

#[test]
fn three_replicas_that_share_an_etcd_survive_a_day() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let Some(mut day) = Day::begin(&program)? else { return Ok(()) };
    let hours = [
        day.hour("a key is rotated on one replica", Day::rotation)?,
        day.hour("a replica is killed, and comes back", Day::kill_replica)?,
        day.hour("etcd's leader is killed, and comes back", Day::kill_leader)?,
        day.hour("etcd is away", Day::outage)?,
        day.hour("a replica starts while etcd is away", Day::restart_while_away)?,
        day.hour("etcd is silent", Day::frozen)?,
        day.hour("each replica is upgraded in its place", |day| day.trio.upgrade())?,
        day.hour("the state is restored elsewhere", |day| day.restored())?,
    ];
    // Only a rotation may cost an attempt, from a replica that has not heard of it yet.
    for line in hours.iter().flat_map(|hour| &hour.repeated) {
        assert!(line.contains("version is too new"), "{line}");
    }
    let tally = day.vault.end();
    assert_eq!((tally.took.len(), &tally.lost), (tally.starts, &Vec::new()));
    assert_eq!(day.trio.balancer.turned_away(), 0);
    Ok(())
}
