//! Tokens for an application that Entra knows, by Azure's own client.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::cloud::{CloudConfiguration, CustomConfiguration};
use azure_core::credentials::{AccessToken, Secret, TokenCredential};
use azure_core::http::{ClientMethodOptions, ClientOptions, RetryOptions};
use azure_core::time::OffsetDateTime;
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions,
    ClientSecretCredential, ClientSecretCredentialOptions,
};
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::assertion::CertificateSigner;
use super::exchange::Exchange;
use super::failure::at;
use super::keeper::TokenSource;
use super::pace::patiently;
use super::token::Token;
use super::transport::Transport;
use super::{IdentityError, IdentitySetupError};
use crate::azure::{Hop, Outcome};

const HOP: Hop = Hop::Entra;
/// More than any federated token.
const TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// How an application proves itself.
pub(super) enum Proof {
    Secret(Zeroizing<String>),
    /// A federated token; its file is read each time, because Kubernetes writes it anew each hour.
    TokenFile(PathBuf),
    Certificate(CertificateSigner),
}

/// Which application of which tenant, by their ids in Entra.
pub(super) struct Registration {
    pub(super) tenant_id: String,
    pub(super) client_id: String,
}

/// An application that Entra knows, by the client credentials of `azure_identity`.
///
/// That library keeps each token until it expires, even one that Key Vault rejects, so each fetch
/// makes a credential of its own; it takes the authority from `AZURE_AUTHORITY_HOST` unless it is
/// given a cloud, so it is given one; and it reads a federated token's file every ten minutes and
/// signs with OpenSSL, so it is handed assertions that are ready. It does not wipe what it copies of
/// a secret: the program's allocator does.
pub(super) struct Application {
    exchange: Arc<Exchange>,
    cloud: Arc<CloudConfiguration>,
    /// Where the library asks, which is what an assertion speaks to.
    endpoint: Url,
    tenant_id: String,
    client_id: String,
    scope: String,
    proof: Proof,
}

impl Application {
    pub(super) fn new(
        transport: Transport,
        authority: &Url,
        Registration { tenant_id, client_id }: Registration,
        scope: String,
        proof: Proof,
    ) -> Result<Self, IdentitySetupError> {
        let endpoint = token_endpoint(authority, &tenant_id)?;
        let has_empty_secret = matches!(&proof, Proof::Secret(secret) if secret.is_empty());
        if client_id.is_empty() || has_empty_secret {
            return Err(IdentitySetupError::Incomplete);
        }
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host = endpoint.origin().ascii_serialization();
        let cloud = Arc::new(cloud.into());
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let exchange = Arc::new(Exchange { transport, host });
        Ok(Self { exchange, cloud, endpoint, tenant_id, client_id, scope, proof })
    }

    async fn ask(&self) -> Result<Token, IdentityError> {
        let given = match &self.proof {
            Proof::Secret(secret) => self.by_secret(secret).await,
            Proof::TokenFile(path) => self.by_assertion(self.federated(path).await?).await,
            Proof::Certificate(signer) => self.by_assertion(self.signed(signer)?).await,
        };
        let given = given.map_err(|error| self.failure(&error))?;
        // By the clock that the library has just used.
        let lifetime = Duration::try_from(given.expires_on - OffsetDateTime::now_utc());
        let text = Zeroizing::new(given.token.secret().to_owned());
        Ok(Token::new(text, Instant::now(), lifetime.unwrap_or_default()))
    }

    async fn by_secret(&self, secret: &str) -> azure_core::Result<AccessToken> {
        let options = ClientSecretCredentialOptions { client_options: self.options() };
        let secret = Secret::new(secret.to_owned());
        let (tenant_id, client_id) = (&self.tenant_id, self.client_id.clone());
        let credential = ClientSecretCredential::new(tenant_id, client_id, secret, Some(options))?;
        credential.get_token(&[&self.scope], None).await
    }

    async fn by_assertion(&self, assertion: Zeroizing<String>) -> azure_core::Result<AccessToken> {
        let options = ClientAssertionCredentialOptions { client_options: self.options() };
        let (tenant_id, client_id) = (self.tenant_id.clone(), self.client_id.clone());
        let ready = Ready(assertion);
        let credential =
            ClientAssertionCredential::new(tenant_id, client_id, ready, Some(options))?;
        credential.get_token(&[&self.scope], None).await
    }

    /// One try: how often and for how long, [`patiently`] decides.
    fn options(&self) -> ClientOptions {
        ClientOptions {
            cloud: Some(Arc::clone(&self.cloud)),
            retry: RetryOptions::none(),
            transport: Some(azure_core::http::Transport::new(self.exchange.clone())),
            ..ClientOptions::default()
        }
    }

    /// What the exchange saw; if it saw nothing wrong, the library cannot read the answer, and its
    /// words about that may quote the token.
    fn failure(&self, error: &azure_core::Error) -> IdentityError {
        IdentityError::within(error)
            .cloned()
            .unwrap_or_else(|| IdentityError::new(at(HOP, Outcome::AnswerWrong, self.host()), None))
    }

    fn host(&self) -> &str {
        &self.exchange.host
    }

    async fn federated(&self, path: &Path) -> Result<Zeroizing<String>, IdentityError> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_token_file(&path)).await;
        let read = read.unwrap_or_else(|lost| Err(lost.into()));
        read.map_err(|error| {
            let diagnosis = at(HOP, Outcome::TokenFileUnreadable, self.host());
            IdentityError::new(diagnosis, Some(Arc::new(error)))
        })
    }

    fn signed(&self, signer: &CertificateSigner) -> Result<Zeroizing<String>, IdentityError> {
        signer
            .assertion(&self.client_id, self.endpoint.as_str(), (self.exchange.transport.clock)())
            .map_err(|error| {
                let diagnosis = at(HOP, Outcome::CredentialRefused, self.host());
                IdentityError::new(diagnosis, Some(Arc::new(error)))
            })
    }
}

#[async_trait]
impl TokenSource for Application {
    async fn fetch(&self, deadline: Instant) -> Result<Token, IdentityError> {
        patiently(HOP, self.host(), deadline, || self.ask()).await
    }
}

/// An assertion for one request.
struct Ready(Zeroizing<String>);

#[async_trait]
impl ClientAssertion for Ready {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.to_string())
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ready")
    }
}

fn token_endpoint(authority: &Url, tenant_id: &str) -> Result<Url, IdentitySetupError> {
    // Of anything but the origin the library would drop a part, and ask elsewhere than it is told.
    let is_origin = authority.as_str() == format!("{}/", authority.origin().ascii_serialization());
    if authority.scheme() != "https" || !is_origin {
        return Err(IdentitySetupError::UnfitAuthority);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    // Dots alone would climb in the path.
    let is_name = tenant_id.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if !is_name || !tenant_id.bytes().all(fits) {
        return Err(IdentitySetupError::UnfitTenant);
    }
    let mut endpoint = authority.clone();
    endpoint.set_path(&format!("/{tenant_id}/oauth2/v2.0/token"));
    Ok(endpoint)
}

fn read_token_file(path: &Path) -> std::io::Result<Zeroizing<String>> {
    let file = std::fs::File::open(path)?;
    let room = usize::try_from(file.metadata()?.len().min(TOKEN_FILE_BYTES)).unwrap_or_default();
    // One byte more, so that the end is seen without growing.
    let mut text = Zeroizing::new(String::with_capacity(room.saturating_add(1)));
    file.take(TOKEN_FILE_BYTES).read_to_string(&mut text)?;
    let token = text.trim();
    if token.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Zeroizing::new(token.to_owned()))
}
