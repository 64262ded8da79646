//! Where the keys of a mount come from, and the proof of a token under them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use uuid::Uuid;

use super::key_set::{Location, NoKeys, RemoteKeys};
use super::web::{Outside, OutsideError, lock};
use super::{Claims, Compact, Expected, Unbelievable, UnusableKey, VerificationKey};

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeysFrom {
    /// They are given, in PEM.
    Given(Vec<String>),
    /// A provider publishes them; whom its TLS trusts, empty: the system's.
    Published { location: Location, ca_pem: String },
}

/// Why there is nothing to prove a token under.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error(transparent)]
    Key(#[from] UnusableKey),
    #[error(transparent)]
    Outside(#[from] OutsideError),
}

/// Why a token is not proven.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unproven {
    #[error(transparent)]
    Unbelievable(#[from] Unbelievable),
    #[error(transparent)]
    NoKeys(#[from] NoKeys),
}

/// The keys of one mount.
#[derive(Clone, Debug)]
pub(crate) enum MountKeys {
    Given(Arc<[VerificationKey]>),
    Published(Arc<RemoteKeys>),
}

/// The keys of all mounts of a method, kept for as long as where they come from does not change.
#[derive(Debug)]
pub(crate) struct KeySources {
    outside: Arc<dyn Outside>,
    by_mount: Mutex<HashMap<Uuid, (KeysFrom, MountKeys)>>,
}

impl KeySources {
    pub(crate) fn new(outside: Arc<dyn Outside>) -> Self {
        Self { outside, by_mount: Mutex::default() }
    }

    /// Makes clients for questions of other kinds.
    pub(crate) fn outside(&self) -> &dyn Outside {
        &*self.outside
    }

    /// The keys of `mount`, which come from `from`.
    pub(crate) fn of(&self, mount: Uuid, from: &KeysFrom) -> Result<MountKeys, SourceError> {
        let mut by_mount = lock(&self.by_mount);
        if let Some((_, keys)) = by_mount.get(&mount).filter(|(known, _)| known == from) {
            return Ok(keys.clone());
        }
        let keys = self.make(from)?;
        by_mount.insert(mount, (from.clone(), keys.clone()));
        Ok(keys)
    }

    /// Whether keys can come from there, as far as that is seen without asking anybody.
    pub(crate) fn check(&self, from: &KeysFrom) -> Result<(), SourceError> {
        self.make(from).map(|_keys| ())
    }

    /// What there is of a mount that is no more.
    pub(crate) fn forget(&self, mount: Uuid) {
        lock(&self.by_mount).remove(&mount);
    }

    fn make(&self, from: &KeysFrom) -> Result<MountKeys, SourceError> {
        Ok(match from {
            KeysFrom::Given(pems) => {
                let keys = pems.iter().map(|pem| VerificationKey::from_pem(pem));
                MountKeys::Given(keys.collect::<Result<_, _>>()?)
            }
            KeysFrom::Published { location, ca_pem } => {
                let web = self.outside.trusting(ca_pem)?;
                MountKeys::Published(RemoteKeys::new(location.clone(), web))
            }
        })
    }
}

impl MountKeys {
    /// Fetches them in the background, so that the first login need not wait.
    pub(crate) fn prepare(&self) {
        match self {
            Self::Given(_) => {}
            Self::Published(remote) => remote.fetch_soon(),
        }
    }

    /// The claims of `token`, if they are as `expected` at `now`. Where no issuer is expected, that
    /// of the provider is: its keys may be those of others too, as Entra's are of all tenants.
    pub(crate) async fn verify(
        &self,
        token: &str,
        expected: Expected<'_>,
        now: u64,
    ) -> Result<Claims, Unproven> {
        let token = Compact::parse(token).map_err(Unbelievable::from)?;
        let remote = match self {
            Self::Given(keys) => return Ok(token.verify(keys, &expected, now)?),
            Self::Published(remote) => remote,
        };
        let mut set = remote.for_token(&token).await?;
        let is_signed = token.check_signature(expected.algorithms, &set.keys);
        if is_signed == Err(Unbelievable::Signature) && token.key_id.is_none() {
            // It may be signed by a new key whose name it does not tell.
            set = remote.renewed().await?;
        }
        let issuers = if expected.issuers.is_empty() { &set.issuers } else { expected.issuers };
        Ok(token.verify(&set.keys, &Expected { issuers, ..expected }, now)?)
    }
}
