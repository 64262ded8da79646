use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::http::headers::{AUTHORIZATION, Headers};
use azure_core::http::{AsyncRawResponse, HttpClient, Method, Request};
use azure_core::time::OffsetDateTime;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};
use selkie_kms::azure::{AzureKeyVault, AzureSettings, Diagnosis, Identity, RevocableCredential};
use selkie_kms::{Call, ClientTag, KekDescription, Kms, KmsError, Wrapping};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::second_parser::is_beyond;

const KEK: &str = "https://kv1.vault.azure.net/keys/unseal/00000000000000000000000000000001";
const KEY: &str = include_str!("../genuine/key_vault_key.json");
const STATUSES: [u16; 10] = [200, 200, 200, 201, 400, 401, 403, 404, 429, 500];

/// A Key Vault that answers what the input says.
#[derive(Debug)]
pub(crate) struct Scripted {
    get: (u16, Vec<u8>),
    list: (u16, Vec<u8>),
    operation: (u16, Vec<u8>),
}

/// Feeds the bytes to the reader of Key Vault's answers: a byte that chooses statuses, then the
/// answers to a read of the key (the genuine one if it is empty), to a list of its versions and to a
/// wrap or an unwrap, with a zero byte between them.
///
/// A key is described, a DEK wrapped or unwrapped, exactly as a second JSON parser reads the answer;
/// an error repeats nothing of one.
pub fn key_vault_reply(data: &[u8]) -> bool {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    });
    let vault = Arc::new(scripted(data));
    // tokio's runtime runs one future of one thread at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    RUNTIME.block_on(asked(&vault))
}

pub(crate) fn scripted(data: &[u8]) -> Scripted {
    let (choice, bodies) = data.split_first().unwrap_or((&0, data));
    let choice = usize::from(*choice);
    let mut bodies = bodies.splitn(3, |byte| *byte == 0).map(<[u8]>::to_vec);
    let mut next = |status| (STATUSES[status % 10], bodies.next().unwrap_or_default());
    let (get, list, operation) = (next(0), next(choice / 10), next(choice));
    let get = if get.1.is_empty() { (200, KEY.as_bytes().to_vec()) } else { get };
    Scripted { get, list, operation }
}

async fn asked(vault: &Arc<Scripted>) -> bool {
    let provider = AzureKeyVault::over(&settings(), vault.clone(), Arc::new(Known), clock());
    let provider = provider.expect("settings that fit");
    let kek = KekId::new(KEK).expect("an id");
    let call =
        || Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(60) };
    let wrapped = [9; 256];
    let unwrapped = provider.unwrap_dek(&kek, WrapAlgorithm::RsaOaep256, &wrapped, call()).await;
    let dek = RecipientSecret::init_with(|bytes| bytes.fill(3));
    let wrapped = provider.wrap_dek(&kek, &dek, call()).await;
    let described = tokio::time::timeout(Duration::from_secs(60), provider.describe()).await;
    let described = described.expect("nobody waits for anything");
    if is_beyond(&vault.get.1) || is_beyond(&vault.operation.1) {
        return false;
    }
    vault.wraps(&wrapped);
    let is_unwrapped = vault.unwraps(&unwrapped.map(|dek| dek.expose_for_wrap().to_vec()));
    vault.describes(&described) || is_unwrapped
}

impl Scripted {
    /// What an operation's answer holds, if it is one of our version's.
    fn value(&self) -> Option<Vec<u8>> {
        let (200..=299, body) = &self.operation else { return None };
        let json: Value = serde_json::from_slice(body).ok()?;
        let is_ours = json["kid"].as_str()?.to_ascii_lowercase() == KEK;
        URL_SAFE_NO_PAD.decode(json["value"].as_str()?).ok().filter(|_| is_ours)
    }

    pub(crate) fn unwraps(&self, outcome: &Result<Vec<u8>, KmsError>) -> bool {
        self.says_nothing(outcome.as_ref().err());
        match outcome {
            Ok(dek) => assert_eq!(self.value().as_ref(), Some(dek), "another DEK"),
            Err(_) => assert!(
                self.get.1 != KEY.as_bytes()
                    || self.is_odd()
                    || self.value().is_none_or(|dek| dek.len() != 32),
                "a DEK was refused"
            ),
        }
        outcome.is_ok()
    }

    fn wraps(&self, outcome: &Result<Vec<u8>, KmsError>) {
        self.says_nothing(outcome.as_ref().err());
        if let Ok(wrapped) = outcome {
            assert_eq!(self.value().as_ref(), Some(wrapped), "another wrapped DEK");
            assert!(matches!(wrapped.len(), 40 | 256 | 384 | 512));
        }
    }

    /// Escapes, and members that stand twice, which a `Value` reads and we do not.
    fn is_odd(&self) -> bool {
        let text = String::from_utf8_lossy(&self.operation.1);
        text.contains('\\') || text.matches("value").count() > 1 || text.matches("kid").count() > 1
    }

    fn describes(&self, outcome: &Result<KekDescription, KmsError>) -> bool {
        self.says_nothing(outcome.as_ref().err());
        let Ok(description) = outcome else { return false };
        let json: Value = serde_json::from_slice(&self.get.1).expect("described, so JSON");
        let text = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
        let current = description.current();
        assert_eq!(Some(current.id.as_str()), text(&json["key"]["kid"]).as_deref());
        for version in description.versions() {
            let start = "https://kv1.vault.azure.net/keys/unseal/";
            let digits = version.id.as_str().strip_prefix(start).expect("a version of another key");
            assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        }
        if let Wrapping::Local(key) = &current.wrapping {
            let modulus = URL_SAFE_NO_PAD.decode(json["key"]["n"].as_str().expect("RSA"));
            let modulus = modulus.expect("described, so base64url");
            let significant: Vec<u8> = modulus.into_iter().skip_while(|byte| *byte == 0).collect();
            assert!(key.spki_der().windows(significant.len()).any(|window| window == significant));
        }
        true
    }

    /// No eight letters of an answer's value stand in an error.
    fn says_nothing(&self, error: Option<&KmsError>) {
        let Some(error) = error else { return };
        let said = format!("{error} {error:?}");
        let json: Value = serde_json::from_slice(&self.operation.1).unwrap_or_default();
        let Some(value) = json["value"].as_str() else { return };
        let has_leaked = value.len() >= 12
            && value
                .as_bytes()
                .windows(12)
                .any(|window| said.as_bytes().windows(12).any(|one| one == window));
        assert!(!has_leaked || KEK.contains(value), "{said}");
    }
}

#[async_trait]
impl HttpClient for Scripted {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let mut headers = Headers::new();
        if request.headers().get_optional_str(&AUTHORIZATION).is_none() {
            let challenge = r#"Bearer authorization="https://login.microsoftonline.com/tenant", resource="https://vault.azure.net""#;
            headers.insert("www-authenticate", challenge);
            return Ok(AsyncRawResponse::from_bytes(401.into(), headers, ""));
        }
        let is_list = request.url().path().ends_with("/versions");
        let (status, body) = match request.method() {
            Method::Get if is_list => &self.list,
            Method::Get => &self.get,
            _ => &self.operation,
        };
        Ok(AsyncRawResponse::from_bytes((*status).into(), headers, body.clone()))
    }
}

#[derive(Debug)]
struct Known;

#[async_trait]
impl TokenCredential for Known {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        Ok(AccessToken::new("token", OffsetDateTime::UNIX_EPOCH))
    }
}

impl RevocableCredential for Known {
    fn invalidate(&self) {}

    fn trouble(&self) -> Option<Diagnosis> {
        None
    }
}

fn settings() -> AzureSettings {
    AzureSettings {
        endpoint: "https://kv1.vault.azure.net".parse().expect("a URL"),
        resource: "vault.azure.net".to_owned(),
        key_name: "unseal".to_owned(),
        wrap_remotely: false,
        identity: Identity::ManagedIdentity {
            user_assigned: None,
            endpoint: "http://169.254.169.254".parse().expect("a URL"),
        },
        authority: "https://login.microsoftonline.com".parse().expect("a URL"),
        ca_certificates: None,
        key_vault_proxy: None,
        entra_proxy: None,
    }
}

fn clock() -> selkie_kms::azure::WallClock {
    Arc::new(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600))
}
