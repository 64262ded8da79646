//! Elliptic-curve master keys: a DEK is wrapped under the public key alone, by ephemeral
//! Diffie-Hellman, and unwrapped by whoever holds the private key, far from the server.

mod agreement;
mod private_key;
mod protection;
mod public_key;
mod shares;
#[cfg(test)]
mod tests;

pub use private_key::{EcPrivateKey, EcPrivateKeyError, PrivateKeyDer};
pub use protection::{ProtectError, UnprotectError};
pub use public_key::{EcPublicKey, EcPublicKeyError};

/// A curve for ECDH-ES.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcCurve {
    /// NIST P-256 (SP 800-186 §3.2.1.3), which cards and `jose` know.
    P256,
    /// X25519 (RFC 7748 §5).
    X25519,
}

impl EcCurve {
    const ALL: [Self; 2] = [Self::P256, Self::X25519];

    /// Its name in a JWK's `crv` (RFC 7518 §6.2.1.1, RFC 8037 §2).
    #[must_use]
    pub const fn jose_name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::X25519 => "X25519",
        }
    }

    /// Length of a public key in bytes: an uncompressed point, or a coordinate.
    const fn public_bytes(self) -> usize {
        match self {
            Self::P256 => 65,
            Self::X25519 => 32,
        }
    }

    /// What a public key begins with: an uncompressed point has its own sign (SEC 1 §2.3.3).
    const fn public_start(self) -> &'static [u8] {
        match self {
            Self::P256 => &[4],
            Self::X25519 => &[],
        }
    }
}
