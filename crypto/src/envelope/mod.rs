//! The envelope: DEK-encrypted data with its recipients, a JWE in general JSON serialization
//! (RFC 7516 §7.2.1) that opens with ordinary JOSE tools and one of its master keys.
//!
//! ```text
//! {"ciphertext":…,"iv":…,"protected":…,"recipients":[{"encrypted_key":…,
//!   "header":{"alg":…,"kid":…,"seal":…}},…],"tag":…,"unprotected":{"origin":…}}
//! ```
//!
//! - Members stand in alphabetical order, without white space (as RFC 8785 has it), and nothing
//!   else is accepted: an envelope has one spelling.
//! - `ciphertext`, `tag`: `AES-256-GCM[DEK](iv, AAD, plaintext)`; AAD as RFC 7516 §5.1 step 14.
//! - `protected`: base64url of `{"enc":"A256GCM","selkie":{…}}` with the [`Header`] and
//!   `commitment = HMAC-SHA-256[DEK]("selkie commitment" ‖ 0x00 ‖ recipients)`, where `recipients`
//!   is the text of that member. It commits to the DEK, which AES-GCM alone does not, and binds
//!   every recipient.
//! - With a quorum each recipient wraps a share of the DEK ([`Quorum`], [`ShareMark`]): the protected
//!   header has `quorum`, each recipient's header `share`. The steps, for `needed` of `of` seals:
//!   [`Draft::with_quorum`], for each seal [`Draft::part`] and [`Part::recipient`]; later
//!   [`Envelope::verify_share`] for what each seal unwraps, [`Envelope::combine`] once there are
//!   [`Envelope::needed`], then [`Envelope::decrypt`]; [`Envelope::refuse`] where there never are.
//! - `unprotected.origin` (only with an [`OriginKey`]):
//!   `HMAC-SHA-256[origin key]("selkie origin" ‖ 0x00 ‖ the envelope without "unprotected")`.
//! - The client's associated data and context ([`Aad`]) are the JWE `aad`, and are not stored.

mod aad;
mod cursor;
mod draft;
mod header;
mod open;
mod quorum;
mod recipient;
#[cfg(test)]
mod tests;
mod wire;

pub use aad::Aad;
pub use draft::{Draft, EncryptError};
pub use header::{Header, Purpose};
pub use open::{DecryptError, Envelope, EnvelopeRefusal, Expected};
pub use quorum::{Part, Quorum, QuorumError, Share, ShareMark};
pub use recipient::Recipient;

/// The most recipients of an envelope: more than anyone has seals, and few enough that a forged
/// list costs nothing. It is not the number of configured seals: one that is lost and taken out of
/// the configuration must not shut what the others open.
pub const MAX_RECIPIENTS: usize = 16;

use crate::RecipientSecret;
use crate::mac::hmac_sha256;

/// `HMAC-SHA-256[DEK]("selkie commitment" ‖ 0x00 ‖ recipients)`, 32 bytes.
fn commitment(dek: &RecipientSecret, recipients_json: &[u8]) -> [u8; 32] {
    hmac_sha256(dek.expose_as_dek(), b"selkie commitment", [recipients_json])
}

/// `HMAC-SHA-256[origin key]("selkie origin" ‖ 0x00 ‖ envelope without "unprotected")`, 32 bytes;
/// `signed` is that envelope without its last brace.
fn origin(key: &crate::OriginKey, signed: &[u8]) -> [u8; 32] {
    selkie_memory::with_scrubbed_stack(|| {
        hmac_sha256(key.expose_for_mac(), b"selkie origin", [signed, b"}"])
    })
}
