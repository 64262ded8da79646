//! A known client's request, and why one is refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use selkie_access::{Check, Parameter, Request, TokenText};
use selkie_kms::KmsError;
use selkie_listener::{Overloaded, ShownCertificate};
use tokio::time::Instant;

use super::advice::{Denial, advice, advice_on_stranger};
use super::batch::{BatchItem, ITEM_BYTES};
use super::body::BodyError;
use super::error::{ApiError, Blame, ItemError, MasterKeyFault};
use super::fields::{Fields, Warnings};
use super::log_budget::{LogBudgets, RefusalKind};
use super::logged::{LoggedRequest, abridged, cut};
use super::reply::ReplyFrame;
use super::route::Operation;
use crate::audit::Trail;
use crate::auth::methods::MethodError;
use crate::auth::{Client, KnownClient, NotAuthenticated, Origin};
use crate::byte_budget::Taken;
use crate::deployment::Deployment;
use crate::node::Node;
use crate::seal::{Contradiction, SealFault};
use crate::state::records::RecordsError;
use crate::telemetry::WithCauses;
use crate::transit::{Transit, TransitError};

/// A request of a known client.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) node: &'a Node,
    /// As of when the request came in.
    pub(super) deployment: Arc<Deployment>,
    pub(super) client: Arc<Client>,
    pub(super) token: Option<&'a TokenText>,
    /// What it came with, if that still passes.
    pub(super) certificate: Option<&'a ShownCertificate>,
    /// Where the request comes from.
    pub(super) address: IpAddr,
    /// A UUID, in the reply and in the log.
    pub(super) id: &'a str,
    pub(super) log_budgets: &'a LogBudgets,
    /// What the engine does for it; `None` if nobody will read it.
    pub(super) trail: Option<Arc<Trail>>,
    /// How long the wrapped answer is to be kept; `None` if it is not to be wrapped.
    pub(super) wrap_ttl: Option<Duration>,
    /// How long a request's body may be here, in bytes; 4 of them, for which there is room in a call.
    pub(super) body_limit: u32,
    /// When the request came in, later by what the client took to send its body.
    pub(super) came: Instant,
}

/// A request as policies see it.
#[derive(Debug)]
pub(super) struct Seen<'f, 'a> {
    fields: &'f Fields<'a>,
    wrap_ttl: Option<Duration>,
}

impl Request for Seen<'_, '_> {
    fn parameters(&self) -> Option<Vec<(&str, Parameter<'_>)>> {
        self.fields.as_sent()
    }

    fn wrap_ttl(&self) -> Option<Duration> {
        self.wrap_ttl
    }
}

impl Call<'_> {
    /// What the client's policies say to this request, of which no field has been taken yet.
    pub(super) fn acl<'f, 'a>(&'f self, fields: &'f Fields<'a>) -> Check<'f, Seen<'f, 'a>> {
        self.client.acl.on(Seen { fields, wrap_ttl: self.wrap_ttl })
    }

    /// Takes what the results of `items` will come to, until they are in a reply.
    pub(super) async fn take_for(&self, items: &[BatchItem<'_>]) -> Result<Taken, ApiError> {
        let taken = self.node.bytes().take(items.len().saturating_mul(ITEM_BYTES)).await;
        taken.map_err(|Overloaded| ApiError::Overloaded)
    }

    /// Refuses a ciphertext that no request to decrypt it could bring back: whoever got it would have
    /// lost what is in it.
    pub(super) fn require_decryptable(&self, ciphertext: &str) -> Result<(), ApiError> {
        const AROUND: usize = r#"{"ciphertext":""}"#.len();
        match u32::try_from(ciphertext.len().saturating_add(AROUND)) {
            Ok(length) if length <= self.body_limit => Ok(()),
            Ok(_) | Err(_) => Err(BodyError::TooLarge.into()),
        }
    }

    /// Counts it as a use of the client's token.
    pub(super) async fn count_use(&mut self) -> Result<(), NotAuthenticated> {
        self.client = self.node.auth().count_use(&self.client, self.token).await?;
        Ok(())
    }

    /// The engine for one item of a seal client, which waits for `patience` from when its request
    /// came (invariant I10): what went before, such as a look for its token, counts.
    pub(super) fn transit_within(&self, patience: Duration) -> Transit {
        Transit { until: self.came + patience, ..self.transit() }
    }

    pub(super) fn transit(&self) -> Transit {
        let deployment = Arc::clone(&self.deployment);
        let transit = self.node.transit(deployment, self.client.tag, self.came);
        Transit { trail: self.trail.clone(), ..transit }
    }

    /// Takes note that a key was used, for the warning before a seal's token runs out.
    pub(super) fn note_key_use(&self) {
        if let Origin::Token(token) = &self.client.origin {
            self.node.auth().tokens().note_key_use(token);
        }
    }

    pub(super) const fn frame<'w>(&'w self, warnings: &'w Warnings) -> ReplyFrame<'w> {
        ReplyFrame { request_id: self.id, warnings }
    }

    /// `error` for those who have a right to the path; nobody else learns whether it exists.
    pub(super) fn hide(&self, error: ApiError, path: &str, operation: Operation) -> ApiError {
        match self.client.acl.reaches(path, operation.capability()) {
            true => error,
            false => ApiError::PolicyDenies,
        }
    }
}

/// Why a request is refused: what the client is told, and what the log knows besides.
#[derive(Debug)]
pub(super) struct Refusal(Box<Refused>);

#[derive(Debug)]
struct Refused {
    error: ApiError,
    cause: Option<Cause>,
    client: Option<KnownClient>,
    key: Option<String>,
}

/// What only the log may know.
#[derive(Debug)]
enum Cause {
    Engine(TransitError),
    Stranger(NotAuthenticated),
    Method(MethodError),
    Records(RecordsError),
    Denied(Denial),
}

impl From<NotAuthenticated> for Refusal {
    fn from(cause: NotAuthenticated) -> Self {
        let (error, client) = match &cause {
            NotAuthenticated::Expired(client)
            | NotAuthenticated::OutsideBoundCidrs(client)
            | NotAuthenticated::WithoutCertificate(client) => {
                (ApiError::InvalidToken, Some(client.clone()))
            }
            NotAuthenticated::NoToken
            | NotAuthenticated::UnknownToken
            | NotAuthenticated::Lapsed(_)
            | NotAuthenticated::UnreadCertificate(_)
            | NotAuthenticated::UnknownCertificate(_)
            | NotAuthenticated::AmbiguousCertificate(_) => (ApiError::InvalidToken, None),
            NotAuthenticated::Stale(client) => (ApiError::StorageUnavailable, Some(client.clone())),
            NotAuthenticated::StateSealed => (ApiError::StateSealed, None),
            NotAuthenticated::StoreAway(_) | NotAuthenticated::NotLookedUp => {
                (ApiError::StorageUnavailable, None)
            }
            NotAuthenticated::Unreadable | NotAuthenticated::TooLarge => (ApiError::Internal, None),
        };
        let cause = Some(Cause::Stranger(cause));
        Self(Box::new(Refused { error, cause, client, key: None }))
    }
}

impl From<MethodError> for Refusal {
    fn from(cause: MethodError) -> Self {
        let error = super::handler::told_of_method(&cause);
        let cause = Some(Cause::Method(cause));
        Self(Box::new(Refused { error, cause, client: None, key: None }))
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        Self(Box::new(Refused { error, cause: None, client: None, key: None }))
    }
}

impl Refusal {
    /// The refusal that a failure of the engine on `key` leads to.
    pub(super) fn of(cause: TransitError, error: ApiError, key: &str) -> Self {
        let key = Some(key.to_owned());
        let cause = Some(Cause::Engine(cause));
        Self(Box::new(Refused { error, cause, client: None, key }))
    }

    /// The refusal that a failure of typed records leads to.
    pub(super) fn of_records(cause: RecordsError, error: ApiError) -> Self {
        let cause = Some(Cause::Records(cause));
        Self(Box::new(Refused { error, cause, client: None, key: None }))
    }

    /// The refusal of the only item of a request.
    pub(super) fn of_item(cause: TransitError, key: &str) -> Self {
        let error = match &cause {
            TransitError::KeyNotFound => ApiError::KeyNotFound,
            TransitError::StateSealed => ApiError::StateSealed,
            TransitError::Store(error) => ApiError::of_store(error),
            TransitError::NotLookedUp => ApiError::StorageUnavailable,
            cause => ApiError::Item(told(cause)),
        };
        Self::of(cause, error, key)
    }

    /// What only the log is told of a denial by policies, of which nothing else is known.
    pub(super) fn explained(mut self, why: impl FnOnce() -> Denial) -> Self {
        let Refused { error, cause, .. } = &mut *self.0;
        if matches!((&*error, &*cause), (ApiError::PolicyDenies, None)) {
            *cause = Some(Cause::Denied(why()));
        }
        self
    }

    pub(super) fn by(mut self, client: &Client) -> Self {
        self.0.client = Some(client.known());
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        self.0.error.status()
    }

    /// What the client is told, as the audit log tells it: of a path that is none of ours no more
    /// than the log does.
    pub(super) fn told(&self) -> String {
        match &self.0.error {
            ApiError::NoMount { path } => {
                ApiError::NoMount { path: abridged(path).into() }.message()
            }
            error => error.message(),
        }
        .unwrap_or_default()
    }

    /// Whether trying again changes nothing.
    pub(super) fn is_for_good(&self) -> bool {
        self.0.error.status().is_client_error()
    }

    /// Whether the connection is over with it, so that the client shows its certificate anew.
    pub(super) fn ends_connection(&self) -> bool {
        matches!(self.0.cause, Some(Cause::Stranger(NotAuthenticated::Lapsed(_))))
    }

    /// What the client is told.
    pub(super) fn into_error(self) -> ApiError {
        self.0.error
    }

    /// Whose budget the line about it is taken from. A client whose token is used from elsewhere
    /// counts as known: nobody else can cause the line.
    pub(super) fn kind(&self) -> RefusalKind {
        match &self.0.client {
            _ if self.is_failure() => RefusalKind::Failure,
            Some(_) => RefusalKind::Client,
            None => RefusalKind::Stranger,
        }
    }

    /// Whether it is ours to mend, whatever the status says to the client.
    fn is_failure(&self) -> bool {
        let error = &self.0.error;
        if let Some(
            Cause::Stranger(NotAuthenticated::NotLookedUp)
            | Cause::Engine(TransitError::NotLookedUp)
            | Cause::Method(MethodError::Records(RecordsError::NotLookedUp))
            | Cause::Records(RecordsError::NotLookedUp),
        ) = self.0.cause
        {
            return false;
        }
        let is_operators =
            matches!(error, ApiError::Item(error) if error.blame() == Blame::Operator);
        error.status().is_server_error() || is_operators
    }

    fn reason(&self) -> String {
        let reason = match (&self.0.cause, &self.0.error) {
            // Hop and request id of the KMS are in the causes, and nothing of the request.
            (Some(Cause::Engine(error)), _) => return WithCauses(error).to_string(),
            (Some(Cause::Stranger(error)), _) => WithCauses(error).to_string(),
            (Some(Cause::Method(MethodError::Refused { told, reason, .. })), _) => match reason {
                Some(reason) => format!("{told}: {}", WithCauses(&**reason)),
                None => told.to_string(),
            },
            (Some(Cause::Method(error)), _) => WithCauses(error).to_string(),
            (Some(Cause::Records(error)), _) => return WithCauses(error).to_string(),
            (None, ApiError::AuditFailed) => "no audit device took the line".to_owned(),
            (None, ApiError::NoMount { path }) => {
                ApiError::NoMount { path: abridged(path).into() }.to_string()
            }
            (Some(Cause::Denied(_)) | None, error) => error.to_string(),
        };
        cut(&reason).into_owned()
    }

    /// One line: what failed, for whom, why, and what to do.
    pub(super) fn log(&self, request: &LoggedRequest<'_>) {
        let Refused { error, cause, client, key } = &*self.0;
        let (client, accessor) = match client {
            // A client may be declared without a token.
            Some(client) => {
                (Some(&*client.name), Some(&*client.accessor).filter(|it| !it.is_empty()))
            }
            None => (None, None),
        };
        let key = key.as_deref();
        let reason = self.reason();
        let denial = match cause {
            Some(Cause::Denied(denial)) => Some(denial.to_string()),
            _ => None,
        };
        let advice = denial.as_deref().or(match cause {
            Some(Cause::Engine(error)) => advice(error),
            None if matches!(error, ApiError::AuditFailed) => Some(
                "see to the audit devices: a disk is full, or a collector away; the log told of it \
                 when it began",
            ),
            Some(Cause::Stranger(error)) => advice_on_stranger(error),
            Some(Cause::Records(_) | Cause::Method(_) | Cause::Denied(_)) | None => None,
        });
        let (id, path, method) = (request.id, &*request.path, &request.parts.method);
        let address = request.address();
        let code = error.status().as_u16();
        if self.is_failure() {
            tracing::error!(
                request_id = id, address, client, accessor, key, %method, path, status = code, reason,
                advice, "request failed"
            );
        } else {
            tracing::warn!(
                request_id = id, address, client, accessor, key, %method, path, status = code, reason,
                advice, "request refused"
            );
        }
    }
}

/// What the client is told of a failed item: Vault's own words outside the envelope, one answer
/// for whatever is wrong inside it (invariant I4).
pub(super) fn told(error: &TransitError) -> ItemError {
    match error {
        TransitError::RequestedVersionNegative => ItemError::WantedVersionNegative,
        TransitError::RequestedVersionTooHigh => ItemError::WantedVersionTooHigh,
        TransitError::RequestedVersionTooLow => ItemError::WantedVersionTooLow,
        TransitError::ContextMissing => ItemError::MissingContext,
        TransitError::Ciphertext(error) => ItemError::Ciphertext(*error),
        TransitError::VersionTooNew | TransitError::NewerVersion(_) => ItemError::VersionTooNew,
        TransitError::VersionTooOld => ItemError::VersionTooOld,
        TransitError::VersionSpelling
        | TransitError::Refused(_)
        | TransitError::Foreign
        | TransitError::NoUsableRecipient
        | TransitError::OtherVault(_)
        | TransitError::SealRevoked(_)
        | TransitError::UnwrapRejected
        | TransitError::OldServerRejected(_) => ItemError::Authentication,
        TransitError::Seal(error) => told_of_seal(&error.source),
        TransitError::KeyNotFound
        | TransitError::NotLookedUp
        | TransitError::Declared
        | TransitError::NoStorage
        | TransitError::NameTooLong
        | TransitError::RecordFull
        | TransitError::Encrypt(_)
        | TransitError::Quorum(_)
        | TransitError::Random(_)
        | TransitError::Store(_)
        | TransitError::StateSealed
        | TransitError::StoreAttached
        | TransitError::RecordUnreadable
        | TransitError::VersionsExhausted
        | TransitError::ChangePanicked
        | TransitError::Setting(_) => ItemError::Internal,
    }
}

/// What the client is told of a seal in trouble: whether to try again, and in a word why not.
const fn told_of_seal(fault: &SealFault) -> ItemError {
    if fault.is_transient() {
        return ItemError::MasterKeyUnavailable;
    }
    ItemError::MasterKeyRefuses(match fault {
        SealFault::Kms(KmsError::Denied(_)) => MasterKeyFault::Denied,
        SealFault::Kms(KmsError::UnknownKek(_))
        | SealFault::Contradicted(Contradiction::Missing) => MasterKeyFault::Missing,
        SealFault::Kms(_) | SealFault::NotUsable { .. } => MasterKeyFault::NotUsable,
        SealFault::Unlisted => MasterKeyFault::Unlisted,
        SealFault::Contradicted(_) | SealFault::NotAdopted(_) => MasterKeyFault::Changed,
        SealFault::NotConfigured
        | SealFault::NoPart
        | SealFault::SwitchedOff
        | SealFault::Undescribed
        | SealFault::Unconfirmed(_)
        | SealFault::Untrusted => MasterKeyFault::NotConfigured,
    })
}
