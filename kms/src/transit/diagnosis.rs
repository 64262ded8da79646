//! What was seen on the way to the other server, and what mends it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::{Cause, KmsError};

/// One step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransitHop {
    /// The name of the host.
    Dns,
    /// The connection.
    Tcp,
    /// The HTTP proxy.
    Proxy,
    /// The certificate, the cipher.
    Tls,
    /// Our token: its file, its look-up, its renewal.
    Token,
    /// The answer to a read of the key.
    ReadKey,
    /// The answer to an encrypt.
    Encrypt,
    /// The answer to a decrypt.
    Decrypt,
}

/// What became of a call, as the table in docs/troubleshooting.md lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TransitOutcome {
    /// 429: a quota.
    Throttled,
    /// 503: the server is sealed.
    Sealed,
    /// 412, 472, 473: a standby that does not answer this, or not yet.
    Standby,
    /// Another 5xx.
    Outage,
    /// No answer in time.
    TimedOut,
    /// The host's name is unknown, or no name server answers.
    NameNotResolved,
    /// The connection is refused, reset, or cut.
    NotConnected,
    /// The proxy refuses.
    ProxyRefused,
    /// TLS fails: an unknown authority, another name, an expired certificate.
    TlsFailed,
    /// The server sends us on to where we do not follow.
    RedirectRefused,
    /// The file with the token cannot be read, or holds none.
    TokenFileUnreadable,
    /// The server wants a token, and there is none.
    TokenMissing,
    /// The token is unknown, expired or revoked, or bound to another address.
    TokenRefused,
    /// The token is not renewed: root, batch, at the end of its days, or of a login that is not to be
    /// had now.
    TokenNotRenewable,
    /// No policy of the token allows it.
    PolicyMissing,
    /// 403 of something that is no Vault.
    Forbidden,
    /// There is no transit engine at this path, or no such namespace.
    MountMissing,
    /// There is no such key.
    KeyMissing,
    /// The key has no such version, or no longer.
    VersionMissing,
    /// The key's settings forbid this version, or the key is being deleted.
    VersionDisallowed,
    /// The key does not encrypt, or wants a context.
    KeyUnsuitable,
    /// The KMS of the other server denies it the master key.
    MasterKeyDenied,
    /// The other server's own master key is disabled, gone, or not what it was.
    MasterKeyUnusable,
    /// The ciphertext does not open.
    RequestRejected,
    /// The answer makes no sense.
    AnswerWrong,
}

/// What was seen of one failed call, for the operator. It holds nothing secret, and no text of the
/// server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitDiagnosis {
    /// Where it failed.
    pub hop: TransitHop,
    /// What happened.
    pub outcome: TransitOutcome,
    /// The host asked.
    pub host: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why TLS failed, in a word.
    pub tls: Option<String>,
}

impl TransitDiagnosis {
    /// Of a call that brought no answer to speak of.
    pub(super) fn unanswered(hop: TransitHop, outcome: TransitOutcome, host: &str) -> Self {
        Self { hop, outcome, host: host.to_owned(), status: None, tls: None }
    }

    /// What was seen of the failed call behind `error`, if it was a call to a transit engine.
    #[must_use]
    pub fn of(error: &KmsError) -> Option<&Self> {
        error.cause()?.downcast_ref()
    }

    /// What mends it: a setting, a policy, or a command.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        self.outcome.remedy_at(self.hop)
    }

    /// The error with this as its cause; `retry_after` is what the server asked for.
    pub(super) fn into_error(self, retry_after: Option<Duration>) -> KmsError {
        use TransitOutcome as O;
        let outcome = self.outcome;
        let cause: Option<Cause> = Some(Arc::new(self));
        match outcome {
            O::Throttled => KmsError::Throttled { retry_after, cause },
            O::TimedOut => KmsError::TimedOut(cause),
            O::Sealed
            | O::Standby
            | O::Outage
            | O::NameNotResolved
            | O::NotConnected
            | O::ProxyRefused
            | O::TlsFailed => KmsError::Unavailable(cause),
            O::TokenFileUnreadable
            | O::TokenMissing
            | O::TokenRefused
            | O::TokenNotRenewable
            | O::PolicyMissing
            | O::Forbidden
            | O::MasterKeyDenied => KmsError::Denied(cause),
            O::MountMissing | O::KeyMissing | O::VersionMissing => KmsError::UnknownKek(cause),
            O::VersionDisallowed | O::KeyUnsuitable | O::MasterKeyUnusable => {
                KmsError::Disabled(cause)
            }
            O::RequestRejected => KmsError::Rejected(cause),
            O::RedirectRefused | O::AnswerWrong => KmsError::Misbehaved(cause),
        }
    }
}

impl From<TransitDiagnosis> for KmsError {
    fn from(diagnosis: TransitDiagnosis) -> Self {
        diagnosis.into_error(None)
    }
}

impl fmt::Display for TransitDiagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.hop, self.host, self.outcome)?;
        match (self.status, &self.tls) {
            (Some(status), _) => write!(f, " (status {status})"),
            (None, Some(tls)) => write!(f, " ({tls})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for TransitDiagnosis {}

impl fmt::Display for TransitHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
            Self::Token => "token",
            Self::ReadKey => "transit key",
            Self::Encrypt => "transit encrypt",
            Self::Decrypt => "transit decrypt",
        })
    }
}
