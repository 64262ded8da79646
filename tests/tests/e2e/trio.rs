//! Three replicas under Key Vault and a static key, behind a balancer.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use selkie_tests::{Answer, Balancer, Client, Replicas, SealArguments, until};
use serde_json::{Value, json};

use crate::azure::Azure;
use crate::unsealing::Unsealing;
use crate::vault::Deployment;

/// The replicas, and everything that they stand on.
pub(crate) struct Trio {
    pub(crate) replicas: Replicas,
    pub(crate) azure: Azure,
    pub(crate) balancer: Balancer,
}

impl Trio {
    /// With the declared key `autounseal` under both seals, and this in their configuration.
    pub(crate) fn new(further: &str) -> Result<Self> {
        let mut azure = Azure::new()?;
        let data_dir = azure.site.dir().join("data").display().to_string();
        azure.site.extra = azure.site.extra.replace(&data_dir, Replicas::DATA_DIR);
        let k1 = azure.site.random_key("static")?;
        azure.site.seal += "  priority = 1\n";
        azure.site.extra += &format!(
            "seal \"static\" {{\n  priority = 2\n  current_key_id = \"k1\"\n  \
             current_key = \"{k1}\"\n}}\n{further}"
        );
        let replicas = Replicas::start(&azure.site, 3)?;
        let balancer = Balancer::start(replicas.addresses())?;
        let trio = Self { azure, replicas, balancer };
        (0..3).try_for_each(|index| trio.serves(index))?;
        Ok(trio)
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        self.replicas.members[index].client().with_token(&self.azure.token)
    }

    /// Waits until a replica encrypts, and the balancer sends it clients.
    pub(crate) fn serves(&self, index: usize) -> Result<()> {
        let client = self.client(index);
        let encrypts = || Ok((encrypt(&client, "autounseal")?.status == 200).then_some(()));
        until("a replica serves", encrypts)?;
        self.balancer.admits(client.address)
    }

    /// A Vault that comes and goes under a key, and knows the balancer alone.
    pub(crate) fn unsealing(&self, program: &Path, key: &str) -> Result<Unsealing> {
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
        self.each(|client| Ok(client.get(&path)?.json()["data"]["latest_version"].clone()))
    }

    /// Waits until all replicas have a key's version; how long they were not of one mind.
    pub(crate) fn agree(&self, key: &str, version: u64) -> Result<Duration> {
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
    pub(crate) fn assert_all_open_all(&self, key: &str) -> Result<()> {
        for ciphertext in self.each(|client| encrypt(client, key)?.field("ciphertext"))? {
            self.each(|client| opens(client, key, &ciphertext))?;
        }
        Ok(())
    }

    /// Asks all replicas the same.
    pub(crate) fn each<T>(&self, ask: impl Fn(&Client) -> Result<T>) -> Result<Vec<T>> {
        (0..self.replicas.members.len()).map(|index| ask(&self.client(index))).collect()
    }

    /// Puts each replica's program in its own place: there is no other one yet.
    pub(crate) fn upgrade(&mut self) -> Result<()> {
        for index in 0..self.replicas.members.len() {
            self.replicas.members[index].stop()?;
            self.replicas.members[index].restart()?;
            self.serves(index)?;
        }
        Ok(())
    }
}

/// What a replica answers to an encrypt.
pub(crate) fn encrypt(client: &Client, key: &str) -> Result<Answer> {
    client.put(&format!("transit/encrypt/{key}"), &json!({ "plaintext": "c2VjcmV0" }))
}

/// Decrypts what [`encrypt`] made.
///
/// # Errors
///
/// If the replica refuses.
pub(crate) fn opens(client: &Client, key: &str, ciphertext: &str) -> Result<()> {
    let body = json!({ "ciphertext": ciphertext });
    let plaintext = client.put(&format!("transit/decrypt/{key}"), &body)?.field("plaintext")?;
    assert_eq!(plaintext, "c2VjcmV0");
    Ok(())
}
