//! [`TransitClient`]: another server's transit engine, over HTTP.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, Uri};
use rustls_pki_types::ServerName;
use selkie_crypto::{Plaintext, Random};
use url::Url;

pub use super::body::UpstreamKey;
use super::body::{self, Lease, Malformed};
use super::classify::{on_the_way, refusal};
use super::redirect;
use super::renewal::{Renewal, TokenStanding};
use super::settings::is_this_machine;
use super::token::{NoToken, Token, TokenKeeper};
use super::{
    TokenSource, TransitDiagnosis, TransitHop, TransitKeyName, TransitMountPath, TransitOutcome,
    TransitSettings, TransitSetupError,
};
use crate::KmsError;
use crate::http::{ClientCertificate, HttpClient, HttpClientSettings, sensitive};

const X_VAULT_REQUEST: HeaderName = HeaderName::from_static("x-vault-request");
const X_VAULT_NAMESPACE: HeaderName = HeaderName::from_static("x-vault-namespace");
const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");
/// Many recipients in many envelopes within each other, and more than Vault takes.
const ANSWER_LIMIT: usize = 48 * 1024 * 1024;

/// A client of a transit engine. Nothing is sent before it is first asked; from then on its token is
/// kept alive until it is dropped, unless the settings say otherwise.
///
/// It tries nothing twice but what a standby sends on to the active node, and what was refused with
/// a token whose file has another one by now. Each failure has a [`TransitDiagnosis`] as its cause.
/// What a call may take is bounded by the caller, and by the time-outs of each step.
pub struct TransitClient {
    http: Arc<HttpClient>,
    address: Url,
    host: String,
    mount: TransitMountPath,
    namespace: Option<HeaderValue>,
    pub(super) token: Arc<TokenKeeper>,
    pub(super) renewal: Renewal,
    has_token: bool,
    leaves_token_alone: bool,
    is_renewing: AtomicBool,
    this: Weak<Self>,
}

impl TransitClient {
    /// A client by `settings`; `random` is for times alone.
    ///
    /// # Errors
    /// [`TransitSetupError`].
    pub fn new(
        settings: TransitSettings,
        random: Arc<Random>,
    ) -> Result<Arc<Self>, TransitSetupError> {
        let http = http_client(&settings)?;
        Self::over(http, settings, random)
    }

    /// The same over `http`.
    pub(super) fn over(
        http: Arc<HttpClient>,
        settings: TransitSettings,
        random: Arc<Random>,
    ) -> Result<Arc<Self>, TransitSetupError> {
        let namespace = settings.namespace.map(HeaderValue::try_from);
        let namespace = namespace.transpose().or(Err(TransitSetupError::UnfitNamespace))?;
        let has_token = !matches!(settings.token, TokenSource::Nowhere);
        let leaves_token_alone = settings.disable_renewal || !has_token;
        let host = settings.address.host_str().unwrap_or_default().to_owned();
        Ok(Arc::new_cyclic(|this| Self {
            http,
            address: settings.address,
            host,
            mount: settings.mount,
            namespace,
            token: Arc::new(TokenKeeper::new(settings.token)),
            renewal: Renewal::new(random),
            has_token,
            leaves_token_alone,
            is_renewing: AtomicBool::new(leaves_token_alone),
            this: Weak::clone(this),
        }))
    }

    /// The ciphertext of `plaintext` under `key`, in its newest version or the one asked for.
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn encrypt(
        &self,
        key: &TransitKeyName,
        version: Option<NonZeroU32>,
        plaintext: &[u8],
    ) -> Result<String, KmsError> {
        let body = body::encrypt_request(plaintext, version);
        let path = format!("{}/encrypt/{key}", self.mount);
        let answer = self.ask(TransitHop::Encrypt, Method::PUT, &path, body).await?;
        self.read(TransitHop::Encrypt, &answer, body::ciphertext)
    }

    /// The plaintext of `ciphertext`, which is sent as it is; `context` and `associated_data` are
    /// left out where empty.
    ///
    /// # Errors
    /// [`KmsError`]; [`KmsError::Rejected`] if the ciphertext does not open.
    pub async fn decrypt(
        &self,
        key: &TransitKeyName,
        ciphertext: &str,
        context: &[u8],
        associated_data: &[u8],
    ) -> Result<Plaintext, KmsError> {
        let body = body::decrypt_request(ciphertext, context, associated_data);
        let path = format!("{}/decrypt/{key}", self.mount);
        let answer = self.ask(TransitHop::Decrypt, Method::PUT, &path, body).await?;
        self.read(TransitHop::Decrypt, &answer, body::plaintext)
    }

    /// What the server says of `key`, which not every token may ask.
    ///
    /// # Errors
    /// [`KmsError`].
    pub async fn read_key(&self, key: &TransitKeyName) -> Result<UpstreamKey, KmsError> {
        let path = format!("{}/keys/{key}", self.mount);
        let answer = self.ask(TransitHop::ReadKey, Method::GET, &path, Bytes::new()).await?;
        self.read(TransitHop::ReadKey, &answer, body::key)
    }

    /// How it stands with our token.
    #[must_use]
    pub fn token_standing(&self) -> TokenStanding {
        self.renewal.standing()
    }

    /// The host of the server.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Where the engine is mounted.
    #[must_use]
    pub const fn mount(&self) -> &TransitMountPath {
        &self.mount
    }

    pub(super) async fn renew_self(&self) -> Result<Lease, KmsError> {
        let (hop, body) = (TransitHop::Token, Bytes::from_static(br#"{"increment":0}"#));
        let answer = self.send(hop, Method::PUT, "auth/token/renew-self", body).await?;
        self.read(hop, &answer, body::renewed)
    }

    pub(super) async fn look_up_self(&self) -> Result<Lease, KmsError> {
        let hop = TransitHop::Token;
        let answer = self.send(hop, Method::GET, "auth/token/lookup-self", Bytes::new()).await?;
        self.read(hop, &answer, body::looked_up)
    }

    /// Whether we send one.
    pub(super) const fn has_token(&self) -> bool {
        self.has_token
    }

    /// Whether the settings say so, or there is none.
    pub(super) const fn leaves_token_alone(&self) -> bool {
        self.leaves_token_alone
    }

    pub(super) fn http(&self) -> &HttpClient {
        &self.http
    }

    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.address.clone();
        url.set_path(&format!("/v1/{path}"));
        url
    }

    /// An answer with status 200, on whose account the token is kept alive.
    async fn ask(
        &self,
        hop: TransitHop,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, KmsError> {
        if !self.is_renewing.swap(true, Ordering::AcqRel) {
            drop(tokio::spawn(Renewal::keep(Weak::clone(&self.this))));
        }
        self.send(hop, method, path, body).await
    }

    async fn send(
        &self,
        hop: TransitHop,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<Bytes, KmsError> {
        let token = self.token.current().await;
        let unreadable = TransitOutcome::TokenFileUnreadable;
        let token = token.map_err(|NoToken| self.unanswered(TransitHop::Token, unreadable))?;
        let url = self.url(path);
        let request = Outgoing { hop, method, url, body };
        let mut answer = self.exchange(&request, token.as_deref()).await?;
        if answer.status() == 403
            && let Some(refused) = token
            && let Some(fresh) = self.token.other_than(&refused).await
        {
            answer = self.exchange(&request, Some(&*fresh)).await?;
        }
        if answer.status() == 200 {
            return Ok(answer.into_body());
        }
        Err(refusal(&answer, hop, &self.host))
    }

    /// The answer of the node that has one.
    async fn exchange(
        &self,
        request: &Outgoing,
        token: Option<&Token>,
    ) -> Result<Response<Bytes>, KmsError> {
        let failed = |error| on_the_way(&error, request.hop);
        let Ok(uri) = request.url.as_str().parse() else {
            return Err(self.unanswered(request.hop, TransitOutcome::AnswerWrong).into());
        };
        let answer = self.http.send(self.outgoing(request, uri, token)?).await.map_err(failed)?;
        match redirect::target(&request.url, &answer) {
            None => Ok(answer),
            Some(active) => {
                let again = self.outgoing(request, active, token)?;
                Ok(self.http.send(again).await.map_err(failed)?)
            }
        }
    }

    fn outgoing(
        &self,
        request: &Outgoing,
        uri: Uri,
        token: Option<&Token>,
    ) -> Result<Request<Bytes>, KmsError> {
        let mut outgoing = Request::new(request.body.clone());
        *outgoing.method_mut() = request.method.clone();
        *outgoing.uri_mut() = uri;
        let headers = outgoing.headers_mut();
        headers.insert(X_VAULT_REQUEST, HeaderValue::from_static("true"));
        if let Some(namespace) = &self.namespace {
            headers.insert(X_VAULT_NAMESPACE, namespace.clone());
        }
        if let Some(token) = token {
            let missing =
                || self.unanswered(TransitHop::Token, TransitOutcome::TokenFileUnreadable);
            headers
                .insert(X_VAULT_TOKEN, sensitive(token.expose_for_header()).ok_or_else(missing)?);
        }
        Ok(outgoing)
    }

    fn read<T>(
        &self,
        hop: TransitHop,
        answer: &[u8],
        parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, KmsError> {
        let wrong = || TransitDiagnosis {
            status: Some(200),
            ..self.unanswered(hop, TransitOutcome::AnswerWrong)
        };
        parse(answer).map_err(|Malformed| wrong().into())
    }

    pub(super) fn unanswered(&self, hop: TransitHop, outcome: TransitOutcome) -> TransitDiagnosis {
        TransitDiagnosis::unanswered(hop, outcome, &self.host)
    }
}

/// A request, which may be sent twice.
struct Outgoing {
    hop: TransitHop,
    method: Method,
    url: Url,
    body: Bytes,
}

fn http_client(settings: &TransitSettings) -> Result<Arc<HttpClient>, TransitSetupError> {
    let address = &settings.address;
    let is_bare = address.username().is_empty()
        && address.password().is_none()
        && address.path() == "/"
        && address.query().is_none();
    let certificate = settings.client_certificate.as_ref();
    let certificate = certificate.map(|(chain, key)| ClientCertificate::from_files(chain, key));
    let server_name = settings.server_name.clone().map(ServerName::try_from);
    let client = HttpClientSettings {
        roots: settings.roots(),
        client_certificate: certificate
            .transpose()
            .map_err(TransitSetupError::ClientCertificate)?,
        server_name: server_name.transpose().or(Err(TransitSetupError::UnfitServerName))?,
        proxy: settings.proxy.clone(),
        answer_limit: ANSWER_LIMIT,
        ..HttpClientSettings::default()
    };
    let built = match address.scheme() {
        "https" if is_bare => HttpClient::https(client),
        "http" if is_bare && is_this_machine(address) => HttpClient::plain(client),
        _ => return Err(TransitSetupError::UnfitAddress),
    };
    built.map_err(TransitSetupError::Http)
}

impl fmt::Debug for TransitClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitClient")
            .field("address", &self.address.as_str())
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}
