//! What a failed call means: from the SDK's error to a [`KmsError`] with its [`Diagnosis`].
//!
//! The SDK's own text and `error_code` are not used: of a message with an escape in it (which
//! Azure's are) they make the whole body.

use std::error::Error as _;
use std::iter::successors;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use azure_core::error::ErrorKind;
use azure_core::http::RawResponse;
use azure_core::http::headers::{HeaderName, Headers};
use azure_core::time::parse_rfc7231;
use serde::Deserialize;

use super::identity::IdentityError;
use super::on_the_way::on_the_way;
use super::{Diagnosis, Hop, Outcome};
use crate::http::HttpError;
use crate::{Cause, KmsError};

/// No `Retry-After` makes us wait longer.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
const RETRY_AFTER: HeaderName = HeaderName::from_static("retry-after");
const RETRY_AFTER_MS: [HeaderName; 2] =
    [HeaderName::from_static("retry-after-ms"), HeaderName::from_static("x-ms-retry-after-ms")];

/// What `error` means, that a request for `hop` to the vault on `host` met at the time `now`.
pub(super) fn failure(
    error: &azure_core::Error,
    hop: Hop,
    host: &str,
    now: SystemTime,
) -> KmsError {
    if let Some(identity) = IdentityError::within(error) {
        return identity.diagnosis().clone().into();
    }
    if let Some(failed) = HttpError::within(error) {
        return on_the_way(failed, hop).into();
    }
    if let Some(diagnosis) = found_by_transport(error) {
        return diagnosis.clone().into();
    }
    let outcome = match error.kind() {
        ErrorKind::HttpResponse { raw_response: Some(response), .. } => {
            return refusal(response, hop, host, now);
        }
        ErrorKind::Connection | ErrorKind::Io => Outcome::NotConnected,
        ErrorKind::Credential => Outcome::CredentialRefused,
        _ => Outcome::AnswerWrong,
    };
    Diagnosis::unanswered(hop, outcome, host).into()
}

/// Whether the SDK had a token and then none: whoever refuses one says why.
pub(super) fn is_token_lost(error: &azure_core::Error) -> bool {
    let mut causes = successors(error.source(), |cause| (*cause).source());
    matches!(error.kind(), ErrorKind::Credential)
        && causes.all(|cause| cause.is::<azure_core::Error>())
}

fn found_by_transport(error: &azure_core::Error) -> Option<&Diagnosis> {
    let mut causes = successors(error.source(), |cause| (*cause).source());
    causes.find_map(|cause| cause.downcast_ref())
}

fn refusal(response: &RawResponse, hop: Hop, host: &str, now: SystemTime) -> KmsError {
    let status = u16::from(response.status());
    let body = ErrorBody::parse(response.body());
    let detail = body.as_ref().map(|body| &body.error);
    let outcome = outcome(status, hop, detail);
    let diagnosis = Diagnosis {
        hop,
        outcome,
        host: host.to_owned(),
        status: Some(status),
        code: detail.and_then(ErrorDetail::shown_code),
        request_id: request_id(response.headers()),
    };
    match outcome {
        Outcome::Throttled => {
            let retry_after = retry_after(response.headers(), now);
            KmsError::Throttled { retry_after, cause: Some(Arc::new(diagnosis)) }
        }
        _ => diagnosis.into(),
    }
}

/// Without a body of Key Vault's the answer is somebody else's: a proxy's, say. So a 404 or a 400
/// of theirs says nothing about a key or a ciphertext.
fn outcome(status: u16, hop: Hop, detail: Option<&ErrorDetail>) -> Outcome {
    match (status, detail) {
        (429, _) => Outcome::Throttled,
        (408 | 500.., _) => Outcome::Outage,
        (401, detail) => unauthorised(detail),
        (403, None) => Outcome::Forbidden,
        (403, Some(detail)) => detail.forbidden(),
        // No other word stops encryption: something on the way may answer in the same form.
        (404, Some(detail)) if detail.is_code("KeyNotFound") => Outcome::KeyMissing,
        (400, Some(detail)) if detail.is_code("BadParameter") => match hop {
            Hop::Unwrap => Outcome::RequestRejected,
            // All that a wrap can have wrong is the algorithm: a symmetric key of another size.
            Hop::Wrap => Outcome::KeyUnsuitable,
            _ => Outcome::AnswerWrong,
        },
        _ => Outcome::AnswerWrong,
    }
}

/// Whether the vault says that it cannot check a token, which says nothing against the token.
pub(super) fn is_token_unverified(error: &azure_core::Error) -> bool {
    let ErrorKind::HttpResponse { raw_response: Some(response), .. } = error.kind() else {
        return false;
    };
    u16::from(response.status()) == 401
        && ErrorBody::parse(response.body()).is_some_and(|body| body.error.is_token_unverified())
}

fn unauthorised(detail: Option<&ErrorDetail>) -> Outcome {
    match detail.and_then(ErrorDetail::akv_code) {
        // The audience; the issuer.
        Some("AKV10022" | "AKV10032") => Outcome::WrongTenant,
        _ if detail.is_some_and(ErrorDetail::is_token_unverified) => Outcome::TokenUnverified,
        _ => Outcome::CredentialRefused,
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<String>,
    message: Option<String>,
    #[serde(alias = "innerError", alias = "InnerError")]
    innererror: Option<InnerError>,
}

#[derive(Deserialize)]
struct InnerError {
    code: Option<String>,
}

impl ErrorBody {
    fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl ErrorDetail {
    fn inner_code(&self) -> Option<&str> {
        self.innererror.as_ref()?.code.as_deref()
    }

    fn is_code(&self, code: &str) -> bool {
        [self.code.as_deref(), self.inner_code()]
            .into_iter()
            .flatten()
            .any(|found| found.eq_ignore_ascii_case(code))
    }

    /// `AKV10032` of a message that begins with it.
    fn akv_code(&self) -> Option<&str> {
        let message = self.message.as_deref()?;
        let code = message.get(..8)?;
        let digits = code.strip_prefix("AKV")?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(code)
    }

    /// The most telling code, if it is one and no prose.
    fn shown_code(&self) -> Option<String> {
        let code = self.inner_code().or_else(|| self.akv_code()).or(self.code.as_deref());
        code.and_then(token)
    }

    /// Vaults say so of good tokens, off and on for hours: the issuer's new key has not come to all
    /// their machines (AKV10046), or, of managed HSMs, the clock of one is behind the issuer's.
    fn is_token_unverified(&self) -> bool {
        self.akv_code() == Some("AKV10046") || self.lower_message().contains("not yet valid")
    }

    fn lower_message(&self) -> String {
        self.message.as_deref().unwrap_or_default().to_ascii_lowercase()
    }

    fn forbidden(&self) -> Outcome {
        let by_code = BY_CODE.iter().find(|(code, _)| self.is_code(code));
        let message = self.lower_message();
        // A managed HSM's only word for it; there are no access policies in one.
        if self.is_code("AccessDenied") && message.contains("managedhsm") {
            return Outcome::RoleMissing;
        }
        let by_message = || BY_MESSAGE.iter().find(|(part, _)| message.contains(part));
        by_code.or_else(by_message).map_or(Outcome::Forbidden, |(_, outcome)| *outcome)
    }
}

const BY_CODE: [(&str, Outcome); 10] = [
    ("ForbiddenByRbac", Outcome::RoleMissing),
    ("ForbiddenByPolicy", Outcome::PolicyMissing),
    ("AccessDenied", Outcome::PolicyMissing),
    ("ForbiddenByFirewall", Outcome::Firewall),
    ("ForbiddenByConnection", Outcome::PrivateLink),
    ("KeyDisabled", Outcome::KeyDisabled),
    ("KeyExpired", Outcome::KeyExpired),
    ("KeyNotYetValid", Outcome::KeyNotYetValid),
    ("KeyOperationForbidden", Outcome::OperationNotAllowed),
    ("KeyOperationNotPermitted", Outcome::OperationNotAllowed),
];

/// For answers whose code says no more than `Forbidden`.
const BY_MESSAGE: [(&str, Outcome); 8] = [
    ("disabled key", Outcome::KeyDisabled),
    ("not yet valid", Outcome::KeyNotYetValid),
    ("expired", Outcome::KeyExpired),
    ("not permitted on this key", Outcome::OperationNotAllowed),
    ("caller is not authorized to perform action", Outcome::RoleMissing),
    ("does not have keys", Outcome::PolicyMissing),
    ("client address is not authorized", Outcome::Firewall),
    ("public network access is disabled", Outcome::PrivateLink),
];

/// `x-ms-request-id`, which Azure's support asks for.
pub(super) fn request_id(headers: &Headers) -> Option<String> {
    headers.get_optional_str(&REQUEST_ID).and_then(token)
}

/// What the wire says goes to a log only if it is short and plain.
fn token(text: &str) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
    fits.then(|| text.to_owned())
}

fn retry_after(headers: &Headers, now: SystemTime) -> Option<Duration> {
    let number = |name: &HeaderName| headers.get_optional_str(name)?.trim().parse::<u64>().ok();
    let in_milliseconds = || RETRY_AFTER_MS.iter().find_map(number).map(Duration::from_millis);
    let in_seconds = || number(&RETRY_AFTER).map(Duration::from_secs);
    let until = || {
        let date = parse_rfc7231(headers.get_optional_str(&RETRY_AFTER)?).ok()?;
        Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
    };
    let wait = in_milliseconds().or_else(in_seconds).or_else(until)?;
    Some(wait.min(LONGEST_WAIT))
}

impl Diagnosis {
    /// Of a call that brought no answer to speak of.
    pub(super) fn unanswered(hop: Hop, outcome: Outcome, host: &str) -> Self {
        let host = host.to_owned();
        Self { hop, outcome, host, status: None, code: None, request_id: None }
    }
}

impl From<Diagnosis> for KmsError {
    fn from(diagnosis: Diagnosis) -> Self {
        let (hop, outcome) = (diagnosis.hop, diagnosis.outcome);
        let is_of_identity = matches!(hop, Hop::ManagedIdentity | Hop::Entra);
        // IMDS knows nothing for minutes after a machine or an assignment is new.
        let may_be_new = outcome == Outcome::IdentityMissing && diagnosis.status == Some(404);
        let cause: Option<Cause> = Some(Arc::new(diagnosis));
        match outcome {
            // The vault is not to be spared for it.
            Outcome::Throttled if is_of_identity => Self::Unavailable(cause),
            Outcome::Throttled => Self::Throttled { retry_after: None, cause },
            Outcome::TimedOut => Self::TimedOut(cause),
            Outcome::IdentityMissing if may_be_new => Self::Unavailable(cause),
            Outcome::Outage
            | Outcome::TokenUnverified
            | Outcome::NameNotResolved
            | Outcome::NotConnected
            | Outcome::ProxyRefused
            | Outcome::TlsFailed => Self::Unavailable(cause),
            Outcome::IdentityMissing
            | Outcome::IdentityAmbiguous
            | Outcome::IdentityRequestRejected
            | Outcome::CredentialRefused
            | Outcome::TokenFileUnreadable
            | Outcome::WrongTenant
            | Outcome::RoleMissing
            | Outcome::PolicyMissing
            | Outcome::Firewall
            | Outcome::PrivateLink
            | Outcome::Forbidden => Self::Denied(cause),
            Outcome::KeyDisabled
            | Outcome::KeyExpired
            | Outcome::KeyNotYetValid
            | Outcome::OperationNotAllowed
            | Outcome::KeyUnsuitable => Self::Disabled(cause),
            Outcome::KeyMissing | Outcome::OtherVault => Self::UnknownKek(cause),
            // Of a token request, say, it says nothing about a ciphertext.
            Outcome::RequestRejected if hop == Hop::Unwrap => Self::Rejected(cause),
            Outcome::RequestRejected | Outcome::AnswerWrong => Self::Misbehaved(cause),
        }
    }
}
