//! [`AzureKeyVault`]: a key in Key Vault or Managed HSM as a [`Kms`].

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use azure_core::credentials::TokenCredential;
use azure_core::http::{ClientOptions, HttpClient, Response, RetryOptions, StatusCode, Transport};
use azure_security_keyvault_keys::models::{
    Key, KeyClientGetKeyOptions, KeyClientWrapKeyOptions, KeyOperationResult,
};
use azure_security_keyvault_keys::{KeyClient, KeyClientOptions};
use bytes::Bytes;
use selkie_crypto::{KekId, RecipientSecret, WRAPPED_DEK_BYTES, WrapAlgorithm};
use tokio::sync::OnceCell;
use tokio::time::timeout_at;
use url::Url;

use super::at_hand::AtHand;
use super::classify::{failure, is_token_lost, is_token_unverified, request_id};
use super::identity::{Credential, Means, TOKEN_DEADLINE, WallClock};
use super::key_facts::{KeyFacts, Shape};
use super::key_id::{KeyId, KeyVersion, OwnKey};
use super::operation::{AnswerBody, AnswerError, request_body};
use super::setup::{AzureSetupError, RevocableCredential, Target};
use super::transport::VaultTransport;
use super::{AzureSettings, Diagnosis, Hop, Outcome};
use crate::http::{self, Roots};
use crate::{Call, KekDescription, Kms, KmsError, KmsFuture};

/// The provider of the `azurekeyvault` seal: one key in one vault or managed HSM.
///
/// It sends nothing before it is first asked, keeps no call waiting for another, and tries nothing
/// twice but once with a fresh token after a 401. Every failure has a [`Diagnosis`] as its cause.
///
/// The id of a version is Key Vault's own `kid` in lower case, `https://HOST/keys/NAME/VERSION`.
/// HOST is the vault's: that of the endpoint if it is under the service's suffix, else (private
/// endpoints with a name of their own, emulators) that of the first answer about the key. An id of
/// any other vault or key is [`KmsError::UnknownKek`] without a call; but what was wrapped in one of
/// [`AzureSettings::former_vaults`] is unwrapped by the version of the same name.
pub struct AzureKeyVault {
    pub(super) client: KeyClient,
    pub(super) own: Arc<OwnKey>,
    pub(super) wrap_remotely: bool,
    pub(super) has_told_of_list: AtomicBool,
    pub(super) host: String,
    pub(super) endpoint: Url,
    /// Our own client, which can tell of each step on the way.
    pub(super) way: Option<Arc<http::HttpClient>>,
    /// Where our identity is proven, and what it is.
    pub(super) identity: (Hop, &'static str),
    pub(super) scope: String,
    pub(super) credential: Arc<dyn RevocableCredential>,
    pub(super) token: Arc<AtHand>,
    clock: WallClock,
    warm: OnceCell<()>,
    shapes: Mutex<BTreeMap<KeyVersion, Shape>>,
}

impl AzureKeyVault {
    /// A provider that reaches the vault of `settings` over a client of its own.
    ///
    /// # Errors
    /// [`AzureSetupError`].
    pub fn new(settings: AzureSettings, clock: WallClock) -> Result<Self, AzureSetupError> {
        let target = Target::of(&settings)?;
        let roots = settings.roots();
        let client = |proxy: Option<Url>, roots: Roots| {
            let settings = http::HttpClientSettings { roots, proxy, ..Default::default() };
            http::HttpClient::https(settings).map_err(AzureSetupError::Http)
        };
        // One client where one will do: reading the system's authorities takes its time.
        let proxy_of_its_own = (settings.entra_proxy != settings.key_vault_proxy)
            .then(|| client(settings.entra_proxy, roots.clone()));
        let https = client(settings.key_vault_proxy, roots)?;
        let to_entra = proxy_of_its_own.unwrap_or_else(|| Ok(Arc::clone(&https)))?;
        let plain = http::HttpClient::plain(http::HttpClientSettings::default());
        let plain = plain.map_err(AzureSetupError::Http)?;
        let (resource, authority) = (&settings.resource, &settings.authority);
        let means =
            Means { https: to_entra, plain, clock: Arc::clone(&clock), deadline: TOKEN_DEADLINE };
        let credential = Credential::by(settings.identity, resource, authority, means);
        let credential = credential.map_err(AzureSetupError::Identity)?;
        let provider = Self::assembled(target, https.clone(), credential, clock)?;
        Ok(Self { way: Some(https), ..provider })
    }

    /// The same over `transport` as `credential`: for tests, and whoever brings their own.
    ///
    /// # Errors
    /// [`AzureSetupError`].
    pub fn over(
        settings: &AzureSettings,
        transport: Arc<dyn HttpClient>,
        credential: Arc<dyn RevocableCredential>,
        clock: WallClock,
    ) -> Result<Self, AzureSetupError> {
        Self::assembled(Target::of(settings)?, transport, credential, clock)
    }

    fn assembled(
        target: Target,
        transport: Arc<dyn HttpClient>,
        credential: Arc<dyn RevocableCredential>,
        clock: WallClock,
    ) -> Result<Self, AzureSetupError> {
        let Target { own, endpoint, scope, identity, wrap_remotely } = target;
        let transport = VaultTransport {
            inner: transport,
            endpoint: endpoint.clone(),
            own: Arc::clone(&own),
            scope: scope.clone(),
        };
        let options = KeyClientOptions {
            client_options: ClientOptions {
                transport: Some(Transport::new(Arc::new(transport))),
                // Whoever calls us knows how long it pays to try again, and how often.
                retry: RetryOptions::none(),
                ..ClientOptions::default()
            },
            // The challenge names the service, of which an endpoint with a name of its own is no
            // part. The credential asks for tokens for the service alone, whatever is named.
            verify_challenge_resource: Some(own.is_endpoint_under_suffix()),
            ..KeyClientOptions::default()
        };
        let token = Arc::new(AtHand::new(Arc::clone(&credential), scope.clone()));
        let as_token_credential: Arc<dyn TokenCredential> = token.clone();
        let client = KeyClient::new(endpoint.as_str(), as_token_credential, Some(options));
        Ok(Self {
            client: client.map_err(AzureSetupError::Endpoint)?,
            way: None,
            host: own.endpoint.to_string(),
            own,
            endpoint,
            wrap_remotely,
            has_told_of_list: AtomicBool::new(false),
            identity,
            scope,
            credential,
            token,
            clock,
            warm: OnceCell::new(),
            shapes: Mutex::default(),
        })
    }

    /// The version, or the newest.
    pub(super) async fn get(&self, version: Option<&KeyVersion>) -> Result<KeyFacts, KmsError> {
        let name = self.own.name.as_str();
        let key_version = version.map(|version| version.as_str().to_owned());
        let response: Response<Key> = self
            .ask(Hop::Get, || {
                let key_version = key_version.clone();
                let options = KeyClientGetKeyOptions { key_version, ..Default::default() };
                self.client.get_key(name, Some(options))
            })
            .await?;
        let answered = Answered::by(&response);
        let key = response.into_model().or(Err(Outcome::AnswerWrong));
        let facts = key.and_then(|key| KeyFacts::read(key, &self.own));
        let facts = facts.map_err(|outcome| self.refuse(Hop::Get, outcome, answered.clone()))?;
        if version.is_some_and(|version| *version != facts.id.version) {
            return Err(self.refuse(Hop::Get, Outcome::AnswerWrong, answered));
        }
        self.shapes().insert(facts.id.version.clone(), facts.shape());
        Ok(facts)
    }

    /// Calls, and once more with a fresh token if the first is not accepted: not where the vault
    /// cannot check tokens, which a fresh one would not help.
    pub(super) async fn ask<T, F>(&self, hop: Hop, send: impl Fn() -> F) -> Result<T, KmsError>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        let mut outcome = self.send(&send).await;
        let is_refused = |error: &azure_core::Error| {
            error.http_status() == Some(StatusCode::Unauthorized) && !is_token_unverified(error)
        };
        if outcome.as_ref().is_err_and(is_refused) {
            self.credential.invalidate();
            outcome = self.send(&send).await;
        }
        outcome.map_err(|error| failure(&error, hop, &self.host, self.now()))
    }

    /// Sends with the token that counts now; once more if the SDK lost it on the way, which happens
    /// while another call learns that its own is not accepted.
    async fn send<T, F>(&self, send: &impl Fn() -> F) -> azure_core::Result<T>
    where
        F: Future<Output = azure_core::Result<T>>,
    {
        self.token.fetch().await?;
        match send().await {
            Err(error) if is_token_lost(&error) => send().await,
            outcome => outcome,
        }
    }

    /// A request with a body is never the first of a client: the SDK sends its first without token
    /// and body, to be told where tokens come from, and what then goes wrong loses the body. A get
    /// has none. It also tells the vault's host, and the key's size.
    async fn warm_up(&self) -> Result<(), KmsError> {
        let first = || async {
            let got = self.get(None).await;
            got.map(|_| ()).or_else(|error| {
                let refused = Diagnosis::of(&error).is_some_and(is_of_the_key);
                if refused { Ok(()) } else { Err(error) }
            })
        };
        self.warm.get_or_try_init(first).await.map(|_| ())
    }

    async fn wrap(
        &self,
        kek: &KekId,
        dek: &RecipientSecret,
        call: Call,
    ) -> Result<Vec<u8>, KmsError> {
        self.check_foreign(kek, Hop::Wrap)?;
        let work = async {
            self.warm_up().await?;
            let id = self.known(kek, Hop::Wrap)?;
            self.wrap_under(&id, dek).await
        };
        // Boxed: the SDK's futures are large, and one is enough.
        self.within(call, Hop::Wrap, Box::pin(work)).await
    }

    async fn wrap_under(&self, id: &KeyId, dek: &RecipientSecret) -> Result<Vec<u8>, KmsError> {
        let version = id.version.as_str();
        let shape = match self.shape(&id.version) {
            Some(shape) => shape,
            None => self.get(Some(&id.version)).await?.shape(),
        };
        let body = request_body(shape.algorithm, dek.expose_for_wrap());
        let response = self
            .ask(Hop::Wrap, || {
                let key_version = Some(version.to_owned());
                let options = KeyClientWrapKeyOptions { key_version, ..Default::default() };
                self.client.wrap_key(self.own.name.as_str(), body.clone().into(), Some(options))
            })
            .await?;
        let answered = Answered::by(&response);
        let body = answer_body(response);
        let wrong = |_| self.refuse(Hop::Wrap, Outcome::AnswerWrong, answered.clone());
        let answer = body.parse().map_err(wrong)?;
        let wrapped = answer.wrapped().map_err(wrong)?;
        let is_ours = self.own.answered_id(&answer.kid).as_ref() == Some(id);
        let is_right = is_ours && wrapped.len() == shape.wrapped_bytes;
        if is_right { Ok(wrapped) } else { Err(wrong(AnswerError::OtherLength)) }
    }

    async fn unwrap(
        &self,
        kek: &KekId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
        call: Call,
    ) -> Result<Arc<RecipientSecret>, KmsError> {
        self.check_foreign(kek, Hop::Unwrap)?;
        if let Some(id) = self.own.unwrapping_id(kek.as_str()) {
            self.check_length(&id.version, algorithm, wrapped)?;
        }
        let work = async {
            self.warm_up().await?;
            let id = self.known(kek, Hop::Unwrap)?;
            self.check_length(&id.version, algorithm, wrapped)?;
            self.unwrap_under(&id, algorithm, wrapped).await.map(Arc::new)
        };
        self.within(call, Hop::Unwrap, Box::pin(work)).await
    }

    async fn unwrap_under(
        &self,
        id: &KeyId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<RecipientSecret, KmsError> {
        let (name, version) = (self.own.name.as_str(), id.version.as_str());
        let body = request_body(algorithm, wrapped);
        let response = self
            .ask(Hop::Unwrap, || self.client.unwrap_key(name, version, body.clone().into(), None))
            .await?;
        let answered = Answered::by(&response);
        let body = answer_body(response);
        let refuse = |outcome| self.refuse(Hop::Unwrap, outcome, answered.clone());
        let wrong = |_| refuse(Outcome::AnswerWrong);
        let answer = body.parse().map_err(wrong)?;
        if !self.own.is_answer_of(id, &answer.kid) {
            return Err(refuse(Outcome::AnswerWrong));
        }
        answer.dek().map_err(|error| match (error, algorithm) {
            // Anyone can wrap anything under a public key: it is the ciphertext that is wrong.
            (AnswerError::OtherLength, WrapAlgorithm::RsaOaep256) => {
                refuse(Outcome::RequestRejected)
            }
            _ => refuse(Outcome::AnswerWrong),
        })
    }

    /// The version that `kek` names, if it is one of our key's; for an unwrap also by the id that it
    /// had in a former vault.
    fn known(&self, kek: &KekId, hop: Hop) -> Result<KeyId, KmsError> {
        let (own, kek) = (&self.own, kek.as_str());
        let id = if hop == Hop::Unwrap { own.unwrapping_id(kek) } else { own.id(kek) };
        id.ok_or_else(|| {
            let is_other = own.is_in_other_vault(kek);
            let outcome = if is_other { Outcome::OtherVault } else { Outcome::KeyMissing };
            Diagnosis::unanswered(hop, outcome, &self.host).into()
        })
    }

    /// An id of another key costs no call. Of a host that we do not know yet it cannot be told: a
    /// vault that is away must not look like one that has lost its key.
    fn check_foreign(&self, kek: &KekId, hop: Hop) -> Result<(), KmsError> {
        match self.known(kek, hop) {
            Err(_) if self.own.may_become_ours(kek.as_str()) => Ok(()),
            judged => judged.map(drop),
        }
    }

    /// Garbage of a length that no wrapped DEK has never reaches the vault.
    fn check_length(
        &self,
        version: &KeyVersion,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<(), KmsError> {
        let length = wrapped.len();
        let fits = match (self.shape(version), algorithm) {
            (Some(shape), _) => (shape.algorithm, shape.wrapped_bytes) == (algorithm, length),
            (None, WrapAlgorithm::RsaOaep256) => matches!(length, 256 | 384 | 512),
            (None, WrapAlgorithm::A256Kw) => length == WRAPPED_DEK_BYTES,
            (None, _) => false,
        };
        let rejected = || Diagnosis::unanswered(Hop::Unwrap, Outcome::RequestRejected, &self.host);
        if fits { Ok(()) } else { Err(rejected().into()) }
    }

    async fn within<T>(
        &self,
        call: Call,
        hop: Hop,
        work: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        // Without a token the wait was for that, and Key Vault was not even asked.
        let late = || {
            let unanswered = || Diagnosis::unanswered(hop, Outcome::TimedOut, &self.host);
            self.credential.trouble().unwrap_or_else(unanswered)
        };
        timeout_at(call.deadline, work).await.unwrap_or_else(|_| Err(late().into()))
    }

    pub(super) fn refuse(&self, hop: Hop, outcome: Outcome, answered: Answered) -> KmsError {
        let Answered { status, request_id } = answered;
        let unanswered = Diagnosis::unanswered(hop, outcome, &self.host);
        Diagnosis { status, request_id, ..unanswered }.into()
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// The last that was learned of any version.
    pub(super) fn any_algorithm(&self) -> Option<WrapAlgorithm> {
        self.shapes().values().next().map(|shape| shape.algorithm)
    }

    fn shape(&self, version: &KeyVersion) -> Option<Shape> {
        self.shapes().get(version).copied()
    }

    fn shapes(&self) -> std::sync::MutexGuard<'_, BTreeMap<KeyVersion, Shape>> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the vault has refused a key, which is to say that it knows us.
fn is_of_the_key(diagnosis: &Diagnosis) -> bool {
    diagnosis.hop == Hop::Get
        && (matches!(diagnosis.status, Some(403 | 404)) && diagnosis.is_key_vaults_own()
            || diagnosis.outcome == Outcome::KeyUnsuitable)
}

/// What an answer says of itself, for a diagnosis of what it says.
#[derive(Clone, Default)]
pub(super) struct Answered {
    status: Option<u16>,
    request_id: Option<String>,
}

impl Answered {
    fn by<T>(response: &Response<T>) -> Self {
        let status = Some(u16::from(response.status()));
        Self { status, request_id: request_id(response.headers()) }
    }
}

fn answer_body(response: Response<KeyOperationResult>) -> AnswerBody {
    AnswerBody::new(Bytes::from(response.into_body()))
}

impl Kms for AzureKeyVault {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(self.describe_key())
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        call: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(self.wrap(kek, dek, call))
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        call: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(self.unwrap(kek, algorithm, wrapped, call))
    }
}

impl fmt::Debug for AzureKeyVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureKeyVault").field("key", &self.own).finish_non_exhaustive()
    }
}
