//! A transit key of another server (Vault, OpenBao or another Selkie) as a master key.
//!
//! [`TransitClient`] speaks to that server with the good manners of Vault's own client.
//! What the other server sees are DEKs, never what is
//! encrypted under them.

mod body;
mod check;
mod classify;
mod client;
mod diagnosis;
mod key_version;
mod kms;
mod names;
mod outcome;
mod redirect;
mod renewal;
mod settings;
#[cfg(test)]
mod tests;
mod token;

pub use check::{TransitFinding, TransitStep, TransitWarning};
pub use client::{TransitClient, UpstreamKey};
pub use diagnosis::{TransitDiagnosis, TransitHop, TransitOutcome};
pub use kms::{InvalidKeyIdPrefix, TransitKms};
pub use names::{TransitKeyName, TransitMountPath};
pub use renewal::TokenStanding;
pub use settings::{TokenSource, TransitSettings, TransitSetupError};
