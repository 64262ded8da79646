//! A Key Vault in this process, and a credential for it.

use std::fmt;
use std::future::pending;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey,
};
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::{AsyncRawResponse, Body, HttpClient, Method, Request};
use azure_core::time::OffsetDateTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie_crypto::{Kek, RecipientSecret};
use serde_json::{Value, json};
use url::Url;
use zeroize::Zeroizing;

use crate::azure::{AzureKeyVault, AzureSettings, Identity, RevocableCredential, WallClock};

pub(super) const NAME: &str = "unseal";
pub(super) const HOST: &str = "kv1.vault.azure.net";
/// What the provider's clock says: 2026-01-01.
pub(super) const NOW: u64 = 1_767_225_600;

/// Key generation is slow, and the tests run in one process.
static RSA: LazyLock<Vec<PrivateDecryptingKey>> = LazyLock::new(|| {
    (0..2).map(|_| PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap()).collect()
});

/// How often Key Vault's operations were asked for, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) operation: Operation,
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) body_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Get,
    List,
    Wrap,
    Unwrap,
    Other,
}

/// What comes in place of the true answer.
pub(super) enum Reply {
    Answer(u16, Vec<(&'static str, String)>, String),
    Hang,
}

type Intercept = Box<dyn FnMut(Operation, &Request) -> Option<Reply> + Send>;

pub(super) struct FakeVault {
    versions: Mutex<Vec<FakeVersion>>,
    accepted: Mutex<Option<String>>,
    intercept: Mutex<Option<Intercept>>,
    seen: Mutex<Vec<Seen>>,
    pub(super) id_host: Mutex<String>,
    pub(super) page: Mutex<usize>,
    pub(super) challenge: Mutex<String>,
}

#[derive(Clone)]
pub(super) struct FakeVersion {
    pub(super) version: String,
    pub(super) key: FakeKey,
    pub(super) attributes: Value,
    pub(super) key_ops: Value,
}

#[derive(Clone)]
pub(super) enum FakeKey {
    Rsa(usize),
    Symmetric(Arc<Kek>),
    /// Shown as it stands; it does nothing.
    Jwk(Value),
}

pub(super) fn version_text(number: usize) -> String {
    format!("{number:032x}")
}

impl FakeVersion {
    pub(super) fn new(number: usize, key: FakeKey) -> Self {
        let created = 1_700_000_000 + number;
        Self {
            version: version_text(number),
            key,
            attributes: json!({
                "enabled": true, "created": created, "updated": created,
                "recoveryLevel": "Recoverable", "hsmPlatform": "2",
            }),
            key_ops: json!(["wrapKey", "unwrapKey"]),
        }
    }
}

impl FakeVault {
    pub(super) fn of(versions: Vec<FakeVersion>) -> Arc<Self> {
        Arc::new(Self {
            versions: Mutex::new(versions),
            accepted: Mutex::default(),
            intercept: Mutex::default(),
            seen: Mutex::default(),
            id_host: Mutex::new(HOST.to_owned()),
            page: Mutex::new(25),
            challenge: Mutex::new("https://vault.azure.net".to_owned()),
        })
    }

    pub(super) fn rsa() -> Arc<Self> {
        Self::of(vec![FakeVersion::new(1, FakeKey::Rsa(0)), FakeVersion::new(2, FakeKey::Rsa(1))])
    }

    pub(super) fn symmetric() -> Arc<Self> {
        let key = |byte: u8| Arc::new(Kek::init_with(|bytes| bytes.fill(byte)).unwrap());
        Self::of(vec![
            FakeVersion::new(1, FakeKey::Symmetric(key(1))),
            FakeVersion::new(2, FakeKey::Symmetric(key(2))),
        ])
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Vec<FakeVersion>)) {
        change(&mut self.versions.lock().unwrap());
    }

    pub(super) fn intercept(
        &self,
        intercept: impl FnMut(Operation, &Request) -> Option<Reply> + Send + 'static,
    ) {
        *self.intercept.lock().unwrap() = Some(Box::new(intercept));
    }

    /// Answers the operation so, always.
    pub(super) fn answer(&self, operation: Operation, status: u16, body: &str) {
        let body = body.to_owned();
        self.intercept(move |asked, _| {
            (asked == operation).then(|| Reply::Answer(status, vec![], body.clone()))
        });
    }

    pub(super) fn accept_only(&self, token: &str) {
        *self.accepted.lock().unwrap() = Some(token.to_owned());
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests with a token there were for `operation`.
    pub(super) fn calls(&self, operation: Operation) -> usize {
        let counts = |seen: &&Seen| seen.operation == operation && seen.token.is_some();
        self.seen.lock().unwrap().iter().filter(counts).count()
    }

    /// What the newest version wraps, by Key Vault's own hand.
    pub(super) fn wrap_bytes(number: usize, bytes: &[u8]) -> Vec<u8> {
        let key = OaepPublicEncryptingKey::new(RSA[number].public_key()).unwrap();
        let mut output = vec![0; key.ciphertext_size()];
        key.encrypt(&OAEP_SHA256_MGF1SHA256, bytes, &mut output, None).unwrap();
        output
    }

    fn kid(&self, version: &FakeVersion) -> String {
        format!("https://{}/keys/{NAME}/{}", self.id_host.lock().unwrap(), version.version)
    }

    fn reply(&self, operation: Operation, request: &Request) -> (u16, Value) {
        let url = request.url();
        let segments: Vec<&str> = url.path_segments().unwrap().collect();
        let versions = self.versions.lock().unwrap();
        let find = |text: &str| versions.iter().find(|version| version.version == text);
        let missing = (404, failure("KeyNotFound", None, "A key with (name/id) was not found"));
        match (operation, &*segments) {
            (Operation::List, ["keys", NAME, "versions"]) => self.list(&versions, url),
            (Operation::Get, ["keys", NAME, ""]) => match versions.last() {
                Some(version) => (200, self.key(version)),
                None => missing,
            },
            (Operation::Get, ["keys", NAME, version]) => match find(version) {
                Some(version) => (200, self.key(version)),
                None => missing,
            },
            (Operation::Wrap | Operation::Unwrap, ["keys", NAME, version, _]) => {
                let Some(version) = find(version) else { return missing };
                self.operate(operation, version, request)
            }
            _ => missing,
        }
    }

    fn key(&self, version: &FakeVersion) -> Value {
        let mut jwk = match &version.key {
            FakeKey::Rsa(number) => {
                let der: PublicKeyX509Der<'_> = RSA[*number].public_key().as_der().unwrap();
                let (rest, e) = der.as_ref().split_at(der.as_ref().len() - 3);
                let n = &rest[rest.len() - 258..rest.len() - 2];
                let text = |number| URL_SAFE_NO_PAD.encode(number);
                json!({ "kty": "RSA", "n": text(n), "e": text(e) })
            }
            FakeKey::Symmetric(_) => json!({ "kty": "oct-HSM" }),
            FakeKey::Jwk(jwk) => jwk.clone(),
        };
        jwk["kid"] = self.kid(version).into();
        jwk["key_ops"] = version.key_ops.clone();
        json!({ "key": jwk, "attributes": version.attributes })
    }

    fn list(&self, versions: &[FakeVersion], url: &Url) -> (u16, Value) {
        let page = *self.page.lock().unwrap();
        let skip = url.query_pairs().find(|(name, _)| name == "skip");
        let skip: usize = skip.map_or(0, |(_, skip)| skip.parse().unwrap());
        let item = |version| json!({ "kid": self.kid(version), "attributes": version.attributes });
        let items: Vec<Value> = versions.iter().skip(skip).take(page).map(item).collect();
        let host = self.id_host.lock().unwrap();
        let next = format!("https://{host}/keys/{NAME}/versions?skip={}", skip + page);
        let next = (skip + page < versions.len()).then_some(next);
        (200, json!({ "value": items, "nextLink": next }))
    }

    fn operate(
        &self,
        operation: Operation,
        version: &FakeVersion,
        request: &Request,
    ) -> (u16, Value) {
        let bad = (400, failure("BadParameter", None, "The parameter is incorrect.\r\n"));
        let Body::Bytes(body) = request.body() else { return bad };
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return bad };
        let value = URL_SAFE_NO_PAD.decode(body["value"].as_str().unwrap()).unwrap();
        let result = match (&version.key, body["alg"].as_str().unwrap(), operation) {
            (FakeKey::Rsa(number), "RSA-OAEP-256", Operation::Wrap) => {
                Some(Self::wrap_bytes(*number, &value))
            }
            (FakeKey::Rsa(number), "RSA-OAEP-256", _) => unwrap_rsa(*number, &value),
            (FakeKey::Symmetric(kek), "A256KW", Operation::Wrap) => {
                let dek = RecipientSecret::init_with(|bytes| bytes.copy_from_slice(&value));
                Some(kek.wrap_dek(&dek).to_vec())
            }
            (FakeKey::Symmetric(kek), "A256KW", _) => {
                kek.unwrap_dek(&value).ok().map(|dek| dek.expose_for_wrap().to_vec())
            }
            _ => None,
        };
        let Some(result) = result else { return bad };
        let value = URL_SAFE_NO_PAD.encode(result);
        (200, json!({ "kid": self.kid(version), "value": value }))
    }

    fn is_accepted(&self, token: &str) -> bool {
        self.accepted.lock().unwrap().as_deref().is_none_or(|accepted| accepted == token)
    }
}

fn unwrap_rsa(number: usize, wrapped: &[u8]) -> Option<Vec<u8>> {
    let key = OaepPrivateDecryptingKey::new(RSA[number].clone()).unwrap();
    let mut output = vec![0; key.min_output_size()];
    key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None).ok().map(|dek| dek.to_vec())
}

/// The body of a failure, as Key Vault has it.
pub(super) fn failure(code: &str, inner: Option<&str>, message: &str) -> Value {
    let inner = inner.map(|code| json!({ "code": code }));
    json!({ "error": { "code": code, "message": message, "innererror": inner } })
}

#[async_trait]
impl HttpClient for FakeVault {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let operation = operation(request);
        let token = request.headers().get_optional_str(&AUTHORIZATION);
        let token = token.map(|token| token.trim_start_matches("Bearer ").to_owned());
        let Body::Bytes(body) = request.body() else { unreachable!("no streams") };
        let path = request.url()[url::Position::BeforePath..url::Position::AfterPath].to_owned();
        let (token_sent, body_bytes) = (token.clone(), body.len());
        self.seen.lock().unwrap().push(Seen { operation, path, token: token_sent, body_bytes });
        let mut headers = Headers::new();
        headers.insert("x-ms-request-id", "11111111-2222-3333-4444-555555555555");
        if !token.is_some_and(|token| self.is_accepted(&token)) {
            let resource = self.challenge.lock().unwrap().clone();
            let authority = r#"authorization="https://login.microsoftonline.com/tenant""#;
            let challenge = format!(r#"Bearer {authority}, resource="{resource}""#);
            headers.insert("www-authenticate", challenge);
            return Ok(AsyncRawResponse::from_bytes(401.into(), headers, ""));
        }
        let intercepted =
            self.intercept.lock().unwrap().as_mut().and_then(|reply| reply(operation, request));
        match intercepted {
            Some(Reply::Hang) => pending().await,
            Some(Reply::Answer(status, more, body)) => {
                for (name, value) in more {
                    headers.insert(name, value);
                }
                Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
            }
            None => {
                let (status, body) = self.reply(operation, request);
                Ok(AsyncRawResponse::from_bytes(status.into(), headers, body.to_string()))
            }
        }
    }
}

fn operation(request: &Request) -> Operation {
    let path = request.url().path();
    match request.method() {
        Method::Get if path.ends_with("/versions") => Operation::List,
        Method::Get => Operation::Get,
        Method::Post if path.ends_with("/wrapkey") => Operation::Wrap,
        Method::Post if path.ends_with("/unwrapkey") => Operation::Unwrap,
        _ => Operation::Other,
    }
}

impl fmt::Debug for FakeVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeVault")
    }
}

/// Its token is `token-N`, where N grows with each that is given up.
#[derive(Debug, Default)]
pub(super) struct FakeCredential {
    given_up: Mutex<usize>,
    pub(super) fails: Mutex<Option<crate::azure::Diagnosis>>,
}

impl FakeCredential {
    pub(super) fn given_up(&self) -> usize {
        *self.given_up.lock().unwrap()
    }
}

#[async_trait]
impl TokenCredential for FakeCredential {
    async fn get_token(
        &self,
        scopes: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        assert_eq!(scopes, ["https://vault.azure.net/.default"]);
        if let Some(diagnosis) = self.fails.lock().unwrap().clone() {
            return Err(azure_core::Error::new(
                azure_core::error::ErrorKind::Credential,
                diagnosis,
            ));
        }
        let token = format!("token-{}", self.given_up());
        Ok(AccessToken::new(token, OffsetDateTime::UNIX_EPOCH))
    }
}

impl RevocableCredential for FakeCredential {
    fn invalidate(&self) {
        *self.given_up.lock().unwrap() += 1;
    }

    fn trouble(&self) -> Option<crate::azure::Diagnosis> {
        None
    }
}

pub(super) fn settings() -> AzureSettings {
    AzureSettings {
        endpoint: format!("https://{HOST}").parse().unwrap(),
        resource: "vault.azure.net".to_owned(),
        key_name: NAME.to_owned(),
        former_vaults: Vec::new(),
        wrap_remotely: false,
        identity: Identity::ClientSecret {
            tenant_id: "tenant".to_owned(),
            client_id: "client".to_owned(),
            client_secret: Zeroizing::new("secret".to_owned()),
        },
        authority: "https://login.microsoftonline.com".parse().unwrap(),
        ca_certificates: None,
        key_vault_proxy: None,
        entra_proxy: None,
    }
}

pub(super) fn clock() -> WallClock {
    Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(NOW))
}

pub(super) fn provider(vault: &Arc<FakeVault>) -> Arc<AzureKeyVault> {
    over(vault, &settings())
}

pub(super) fn over(vault: &Arc<FakeVault>, settings: &AzureSettings) -> Arc<AzureKeyVault> {
    let credential = Arc::new(FakeCredential::default());
    Arc::new(AzureKeyVault::over(settings, vault.clone(), credential, clock()).unwrap())
}
