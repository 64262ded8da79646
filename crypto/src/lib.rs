//! Selkie's cryptography: the secret types, AES-256-GCM, the wrapping of data-encryption keys, the
//! self-contained envelope and the `vault:v<N>:` text around it. It is the one place that names a
//! cipher. It will never do I/O, await, read a clock, write a log, or keep a secret in a type that
//! can be cloned or printed.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod aead;
mod audit_key;
pub mod base64;
mod ciphertext;
mod digest;
pub mod envelope;
mod kek;
mod mac;
mod name;
mod pin_key;
mod public_key;
mod random;
mod rsa;
mod secret;
mod state;
pub mod stream;
mod version;
mod webhook_key;
mod wrapped;

pub use audit_key::AuditKey;
pub use ciphertext::{Ciphertext, CiphertextError};
pub use digest::sha256;
pub use envelope::{DecryptError, Envelope};
pub use kek::{Kek, UnwrapFailed, WRAPPED_DEK_BYTES};
pub use name::{KekId, NameError, SealName};
pub use pin_key::PinKey;
pub use public_key::PublicKey;
pub use random::{Random, RandomError, os_random};
pub use rsa::{RsaPublicKey, RsaPublicKeyError, WrapFailed};
pub use secret::{OriginKey, Plaintext, RecipientSecret};
pub use selkie_memory::PageError;
pub use state::{
    OpenedRecord, RecordRefused, SEALED_OVERHEAD_BYTES, SealRecordError, StateKey, StateSum,
};
pub use version::KeyVersion;
pub use webhook_key::WebhookKey;
pub use wrapped::{unwrap_response, wrap_response};

/// How a DEK is wrapped for one recipient, by its JOSE name (RFC 7518 §4.1), and what
/// [`Recipient::wrapped_dek`](envelope::Recipient::wrapped_dek) then is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WrapAlgorithm {
    /// AES key wrap (RFC 3394) under a 256-bit KEK: 40 bytes.
    A256Kw,
    /// RSAES-OAEP with SHA-256 and MGF1 with SHA-256 (RFC 8017 §7.1), empty label: as many bytes as
    /// the modulus has.
    RsaOaep256,
    /// AES-256-GCM under a 256-bit KEK (RFC 7518 §4.7): 12 bytes of nonce, 32 of ciphertext, 16 of
    /// tag.
    A256GcmKw,
    /// Ephemeral Diffie-Hellman with Concat KDF and AES key wrap (RFC 7518 §4.6): the ephemeral
    /// public key (65 bytes, uncompressed, for P-256; 32 for X25519), then 40 bytes.
    EcdhEsA256Kw,
    /// Another server's transit key: that server's own ciphertext, as ASCII (`vault:v1:…`).
    Transit,
}

impl WrapAlgorithm {
    /// The value of the JOSE header parameter `alg`.
    #[must_use]
    pub const fn jose_name(self) -> &'static str {
        match self {
            Self::A256Kw => "A256KW",
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::A256GcmKw => "A256GCMKW",
            Self::EcdhEsA256Kw => "ECDH-ES+A256KW",
            Self::Transit => "vault-transit",
        }
    }

    /// The algorithm of this name.
    #[must_use]
    pub fn from_jose_name(name: &str) -> Option<Self> {
        [Self::A256Kw, Self::RsaOaep256, Self::A256GcmKw, Self::EcdhEsA256Kw, Self::Transit]
            .into_iter()
            .find(|algorithm| algorithm.jose_name() == name)
    }
}
