//! Makes an envelope. The draft is used up by encrypting, so that a DEK never encrypts two
//! messages.

use std::borrow::Cow;
use std::fmt;

use selkie_memory::{WipedVec, with_scrubbed_stack};

use super::header::Protected;
use super::quorum::{self, Part, Quorum, Share, ShareMark};
use super::{Aad, Header, MAX_RECIPIENTS, Recipient, commitment, header, origin, wire};
use crate::aead::{self, NONCE_BYTES};
use crate::{OriginKey, Plaintext, Random, RandomError, RecipientSecret, WrapAlgorithm, shamir};

/// An envelope in the making: its DEK exists, the recipients are still to be wrapped.
///
/// The DEK encrypts one message and is gone with the draft.
#[derive(Debug)]
pub struct Draft {
    dek: RecipientSecret,
    nonce: [u8; NONCE_BYTES],
    /// How many recipients must be unwrapped.
    needed: u8,
    /// With a quorum of more than one, what each recipient wraps instead of the DEK.
    shares: Vec<Share>,
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncryptError {
    /// No recipient: nobody could ever open it.
    NoRecipient,
    /// More than [`MAX_RECIPIENTS`](super::MAX_RECIPIENTS): nobody would read it.
    TooManyRecipients,
    /// Longer than AES-GCM allows.
    TooLong,
    /// Fewer recipients than must be unwrapped to open it: it never would be.
    QuorumNotMet {
        /// How many must be unwrapped.
        needed: u8,
        /// How many recipients there are.
        of: usize,
    },
    /// A recipient of a quorum without a share, one with a share outside of a quorum, or two shares
    /// for one seal: recipients must be made by their own [`Part`].
    Shares,
    /// A wrapped DEK has not the shape that its algorithm gives it: whoever wrapped it misbehaves.
    WrappedDekShape(WrapAlgorithm),
}

impl Draft {
    /// A draft with a fresh DEK and nonce, which any one recipient opens.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn new(random: &Random) -> Result<Self, RandomError> {
        let (dek, nonce) = RecipientSecret::random_with_nonce(random)?;
        Ok(Self { dek, nonce, needed: 1, shares: Vec::new() })
    }

    /// A draft with a fresh DEK and nonce, the DEK split so that `quorum` opens it; with one needed
    /// it is [`Draft::new`].
    ///
    /// Fewer shares than are needed say nothing about the DEK, whatever anyone can compute. What
    /// the envelope shows beside them (the shares' marks, the commitment, the ciphertext) holds
    /// only against who cannot try 2^256 keys.
    ///
    /// # Errors
    ///
    /// [`RandomError`].
    pub fn with_quorum(quorum: Quorum, random: &Random) -> Result<Self, RandomError> {
        let mut draft = Self::new(random)?;
        draft.needed = quorum.needed();
        let powers = usize::from(draft.needed).saturating_sub(1);
        if powers > 0 {
            let mut coefficients = WipedVec::new(vec![0; powers.saturating_mul(32)]);
            random(&mut coefficients)?;
            let share =
                |index| Share { index, secret: shamir::share(&draft.dek, &coefficients, index) };
            draft.shares = with_scrubbed_stack(|| (1..=quorum.of()).map(share).collect());
        }
        Ok(draft)
    }

    /// What the recipient at `position` (from 0) wraps: the DEK, or its share. With a quorum there
    /// are as many parts as the quorum is of; a part may stay unused, where its seal is left out.
    #[must_use]
    pub fn part(&self, position: usize) -> Option<Part<'_>> {
        if self.needed == 1 {
            return Some(Part { secret: &self.dek, share: None });
        }
        let Share { index, secret } = self.shares.get(position)?;
        let mark = with_scrubbed_stack(|| ShareMark::new(secret, self.needed, *index, &self.nonce));
        Some(Part { secret, share: Some(mark) })
    }

    /// What each recipient wraps where any one opens. In a draft for a quorum it is the first share,
    /// so that no mistake wraps the DEK itself.
    #[must_use]
    pub fn secret(&self) -> &RecipientSecret {
        self.shares.first().map_or(&self.dek, |share| &share.secret)
    }

    /// The finished envelope, as JSON.
    ///
    /// # Errors
    ///
    /// [`EncryptError`].
    pub fn encrypt(
        self,
        header: &Header<'_>,
        aad: Aad<'_>,
        plaintext: Plaintext,
        recipients: &[Recipient],
        origin_key: Option<&OriginKey>,
    ) -> Result<Vec<u8>, EncryptError> {
        if recipients.is_empty() {
            return Err(EncryptError::NoRecipient);
        }
        if recipients.len() > MAX_RECIPIENTS {
            return Err(EncryptError::TooManyRecipients);
        }
        if recipients.len() < usize::from(self.needed) {
            let (needed, of) = (self.needed, recipients.len());
            return Err(EncryptError::QuorumNotMet { needed, of });
        }
        if !quorum::is_met_by(self.needed, recipients) {
            return Err(EncryptError::Shares);
        }
        let recipients_json =
            wire::print_recipients(recipients).map_err(EncryptError::WrappedDekShape)?;
        let (protected, encrypted) = with_scrubbed_stack(|| {
            let protected = header::print(&Protected {
                header: Cow::Borrowed(header),
                needed: self.needed,
                commitment: commitment(&self.dek, &recipients_json),
            });
            let encrypted = aad.with_protected(&protected, |input| {
                aead::encrypt_unscrubbed(&self.dek, &self.nonce, input, plaintext)
            });
            (protected, encrypted)
        });
        let encrypted = encrypted.map_err(|aead::TooLong| EncryptError::TooLong)?;
        let aead::Encrypted { ciphertext, tag } = &encrypted;
        let mut envelope =
            wire::print_unsigned(ciphertext, &self.nonce, &protected, &recipients_json, tag);
        let origin = origin_key.map(|key| origin(key, &envelope));
        wire::push_end(&mut envelope, origin);
        Ok(envelope)
    }
}

impl fmt::Display for EncryptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRecipient => f.write_str("no seal to encrypt for"),
            Self::TooManyRecipients => f.write_str("more than 16 seals to encrypt for"),
            Self::TooLong => f.write_str("the plaintext is too long for AES-GCM"),
            Self::QuorumNotMet { needed, of } => {
                write!(f, "{of} recipients, of which {needed} would be needed")
            }
            Self::Shares => f.write_str("recipients whose shares do not fit the quorum"),
            Self::WrappedDekShape(algorithm) => {
                write!(f, "a wrapped DEK that {} cannot have made", algorithm.jose_name())
            }
        }
    }
}

impl std::error::Error for EncryptError {}
