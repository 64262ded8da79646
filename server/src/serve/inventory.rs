use std::fmt;

use selkie_config::{ClientName, Config};
use selkie_crypto::SealName;
use tracing::info;

use crate::deployment::Deployment;
use crate::seal::{Seal, Trust};
use crate::transit::{TransitKey, Uncounted};

/// What a configuration comes to: what the start-up log tells, and `selkie validate` prints.
#[derive(Debug)]
pub struct Inventory {
    listeners: Vec<String>,
    seals: Vec<SealName>,
    clients: Vec<ClientName>,
}

impl Inventory {
    /// Notes what `config` names, before it is put to work.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let listeners = config.listeners.iter().map(|listener| {
            let scheme = if listener.tls.is_some() { "https" } else { "http" };
            let endpoint = super::EndpointName::from(listener.endpoint.clone());
            format!("{scheme}, {endpoint}")
        });
        Self {
            listeners: listeners.collect(),
            seals: config.seals.iter().map(|seal| seal.name.clone()).collect(),
            clients: config.clients.iter().map(|client| client.name.clone()).collect(),
        }
    }

    /// Logs the seals and the declared keys as they are in `deployment`.
    pub fn log(&self, deployment: &Deployment) {
        for seal in self.seals(deployment) {
            info!(
                seal = %seal.name(),
                kek = %CurrentKek(seal),
                keks = %KekIds(seal),
                trust = %SealTrust(seal),
                trust_after_restart = seal.connection.lasting_trust(),
                disabled = seal.disabled,
                "seal connected"
            );
        }
        for (mount, key) in declared_keys(deployment) {
            info!(
                key = %format_args!("{mount}/{}", key.name),
                version = %Version(&key),
                seals = %SealNames(&key),
                "key declared"
            );
        }
        info!(clients = self.clients.len(), "clients declared");
    }

    /// A line for each listener, seal, key and client.
    #[must_use]
    pub fn lines(&self, deployment: &Deployment) -> Vec<String> {
        let listeners = self.listeners.iter().map(|listener| format!("listener  {listener}"));
        let seals = self.seals(deployment).map(|seal| {
            let disabled = if seal.disabled { ", disabled" } else { "" };
            let trust = match seal.connection.is_fixed() {
                true => String::new(),
                false => format!("; while its KMS is away: {}", seal.connection.lasting_trust()),
            };
            format!("seal      {}: {}{disabled}{trust}", seal.name(), KekIds(seal))
        });
        let keys = declared_keys(deployment).map(|(mount, key)| {
            let version = Version(&key);
            format!("key       {mount}/{}: version {version} under {}", key.name, SealNames(&key))
        });
        let clients = self.clients.iter().map(|client| format!("client    {client}"));
        listeners.chain(seals).chain(keys).chain(clients).collect()
    }

    fn seals<'d>(&self, deployment: &'d Deployment) -> impl Iterator<Item = &'d Seal> {
        self.seals.iter().filter_map(|name| deployment.seals.find(name))
    }
}

fn declared_keys(
    deployment: &Deployment,
) -> impl Iterator<Item = (String, std::sync::Arc<TransitKey>)> {
    deployment.mounts.iter().flat_map(|mount| {
        let names = deployment.declared_names(&mount.path);
        names.filter_map(|name| {
            let key = deployment.declared_key(&mount.path, name.as_str())?;
            Some((mount.path.to_string(), key))
        })
    })
}

/// The version that is wrapped under.
struct CurrentKek<'s>(&'s Seal);

impl fmt::Display for CurrentKek<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.known {
            Some(known) => write!(f, "{}", known.keks.current().id),
            None => f.write_str("none yet"),
        }
    }
}

/// Which of the conditions of invariant I2 holds.
struct SealTrust<'s>(&'s Seal);

impl fmt::Display for SealTrust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = self.0.known.as_ref().and_then(|known| known.current_trust());
        f.write_str(trust.map_or("none yet: encrypts once the KMS has confirmed it", Trust::as_str))
    }
}

/// A key's version, if its seals have been counted.
struct Version<'k>(&'k TransitKey);

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.uncounted.is_empty() {
            true => write!(f, "{}", self.0.latest),
            false => f.write_str("not known yet"),
        }
    }
}

/// The versions of a master key, oldest first.
struct KekIds<'s>(&'s Seal);

impl fmt::Display for KekIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(known) = &self.0.known else {
            return f.write_str("not described yet");
        };
        let keks = &known.keks;
        for (index, version) in keks.versions().iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let current = if version.id == keks.current().id { " (current)" } else { "" };
            write!(f, "{separator}{}{current}", version.id)?;
        }
        Ok(())
    }
}

/// The seals that the latest version of a key wraps for.
struct SealNames<'k>(&'k TransitKey);

impl fmt::Display for SealNames<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latest = self.0.versions.get(&self.0.latest);
        for (index, kek) in latest.iter().flat_map(|record| &record.keks).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{}", kek.seal)?;
        }
        // Of a key that cannot be counted yet, the seals that it waits for.
        for (index, uncounted) in self.0.uncounted.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let (Uncounted::Undescribed(seal) | Uncounted::Unlisted(seal)) = uncounted;
            write!(f, "{separator}{seal}")?;
        }
        Ok(())
    }
}
