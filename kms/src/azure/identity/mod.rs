//! Who we are to Azure: tokens for Key Vault, and for nothing else, by the identity that the
//! configuration names. No variable of the environment has any effect here.
//!
//! Entra is asked by Microsoft's `azure_identity` (`entra.rs` says how it is held to this). Managed
//! identity is not: the library's chooses its endpoint by whatever `IDENTITY_ENDPOINT` stands in the
//! environment, overwrites the retry options with its own of up to 100 seconds, and refuses resource
//! ids for App Service.

mod assertion;
mod entra;
mod exchange;
mod failure;
#[doc(hidden)]
pub mod fuzzing;
mod keeper;
mod managed;
mod pace;
mod reply;
#[cfg(test)]
mod tests;
mod token;
mod transport;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use url::Url;

use super::{Diagnosis, Hop, Identity, Outcome};
use crate::http::HttpClient;

pub use failure::{ForeignScope, IdentityError, IdentitySetupError};
pub use token::Token;

use assertion::CertificateSigner;
use entra::{Application, Proof, Registration};
use failure::at;
use keeper::{Kept, TokenSource};
use managed::ManagedIdentity;
use transport::Transport;

/// How long an attempt at a token may take, its tries included.
pub const TOKEN_DEADLINE: Duration = Duration::from_secs(10);

/// An identity with its token for one audience, which a task of its own keeps fresh.
///
/// The last good token serves until it expires, whatever happens meanwhile; from about half of its
/// lifetime on a new one is sought. The first to want a token starts the task, so that must happen
/// inside a runtime; it ends with the credential.
pub struct Credential {
    kind: &'static str,
    hop: Hop,
    scope: String,
    host: String,
    deadline: Duration,
    kept: Arc<Kept>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

impl Credential {
    /// A credential for tokens of the audience `https://` + `resource`. Entra is at `authority` and
    /// asked over `https`; managed identity is asked over `plain`.
    ///
    /// # Errors
    /// [`IdentitySetupError`], each of which the configuration causes.
    pub fn new(
        identity: Identity,
        resource: &str,
        authority: &Url,
        https: Arc<HttpClient>,
        plain: Arc<HttpClient>,
    ) -> Result<Arc<Self>, IdentitySetupError> {
        let (clock, deadline) = (system_clock(), TOKEN_DEADLINE);
        Self::by(identity, resource, authority, Means { https, plain, clock, deadline })
    }

    /// The same by other means.
    ///
    /// # Errors
    /// As [`Credential::new`].
    pub fn by(
        identity: Identity,
        resource: &str,
        authority: &Url,
        means: Means,
    ) -> Result<Arc<Self>, IdentitySetupError> {
        let deadline = means.deadline;
        let kind = identity.kind();
        let scope = format!("https://{resource}/.default");
        let (hop, host) = match &identity {
            Identity::ManagedIdentity { endpoint, .. } | Identity::AppService { endpoint, .. } => {
                (Hop::ManagedIdentity, endpoint.host_str())
            }
            Identity::WorkloadIdentity { .. }
            | Identity::ClientSecret { .. }
            | Identity::ClientCertificate { .. } => (Hop::Entra, authority.host_str()),
        };
        let host = host.unwrap_or_default().to_owned();
        let source = source(identity, resource, &scope, authority, means)?;
        let kept = Arc::new(Kept::new(source, deadline));
        Ok(Arc::new(Self { kind, hop, scope, host, deadline, kept, keeper: Mutex::default() }))
    }

    /// The token, for which it waits if there is none, at most for one attempt.
    ///
    /// # Errors
    /// [`IdentityError`]: what the attempt came to.
    pub async fn token(&self) -> Result<Arc<Token>, IdentityError> {
        self.ensure_keeper();
        // The attempt's own deadline comes first, unless the task was lost.
        let patience = self.deadline + Duration::from_secs(1);
        let lost = || IdentityError::new(at(self.hop, Outcome::TimedOut, &self.host), None);
        timeout(patience, self.kept.token()).await.unwrap_or_else(|_| Err(lost()))
    }

    /// Drops the token, because Key Vault does not accept it; one that is only seconds old stays,
    /// so that a Key Vault that accepts none causes no storm.
    pub fn invalidate(&self) {
        self.kept.invalidate();
    }

    /// Why there is no good token: what the last attempt came to, or that the first one still
    /// waits. `None` if there is one.
    pub fn trouble(&self) -> Option<Diagnosis> {
        if self.kept.held().is_some_and(|token| token.is_good()) {
            return None;
        }
        let waiting = || at(self.hop, Outcome::TimedOut, &self.host);
        Some(self.failure().map_or_else(waiting, |error| error.diagnosis().clone()))
    }

    /// When the token that is held expires; `None` if none is.
    pub fn expires(&self) -> Option<Instant> {
        self.kept.held().map(|token| token.expires())
    }

    /// Why the last attempt at a token failed; `None` if it did not. There may be a good token all
    /// the same.
    pub fn failure(&self) -> Option<IdentityError> {
        self.kept.failure()
    }

    fn ensure_keeper(&self) {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        if keeper.as_ref().is_none_or(JoinHandle::is_finished) {
            *keeper = Some(tokio::spawn(Arc::clone(&self.kept).keep()));
        }
    }

    /// Whether these are our scope and no other. A trailing slash more is Azure's own habit.
    fn is_ours(&self, scopes: &[&str]) -> bool {
        let [scope] = scopes else { return false };
        audience(scope).is_some_and(|asked| Some(asked) == audience(&self.scope))
    }
}

/// Whom a token of `scope` is for.
pub(super) fn audience(scope: &str) -> Option<String> {
    let resource = scope.strip_suffix("/.default")?;
    Some(resource.trim_end_matches('/').to_ascii_lowercase())
}

impl Drop for Credential {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(keeper) = keeper {
            keeper.abort();
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// So that Azure's SDK asks here. Whatever audience a challenge names, a token is given for our own
/// alone, or an endpoint could collect tokens for others.
#[async_trait]
impl TokenCredential for Credential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let refused = |error| azure_core::Error::new(ErrorKind::Credential, error);
        if !self.is_ours(scopes) {
            let diagnosis = at(self.hop, Outcome::WrongTenant, &self.host);
            return Err(refused(IdentityError::new(diagnosis, Some(Arc::new(ForeignScope)))));
        }
        let token = self.token().await.map_err(refused)?;
        // Expired for the SDK, so that it keeps none of its own but asks for each request: here the
        // newest is at hand, and nothing else knows which one was dropped.
        Ok(AccessToken::new(token.text().to_owned(), OffsetDateTime::UNIX_EPOCH))
    }
}

/// Wall time, as a value that comes in: `expires_on` and the assertion of a certificate speak of it.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

#[expect(clippy::disallowed_methods, reason = "the clock of whoever brings none")]
fn system_clock() -> WallClock {
    Arc::new(SystemTime::now)
}

/// What a credential works with.
pub struct Means {
    /// Asks Entra.
    pub https: Arc<HttpClient>,
    /// Asks managed identity.
    pub plain: Arc<HttpClient>,
    /// Tells wall time.
    pub clock: WallClock,
    /// How long an attempt at a token may take, its tries included.
    pub deadline: Duration,
}

impl fmt::Debug for Means {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

fn source(
    identity: Identity,
    resource: &str,
    scope: &str,
    authority: &Url,
    Means { https, plain, clock, .. }: Means,
) -> Result<Box<dyn TokenSource>, IdentitySetupError> {
    let entra = Transport { client: https, clock: Arc::clone(&clock) };
    let managed = Transport { client: plain, clock };
    let application = |tenant_id, client_id, proof| {
        let registration = Registration { tenant_id, client_id };
        Application::new(entra, authority, registration, scope.to_owned(), proof)
    };
    Ok(match identity {
        Identity::ManagedIdentity { user_assigned, endpoint } => {
            let user_assigned = user_assigned.as_ref();
            Box::new(ManagedIdentity::imds(managed, &endpoint, user_assigned, resource)?)
        }
        Identity::AppService { user_assigned, endpoint, header } => {
            let user_assigned = user_assigned.as_ref();
            let app =
                ManagedIdentity::app_service(managed, &endpoint, &header, user_assigned, resource);
            Box::new(app?)
        }
        Identity::WorkloadIdentity { tenant_id, client_id, token_file } => {
            Box::new(application(tenant_id, client_id, Proof::TokenFile(token_file))?)
        }
        Identity::ClientSecret { tenant_id, client_id, client_secret } => {
            Box::new(application(tenant_id, client_id, Proof::Secret(client_secret))?)
        }
        Identity::ClientCertificate { tenant_id, client_id, certificate } => {
            let proof = Proof::Certificate(CertificateSigner::new(certificate)?);
            Box::new(application(tenant_id, client_id, proof)?)
        }
    })
}
