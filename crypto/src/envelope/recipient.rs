use crate::{KekId, SealName, WrapAlgorithm};

/// One wrapped DEK inside an envelope, for one seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The seal's name in the configuration.
    pub seal: SealName,
    /// The KMS's own id of the KEK version that wrapped.
    pub kek: KekId,
    /// How it was wrapped.
    pub algorithm: WrapAlgorithm,
    /// The wrapped DEK: 40 bytes for A256KW, as long as the modulus for RSA-OAEP-256.
    pub wrapped_dek: Vec<u8>,
}
