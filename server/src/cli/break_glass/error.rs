//! Why break-glass does not do something, in words for the night in which it is needed.

use std::io;
use std::path::PathBuf;

use selkie_access::NameError;
use selkie_crypto::envelope::QuorumError;
use selkie_crypto::{
    CiphertextError, DecryptError, EcPrivateKeyError, KekId, PublicKeyError, SealName,
    UnprotectError,
};

use crate::dev::CertificateError;
use crate::transit::TransitError;

/// Why the break-glass key did not do what it was to.
#[derive(Debug, thiserror::Error)]
pub enum BreakGlassError {
    /// There is no terminal to ask for a passphrase, or it was closed.
    #[error("no passphrase: there is no terminal to ask at; give --passphrase-file")]
    NoPassphrase(#[source] io::Error),
    /// The passphrase would be guessed: whoever has the file may try for ever.
    #[error("the passphrase is too short: 12 characters at least, better six random words")]
    ShortPassphrase,
    /// The two passphrases are not the same.
    #[error("the two passphrases differ: nothing was written")]
    PassphrasesDiffer,
    /// A key file is in the way.
    #[error("{} exists: a key is never overwritten; choose another name", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no key.
    #[error("no key could be made")]
    Generate(#[from] EcPrivateKeyError),
    /// A key does not read back: a bug.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    /// A key file does not open.
    #[error("{}: {source}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// The error behind it.
        source: UnprotectError,
    },
    /// There is no key at hand.
    #[error("no private key: give --key FILE")]
    NoKey,
    /// There would be no such shares.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// A share's file has no sound first line.
    #[error("{}: its first line does not say which share it is of which key", path.display())]
    NotAShare {
        /// The file.
        path: PathBuf,
    },
    /// The shares are of different keys.
    #[error("the shares are not of one key")]
    OtherShare,
    /// There are too few.
    #[error("{have} different shares are given, and {needed} are needed")]
    TooFewShares {
        /// How many there are.
        have: usize,
        /// How many are needed.
        needed: u8,
    },
    /// They give another key than their files say.
    #[error("the shares do not give the key that they say they are of: one was changed")]
    WrongShare,
    /// The envelope needs several recipients.
    #[error(
        "{record}: any {needed} of its recipients open it together, and the keys at hand are {have}: \
         give further --key FILE, or see docs/break-glass.md for the KMSs' own clients"
    )]
    NeedsMore {
        /// The record's place in the storage.
        record: String,
        /// How many are needed.
        needed: u8,
        /// How many are at hand.
        have: usize,
    },
    /// What needs several recipients is not served.
    #[error(
        "these ciphertexts need several recipients together: that is not served from here; open \
         them with several --key FILE, or start Selkie with as many seals as are needed"
    )]
    QuorumServed,
    /// There is no ciphertext.
    #[error(
        "no ciphertext there: expected \"vault:v<N>:...\", what \"selkie extract\" prints, or a file \
         with one of them"
    )]
    NoBlob,
    /// There are several.
    #[error("{} ciphertexts there: choose one with --record NAME; there are {}", names.len(), names.join(", "))]
    SeveralBlobs {
        /// Their names.
        names: Vec<String>,
    },
    /// None has the name that was asked for.
    #[error("no ciphertext of the name {name:?} there")]
    NoSuchRecord {
        /// The name.
        name: String,
    },
    /// The text around the envelope is wrong.
    #[error("{record}: cut off or changed: {source}")]
    Ciphertext {
        /// The record's place in the storage.
        record: String,
        /// The error behind it.
        source: CiphertextError,
    },
    /// There is no envelope inside.
    #[error(
        "{record}: not an envelope of Selkie's, or cut off or changed (one that Vault's own transit \
         engine made opens with that alone)"
    )]
    NotAnEnvelope {
        /// The record's place in the storage.
        record: String,
    },
    /// Another version inside than outside.
    #[error("{record}: says version {outside} outside and {inside} inside: it was changed")]
    Version {
        /// The record's place in the storage.
        record: String,
        /// Outside.
        outside: i64,
        /// Inside.
        inside: u32,
    },
    /// It was never made for this key.
    #[error(
        "{record}: not made for this key ({key}), but for {}",
        recipients.join(", ")
    )]
    NotForThisKey {
        /// The record's place in the storage.
        record: String,
        /// The key at hand.
        key: KekId,
        /// What it was made for.
        recipients: Vec<String>,
    },
    /// The recipient was changed.
    #[error("{record}: what is wrapped for this key does not open: it was changed")]
    Unwrap {
        /// The record's place in the storage.
        record: String,
    },
    /// It was changed, or needs associated data.
    #[error("{record}: it does not open: {}", source.refusal_for_log())]
    Decrypt {
        /// The record's place in the storage.
        record: String,
        /// The error behind it.
        source: DecryptError,
    },
    /// No configured seal opens it.
    #[error("{record}: no seal of that configuration opens it: {source}")]
    Seals {
        /// The record's place in the storage.
        record: String,
        /// The error behind it.
        source: TransitError,
    },
    /// A plaintext would go to a terminal.
    #[error(
        "the plaintext would be printed on the terminal: give --out FILE, or --yes-print if nobody \
         else sees it"
    )]
    Terminal,
    /// The blobs are of several keys.
    #[error("the ciphertexts are of different keys: serve those of one Vault")]
    SeveralKeys,
    /// The key asked for is another one.
    #[error("the ciphertexts are of the key {found:?}, not of {asked:?}")]
    OtherKey {
        /// Their key.
        found: String,
        /// What was asked for.
        asked: String,
    },
    /// A name in an envelope is none that a server could serve.
    #[error("{name:?} cannot be served")]
    Name {
        /// The name.
        name: String,
        /// The error behind it.
        source: NameError,
    },
    /// Nothing can be wrapped for a seal of the envelope.
    #[error(
        "nothing can be wrapped for the seal {seal} ({kek}): {reason}. What the Vault encrypts \
         meanwhile must open by that seal later; if it is lost for good, say so: --without {seal}"
    )]
    CannotWrap {
        /// Which seal.
        seal: SealName,
        /// What it was wrapped under.
        kek: KekId,
        /// Why not.
        reason: WrapObstacle,
    },
    /// What is given up is not there.
    #[error("--without {seal}: none of the ciphertexts was made for a seal of that name")]
    NotARecipient {
        /// The seal that was given up.
        seal: SealName,
    },
    /// Its deployment demands a proof of origin.
    #[error(
        "the ciphertexts carry the proof of an origin_key: without it the servers would refuse what \
         is encrypted now. Give --config with that key; if it is lost for good, say so: \
         --without-origin-key"
    )]
    NoOriginKey,
    /// Secrets would cross a network in the clear.
    #[error("--plain-http is for addresses of this machine alone (127.0.0.1)")]
    PlainHttp,
    /// There are no certificates.
    #[error("no certificate could be made")]
    Certificates(#[from] CertificateError),
    /// The token is none.
    #[error("{}: no token there: one line of visible characters", path.display())]
    Token {
        /// The file.
        path: PathBuf,
    },
}

/// Why nothing can be wrapped for a seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapObstacle {
    /// Nobody says what its key is.
    #[error("neither --config nor --pins tells its public key")]
    Unknown,
    /// Its key, or the public half of it, is in none of the places that the configuration names.
    #[error("its key is not where that configuration says: put a copy of it there")]
    KeyNotAtHand,
    /// A pin is there, and nothing vouches for it.
    #[error("its pin file is not trusted by that configuration (local_key, public_key_sha256)")]
    Untrusted,
    /// The configuration declares another public key.
    #[error("its pin file tells of another key than public_key_sha256 declares")]
    NotDeclared,
    /// Only its KMS can.
    #[error("only its KMS wraps")]
    Remote,
    /// What is known of is another key, or not that version of it.
    #[error("the key that --config or --pins tells of has no such version: it is another one")]
    OtherKey,
    /// The current version was disabled or expired when the pin file was written, or is expired now.
    #[error("by its pin file the current version of its key is disabled or expired")]
    NotUsable,
    /// The pin file cannot be read.
    #[error("its pin file is damaged")]
    Damaged,
}
