use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::Cause;
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::http::{HttpError, HttpHop, HttpReason};

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

    /// A failure of HTTP on the way to `hop`. What happens before an answer from the endpoint of
    /// managed identity is that endpoint's own: there is nothing between it and us.
    pub(super) fn transport(hop: Hop, error: HttpError) -> Self {
        let outcome = match &error.reason {
            HttpReason::TimedOut => Outcome::TimedOut,
            HttpReason::NameNotResolved(_) => Outcome::NameNotResolved,
            HttpReason::Io(_) | HttpReason::Cut(_) => Outcome::NotConnected,
            HttpReason::Tls(_) => Outcome::TlsFailed,
            HttpReason::ProxyStatus(_) => Outcome::ProxyRefused,
            HttpReason::NotHttp(_) | HttpReason::TooLarge => Outcome::AnswerWrong,
            HttpReason::OtherScheme
            | HttpReason::UnfitUrl
            | HttpReason::UnfitHeader
            | HttpReason::StreamedBody => Outcome::RequestRejected,
        };
        let hop = match error.hop {
            _ if hop == Hop::ManagedIdentity => hop,
            HttpHop::Dns => Hop::Dns,
            HttpHop::Tcp => Hop::Tcp,
            HttpHop::Proxy => Hop::Proxy,
            HttpHop::Tls => Hop::Tls,
            HttpHop::Request | HttpHop::Exchange => hop,
        };
        let status = match error.reason {
            HttpReason::ProxyStatus(status) => Some(status),
            _ => None,
        };
        let diagnosis = Diagnosis { status, ..at(hop, outcome, &error.host) };
        Self::new(diagnosis, Some(Arc::new(error)))
    }

    /// What was seen, for the operator.
    pub fn diagnosis(&self) -> &Diagnosis {
        &self.0.diagnosis
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
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let cause = self.0.cause.as_deref()?;
        Some(cause)
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
    /// The authority's URL is not `https` or names no host.
    #[error("the authority is not an https URL")]
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
