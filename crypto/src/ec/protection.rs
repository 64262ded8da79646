//! A private key at rest: PKCS#8 under a passphrase, in PEM (RFC 5958 §3, RFC 8018 §6.2), so that
//! OpenSSL, Python and every JOSE library read it without us.

use std::fmt;

use pkcs8::der::asn1::OctetString;
use pkcs8::der::{Decode, Encode};
use pkcs8::pkcs5::pbes2::{Kdf, Parameters};
use pkcs8::pkcs5::{EncryptionScheme, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoOwned, EncryptedPrivateKeyInfoRef};
use selkie_memory::with_scrubbed_stack;

use super::{EcPrivateKey, EcPrivateKeyError};
use crate::{Random, RandomError, pem};

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// scrypt (RFC 7914) with N = 2^14, r = 8 (16 MiB) and p = 8: half a second. `openssl` gives scrypt
/// no more than 32 MiB, so what a guess costs grows by p instead of N.
const LOG_N: u8 = 14;
const BLOCK_SIZE: u32 = 8;
const PARALLELISM: u32 = 8;
const SALT_BYTES: usize = 16;
const IV_BYTES: usize = 16;

/// The most that a file may ask of us: 1 GiB, and as much work as 30 times our own.
const MOST_MEMORY: u64 = 1 << 30;
const MOST_WORK: u64 = 1 << 25;
const MOST_ITERATIONS: u32 = 10_000_000;

/// Why a key was not protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectError {
    /// There was no randomness.
    Random(RandomError),
    /// The library refused our parameters: a fault of ours.
    Unencodable,
}

/// Why a protected key did not open.
#[derive(Debug)]
pub enum UnprotectError {
    /// Not PEM with `ENCRYPTED PRIVATE KEY`, or not PKCS#8 under a passphrase (PBES2).
    Malformed,
    /// The key derivation would take more memory or time than a key file may ask for.
    TooCostly,
    /// The passphrase is another one, or the text was changed.
    Passphrase,
    /// It opened, to no key of P-256 or X25519.
    Key(EcPrivateKeyError),
}

impl EcPrivateKey {
    /// The key under `passphrase`, as PEM:
    /// `PBES2[scrypt(passphrase, 16 random bytes, N = 2^14, r = 8, p = 8), AES-256-CBC](PKCS#8)`.
    ///
    /// It hides the key; it does not prove who wrote it. `openssl pkey -in FILE` opens it.
    ///
    /// # Errors
    ///
    /// [`ProtectError`].
    pub fn protect(&self, passphrase: &[u8], random: &Random) -> Result<String, ProtectError> {
        let (mut salt, mut iv) = ([0; SALT_BYTES], [0; IV_BYTES]);
        random(&mut salt)?;
        random(&mut iv)?;
        let der = with_scrubbed_stack(|| self.encrypted(passphrase, &salt, iv));
        Ok(pem::encode(LABEL, &der.map_err(|Unencodable| ProtectError::Unencodable)?))
    }

    #[expect(clippy::map_err_ignore, reason = "it cannot fail for these parameters")]
    fn encrypted(
        &self,
        passphrase: &[u8],
        salt: &[u8],
        iv: [u8; IV_BYTES],
    ) -> Result<Vec<u8>, Unencodable> {
        let cost = scrypt::Params::new(LOG_N, BLOCK_SIZE, PARALLELISM).map_err(|_| Unencodable)?;
        let parameters = Parameters::generate_scrypt_aes256cbc(cost, salt, iv);
        let parameters = parameters.map_err(|_| Unencodable)?;
        let encrypted = parameters.encrypt(passphrase, self.to_pkcs8().expose_for_writing());
        let encrypted = OctetString::new(encrypted.map_err(|_| Unencodable)?);
        let info = EncryptedPrivateKeyInfoOwned {
            encryption_algorithm: EncryptionScheme::from(parameters),
            encrypted_data: encrypted.map_err(|_| Unencodable)?,
        };
        info.to_der().map_err(|_| Unencodable)
    }

    /// The inverse of [`EcPrivateKey::protect`]; it also opens what OpenSSL protected with scrypt or
    /// PBKDF2 and AES.
    ///
    /// # Errors
    ///
    /// [`UnprotectError`].
    #[expect(clippy::map_err_ignore, reason = "the library's errors tell nothing to act upon")]
    pub fn unprotect(text: &str, passphrase: &[u8]) -> Result<Self, UnprotectError> {
        let der = pem::decode(LABEL, text).ok_or(UnprotectError::Malformed)?;
        let info = EncryptedPrivateKeyInfoRef::from_der(&der);
        let info = info.map_err(|_| UnprotectError::Malformed)?;
        let scheme = info.encryption_algorithm.pbes2().filter(|scheme| has_cost(&scheme.kdf));
        let scheme = scheme.ok_or(UnprotectError::Malformed)?;
        if !is_affordable(&scheme.kdf) {
            return Err(UnprotectError::TooCostly);
        }
        let opened = with_scrubbed_stack(|| info.decrypt(passphrase));
        // A wrong passphrase makes no padding, or one time in 256 some padding and no DER.
        let opened = opened.map_err(|_| UnprotectError::Passphrase)?;
        Self::from_pkcs8(opened.as_bytes()).map_err(UnprotectError::Key)
    }
}

/// No parameters that we choose lead to it.
struct Unencodable;

/// The library takes the logarithm of scrypt's N, and panics where there is none.
fn has_cost(kdf: &Kdf) -> bool {
    !matches!(kdf, Kdf::Scrypt(cost) if cost.cost_parameter == 0)
}

fn is_affordable(kdf: &Kdf) -> bool {
    match kdf {
        Kdf::Scrypt(cost) => {
            let blocks = cost.cost_parameter.saturating_mul(u64::from(cost.block_size));
            blocks.saturating_mul(128) <= MOST_MEMORY
                && blocks.saturating_mul(u64::from(cost.parallelization)) <= MOST_WORK
        }
        Kdf::Pbkdf2(cost) => cost.iteration_count <= MOST_ITERATIONS,
        _ => false,
    }
}

impl From<RandomError> for ProtectError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl fmt::Display for ProtectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Random(error) => error.fmt(f),
            Self::Unencodable => {
                f.write_str("the key cannot be written as PKCS#8: a fault of ours")
            }
        }
    }
}

impl std::error::Error for ProtectError {}

impl fmt::Display for UnprotectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not an ENCRYPTED PRIVATE KEY in PEM (PKCS#8, PBES2)"),
            Self::TooCostly => f.write_str("the key file asks for more than 1 GiB or a minute"),
            Self::Passphrase => f.write_str("another passphrase, or a changed file"),
            Self::Key(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for UnprotectError {}
