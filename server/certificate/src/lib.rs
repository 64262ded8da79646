//! What a client certificate says, and whom it names: parsing, the rules of declared clients, and
//! the constraints of Vault's `cert` auth method. No I/O, no clock; whether a certificate is genuine
//! is for the handshake to say, this only reads one that was verified.

mod certificate;
mod fingerprint;
mod glob;
mod revocation;
mod role;
mod rule;
mod spiffe;

pub use certificate::{
    ClientCertificate, Extension, LONGEST_CHAIN, Listed, Malformed, issuer_not_after,
};
pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use glob::Glob;
pub use revocation::{Edition, RevocationFacts};
pub use role::{InvalidExtension, RequiredExtension, Role};
pub use rule::Rule;
pub use spiffe::{InvalidSpiffeId, SpiffeId};
