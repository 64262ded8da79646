use crate::base64::{decode_url, encode_url};
use crate::{KekId, SealName, WrapAlgorithm};

use super::wire;

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

/// The text of the member `recipients`, which the commitment covers.
pub(super) fn print_all(recipients: &[Recipient]) -> Vec<OwnedWire<'_>> {
    recipients.iter().map(OwnedWire::new).collect()
}

/// A recipient with its `encrypted_key` already in base64url.
pub(super) struct OwnedWire<'a> {
    recipient: &'a Recipient,
    encrypted_key: String,
}

impl<'a> OwnedWire<'a> {
    fn new(recipient: &'a Recipient) -> Self {
        Self { recipient, encrypted_key: encode_url(&recipient.wrapped_dek) }
    }

    pub(super) fn as_wire(&self) -> wire::Recipient<'_> {
        wire::Recipient {
            encrypted_key: &self.encrypted_key,
            header: wire::RecipientHeader {
                alg: self.recipient.algorithm.jose_name(),
                kid: self.recipient.kek.as_str(),
                seal: self.recipient.seal.as_str(),
            },
        }
    }
}

/// The inverse of [`print_all`]; `None` for a name or algorithm outside the fixed lists, or two
/// recipients of one seal and KEK.
pub(super) fn parse_all(wire: &[wire::Recipient<'_>]) -> Option<Vec<Recipient>> {
    let recipients: Vec<_> = wire.iter().map(parse).collect::<Option<_>>()?;
    let twice = recipients.iter().enumerate().any(|(index, one)| {
        recipients.iter().take(index).any(|other| one.seal == other.seal && one.kek == other.kek)
    });
    (!twice && !recipients.is_empty()).then_some(recipients)
}

fn parse(wire: &wire::Recipient<'_>) -> Option<Recipient> {
    Some(Recipient {
        seal: SealName::new(wire.header.seal).ok()?,
        kek: KekId::new(wire.header.kid).ok()?,
        algorithm: WrapAlgorithm::from_jose_name(wire.header.alg)?,
        wrapped_dek: decode_url(wire.encrypted_key).ok()?,
    })
}
