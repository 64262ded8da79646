use std::collections::BTreeMap;
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
use selkie_kms::{Call, ClientTag, KekDescription, KekState, Kms, KmsError, Wrapping};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::second_parser::{is_beyond, is_plain};

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
/// A key is described, a DEK wrapped or unwrapped, exactly as a second JSON parser reads the answer,
/// and what that finds genuine is not refused; an error is the same whatever the value is.
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

/// What became of an unwrap, a wrap and a describe.
struct Outcomes {
    unwrapped: Result<Vec<u8>, KmsError>,
    wrapped: Result<Vec<u8>, KmsError>,
    described: Result<KekDescription, KmsError>,
}

async fn asked(vault: &Arc<Scripted>) -> bool {
    let Outcomes { unwrapped, wrapped, described } = outcomes(vault).await;
    if let Some(other) = vault.with_another_value() {
        let theirs = outcomes(&Arc::new(other)).await;
        let value = vault.text().unwrap_or_default();
        are_told_alike(&value, said(&unwrapped), said(&theirs.unwrapped));
        are_told_alike(&value, said(&wrapped), said(&theirs.wrapped));
    }
    if [&vault.get, &vault.list, &vault.operation].iter().any(|(_, body)| is_beyond(body)) {
        return false;
    }
    vault.wraps(&wrapped);
    let is_unwrapped = vault.unwraps(&unwrapped);
    vault.describes(&described) || is_unwrapped
}

fn said<T>(outcome: &Result<T, KmsError>) -> Option<String> {
    outcome.as_ref().err().map(|error| format!("{error} {error:?}"))
}

/// An error is the same whatever the value of the answer is, so it repeats nothing of it.
pub(crate) fn are_told_alike(value: &str, first: Option<String>, second: Option<String>) {
    assert_eq!(first, second, "an error repeats of {value:?}");
}

async fn outcomes(vault: &Arc<Scripted>) -> Outcomes {
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
    Outcomes { unwrapped: unwrapped.map(|dek| dek.expose_for_wrap().to_vec()), wrapped, described }
}

impl Scripted {
    /// The text of the value in an operation's answer.
    fn text(&self) -> Option<String> {
        let json: Value = serde_json::from_slice(&self.operation.1).ok()?;
        json["value"].as_str().map(str::to_owned)
    }

    /// The same but for that text, whose letters are other ones; the last one stays, as not every one
    /// may stand there. `None` where the text does not stand there once, as it is.
    fn with_another_value(&self) -> Option<Self> {
        let (value, body) = (self.text()?, str::from_utf8(&self.operation.1).ok()?);
        let (Some((last, _)), quoted) = (value.char_indices().last(), format!("\"{value}\""))
        else {
            return None;
        };
        let next = |byte: u8| match byte {
            b'z' | b'Z' => byte - 25,
            b'9' => b'0',
            b'a'..=b'y' | b'A'..=b'Y' | b'0'..=b'8' => byte + 1,
            _ => byte,
        };
        let other = |(at, letter): (usize, char)| match u8::try_from(letter) {
            Ok(byte) if letter.is_ascii() && (at < last || last == 0) => char::from(next(byte)),
            _ => letter,
        };
        let other: String = value.char_indices().map(other).collect();
        let is_one = body.matches(&quoted).count() == 1 && other != value;
        is_one.then(|| {
            let body = body.replace(&quoted, &format!("\"{other}\"")).into_bytes();
            let (get, list) = (self.get.clone(), self.list.clone());
            Self { get, list, operation: (self.operation.0, body) }
        })
    }

    /// What an operation's answer holds, if it is one of our version's.
    fn value(&self) -> Option<Vec<u8>> {
        let (200..=299, body) = &self.operation else { return None };
        let json: Value = serde_json::from_slice(body).ok()?;
        let is_ours = json["kid"].as_str()?.to_ascii_lowercase() == KEK;
        URL_SAFE_NO_PAD.decode(json["value"].as_str()?).ok().filter(|_| is_ours)
    }

    pub(crate) fn unwraps(&self, outcome: &Result<Vec<u8>, KmsError>) -> bool {
        match outcome {
            Ok(dek) => assert_eq!(self.value().as_ref(), Some(dek), "another DEK"),
            Err(_) => assert!(
                !self.is_of_genuine_key() || self.value().is_none_or(|dek| dek.len() != 32),
                "a DEK was refused"
            ),
        }
        outcome.is_ok()
    }

    pub(crate) fn wraps(&self, outcome: &Result<Vec<u8>, KmsError>) {
        match outcome {
            Ok(wrapped) => {
                assert_eq!(self.value().as_ref(), Some(wrapped), "another wrapped DEK");
                assert_eq!(Some(wrapped.len()), self.wrapped_bytes(), "of another length");
            }
            Err(_) => assert!(
                !self.is_of_genuine_key()
                    || self.value().is_none_or(|wrapped| wrapped.len() != 256),
                "a wrapped DEK was refused"
            ),
        }
    }

    /// Whether the key is the genuine one, and the answer to an operation says one thing to every
    /// reader.
    fn is_of_genuine_key(&self) -> bool {
        let body = &self.operation.1;
        let json = serde_json::from_slice(body).unwrap_or_default();
        self.get == (200, KEY.as_bytes().to_vec()) && is_plain(body, &json)
    }

    /// How long what the described key wraps is.
    fn wrapped_bytes(&self) -> Option<usize> {
        let json: Value = serde_json::from_slice(&self.get.1).ok()?;
        match json["key"]["kty"].as_str()? {
            "oct-HSM" => Some(40),
            _ => Some(modulus(&json)?.len()),
        }
    }

    pub(crate) fn describes(&self, outcome: &Result<KekDescription, KmsError>) -> bool {
        let is_genuine = self.get == (200, KEY.as_bytes().to_vec());
        let listed = self.listed();
        let Ok(description) = outcome else {
            assert!(!is_genuine || listed.is_none(), "a genuine key and its list were refused");
            return false;
        };
        let json: Value = serde_json::from_slice(&self.get.1).expect("described, so JSON");
        let text = |value: &Value| value.as_str().map(str::to_ascii_lowercase);
        let current = description.current();
        assert_eq!(Some(current.id.as_str()), text(&json["key"]["kid"]).as_deref());
        for version in description.versions() {
            assert!(is_version(version.id.as_str()), "a version of another key");
        }
        if let (true, Some(mut listed)) = (is_genuine, listed) {
            listed.insert(KEK.to_owned(), true);
            let told = description.versions().iter();
            let told = told.map(|one| (one.id.as_str().to_owned(), one.state == KekState::Enabled));
            assert_eq!(told.collect::<BTreeMap<_, _>>(), listed, "other versions than listed");
        }
        if let Wrapping::Local(key) = &current.wrapping {
            let significant = modulus(&json).expect("described, so RSA");
            assert!(key.spki_der().windows(significant.len()).any(|window| window == significant));
        }
        true
    }

    /// The versions in the list and whether each is enabled, if it is a list and says no more.
    fn listed(&self) -> Option<BTreeMap<String, bool>> {
        let (200, body) = &self.list else { return None };
        let json: Value = serde_json::from_slice(body).ok()?;
        let has_only = |value: &Value, names: &[&str]| {
            value.as_object().is_some_and(|all| all.keys().all(|name| names.contains(&&**name)))
        };
        let is_end = json.get("nextLink").is_none_or(Value::is_null);
        if !is_plain(body, &json) || !has_only(&json, &["value", "nextLink"]) || !is_end {
            return None;
        }
        let read = |one: &Value| {
            let attributes = &one["attributes"];
            let is_simple = has_only(one, &["kid", "attributes"])
                && has_only(attributes, &["enabled", "created"])
                && attributes["created"].as_u64().is_some_and(|time| time < 4_000_000_000);
            let kid = one["kid"].as_str()?.to_ascii_lowercase();
            (is_simple && is_version(&kid)).then_some((kid, attributes["enabled"].as_bool()?))
        };
        json["value"].as_array()?.iter().map(read).collect()
    }
}

fn is_version(kid: &str) -> bool {
    let digits = kid.strip_prefix("https://kv1.vault.azure.net/keys/unseal/").unwrap_or_default();
    digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Of the RSA key, without zeros before it.
fn modulus(json: &Value) -> Option<Vec<u8>> {
    let modulus = URL_SAFE_NO_PAD.decode(json["key"]["n"].as_str()?).ok()?;
    Some(modulus.into_iter().skip_while(|byte| *byte == 0).collect())
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
        former_vaults: Vec::new(),
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
