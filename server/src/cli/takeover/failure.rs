//! Why a line was not rewrapped. A server tells it in words alone; those that a run acts on are told
//! apart here, once.

use crate::api::error::{ItemError, MasterKeyFault};

/// Why a line is as it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum LineFailure {
    /// It was not sent.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// No master key can be reached at present: the same may succeed later.
    #[error("{}", ItemError::MasterKeyUnavailable)]
    MasterKeyAway,
    /// The master key refuses us, whatever the line is, until somebody mends it.
    #[error("{}", ItemError::MasterKeyRefuses(*.0))]
    MasterKeyRefuses(MasterKeyFault),
    /// Something else, in the server's words.
    #[error("{0}")]
    Told(String),
    /// That earlier run knew more.
    #[error(
        "an earlier run left it as it was: it is the old server's still; rewrap it into another file"
    )]
    LeftEarlier,
}

/// Why nothing in a line could be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// It is not UTF-8.
    #[error("not text")]
    Binary,
    /// It begins like an object and is none.
    #[error("neither a ciphertext nor a JSON object")]
    Malformed,
    /// The object has no ciphertext.
    #[error("no member \"ciphertext\" with a text")]
    NoCiphertext,
    /// The object says one of them more than once: whoever reads it may choose another than we do.
    #[error("\"ciphertext\", \"context\" or \"associated_data\" is there more than once")]
    Repeated,
    /// The object has associated data.
    #[error("Vault's rewrap takes no associated_data: decrypt and encrypt anew")]
    AssociatedData,
    /// No server's ciphertext looks so.
    #[error("no ciphertext of the form vault:v<N>:<base64>")]
    NotACiphertext,
}

impl LineFailure {
    /// What a server's words for an item mean.
    pub(super) fn told(words: &str) -> Self {
        if words == ItemError::MasterKeyUnavailable.to_string() {
            return Self::MasterKeyAway;
        }
        let faults = [MasterKeyFault::Denied, MasterKeyFault::Missing];
        let means =
            |fault: &MasterKeyFault| words == ItemError::MasterKeyRefuses(*fault).to_string();
        match faults.into_iter().find(means) {
            Some(fault) => Self::MasterKeyRefuses(fault),
            None => Self::Told(words.to_owned()),
        }
    }
}
