//! What a configuration comes to, in lines for people. It is noted before the parts of the
//! configuration are given away.

mod key_vault;

use std::fmt;

use selkie_access::{KeyName, MountPath};
use selkie_config::{ClientName, Config, EtcdStorage, Storage};
use selkie_crypto::SealName;
use selkie_kms::KekState;
use tracing::info;

use self::key_vault::KeyVaultSeal;
use crate::deployment::Deployment;
use crate::seal::{Seal, Trust};
use crate::transit::{TransitKey, Uncounted};

/// What a configuration comes to: what the start-up log tells, and `selkie validate` prints.
#[derive(Debug)]
pub struct Inventory {
    listeners: Vec<String>,
    storage: Option<String>,
    seals: Vec<(SealName, Option<KeyVaultSeal>)>,
    keys: Vec<NamedKey>,
    clients: Vec<ClientName>,
}

/// A declared key and the seals that it lists.
#[derive(Debug)]
struct NamedKey {
    mount: MountPath,
    name: KeyName,
    seals: Vec<SealName>,
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
        let seals = config.seals.iter();
        let seals = seals.map(|seal| (seal.name.clone(), KeyVaultSeal::of(&seal.kind)));
        let keys = config.keys.iter().map(|key| NamedKey {
            mount: key.mount.clone(),
            name: key.name.clone(),
            seals: key.seals.clone(),
        });
        Self {
            listeners: listeners.chain(metrics_listener(config)).collect(),
            storage: config.storage.as_ref().map(storage),
            seals: seals.collect(),
            keys: keys.collect(),
            clients: config.clients.iter().map(|client| client.name.clone()).collect(),
        }
    }

    /// Logs the seals and the declared keys as they are in `deployment`.
    pub fn log(&self, deployment: &Deployment) {
        self.log_seals(deployment);
        for (named, key) in self.keys(deployment) {
            info!(
                key = %format_args!("{}/{}", named.mount, named.name),
                version = %Version(deployment, named, &key),
                seals = %Names(&named.seals),
                "key declared"
            );
        }
        if let Some(storage) = &self.storage {
            info!(storage, "storage declared");
        }
        info!(clients = self.clients.len(), "clients declared");
    }

    fn log_seals(&self, deployment: &Deployment) {
        for (seal, in_key_vault) in self.seals(deployment) {
            let after_restart = match in_key_vault {
                Some(stanza) => stanza.after_restart(&seal.connection),
                None => seal.connection.lasting_trust(),
            };
            info!(
                seal = %seal.name(),
                kek = seal.known.as_ref().map(|known| known.keks.current().id.as_str()),
                keks = seal.known.is_some().then(|| tracing::field::display(KekIds(seal))),
                trust = %SealTrust(seal),
                trust_after_restart = after_restart,
                disabled = seal.disabled,
                "seal connected"
            );
            if let Some(stanza) = in_key_vault {
                stanza.log(seal.name());
            }
        }
        for seal in deployment.seals.revoked() {
            info!(seal = %seal.name, "seal revoked: it opens nothing any more");
        }
    }

    /// A line for each listener, key and client, and one or more for each seal.
    #[must_use]
    pub fn lines(&self, deployment: &Deployment) -> Vec<String> {
        let listeners = self.listeners.iter().map(|listener| format!("listener  {listener}"));
        let seals = self.seals(deployment).flat_map(|(seal, in_key_vault)| {
            let disabled = if seal.disabled { ", disabled" } else { "" };
            let key = match in_key_vault {
                Some(stanza) => stanza.url().to_owned(),
                None => KekIds(seal).to_string(),
            };
            let facts = in_key_vault.map(|stanza| stanza.lines(&seal.connection));
            let facts = facts.into_iter().flatten();
            let facts = facts.map(|(title, fact)| format!("          {title:<9} {fact}"));
            let first = format!("seal      {}: {key}{disabled}", seal.name());
            std::iter::once(first).chain(facts).collect::<Vec<_>>()
        });
        let keys = self.keys(deployment).map(|(named, key)| {
            let NamedKey { mount, name, seals } = named;
            let (version, seals) = (Version(deployment, named, &key), Names(seals));
            let takeover = deployment.takeovers.find(mount, name);
            let takeover = takeover.map(|old| format!(", takes over {}", old.address));
            let takeover = takeover.unwrap_or_default();
            match version.is_awaited() {
                false => {
                    format!("key       {mount}/{name}: version {version} under {seals}{takeover}")
                }
                true => {
                    format!("key       {mount}/{name}: under {seals}, version {version}{takeover}")
                }
            }
        });
        let clients = self.clients.iter().map(|client| format!("client    {client}"));
        let storage = self.storage.iter().map(|storage| format!("storage   {storage}"));
        let revoked = deployment.seals.revoked().iter();
        let seals = seals.chain(revoked.map(|seal| format!("seal      {}: revoked", seal.name)));
        listeners.chain(storage).chain(seals).chain(keys).chain(clients).collect()
    }

    fn seals<'s>(
        &'s self,
        deployment: &'s Deployment,
    ) -> impl Iterator<Item = (&'s Seal, Option<&'s KeyVaultSeal>)> {
        let found = |name| deployment.seals.find(name);
        self.seals.iter().filter_map(move |(name, stanza)| Some((found(name)?, stanza.as_ref())))
    }

    fn keys<'s>(
        &'s self,
        deployment: &'s Deployment,
    ) -> impl Iterator<Item = (&'s NamedKey, std::sync::Arc<TransitKey>)> {
        let found = |named: &NamedKey| deployment.declared_key(&named.mount, named.name.as_str());
        self.keys.iter().filter_map(move |named| Some((named, found(named)?)))
    }
}

fn metrics_listener(config: &Config) -> Option<String> {
    let metrics = config.telemetry.metrics?;
    Some(format!("http, {}, metrics only, no token needed", metrics.address))
}

fn storage(storage: &Storage) -> String {
    match storage {
        Storage::InMemory => "inmem".to_owned(),
        Storage::Sled(sled) => format!("sled, {}", sled.path.display()),
        Storage::Etcd(etcd) => format!("etcd, {}, {}", etcd.endpoints.join(" "), etcd_access(etcd)),
    }
}

fn etcd_access(etcd: &EtcdStorage) -> String {
    let user = etcd.credentials.as_ref().map(|known| format!(" as {:?}", known.username));
    let certificate = etcd
        .client_certificate
        .as_ref()
        .map(|files| format!(" with the certificate {}", files.cert_file.display()));
    let [user, certificate] = [user, certificate].map(Option::unwrap_or_default);
    format!("under {:?}{user}{certificate}", etcd.prefix)
}

/// Which of the conditions of invariant I2 holds.
struct SealTrust<'s>(&'s Seal);

impl fmt::Display for SealTrust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trust = self.0.known.as_ref().and_then(|known| known.current_trust());
        f.write_str(trust.map_or("none yet: encrypts once the KMS has confirmed it", Trust::as_str))
    }
}

/// A key's version, or what it waits for.
struct Version<'k>(&'k Deployment, &'k NamedKey, &'k TransitKey);

impl Version<'_> {
    fn awaited(&self) -> Option<&Uncounted> {
        let Self(deployment, NamedKey { mount, name, .. }, key) = self;
        key.uncounted.first().filter(|_| !deployment.states_version(mount, name))
    }

    fn is_awaited(&self) -> bool {
        self.awaited().is_some()
    }
}

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.awaited() {
            None => write!(f, "{}", self.2.latest),
            Some(Uncounted::Undescribed(seal)) => {
                write!(f, "known once the KMS of {seal} has listed the versions of its key")
            }
            Some(Uncounted::Unlisted(seal)) => {
                write!(f, "known once the KMS of {seal} lets us list the versions of its key")
            }
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
            let state = if version.state == KekState::Disabled { " (disabled)" } else { "" };
            write!(f, "{separator}{}{current}{state}", version.id)?;
        }
        Ok(())
    }
}

/// Seals by their names.
struct Names<'s>(&'s [SealName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, seal) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{seal}")?;
        }
        Ok(())
    }
}
