//! Selkie's cryptography: the secret types, AES-256-GCM, the wrapping of data-encryption keys, the
//! self-contained envelope and the `vault:v<N>:` text around it. It is the one place that names a
//! cipher. It will never do I/O, await, read a clock, write a log, or keep a secret in a type that
//! can be cloned or printed.
//!
//! The invariants that comments cite as I1 to I10 are defined in `docs/design.md`, under
//! "Invariants", each with the tests that check it.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod aead;
mod audit_key;
pub mod base64;
mod ciphertext;
mod digest;
mod ec;
pub mod envelope;
mod fingerprint;
mod kek;
mod mac;
mod name;
mod pem;
mod pin_key;
mod public_key;
mod random;
mod rsa;
mod secret;
mod shamir;
mod state;
pub mod stream;
#[cfg(test)]
mod tests;
mod version;
mod webhook_key;
mod wrap_algorithm;
mod wrapped;

pub use audit_key::AuditKey;
pub use ciphertext::{Ciphertext, CiphertextError};
pub use digest::sha256;
pub use ec::{
    EcCurve, EcPrivateKey, EcPrivateKeyError, EcPublicKey, EcPublicKeyError, PrivateKeyDer,
    ProtectError, UnprotectError,
};
pub use envelope::{DecryptError, Envelope};
pub use fingerprint::KeyFingerprint;
pub use kek::{Kek, UnwrapFailed, WRAPPED_DEK_BYTES};
pub use name::{KekId, NameError, SealName};
pub use pin_key::PinKey;
pub use public_key::{PublicKey, PublicKeyError};
pub use random::{Random, RandomError, os_random};
pub use rsa::{RsaPublicKey, RsaPublicKeyError, WrapFailed};
pub use secret::{OriginKey, Plaintext, RecipientSecret};
pub use selkie_memory::PageError;
pub use state::{
    OpenedRecord, RecordRefused, SEALED_OVERHEAD_BYTES, SealRecordError, StateKey, StateSum,
};
pub use version::KeyVersion;
pub use webhook_key::WebhookKey;
pub use wrap_algorithm::{LONGEST_TRANSIT_CIPHERTEXT, WrapAlgorithm};
pub use wrapped::{unwrap_response, wrap_response};
