//! A master key in Azure Key Vault or Managed HSM, reached through Entra.

mod at_hand;
mod check;
mod classify;
mod describe;
mod diagnosis;
pub mod identity;
mod key_facts;
mod key_id;
mod key_vault;
mod on_the_way;
mod operation;
mod outcome;
mod settings;
mod setup;
#[cfg(test)]
mod tests;
mod transport;

pub use check::{Finding, Step, Warning};
pub use diagnosis::{Diagnosis, Hop, Outcome};
pub use identity::WallClock;
pub use key_vault::AzureKeyVault;
pub use settings::{AzureSettings, ClientCertificate, Identity, UserAssignedIdentity};
pub use setup::{AzureSetupError, RevocableCredential};
