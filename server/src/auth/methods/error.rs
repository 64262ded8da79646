//! Why a method refuses: what the client is told, and what the log knows beside it.

use std::error::Error;

use selkie_crypto::RandomError;

use crate::api::fields::FieldError;
use crate::state::records::{RecordsError, TooLarge, Unreadable};

/// Why a method did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum MethodError {
    /// A field cannot be converted.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// There is nothing: 404 without a text.
    #[error("nothing there")]
    NotFound,
    /// The method has no such path.
    #[error("unsupported path")]
    UnsupportedPath,
    /// The path does not support the operation.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// What stands in the configuration cannot be changed through the API (invariant I6).
    #[error("{what} is declared at {at}: change it there and reload")]
    Declared {
        /// What it is, as `role "ci"`.
        what: String,
        /// `<file>:<line>:<column>`
        at: String,
    },
    /// It could not be kept, or what is kept cannot be read.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// There is no room for the answer, which is to be wrapped.
    #[error("there is no room for the wrapped answer, of all or of the share of who logs in")]
    NoRoom,
    /// No randomness.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// In words of the method's own.
    #[error("{told}")]
    Refused {
        /// What kind of answer it is.
        kind: AnswerKind,
        /// What the client is told.
        told: Box<dyn Error + Send + Sync>,
        /// What only the log may know.
        reason: Option<Box<dyn Error + Send + Sync>>,
    },
}

/// What kind of answer a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// 400
    BadRequest,
    /// 403
    Forbidden,
    /// 404
    NotFound,
    /// 500
    Failure,
    /// 503: somebody else who must be asked does not answer.
    Unavailable,
}

impl MethodError {
    /// 400, with the words of `told`.
    pub fn refused(told: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { kind: AnswerKind::BadRequest, told: Box::new(told), reason: None }
    }

    /// The same, with a reason for the log alone.
    pub fn refused_because(
        told: impl Error + Send + Sync + 'static,
        reason: impl Error + Send + Sync + 'static,
    ) -> Self {
        let reason = Some(Box::new(reason) as Box<dyn Error + Send + Sync>);
        Self::Refused { kind: AnswerKind::BadRequest, told: Box::new(told), reason }
    }

    /// Another kind of answer with the words of `told`.
    pub fn told(kind: AnswerKind, told: impl Error + Send + Sync + 'static) -> Self {
        Self::Refused { kind, told: Box::new(told), reason: None }
    }
}

impl From<Unreadable> for MethodError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Records(unreadable.into())
    }
}

impl From<TooLarge> for MethodError {
    fn from(too_large: TooLarge) -> Self {
        Self::Records(too_large.into())
    }
}
