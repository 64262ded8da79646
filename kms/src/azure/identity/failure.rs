//! Why there is no token, in words of which none comes out of a token or a secret.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::token::NoToken;
use crate::Cause;
use crate::azure::on_the_way::on_the_way;
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::http::HttpError;

/// Why there is no token. One failure may have many waiting for it.
#[derive(Clone)]
pub struct IdentityError(Arc<Failure>);

struct Failure {
    diagnosis: Diagnosis,
    retry_after: Option<Duration>,
    cause: Option<Cause>,
}

impl IdentityError {
    pub(super) fn new(diagnosis: Diagnosis, cause: Option<Cause>) -> Self {
        Self(Arc::new(Failure { diagnosis, retry_after: None, cause }))
    }

    pub(super) fn throttled(diagnosis: Diagnosis, retry_after: Option<Duration>) -> Self {
        Self(Arc::new(Failure { diagnosis, retry_after, cause: None }))
    }

    /// A failure of HTTP on the way to `hop`.
    pub(super) fn transport(hop: Hop, error: HttpError) -> Self {
        Self::new(on_the_way(&error, hop), Some(Arc::new(error)))
    }

    /// An answer of this status that holds no token.
    pub(super) fn tokenless(hop: Hop, host: &str, status: u16, cause: NoToken) -> Self {
        let diagnosis = at(hop, Outcome::AnswerWrong, host);
        Self::new(Diagnosis { status: Some(status), ..diagnosis }, Some(Arc::new(cause)))
    }

    /// What was seen, for the operator.
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.0.diagnosis
    }

    /// What lies behind it, such as the reason of TLS.
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// How long the endpoint wants to be left alone, if it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The one behind `error`, if it is one or came from one: so a call of Azure's SDK shows
    /// whether it failed for want of a token.
    pub fn within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Self> {
        std::iter::successors(Some(error), |error| (**error).source())
            .find_map(|error| error.downcast_ref())
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.diagnosis.fmt(f)
    }
}

impl fmt::Debug for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.diagnosis.fmt(f)
    }
}

impl Error for IdentityError {
    /// The [`Diagnosis`], so that whoever walks the sources of an error of the SDK's finds it.
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0.diagnosis)
    }
}

/// A diagnosis of which no more is known.
pub(super) fn at(hop: Hop, outcome: Outcome, host: &str) -> Diagnosis {
    let host = host.to_owned();
    Diagnosis { hop, outcome, host, status: None, code: None, request_id: None }
}

/// Somebody asks for a token for another audience than Key Vault's: an endpoint that is not what it
/// seems, or a `resource` that does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a token for another audience is asked for")]
pub struct ForeignScope;

/// Why there cannot be such a credential.
#[derive(Debug, thiserror::Error)]
pub enum IdentitySetupError {
    /// The authority's URL is not `https://host[:port]`.
    #[error("the authority is not of the form https://host[:port]")]
    UnfitAuthority,
    /// The URL of the endpoint of managed identity is not `http` or names no host.
    #[error("the endpoint of managed identity is not an http URL")]
    UnfitEndpoint,
    /// The header's value for App Service is none.
    #[error("the identity header cannot be sent")]
    UnfitHeader,
    /// The tenant is empty or holds other characters than `A-Z a-z 0-9 . -`.
    #[error("the tenant id is malformed")]
    UnfitTenant,
    /// The application's id or secret is empty.
    #[error("the client id or the client secret is empty")]
    Incomplete,
    /// The certificate's private key cannot be used.
    #[error("the certificate's private key cannot be used")]
    UnusableKey(#[source] rustls::Error),
    /// The key is not an RSA key; Entra knows no others.
    #[error("the certificate's private key is not an RSA key")]
    NotRsa,
    /// There is no certificate, or it belongs to another key.
    #[error("the certificate does not belong to the private key")]
    OtherCertificate,
}
