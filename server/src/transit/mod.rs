//! The transit engine: what Vault's `transit/` does, on keys whose ciphertexts are envelopes. It
//! knows no HTTP and no wire names; every operation takes the permit that only the policy check
//! can make.

mod changes;
mod decryption;
mod drill;
mod encryption;
mod error;
mod key;
mod keys;
mod readiness;
mod settings;
#[cfg(test)]
pub(crate) mod tests;
mod wrapping;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use selkie_crypto::Random;
use selkie_kms::ClientTag;
use tokio::time::Instant;

pub use decryption::{Decryption, DecryptionItem};
pub use drill::{DrillFault, SealDrill};
pub use encryption::{Encrypted, Encryption, EncryptionItem};
pub use error::{OtherVault, SettingError, TransitError};
pub use key::{KeySource, TransitKey, Uncounted, VersionRecord};
pub use keys::ManagedKeys;
#[cfg(test)]
pub(crate) use keys::RETURN_AFTER;
pub(crate) use keys::{LeftOut, LostVersions};
pub use settings::{KeyChanges, NewKey};

use crate::audit::Trail;
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::metrics::Metrics;
use crate::seal::Unwraps;

/// What an operation works with: one reading of the configuration, the keys, time and randomness.
#[derive(Clone)]
pub struct Transit {
    /// What the configuration file says, as of when the request came in.
    pub deployment: Arc<Deployment>,
    /// The deployment of the moment, for changes: they wait their turn, and a reload may overtake
    /// them.
    pub current: Arc<ArcSwap<Deployment>>,
    /// The managed keys.
    pub keys: Arc<ManagedKeys>,
    /// Wall time.
    pub clock: Arc<dyn Clock>,
    /// Randomness for DEKs and nonces.
    pub random: Arc<Random>,
    /// On whose behalf the KMSs are asked.
    pub client: ClientTag,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What was done with keys, for the audit log; `None` if nobody reads it.
    pub trail: Option<Arc<Trail>>,
    /// When the request is over, whatever it still has to do (invariant I10).
    pub until: Instant,
    /// What the items of a batch unwrap; `None` for a request of one item.
    pub unwraps: Option<Arc<Unwraps>>,
}

impl Transit {
    /// How long a request may take, a batch of many items included: a seal client's own patience.
    pub(crate) const REQUEST_PATIENCE: Duration = Duration::from_secs(60);

    /// The same for a batch, whose items share what they unwrap.
    #[must_use]
    pub fn for_batch(self) -> Self {
        Self { unwraps: Some(Arc::default()), ..self }
    }

    /// Notes what was done, where somebody reads it.
    pub(crate) fn note(&self, note: impl FnOnce(&Trail)) {
        if let Some(trail) = &self.trail {
            note(trail);
        }
    }

    /// Lets the DEKs go that the items of a batch have shared so far.
    pub fn forget_unwraps(&self) {
        if let Some(unwraps) = &self.unwraps {
            unwraps.forget();
        }
    }
}

impl fmt::Debug for Transit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transit").finish_non_exhaustive()
    }
}
