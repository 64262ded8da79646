//! What a KMS answers when it does not do what it was asked.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

/// What a provider saw, for the log alone: the failed hop, the KMS's own text and request id.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why a KMS did not do what it was asked, as a fact that a caller can act on.
///
/// It can be cloned, because one answer may have many waiting for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum KmsError {
    /// The KMS does not let us: our identity, its role, or the KMS's firewall has to change.
    #[error("the KMS denies us the operation")]
    Denied(#[source] Option<Cause>),
    /// This ciphertext or request is wrong, and will be whenever it is sent.
    #[error("the KMS rejects what it was sent")]
    Rejected(#[source] Option<Cause>),
    /// The KMS has no such version of the master key, or no longer.
    #[error("the KMS does not know the master key")]
    UnknownKek(#[source] Option<Cause>),
    /// The version is there and may not be used: disabled, expired, not yet valid, or not meant
    /// for the operation.
    #[error("the master key may not be used")]
    Disabled(#[source] Option<Cause>),
    /// The KMS asks for patience.
    #[error("the KMS is throttling us")]
    Throttled {
        /// How long to wait at least, if it said so.
        retry_after: Option<Duration>,
        /// What the provider saw.
        #[source]
        cause: Option<Cause>,
    },
    /// The KMS, or something on the way to it, cannot be reached or does not work now.
    #[error("the KMS is unavailable")]
    Unavailable(#[source] Option<Cause>),
    /// A step of the call took longer than its deadline.
    #[error("the KMS did not answer in time")]
    TimedOut(#[source] Option<Cause>),
    /// The answer makes no sense: not in the protocol, about another key, of a wrong length.
    #[error("the KMS gave an answer that makes no sense")]
    Misbehaved(#[source] Option<Cause>),
}

impl KmsError {
    /// What the provider saw.
    pub const fn cause(&self) -> Option<&Cause> {
        match self {
            Self::Denied(cause)
            | Self::Rejected(cause)
            | Self::UnknownKek(cause)
            | Self::Disabled(cause)
            | Self::Throttled { cause, .. }
            | Self::Unavailable(cause)
            | Self::TimedOut(cause)
            | Self::Misbehaved(cause) => cause.as_ref(),
        }
    }

    /// Whether the same call may succeed later although nobody changes anything.
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Unavailable(_)
            | Self::TimedOut(_)
            | Self::Misbehaved(_) => true,
            Self::Denied(_) | Self::Rejected(_) | Self::UnknownKek(_) | Self::Disabled(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_pass_by_itself_is_transient() {
        let throttled = KmsError::Throttled { retry_after: None, cause: None };
        for passing in [
            throttled,
            KmsError::Unavailable(None),
            KmsError::TimedOut(None),
            KmsError::Misbehaved(None),
        ] {
            assert!(passing.is_transient(), "{passing}");
        }
        for lasting in [
            KmsError::Denied(None),
            KmsError::Rejected(None),
            KmsError::UnknownKek(None),
            KmsError::Disabled(None),
        ] {
            assert!(!lasting.is_transient(), "{lasting}");
        }
    }

    #[test]
    fn cause_rides_along_and_stays_out_of_the_text() {
        let cause: Cause = Arc::new(std::io::Error::other("request 4711"));
        let error = KmsError::Denied(Some(cause));
        assert_eq!(error.to_string(), "the KMS denies us the operation");
        assert_eq!(error.source().map(ToString::to_string), Some("request 4711".to_owned()));
    }
}
