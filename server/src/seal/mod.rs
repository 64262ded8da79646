//! The configured master keys ("seals"): what is known of each and how that is learned while the
//! server runs, which of them a key has, what wraps for them, and the order in which they are asked
//! to unwrap.

mod alarm;
mod azure;
mod breaker;
mod canary;
mod connection;
mod decrypting;
mod error;
mod examination;
mod health;
mod known;
mod learning;
mod pin;
mod pkcs11;
mod probe;
mod provider;
mod round_trip;
mod seals;
#[cfg(test)]
pub(crate) mod tests;
mod transit;
mod unwraps;

use selkie_crypto::{KekId, SealName};

pub(crate) use connection::LastAnswer;
pub use connection::{Connection, Setup};
pub(crate) use decrypting::{Opened, UNWRAP_PATIENCE};
pub use error::{Contradiction, SealError, SealFault};
pub use examination::{Examined, Examiner, Finding, Report, Step};
pub use health::{Health, Standing};
pub use known::{Known, Source, Trust};
pub(crate) use known::{days_left, state_at};
pub use learning::Learner;
pub use pin::{PinError, PinFile, Pinned};
pub(crate) use pkcs11::launcher;
pub(crate) use probe::Probe;
pub use provider::{Keeping, ProviderError, Target, connect};
pub(crate) use seals::WRAP_PATIENCE;
pub use seals::{Seal, SealCall, Seals};
pub(crate) use transit::settings as transit_settings;
pub use unwraps::Unwraps;

/// Names of seals, as the log tells them.
pub(crate) fn listed(seals: &[SealName]) -> String {
    let names: Vec<_> = seals.iter().map(SealName::as_str).collect();
    names.join(", ")
}

/// One version of one seal's master key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KekRef {
    /// The seal.
    pub seal: SealName,
    /// The version, by the KMS's own id.
    pub kek: KekId,
}
