//! Opens an envelope. Whatever is wrong in it, the caller gets one meaning, and what fails after an
//! unwrap takes equal work (invariant I4).

use std::fmt;

use selkie_memory::with_scrubbed_stack;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::header::Protected;
use super::quorum::{self, Share, ShareMark};
use super::{Aad, Header, Purpose, Recipient, commitment, header, origin, wire};
use crate::aead::{self, NONCE_BYTES, TAG_BYTES};
use crate::base64::{decode_url, decode_url_array};
use crate::{KeyVersion, OriginKey, Plaintext, RecipientSecret, shamir};

/// What the caller demands of an envelope before a KMS is asked anything.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// What it must be for.
    pub purpose: Purpose,
    /// This deployment's name and its accepted aliases.
    pub realms: &'a [String],
    /// The mount's path and its accepted aliases.
    pub mounts: &'a [String],
    /// The name of the transit key.
    pub key: &'a str,
    /// The version outside; the one inside must be the same.
    pub version: KeyVersion,
    /// If declared, only envelopes made with it are opened.
    pub origin_key: Option<&'a OriginKey>,
}

/// An envelope in the right place, and of the right origin where one is demanded; its DEK is still
/// wrapped.
#[derive(Debug)]
pub struct Envelope {
    header: Header<'static>,
    needed: u8,
    pub(super) commitment: [u8; 32],
    protected: String,
    recipients: Vec<Recipient>,
    recipients_json: String,
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
    pub(super) tag: [u8; TAG_BYTES],
    has_origin: bool,
}

/// The envelope does not open. One meaning for whoever sent it (invariant I4): only a log may be
/// told the [`EnvelopeRefusal`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecryptError(EnvelopeRefusal);

/// Why an envelope did not open, for the operator's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeRefusal {
    /// Not an envelope in its one spelling.
    Malformed,
    /// Made without the declared `origin_key`, or changed since.
    Origin,
    /// Made for another purpose.
    Purpose,
    /// Made by a deployment of another name.
    Realm,
    /// Made under another mount.
    Mount,
    /// Made by another transit key.
    Key,
    /// Another version inside than outside.
    Version,
    /// What was unwrapped is not the share that was wrapped.
    Share,
    /// Too few right shares.
    Quorum,
    /// The DEK is not the one that the envelope commits to, or a recipient was changed.
    Commitment,
    /// Ciphertext, header, nonce or the client's associated data were changed.
    Tag,
}

impl Envelope {
    /// The envelope in `json`, checked against `expected`; costs no KMS call.
    ///
    /// # Errors
    ///
    /// [`DecryptError`].
    pub fn parse(json: &[u8], expected: &Expected<'_>) -> Result<Self, DecryptError> {
        let jwe = wire::parse(json).ok_or(DecryptError(EnvelopeRefusal::Malformed))?;
        let claimed = jwe.origin.map(parse_origin).transpose()?;
        if let Some(key) = expected.origin_key {
            verify_origin(key, claimed, jwe.signed)?;
        }
        let envelope = Self::from_wire(jwe).ok_or(DecryptError(EnvelopeRefusal::Malformed))?;
        envelope.verify_place(expected)?;
        Ok(envelope)
    }

    /// The envelope in `json`, wherever it was made and whatever it is for: for a person with a
    /// master key at hand, and never for a server, which must demand a place.
    ///
    /// # Errors
    ///
    /// [`DecryptError`] if it is malformed.
    pub fn inspect(json: &[u8]) -> Result<Self, DecryptError> {
        let jwe = wire::parse(json).ok_or(DecryptError(EnvelopeRefusal::Malformed))?;
        jwe.origin.map(parse_origin).transpose()?;
        Self::from_wire(jwe).ok_or(DecryptError(EnvelopeRefusal::Malformed))
    }

    /// Whether it carries a proof of who made it, which only an [`OriginKey`] can tell from a
    /// forged one.
    #[must_use]
    pub const fn has_origin(&self) -> bool {
        self.has_origin
    }

    fn from_wire(jwe: wire::Jwe<'_>) -> Option<Self> {
        let Protected { header, needed, commitment } = header::parse(jwe.protected)?;
        if !quorum::is_met_by(needed, &jwe.recipients) {
            return None;
        }
        Some(Self {
            header: header.into_owned(),
            needed,
            commitment,
            protected: jwe.protected.to_owned(),
            recipients: jwe.recipients,
            recipients_json: jwe.recipients_json.to_owned(),
            nonce: decode_url_array(jwe.iv).ok()?,
            ciphertext: decode_url(jwe.ciphertext).ok()?,
            tag: decode_url_array(jwe.tag).ok()?,
            has_origin: jwe.origin.is_some(),
        })
    }

    fn verify_place(&self, expected: &Expected<'_>) -> Result<(), DecryptError> {
        let header = &self.header;
        let refusals = [
            (header.purpose == expected.purpose, EnvelopeRefusal::Purpose),
            (expected.realms.iter().any(|realm| *realm == header.realm), EnvelopeRefusal::Realm),
            (expected.mounts.iter().any(|mount| *mount == header.mount), EnvelopeRefusal::Mount),
            (header.key == expected.key, EnvelopeRefusal::Key),
            (header.version == expected.version, EnvelopeRefusal::Version),
        ];
        match refusals.into_iter().find(|(holds, _)| !holds) {
            Some((_, refusal)) => Err(DecryptError(refusal)),
            None => Ok(()),
        }
    }

    /// What the envelope claims of itself; bound by the cipher, but vouched for only with an
    /// origin key.
    #[must_use]
    pub const fn header(&self) -> &Header<'static> {
        &self.header
    }

    /// The wrapped DEKs, in the order in which they were written.
    #[must_use]
    pub fn recipients(&self) -> &[Recipient] {
        &self.recipients
    }

    /// How many recipients must be unwrapped to open it. If one, each of them is the DEK; if more,
    /// each is a share: [`Envelope::verify_share`], then [`Envelope::combine`].
    #[must_use]
    pub const fn needed(&self) -> u8 {
        self.needed
    }

    /// The share that a KMS has unwrapped from `recipient`, if it is the one that was wrapped for
    /// it in this very envelope. So whoever gives a wrong one is known at once, and alone.
    ///
    /// # Errors
    ///
    /// [`DecryptError`].
    pub fn verify_share(
        &self,
        recipient: &Recipient,
        secret: &RecipientSecret,
    ) -> Result<Share, DecryptError> {
        let refused = DecryptError(EnvelopeRefusal::Share);
        let claimed = recipient.share.ok_or(refused)?;
        let genuine = with_scrubbed_stack(|| {
            let mark = ShareMark::new(secret, self.needed, claimed.index, &self.nonce);
            mark.mac.ct_eq(&claimed.mac)
        });
        if !bool::from(genuine) {
            return Err(refused);
        }
        let secret = RecipientSecret::init_with(|copy| *copy = *secret.expose_as_dek());
        Ok(Share { index: claimed.index, secret })
    }

    /// The DEK, from as many shares as are needed; further ones are not looked at. Whether it is
    /// the right one says [`Envelope::decrypt`], as for a DEK that came whole.
    ///
    /// # Errors
    ///
    /// [`DecryptError`] if there are fewer than are needed, or one twice.
    pub fn combine(&self, shares: &[Share]) -> Result<RecipientSecret, DecryptError> {
        let refused = DecryptError(EnvelopeRefusal::Quorum);
        let needed = shares.get(..usize::from(self.needed)).ok_or(refused)?;
        let shares: Vec<_> = needed.iter().map(|share| (share.index, &share.secret)).collect();
        let is_twin = |(position, share): (usize, &(u8, _))| {
            shares.iter().take(position).any(|(index, _)| *index == share.0)
        };
        if shares.iter().enumerate().any(is_twin) {
            return Err(refused);
        }
        Ok(with_scrubbed_stack(|| shamir::combine(&shares)))
    }

    /// The answer where too few shares were right. It takes the work of [`Envelope::decrypt`], so
    /// that a wrong share is not told from a changed ciphertext.
    #[must_use]
    pub fn refuse(&self, aad: Aad<'_>) -> DecryptError {
        // Nobody's DEK: even if it opened, the answer stays the same.
        let opened = self.decrypt(&RecipientSecret::init_with(|_| ()), aad);
        drop(opened);
        DecryptError(EnvelopeRefusal::Quorum)
    }

    /// The plaintext, with a DEK that a KMS has unwrapped from one of the recipients, or that a
    /// quorum's shares combine to.
    ///
    /// Every failure takes equal work: under a DEK that is not the committed one, the cipher is
    /// given a tag that is wrong as well.
    ///
    /// # Errors
    ///
    /// [`DecryptError`].
    pub fn decrypt(&self, dek: &RecipientSecret, aad: Aad<'_>) -> Result<Plaintext, DecryptError> {
        let (committed, opened) = with_scrubbed_stack(|| {
            let committed =
                commitment(dek, self.recipients_json.as_bytes()).ct_eq(&self.commitment);
            let tag = spoiled_unless(committed, &self.tag);
            let opened = aad.with_protected(self.protected.as_bytes(), |input| {
                aead::decrypt_unscrubbed(dek, &self.nonce, input, &self.ciphertext, &tag)
            });
            (committed, opened)
        });
        // The spoiled tag only equalises the work: a forger who knows the DEK can make it fit.
        let committed = bool::from(committed);
        match opened {
            Ok(plaintext) if committed => Ok(plaintext),
            // No branch of its own for either reason.
            _ => Err(DecryptError(if committed {
                EnvelopeRefusal::Tag
            } else {
                EnvelopeRefusal::Commitment
            })),
        }
    }
}

/// `tag` where `right`, else its complement.
fn spoiled_unless(right: Choice, tag: &[u8; TAG_BYTES]) -> [u8; TAG_BYTES] {
    tag.map(|byte| u8::conditional_select(&!byte, &byte, right))
}

/// The claimed origin, which has one spelling also where nobody checks it.
#[expect(clippy::map_err_ignore, reason = "the refusal says it all")]
fn parse_origin(origin: &str) -> Result<[u8; 32], DecryptError> {
    decode_url_array(origin).map_err(|_| DecryptError(EnvelopeRefusal::Malformed))
}

fn verify_origin(
    key: &OriginKey,
    claimed: Option<[u8; 32]>,
    signed: &str,
) -> Result<(), DecryptError> {
    let refused = DecryptError(EnvelopeRefusal::Origin);
    let claimed = claimed.ok_or(refused)?;
    let genuine = origin(key, signed.as_bytes()).ct_eq(&claimed);
    if genuine.into() { Ok(()) } else { Err(refused) }
}

impl DecryptError {
    /// The reason, for the operator's log and never for the client.
    #[must_use]
    pub const fn refusal_for_log(self) -> EnvelopeRefusal {
        self.0
    }
}

impl fmt::Display for DecryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cipher: message authentication failed")
    }
}

impl std::error::Error for DecryptError {}

impl fmt::Display for EnvelopeRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an envelope in its one spelling",
            Self::Origin => "not made with the declared origin_key",
            Self::Purpose => "made for another purpose",
            Self::Realm => "made by a deployment with another realm",
            Self::Mount => "made under another mount",
            Self::Key => "made by another transit key",
            Self::Version => "another key version inside than outside",
            Self::Share => "the unwrapped share is not the one that was wrapped",
            Self::Quorum => "too few right shares",
            Self::Commitment => "the unwrapped DEK is not the one committed to",
            Self::Tag => "changed, or other associated data or context",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No answer shows it, only what the answer costs.
    #[test]
    fn a_tag_is_spoiled_in_every_bit_unless_the_dek_is_the_committed_one() {
        let tag = [0x5A; TAG_BYTES];
        assert_eq!(spoiled_unless(Choice::from(1), &tag), tag);
        assert_eq!(spoiled_unless(Choice::from(0), &tag), [0xA5; TAG_BYTES]);
    }
}
