//! A master key in Azure Key Vault or Managed HSM, reached through Entra.

mod diagnosis;
pub mod identity;
mod on_the_way;
mod settings;

pub use diagnosis::{Diagnosis, Hop, Outcome};
pub use settings::{AzureSettings, ClientCertificate, Identity, UserAssignedIdentity};
