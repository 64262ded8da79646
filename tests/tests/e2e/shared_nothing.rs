//! Replicas that share nothing but their configuration: a day behind a load balancer.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use selkie_tests::{Balancer, Client, Peer, Replicas, SealArguments, until};
use serde_json::{Value, json};

use crate::azure::{Azure, decrypt, encrypt};
use crate::unsealing::{Tally, Unsealing};
use crate::vault::Deployment;

/// How long Key Vault is away.
const OUTAGE: Duration = Duration::from_secs(4);

/// A declared key under Key Vault alone, beside `autounseal` under all seals.
const CLOUD: &str = "cloud";

/// Three replicas under Key Vault and a static key, behind a balancer.
struct Three {
    azure: Azure,
    replicas: Replicas,
    balancer: Balancer,
}

impl Three {
    fn new() -> Result<Self> {
        let mut azure = Azure::new()?;
        let data_dir = azure.site.dir().join("data").display().to_string();
        azure.site.extra = azure.site.extra.replace(&data_dir, Replicas::DATA_DIR);
        let k1 = azure.site.random_key("static")?;
        azure.site.seal += "  priority = 1\n";
        azure.site.extra += &format!(
            "seal \"static\" {{\n  priority = 2\n  current_key_id = \"k1\"\n  \
             current_key = \"{k1}\"\n}}\n"
        );
        azure.site.keys += &format!("key \"{CLOUD}\" {{ seals = [\"azurekeyvault\"] }}\n");
        let replicas = Replicas::start(&azure.site, 3)?;
        let balancer = Balancer::start(replicas.addresses())?;
        let three = Self { azure, replicas, balancer };
        (0..3).try_for_each(|index| three.serves(index))?;
        Ok(three)
    }

    fn client(&self, index: usize) -> Client {
        self.replicas.members[index].client().with_token(&self.azure.token)
    }

    /// Waits until a replica encrypts, and the balancer sends it clients.
    fn serves(&self, index: usize) -> Result<()> {
        let client = self.client(index);
        until("a replica serves", || Ok((encrypt(&client)?.0 == 200).then_some(())))?;
        self.balancer.admits(client.address)
    }

    /// A Vault that comes and goes under a key, and knows the balancer alone.
    fn unsealing(&self, program: &Path, key: &str) -> Result<Unsealing> {
        let seal = SealArguments {
            address: self.balancer.url(),
            token: self.azure.token.clone(),
            key: key.to_owned(),
            further: Vec::new(),
        };
        let storage = self.azure.site.dir().join(format!("vault-{key}"));
        Unsealing::start(Deployment { program: program.to_owned(), storage, seal })
    }

    fn versions(&self, key: &str) -> Result<Vec<Value>> {
        let path = format!("transit/keys/{key}");
        let each = 0..self.replicas.members.len();
        each.map(|index| Ok(self.client(index).get(&path)?.data()?["latest_version"].clone()))
            .collect()
    }

    /// Waits until all replicas have a key's version; how long they were not of one mind.
    fn agree(&self, key: &str, version: u64) -> Result<Duration> {
        let (mut first, goal) = (None, json!(version));
        until(&format!("all have version {version} of {key}"), || {
            let versions = self.versions(key)?;
            if versions.contains(&goal) {
                first.get_or_insert_with(Instant::now);
            }
            Ok(versions.iter().all(|version| *version == goal).then_some(()))
        })?;
        Ok(first.map_or(Duration::ZERO, |first| first.elapsed()))
    }

    /// What each replica encrypts, each replica opens.
    fn assert_all_open_all(&self) -> Result<()> {
        let each = || 0..self.replicas.members.len();
        let sealed: Vec<_> =
            each().map(|index| encrypt(&self.client(index))).collect::<Result<_>>()?;
        for index in each() {
            for (status, ciphertext) in &sealed {
                assert_eq!((*status, decrypt(&self.client(index), ciphertext)?), (200, 200));
            }
        }
        Ok(())
    }
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{line}")?)
}

/// A day: the replicas, and two Vaults that come and go under them.
struct Day {
    three: Three,
    /// Under all seals.
    both: Unsealing,
    /// Under Key Vault alone.
    cloud: Unsealing,
}

impl Day {
    fn begin(program: &Path) -> Result<Self> {
        let three = Three::new()?;
        let both = three.unsealing(program, "autounseal")?;
        let cloud = three.unsealing(program, CLOUD)?;
        Ok(Self { three, both, cloud })
    }

    fn tallies(&self) -> [Tally; 2] {
        [&self.both, &self.cloud].map(Unsealing::tally)
    }

    /// Something happens, and both Vaults come and go at least twice from then on; what came of it.
    fn hour(&mut self, what: &str, event: fn(&mut Self) -> Result<()>) -> Result<[Tally; 2]> {
        let before = self.tallies();
        event(self).with_context(|| what.to_owned())?;
        [&self.both, &self.cloud].iter().try_for_each(|vault| vault.rounds(2))?;
        let [both, cloud] = self.tallies();
        let [both, cloud] = [both.since(&before[0]), cloud.since(&before[1])];
        say(&format!("{what}\n  all seals: {}\n  Key Vault: {}", both.told(), cloud.told()))?;
        Ok([both, cloud])
    }

    fn rotation(&mut self) -> Result<()> {
        self.three.azure.emulator.rotate()?;
        let apart = self.three.agree("autounseal", 3)?.max(self.three.agree(CLOUD, 2)?);
        say(&format!("the replicas were not of one mind for {} ms", apart.as_millis()))?;
        self.both.moves_to("v3")?;
        self.cloud.moves_to("v2")?;
        self.three.assert_all_open_all()
    }

    fn kill(&mut self) -> Result<()> {
        self.three.replicas.members[0].kill()?;
        self.both.rounds(2)?;
        self.cloud.rounds(2)?;
        self.three.replicas.members[0].restart()?;
        self.three.serves(0)
    }

    fn outage(&mut self) -> Result<()> {
        self.three.azure.emulator.listen("closed")?;
        thread::sleep(OUTAGE);
        assert_eq!(encrypt(&self.three.client(1))?.0, 200, "to encrypt, nobody is asked");
        self.three.azure.emulator.listen("open")
    }

    /// The same program takes its own place: there is no other one yet.
    fn upgrade(&mut self) -> Result<()> {
        for index in 0..3 {
            self.three.replicas.members[index].stop()?;
            self.three.replicas.members[index].restart()?;
            self.three.serves(index)?;
        }
        Ok(())
    }

    fn new_machine(&mut self) -> Result<()> {
        let Three { replicas, balancer, .. } = &mut self.three;
        balancer.remove(replicas.addresses()[1]);
        replicas.members.remove(1).kill()?;
        let added = replicas.add()?;
        balancer.add(added)?;
        self.three.serves(2)?;
        self.three.agree("autounseal", 3)?;
        self.three.assert_all_open_all()
    }
}

#[test]
fn three_replicas_that_share_nothing_survive_a_day() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut day = Day::begin(&program)?;
    day.three.assert_all_open_all()?;
    let (_, of_the_morning) = encrypt(&day.three.client(0))?;
    let hours = [
        day.hour("the master key is rotated in Key Vault", Day::rotation)?,
        day.hour("a replica is killed, and comes back", Day::kill)?,
        day.hour("Key Vault is away for 4 s", Day::outage)?,
        day.hour("each replica is upgraded in its place", Day::upgrade)?,
        day.hour("a machine is lost, and another one takes its place", Day::new_machine)?,
    ];
    assert_eq!(decrypt(&day.three.client(2), &of_the_morning)?, 200);
    let [[rotated, rotated_cloud], [killed, killed_cloud], [both, _], later @ ..] = hours;
    // While the replicas are not of one mind, one that is behind does not know the new version.
    for line in rotated.repeated.iter().chain(&rotated_cloud.repeated) {
        assert!(line.contains("version is too new"), "{line}");
    }
    // Only a Vault under Key Vault alone may have to try again, and only while that is away.
    for hour in [killed, killed_cloud, both].iter().chain(later.iter().flatten()) {
        assert_eq!(hour.repeated, Vec::<String>::new());
    }
    for tally in [day.both.end(), day.cloud.end()] {
        assert_eq!((tally.took.len(), &tally.lost), (tally.starts, &Vec::new()));
    }
    let taken = day.three.balancer.taken();
    assert!(taken.iter().all(|(_, connections)| *connections > 0), "{taken:?}");
    assert_eq!(day.three.balancer.turned_away(), 0);
    Ok(())
}

#[test]
fn a_killed_replica_costs_a_stock_client_no_request() -> Result<()> {
    const REQUESTS: &str = "3000";
    let Some(program) = Peer::ApiClient.find()? else { return Ok(()) };
    let mut three = Three::new()?;
    let mut command = Command::new(program);
    command.env_clear().args(["-address", &three.balancer.url(), "-token", &three.azure.token]);
    command.args(["-key", "autounseal", "-requests", REQUESTS]);
    let mut load = selkie_tests::Process::start(command)?;
    for index in 0..3 {
        let before = served(&three)?;
        until("the load runs", || Ok((served(&three)? > before + 50).then_some(())))?;
        three.replicas.members[index].kill()?;
        three.replicas.members[index].restart()?;
        three.serves(index)?;
    }
    assert!(load.is_running()?, "the load was over before the last kill");
    assert_eq!(load.exit_code()?, 0);
    let said: Value = serde_json::from_str(&load.stdout().join("\n"))?;
    let load = said["load"].as_object().context(said.to_string())?;
    say(&format!("3 kills: {said}"))?;
    assert_eq!((&load["failed"], &load["requests"]), (&json!({}), &json!(3000)));
    let retries = load["retries"].as_u64().context("no retries")?;
    assert!((1..=9).contains(&retries), "each kill may cost each connection one: {said}");
    Ok(())
}

/// How many operations the replicas have counted since they were started.
fn served(three: &Three) -> Result<u64> {
    let mut sum = 0;
    for index in 0..3 {
        let text = three.client(index).get("sys/metrics")?.text();
        let counts = text.lines().filter(|line| line.starts_with("selkie_operations_total"));
        sum += counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}
