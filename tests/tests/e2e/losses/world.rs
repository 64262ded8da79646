//! A Vault, its unsealer, and all that this stands on.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Balancer, Client, Emulator, Peer, Replicas, SealArguments, Selkie, Site, SoftHsm,
    UpstreamVault, VaultCore, until,
};
use serde_json::{Value, json};

use super::Fate;
use crate::azure::{encrypt, stanza};
use crate::vault::{Deployment, SECRET};

/// So long a Vault that has started is watched before it counts as one that stays sealed; one that
/// unseals needs a tenth of it.
const WATCHED: Duration = Duration::from_secs(10);
/// The same where it is expected to unseal, which bounds a failing test.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a world is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Key Vaults, each a seal of its own.
    pub(super) regions: usize,
    /// Selkies that share nothing but their configuration.
    pub(super) replicas: usize,
    /// The transit key that the Vault is sealed by.
    pub(super) key: &'static str,
    /// Adds to the configuration, and brings what stands behind it.
    pub(super) further: fn(&mut Site) -> Result<Props>,
    /// How a key is made through the API that is not declared.
    pub(super) settings: fn() -> Value,
}

/// What stands behind further seals.
#[derive(Debug, Default)]
pub(super) struct Props {
    /// A Vault with a transit key.
    pub(super) upstream: Option<UpstreamVault>,
    /// An HSM with an AES key.
    pub(super) hsm: Option<SoftHsm>,
}

/// One Key Vault, one Selkie, one declared key.
pub(super) const PLAIN: Plan = Plan {
    regions: 1,
    replicas: 1,
    key: "autounseal",
    further: |_| Ok(Props::default()),
    settings: || json!({}),
};

pub(super) struct World {
    pub(super) regions: Vec<Emulator>,
    pub(super) replicas: Replicas,
    pub(super) site: Site,
    pub(super) props: Props,
    /// Whoever may do everything.
    pub(super) token: String,
    balancer: Balancer,
    deployment: Deployment,
    root: String,
}

impl World {
    /// All well, and a Vault that has been initialised and stopped.
    pub(super) fn new(plan: Plan) -> Result<Self> {
        let program = Peer::VaultCore.find()?.context("no Vault core")?;
        let mut site = Site::new()?;
        let regions: Vec<_> = (0..plan.regions).map(region).collect::<Result<_>>()?;
        declare(&mut site, &regions)?;
        let token = site.client("operator", &["root"], "")?;
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        let seal_token = site.client("vault", &["seal"], "period = \"1h\"")?;
        let props = (plan.further)(&mut site)?;
        let replicas = Replicas::start(&site, plan.replicas)?;
        let balancer = Balancer::start(replicas.addresses())?;
        let seal = SealArguments {
            address: balancer.url(),
            token: seal_token,
            key: plan.key.to_owned(),
            further: Vec::new(),
        };
        let deployment = Deployment { program, storage: site.dir().join("vault"), seal };
        let root = String::new();
        let mut world = Self { regions, site, replicas, props, token, balancer, deployment, root };
        world.serves_all()?;
        if plan.key != "autounseal" {
            let (path, settings) = (format!("transit/keys/{}", plan.key), (plan.settings)());
            until("a key can be made", || {
                Ok((world.operator(0).put(&path, &settings)?.status < 300).then_some(()))
            })?;
        }
        world.root = world.deployment.with_secret()?;
        Ok(world)
    }

    fn serves_all(&self) -> Result<()> {
        (0..self.replicas.members.len()).try_for_each(|index| self.serves(index))
    }

    /// Waits until a replica encrypts, and the balancer sends it clients.
    pub(super) fn serves(&self, index: usize) -> Result<()> {
        let client = self.operator(index);
        until("a replica serves", || Ok((encrypt(&client)?.0 == 200).then_some(())))
            .with_context(|| self.replicas.members[index].log())?;
        self.balancer.admits(client.address)
    }

    /// Whoever may do everything, at one of the replicas.
    pub(super) fn operator(&self, index: usize) -> Client {
        self.replicas.members[index].client().with_token(&self.token)
    }

    /// Where a replica keeps what it learned.
    pub(super) fn data_dir(&self, index: usize) -> PathBuf {
        self.site.dir().join(format!("replica{index}"))
    }

    /// Starts a replica again that was stopped or killed.
    pub(super) fn revive(&mut self, index: usize) -> Result<()> {
        self.replicas.members[index].restart()
    }

    /// What the Vault shows its unsealer.
    pub(super) fn seal_token(&self) -> &str {
        &self.deployment.seal.token
    }

    /// Another server has the name of the first one from now on.
    pub(super) fn takes_the_place(&mut self, other: Selkie) -> Result<()> {
        let address = other.targets.first().context("no listener")?.address;
        self.balancer.remove(self.replicas.addresses()[0]);
        self.replicas.members.push(other);
        self.balancer.add(address)
    }

    /// A Vault that runs.
    pub(super) fn vault(&self) -> Result<VaultCore> {
        let vault = self.known(self.deployment.start()?);
        vault.unsealed()?;
        self.assert_serves(&vault)?;
        Ok(vault)
    }

    fn known(&self, vault: VaultCore) -> VaultCore {
        VaultCore { client: vault.client.with_token(&self.root), ..vault }
    }

    /// It reads and writes.
    pub(super) fn assert_serves(&self, vault: &VaultCore) -> Result<()> {
        ensure!(vault.read_secret()? == SECRET, "another secret");
        let written = vault.client.put("kv/other", &json!({ "value": "new" }))?;
        ensure!(written.status == 204, "{}", written.text());
        Ok(())
    }

    /// What becomes of a Vault that starts now, how soon, and the Vault if it is there.
    pub(super) fn restarted(&self, expected: Fate) -> Result<(Fate, Duration, Option<VaultCore>)> {
        let begun = Instant::now();
        let Ok(vault) = self.deployment.start() else {
            return Ok((Fate::Exits, begun.elapsed(), None));
        };
        let (vault, up) = (self.known(vault), Instant::now());
        let watched = if expected == Fate::Unseals { PATIENCE } else { WATCHED };
        while up.elapsed() < watched {
            if vault.client.get("sys/health")?.status == 200 {
                let took = begun.elapsed();
                self.assert_serves(&vault)?;
                return Ok((Fate::Unseals, took, Some(vault)));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok((Fate::StaysSealed, begun.elapsed(), Some(vault)))
    }

    /// How long it takes from the beginning of the cure until the Vault serves. One that has ended is
    /// started again and again, as a service manager would; and at the end a new start goes as ever.
    pub(super) fn comes_back(
        &mut self,
        mend: fn(&mut Self) -> Result<()>,
        fate: Fate,
        vault: Option<VaultCore>,
    ) -> Result<Duration> {
        let begun = Instant::now();
        mend(self).context("the cure")?;
        let vault = match vault {
            Some(vault) => vault,
            None => {
                let started = || Ok(self.deployment.start().ok());
                self.known(until("a Vault stays up", started)?)
            }
        };
        vault.unsealed().with_context(|| self.words())?;
        let took = begun.elapsed();
        self.assert_serves(&vault)?;
        drop(vault);
        self.deployment.assert_comes_up_by_itself(&self.root).context("after the cure")?;
        Ok(if fate == Fate::Unseals { Duration::ZERO } else { took })
    }

    fn words(&self) -> String {
        let logs = self.replicas.members.iter().map(|one| {
            let lines = one.process.stderr();
            lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
        });
        logs.collect::<Vec<_>>().join("\n--\n")
    }

    /// Past the test runner.
    pub(super) fn say(&self, line: &str) -> Result<()> {
        Ok(writeln!(io::stderr(), "{line}")?)
    }
}

/// A Key Vault with a key of its own. Making that takes as long as everything else together, so it
/// is made once.
fn region(index: usize) -> Result<Emulator> {
    static OBJECTS: [OnceLock<Value>; NAMES.len()] = [const { OnceLock::new() }; NAMES.len()];
    let objects = OBJECTS.get(index).context("no such region")?;
    if objects.get().is_none() {
        let made = Emulator::new()?.control("GET", "state", &Value::Null)?;
        objects.get_or_init(|| made);
    }
    Emulator::with(objects.get())
}

const NAMES: [&str; 3] = ["weu", "neu", "suk"];

/// The seals of the regions, and what makes their pins believed after a restart.
fn declare(site: &mut Site, regions: &[Emulator]) -> Result<()> {
    let local_key = site.random_key("local")?;
    site.extra = format!("data_dir = \"{}\"\nlocal_key = \"{local_key}\"\n", Replicas::DATA_DIR);
    for (index, (emulator, name)) in regions.iter().zip(NAMES).enumerate() {
        let fields =
            format!("  name = \"{name}\"\n  priority = {}\n", index + 1) + &stanza(emulator);
        match index {
            0 => (site.seal_type, site.seal) = ("azurekeyvault", fields),
            _ => site.extra += &format!("seal \"azurekeyvault\" {{\n{fields}}}\n"),
        }
    }
    Ok(())
}

/// Takes a directory away with all that is in it, and puts an empty one into its place.
pub(super) fn emptied(dir: &std::path::Path) -> Result<()> {
    fs::remove_dir_all(dir)?;
    Ok(fs::create_dir(dir)?)
}
