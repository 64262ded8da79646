use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, Uri};
use selkie_memory::WipedVec;
use serde::Deserialize;
use tokio::time::Instant;
use url::{Url, form_urlencoded};
use zeroize::Zeroizing;

use super::assertion::CertificateSigner;
use super::failure::at;
use super::keeper::TokenSource;
use super::pace::patiently;
use super::reply::{identifier, retry_after};
use super::token::Token;
use super::transport::Transport;
use super::{IdentityError, IdentitySetupError};
use crate::azure::{Diagnosis, Hop, Outcome};

const HOP: Hop = Hop::Entra;
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// More than any federated token.
const TOKEN_FILE_BYTES: u64 = 64 * 1024;

/// How an application proves itself.
pub(super) enum Proof {
    Secret(Zeroizing<String>),
    /// A federated token; its file is read each time, because Kubernetes writes it anew each hour.
    TokenFile(PathBuf),
    Certificate(CertificateSigner),
}

/// An application that Entra knows, by OAuth's client credentials.
///
/// It is ours and not `azure_identity`'s, because that one keeps a rejected token until it expires,
/// lets `AZURE_AUTHORITY_HOST` redirect it, reads a federated token's file only every ten minutes,
/// and signs with OpenSSL.
pub(super) struct Application {
    transport: Transport,
    url: Uri,
    host: String,
    client_id: String,
    scope: String,
    proof: Proof,
}

impl Application {
    pub(super) fn new(
        transport: Transport,
        authority: &Url,
        (tenant_id, client_id): (&str, String),
        scope: String,
        proof: Proof,
    ) -> Result<Self, IdentitySetupError> {
        let endpoint = token_endpoint(authority, tenant_id)?;
        let has_empty_secret = matches!(&proof, Proof::Secret(secret) if secret.is_empty());
        if client_id.is_empty() || has_empty_secret {
            return Err(IdentitySetupError::Incomplete);
        }
        let host = endpoint.host_str().unwrap_or_default().to_owned();
        let Ok(url) = endpoint.as_str().parse() else {
            return Err(IdentitySetupError::UnfitAuthority);
        };
        Ok(Self { transport, url, host, client_id, scope, proof })
    }

    async fn ask(&self) -> Result<Token, IdentityError> {
        let mut request = Request::new(self.form().await?);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers_mut().insert(CONTENT_TYPE, form);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        self.transport.token((HOP, &self.host), request, |answer| self.refusal(answer)).await
    }

    async fn form(&self) -> Result<Bytes, IdentityError> {
        let (name, proof) = match &self.proof {
            Proof::Secret(secret) => return Ok(self.encoded(&[("client_secret", secret)])),
            Proof::TokenFile(path) => ("client_assertion", self.federated(path).await?),
            Proof::Certificate(signer) => ("client_assertion", self.signed(signer)?),
        };
        Ok(self.encoded(&[("client_assertion_type", ASSERTION_TYPE), (name, &proof)]))
    }

    fn encoded(&self, proof: &[(&str, &str)]) -> Bytes {
        let fixed = [
            ("client_id", self.client_id.as_str()),
            ("grant_type", "client_credentials"),
            ("scope", &self.scope),
        ];
        let pairs = fixed.iter().chain(proof);
        // Room for all of it, also if each byte needs three, so that no growth leaves a copy behind.
        let room = pairs.clone().map(|(name, value)| name.len() + 3 * value.len() + 2).sum();
        let mut form = form_urlencoded::Serializer::new(String::with_capacity(room));
        let form = form.extend_pairs(pairs).finish();
        Bytes::from_owner(WipedVec::new(form.into_bytes()))
    }

    async fn federated(&self, path: &Path) -> Result<Zeroizing<String>, IdentityError> {
        let path = path.to_owned();
        let read = tokio::task::spawn_blocking(move || read_token_file(&path)).await;
        let read = read.unwrap_or_else(|lost| Err(lost.into()));
        read.map_err(|error| {
            let diagnosis = at(HOP, Outcome::TokenFileUnreadable, &self.host);
            IdentityError::new(diagnosis, Some(Arc::new(error)))
        })
    }

    fn signed(&self, signer: &CertificateSigner) -> Result<Zeroizing<String>, IdentityError> {
        signer.assertion(&self.client_id, &self.url.to_string(), (self.transport.clock)()).map_err(
            |error| {
                let diagnosis = at(HOP, Outcome::CredentialRefused, &self.host);
                IdentityError::new(diagnosis, Some(Arc::new(error)))
            },
        )
    }

    fn refusal(&self, answer: &Response<Bytes>) -> IdentityError {
        let refusal: Refusal = serde_json::from_slice(answer.body()).unwrap_or_default();
        let status = answer.status().as_u16();
        let code = refusal.code();
        let outcome = match (status, code.as_deref()) {
            (429, _) => Outcome::Throttled,
            (500..=599, _) => Outcome::Outage,
            (_, Some(code)) => meaning(code),
            (400 | 401, None) if refusal.error.is_some() => Outcome::CredentialRefused,
            _ => Outcome::AnswerWrong,
        };
        let request_id = refusal
            .trace_id
            .as_deref()
            .and_then(identifier)
            .or_else(|| identifier(answer.headers().get("x-ms-request-id")?.to_str().ok()?));
        let code = code.or_else(|| refusal.error.as_deref().and_then(identifier));
        let diagnosis = at(HOP, outcome, &self.host);
        let diagnosis = Diagnosis { status: Some(status), code, request_id, ..diagnosis };
        IdentityError::throttled(diagnosis, retry_after(answer.headers()))
    }
}

#[async_trait]
impl TokenSource for Application {
    async fn fetch(&self, deadline: Instant) -> Result<Token, IdentityError> {
        patiently(HOP, &self.host, deadline, || self.ask()).await
    }
}

fn token_endpoint(authority: &Url, tenant_id: &str) -> Result<Url, IdentitySetupError> {
    if authority.scheme() != "https" || authority.host().is_none() {
        return Err(IdentitySetupError::UnfitAuthority);
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    // Dots alone would climb in the path.
    let is_name = tenant_id.bytes().any(|byte| byte.is_ascii_alphanumeric());
    if !is_name || !tenant_id.bytes().all(fits) {
        return Err(IdentitySetupError::UnfitTenant);
    }
    let mut endpoint = authority.clone();
    let base = authority.path().trim_end_matches('/');
    endpoint.set_path(&format!("{base}/{tenant_id}/oauth2/v2.0/token"));
    endpoint.set_query(None);
    endpoint.set_fragment(None);
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

/// What Entra says when it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Refusal {
    error: Option<String>,
    error_description: String,
    trace_id: Option<String>,
}

impl Refusal {
    /// The `AADSTS...` that the description begins with.
    fn code(&self) -> Option<String> {
        let digits = self.error_description.strip_prefix("AADSTS")?;
        let digits: String = digits.chars().take_while(char::is_ascii_digit).take(12).collect();
        (!digits.is_empty()).then(|| format!("AADSTS{digits}"))
    }
}

/// The codes that say something else than that the proof is wrong (Microsoft Entra's list of
/// authentication error codes).
fn meaning(code: &str) -> Outcome {
    match code {
        // The tenant is not there, the application is not in it, or Key Vault is not.
        "AADSTS90002" | "AADSTS900021" | "AADSTS900023" | "AADSTS700016" | "AADSTS7000229"
        | "AADSTS500011" => Outcome::WrongTenant,
        "AADSTS90033" | "AADSTS90020" => Outcome::Outage,
        "AADSTS50196" | "AADSTS90055" => Outcome::Throttled,
        _ => Outcome::CredentialRefused,
    }
}
