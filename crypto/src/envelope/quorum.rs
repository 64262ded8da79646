//! How many recipients open an envelope together, and their shares of its DEK: fewer tell nothing
//! of it.

use std::fmt;

use super::Recipient;
use crate::aead::NONCE_BYTES;
use crate::mac::hmac_sha256;
use crate::{KekId, RecipientSecret, SealName, WrapAlgorithm};

/// How many recipients open an envelope together: `needed` of `of`, each at another seal.
///
/// With `needed` = 1 any of them opens it alone, and each wraps the DEK itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quorum {
    needed: u8,
    of: u8,
}

/// Why there is no such quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuorumError {
    /// Nobody at all would be needed.
    NobodyNeeded,
    /// More are needed than there are: it could never be met.
    NeverMet {
        /// How many are needed.
        needed: u8,
        /// How many there are.
        of: usize,
    },
    /// More than [`MAX_RECIPIENTS`](super::MAX_RECIPIENTS).
    TooMany {
        /// How many there are.
        of: usize,
    },
}

impl Quorum {
    /// `needed` of `of` recipients.
    ///
    /// # Errors
    ///
    /// [`QuorumError`].
    pub fn new(needed: u8, of: usize) -> Result<Self, QuorumError> {
        let counted = u8::try_from(of).ok().filter(|of| *of <= MAX_INDEX);
        match counted {
            None => Err(QuorumError::TooMany { of }),
            Some(_) if needed == 0 => Err(QuorumError::NobodyNeeded),
            Some(few) if few < needed => Err(QuorumError::NeverMet { needed, of }),
            Some(of) => Ok(Self { needed, of }),
        }
    }

    /// How many recipients must be unwrapped.
    #[must_use]
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// Among how many.
    #[must_use]
    pub const fn of(self) -> u8 {
        self.of
    }
}

/// The highest index of a share, which is [`MAX_RECIPIENTS`](super::MAX_RECIPIENTS).
const MAX_INDEX: u8 = 16;

/// What a recipient's header says of the share that it wraps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareMark {
    /// Where the share's value of the polynomial stands: 1 to 16, distinct within an envelope.
    pub index: u8,
    /// By which one share is known to be right without the others:
    /// `HMAC-SHA-256[share]("selkie share" ‖ 0x00 ‖ needed ‖ index ‖ iv)`, the numbers as a byte.
    pub mac: [u8; 32],
}

impl ShareMark {
    pub(super) fn new(
        share: &RecipientSecret,
        needed: u8,
        index: u8,
        nonce: &[u8; NONCE_BYTES],
    ) -> Self {
        let message: [&[u8]; 2] = [&[needed, index], nonce];
        Self { index, mac: hmac_sha256(share.expose_as_dek(), b"selkie share", message) }
    }
}

/// A share that is known to be a right one of its envelope.
#[derive(Debug)]
pub struct Share {
    pub(super) index: u8,
    pub(super) secret: RecipientSecret,
}

impl Share {
    /// Its index, 1 to 16.
    #[must_use]
    pub const fn index(&self) -> u8 {
        self.index
    }
}

/// What one recipient of a [`Draft`](super::Draft) wraps: the DEK, or its own share of it.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    pub(super) secret: &'a RecipientSecret,
    pub(super) share: Option<ShareMark>,
}

impl<'a> Part<'a> {
    /// What is wrapped.
    #[must_use]
    pub const fn secret(self) -> &'a RecipientSecret {
        self.secret
    }

    /// The recipient, once `wrapped_dek` is what `algorithm` made of [`Part::secret`].
    #[must_use]
    pub const fn recipient(
        self,
        seal: SealName,
        kek: KekId,
        algorithm: WrapAlgorithm,
        wrapped_dek: Vec<u8>,
    ) -> Recipient {
        Recipient { seal, kek, algorithm, wrapped_dek, share: self.share }
    }
}

/// Whether `recipients` are what an envelope may have of which `needed` must be unwrapped: no
/// shares where any one opens; else a share in each, of distinct indexes, for distinct seals, and
/// as many as are needed.
pub(super) fn is_met_by(needed: u8, recipients: &[Recipient]) -> bool {
    if needed == 1 {
        return recipients.iter().all(|recipient| recipient.share.is_none());
    }
    let is_first = |(position, one): (usize, &Recipient)| {
        let same = |other: &Recipient| other.seal == one.seal || index(other) == index(one);
        one.share.is_some() && !recipients.iter().take(position).any(same)
    };
    recipients.len() >= usize::from(needed) && recipients.iter().enumerate().all(is_first)
}

fn index(recipient: &Recipient) -> Option<u8> {
    recipient.share.map(|share| share.index)
}

/// `index`, if a share may have it.
pub(super) fn checked_index(index: u64) -> Option<u8> {
    u8::try_from(index).ok().filter(|index| (1..=MAX_INDEX).contains(index))
}

impl fmt::Display for QuorumError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyNeeded => f.write_str("a quorum of 0: nobody would be needed"),
            Self::NeverMet { needed, of } => {
                write!(f, "a quorum of {needed} of {of} seals can never be met")
            }
            Self::TooMany { of } => write!(f, "{of} seals; an envelope has at most 16"),
        }
    }
}

impl std::error::Error for QuorumError {}
