//! Every error that a client can be told, with the status code and the text that Vault 1.14.0
//! gives it.

mod item;
mod key;
mod policy;
mod token;
mod wrapping;

use http::StatusCode;
use selkie_listener::ForwardedError;
use selkie_storage::StoreError;

pub use self::{
    item::{Blame, ItemError, MasterKeyFault},
    key::{KeyError, TrimError, VersionError},
    policy::PolicyFault,
    token::TokenFault,
    wrapping::WrapFault,
};
use super::{
    batch::BatchShapeError,
    body::BodyError,
    fields::{FieldError, Warnings},
    quote::Quoted,
};

/// Why a request is refused. The cause is for the log; the client gets [`ApiError::message`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The URL does not begin with `/v1/`.
    #[error("the URL lies outside the API")]
    OutsideApi,
    /// The URL's path is not text that can be printed.
    #[error("the URL's path is not printable text")]
    UnreadablePath,
    /// Not a method that Vault knows, or not one that this path outside the request path knows.
    #[error("unknown method")]
    UnknownMethod,
    /// `list` is no truth value.
    #[error("list is not a truth value")]
    BadListParameter,
    /// A write to a path that ends in a slash.
    #[error("cannot write to a path ending in '/'")]
    WriteToSlash,
    /// The path contains `..`.
    #[error("relative paths not supported")]
    RelativePath,
    /// No mount at this path.
    #[error("no handler for route {}. route entry not found.", Quoted(.path))]
    NoMount {
        /// The path asked for.
        path: Box<str>,
    },
    /// The mount has no such path.
    #[error("unsupported path")]
    UnsupportedPath,
    /// The path does not support the operation.
    #[error("unsupported operation")]
    UnsupportedOperation,

    /// The body could not be read to its end.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The body is not a JSON object.
    #[error("error parsing JSON")]
    MalformedJson,
    /// The body is not the form that it says it is.
    #[error("error parsing form data")]
    MalformedForm,
    /// A field cannot be converted.
    #[error("Field validation failed: {0}")]
    Field(#[from] FieldError),
    /// The same for `encrypt`, where Vault finds it in another place and words it so.
    #[error(transparent)]
    EncryptField(FieldError),
    /// `X-Forwarded-For` is missing, or not to be believed.
    #[error(transparent)]
    Forwarded(ForwardedError),
    /// A query parameter of `sys/health` is no code or no truth value.
    #[error("a parameter is not a code or truth value")]
    BadHealthParameter,

    /// No token, or none that is known and valid.
    #[error("permission denied")]
    InvalidToken,
    /// The policy does not allow it.
    #[error("permission denied")]
    PolicyDenies,
    /// `internal/ui/mounts/:path`: no such mount, or no right to it.
    #[error(
        "preflight capability check returned 403, please ensure client's policies grant access to \
         path {}",
        Quoted(.path)
    )]
    PreflightDenied {
        /// The path asked for, with a final slash.
        path: Box<str>,
    },

    /// `encrypt` without a plaintext.
    #[error("missing plaintext to encrypt")]
    MissingPlaintext,
    /// `decrypt` or `rewrap` without a ciphertext.
    #[error("missing ciphertext to decrypt")]
    MissingCiphertext,
    /// `batch_input` is empty.
    #[error("missing batch input to process")]
    EmptyBatch,
    /// Some items have a context and some have none.
    #[error("context should be set either in all the request blocks or in none")]
    MixedContexts,
    /// `batch_input` has not the form of a batch.
    #[error("failed to parse batch input: {0}")]
    BatchShape(BatchShapeError),
    /// The key does not exist.
    #[error("encryption key not found")]
    KeyNotFound,
    /// The only item of the request failed.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// A convergent key was to be created by an encrypt without context.
    #[error("convergent encryption requires derivation to be enabled, so context is required")]
    ConvergentWithoutContext,
    /// A key was not created, configured, rotated, trimmed or deleted.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A method of authentication, or a change of its mount, refuses in words of its own.
    #[error("{text}")]
    Method {
        /// 400, 403, 500 or 503.
        status: StatusCode,
        /// The words.
        text: Box<str>,
    },
    /// A read or list found nothing.
    #[error("nothing there")]
    NotFound,

    /// Root and other tokens without expiry have no lease that could be renewed.
    #[error("invalid lease ID")]
    InvalidLease,
    /// The token is not renewable.
    #[error("lease is not renewable")]
    NotRenewable,
    /// Another fault about a token.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// Its renewals have failed again and again.
    #[error("renewals of this token fail again and again: wait")]
    RenewalsFail,
    /// A response was not wrapped or unwrapped.
    #[error(transparent)]
    Wrap(#[from] WrapFault),
    /// A policy was not shown or changed.
    #[error(transparent)]
    Policy(#[from] PolicyFault),
    /// `capabilities` of a token that nobody has.
    #[error("invalid token")]
    CapabilitiesOfNobody,
    /// `capabilities-self` without a path.
    #[error("paths must be supplied")]
    MissingPaths,
    /// `sys/metrics` in another format than Prometheus'.
    #[error("metric response format unknown: only \"prometheus\" is")]
    UnknownMetricsFormat,
    /// `sys/init`: it always is.
    #[error("Vault is already initialized")]
    AlreadyInitialized,

    /// `sys/audit/:path`: devices are declared.
    #[error(
        "audit devices are declared in the configuration file: change its \"audit\" stanzas and \
         restart"
    )]
    AuditDeclared,
    /// `sys/audit-hash/:path`: no such device.
    #[error("unknown audit backend")]
    UnknownAuditDevice,
    /// `sys/audit-hash/:path` without an input.
    #[error("the \"input\" parameter is empty")]
    MissingAuditInput,

    /// More requests at once than the configured limit.
    #[error("too many requests at once")]
    Overloaded,
    /// No audit device took the line (invariant I8).
    #[error("internal error")]
    AuditFailed,
    /// The store is not open yet.
    #[error("Vault is sealed")]
    StateSealed,
    /// Storage does not answer.
    #[error("storage does not answer")]
    StorageUnavailable,
    /// Storage answers, and something is wrong with what it holds.
    #[error("storage does not hold what was written to it")]
    StorageDamaged,
    /// Others have changed the record again and again while this was to change it.
    #[error("others are changing the same at the same time; try again")]
    Contended,
    /// A bug, or a state that cannot be read; the log knows more.
    #[error("internal error")]
    Internal,
}

/// How Vault wraps a text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `{"errors":[]}`
    NoText,
    /// `{"errors":["text"]}`
    Bare,
    /// As Bare, in the layout of go-multierror.
    List,
}

impl ApiError {
    /// What a client is told of a store that failed: whether it is worth trying again is another
    /// matter.
    pub(super) const fn of_store(error: &StoreError) -> Self {
        match error {
            StoreError::Corrupt { .. } | StoreError::NotReached { .. } => Self::StorageDamaged,
            StoreError::Unavailable { .. } | StoreError::Undecided { .. } => {
                Self::StorageUnavailable
            }
            StoreError::GuardFailed { .. } => Self::Contended,
            // Asked for what no store does: no outage, and no retry helps.
            StoreError::WrittenTwice { .. }
            | StoreError::Reserved { .. }
            | StoreError::TooLarge
            | StoreError::Compacted { .. } => Self::Internal,
        }
    }

    /// The status code.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.answer().0
    }

    /// The only element of `errors`; `None` where Vault sends an empty list.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        match self.answer().1 {
            Layout::NoText => None,
            Layout::Bare => Some(self.to_string()),
            Layout::List => Some(format!("1 error occurred:\n\t* {self}\n\n")),
        }
    }

    fn answer(&self) -> (StatusCode, Layout) {
        use Layout::{Bare, List, NoText};
        match self {
            Self::OutsideApi | Self::NotFound => (StatusCode::NOT_FOUND, NoText),
            Self::UnknownMethod => (StatusCode::METHOD_NOT_ALLOWED, NoText),
            Self::UnreadablePath | Self::BadListParameter | Self::BadHealthParameter => {
                (StatusCode::BAD_REQUEST, NoText)
            }
            Self::NoMount { .. } => (StatusCode::NOT_FOUND, Bare),
            Self::UnsupportedPath => (StatusCode::NOT_FOUND, List),
            Self::UnsupportedOperation => (StatusCode::METHOD_NOT_ALLOWED, List),
            Self::RelativePath => (StatusCode::BAD_REQUEST, List),
            Self::Body(BodyError::TooLarge) => (StatusCode::PAYLOAD_TOO_LARGE, Bare),
            Self::InvalidToken | Self::PreflightDenied { .. } => (StatusCode::FORBIDDEN, Bare),
            Self::PolicyDenies => (StatusCode::FORBIDDEN, List),
            Self::Body(BodyError::TimedOut | BodyError::Incomplete)
            | Self::WriteToSlash
            | Self::MalformedJson
            | Self::Forwarded(_)
            | Self::MalformedForm
            | Self::Field(_)
            | Self::EncryptField(_)
            | Self::MissingPlaintext
            | Self::MissingCiphertext
            | Self::EmptyBatch
            | Self::MixedContexts
            | Self::KeyNotFound
            | Self::ConvergentWithoutContext
            | Self::Key(_)
            | Self::InvalidLease
            | Self::NotRenewable
            | Self::MissingPaths
            | Self::Policy(_)
            | Self::Wrap(_)
            | Self::CapabilitiesOfNobody
            | Self::AuditDeclared
            | Self::UnknownAuditDevice
            | Self::MissingAuditInput
            | Self::UnknownMetricsFormat
            | Self::AlreadyInitialized => (StatusCode::BAD_REQUEST, Bare),
            Self::Method { status, .. } => (*status, Bare),
            Self::Token(TokenFault::BadToken) => (StatusCode::FORBIDDEN, Bare),
            Self::Token(TokenFault::MissingAccessor | TokenFault::InvalidAccessor) => {
                (StatusCode::BAD_REQUEST, List)
            }
            Self::Token(_) => (StatusCode::BAD_REQUEST, Bare),
            Self::BatchShape(_) => (StatusCode::INTERNAL_SERVER_ERROR, List),
            Self::Item(error) => {
                let blame = error.blame();
                (blamed(blame), if matches!(blame, Blame::Server) { List } else { Bare })
            }
            Self::AuditFailed | Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, List),
            Self::Overloaded
            | Self::RenewalsFail
            | Self::StateSealed
            | Self::StorageUnavailable
            | Self::StorageDamaged
            | Self::Contended => (StatusCode::SERVICE_UNAVAILABLE, Bare),
        }
    }
}

const fn blamed(blame: Blame) -> StatusCode {
    match blame {
        Blame::Client | Blame::Operator => StatusCode::BAD_REQUEST,
        // Seal clients of every version of Vault try again after a 503, and give up after a 4xx.
        Blame::MasterKey => StatusCode::SERVICE_UNAVAILABLE,
        Blame::Server => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The status of an encrypt or decrypt batch, of which the replies carry the items' errors; `None`
/// when every item succeeded. A rewrap batch has none: Vault answers it with 200 whatever failed.
///
/// `wanted` is `partial_failure_response_code`, which counts only if a part succeeded; one that is
/// no status code leaves a warning.
pub fn batch_status(
    failures: impl IntoIterator<Item = Option<Blame>>,
    wanted: Option<i64>,
    warnings: &mut Warnings,
) -> Option<StatusCode> {
    let mut succeeded = false;
    let mut worst: Option<Blame> = None;
    for failure in failures {
        match (failure, worst) {
            (None, _) => succeeded = true,
            (Some(blame), None) => worst = Some(blame),
            (Some(blame), Some(other)) => worst = Some(more_telling(blame, other)),
        }
    }
    let status = blamed(worst?);
    let (true, Some(wanted)) = (succeeded, wanted) else {
        return Some(status);
    };
    Some(override_status(wanted).unwrap_or_else(|| {
        warnings.add(format!(
            "invalid HTTP response code override from partial_failure_response_code, reverting to \
             {}",
            status.as_u16()
        ));
        status
    }))
}

/// What can be mended only by the client comes first, as in Vault; then what a retry may mend.
const fn more_telling(one: Blame, other: Blame) -> Blame {
    match (one, other) {
        (Blame::Client, _) | (_, Blame::Client) => Blame::Client,
        (Blame::Operator, _) | (_, Blame::Operator) => Blame::Operator,
        (Blame::MasterKey, _) | (_, Blame::MasterKey) => Blame::MasterKey,
        (Blame::Server, Blame::Server) => Blame::Server,
    }
}

/// Vault takes 1 to 599; an interim or bodiless status could not carry the reply.
fn override_status(wanted: i64) -> Option<StatusCode> {
    let code = u16::try_from(wanted).ok().filter(|code| (200..600).contains(code))?;
    StatusCode::from_u16(code).ok()
}

#[cfg(test)]
mod tests;
