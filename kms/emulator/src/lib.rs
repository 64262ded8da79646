//! Plays Azure Key Vault, Managed HSM, managed identity and Entra's token endpoint on loopback, with
//! faults on demand. `CONTROL.md` describes what it understands.

mod certificates;
mod clock;
mod control;
mod emulator;
mod entra;
mod faults;
mod identity;
mod key_vault;
mod operation;
mod reply;
mod serve;
mod start;
mod stats;
mod tokens;
mod world;

pub use certificates::CertificateError;
pub use start::{ContentError, Options, Running, StartError, Welcome, start};
pub use stats::Totals;

/// The subscription in resource ids.
const SUBSCRIPTION: &str = "7e3a0000-0000-4000-8000-00000000005b";
