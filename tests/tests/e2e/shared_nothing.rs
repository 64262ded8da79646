//! Replicas that share nothing but their configuration: a day behind a load balancer.

use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use selkie_tests::{Peer, Process, Signal, until};
use serde_json::{Value, json};

use crate::trio::{Trio, encrypt, opens};
use crate::unsealing::{Tally, Unsealing};

/// How long Key Vault is away.
const OUTAGE: Duration = Duration::from_secs(4);

/// A declared key under Key Vault alone, beside `autounseal` under all seals.
const CLOUD: &str = "cloud";

fn declared() -> String {
    format!("key \"{CLOUD}\" {{ seals = [\"azurekeyvault\"] }}\n")
}

fn say(line: &str) -> Result<()> {
    Ok(writeln!(io::stderr(), "{line}")?)
}

/// A day: the replicas, and two Vaults that come and go under them.
struct Day {
    trio: Trio,
    /// Under all seals.
    both: Unsealing,
    /// Under Key Vault alone.
    cloud: Unsealing,
}

impl Day {
    fn begin(program: &Path) -> Result<Self> {
        let trio = Trio::new(&declared())?;
        let both = trio.unsealing(program, "autounseal")?;
        let cloud = trio.unsealing(program, CLOUD)?;
        Ok(Self { trio, both, cloud })
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
        self.trio.azure.emulator.rotate()?;
        let apart = self.trio.agree("autounseal", 3)?.max(self.trio.agree(CLOUD, 2)?);
        say(&format!("the replicas were not of one mind for {} ms", apart.as_millis()))?;
        self.both.moves_to("v3")?;
        self.cloud.moves_to("v2")?;
        self.trio.assert_all_open_all("autounseal")
    }

    fn kill(&mut self) -> Result<()> {
        self.trio.replicas.members[0].kill()?;
        self.both.rounds(2)?;
        self.cloud.rounds(2)?;
        self.trio.replicas.members[0].restart()?;
        self.trio.serves(0)
    }

    fn outage(&mut self) -> Result<()> {
        self.trio.azure.emulator.listen("closed")?;
        thread::sleep(OUTAGE);
        let answer = encrypt(&self.trio.client(1), "autounseal")?;
        assert_eq!(answer.status, 200, "to encrypt, nobody is asked");
        self.trio.azure.emulator.listen("open")
    }

    fn new_machine(&mut self) -> Result<()> {
        let Trio { replicas, balancer, .. } = &mut self.trio;
        balancer.remove(replicas.addresses()[1]);
        replicas.members.remove(1).kill()?;
        let added = replicas.add()?;
        balancer.add(added)?;
        self.trio.serves(2)?;
        self.trio.agree("autounseal", 3)?;
        self.trio.assert_all_open_all("autounseal")
    }
}

#[test]
fn three_replicas_that_share_nothing_survive_a_day() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut day = Day::begin(&program)?;
    day.trio.assert_all_open_all("autounseal")?;
    let of_the_morning = encrypt(&day.trio.client(0), "autounseal")?.field("ciphertext")?;
    let hours = [
        day.hour("the master key is rotated in Key Vault", Day::rotation)?,
        day.hour("a replica is killed, and comes back", Day::kill)?,
        day.hour("Key Vault is away for 4 s", Day::outage)?,
        day.hour("each replica is upgraded in its place", |day| day.trio.upgrade())?,
        day.hour("a machine is lost, and another one takes its place", Day::new_machine)?,
    ];
    opens(&day.trio.client(2), "autounseal", &of_the_morning)?;
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
    let taken = day.trio.balancer.taken();
    assert!(taken.iter().all(|(_, connections)| *connections > 0), "{taken:?}");
    assert_eq!(day.trio.balancer.turned_away(), 0);
    Ok(())
}

#[test]
fn a_killed_replica_costs_a_stock_client_no_request() -> Result<()> {
    let Some(program) = Peer::ApiClient.find()? else { return Ok(()) };
    let mut trio = Trio::new(&declared())?;
    let mut command = Command::new(program);
    command.env_clear().args(["-address", &trio.balancer.url(), "-token", &trio.azure.token]);
    command.args(["-key", "autounseal", "-load"]);
    let mut load = Process::start(command)?;
    for index in [0, 1, 2, 0, 1, 2] {
        let before = served(&trio)?;
        until("the load runs", || Ok((served(&trio)? > before + 100).then_some(())))?;
        trio.replicas.members[index].kill()?;
        trio.replicas.members[index].restart()?;
        trio.serves(index)?;
    }
    load.signal(Signal::TERM)?;
    assert_eq!(load.exit_code()?, 0);
    let said: Value = serde_json::from_str(&load.stdout().join("\n"))?;
    say(&format!("6 kills: {said}"))?;
    let load = said["load"].as_object().context(said.to_string())?;
    assert_eq!(load["failed"], json!({}));
    let retries = load["retries"].as_u64().context("no retries")?;
    assert!(retries <= 6 * 3, "a kill may cost each of three connections one: {said}");
    Ok(())
}

/// How many operations the replicas have counted since they were started.
fn served(trio: &Trio) -> Result<u64> {
    let mut sum = 0;
    for index in 0..3 {
        let text = trio.client(index).get("sys/metrics")?.text();
        let counts = text.lines().filter(|line| line.starts_with("selkie_operations_total"));
        sum += counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(sum)
}
