//! Managed identity over the machine's own endpoint. It is never asked through a proxy, and only
//! for Key Vault.

use async_trait::async_trait;
use bytes::Bytes;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue, Request, Response, Uri};
use serde::Deserialize;
use tokio::time::Instant;
use url::Url;
use zeroize::Zeroizing;

use super::failure::at;
use super::keeper::TokenSource;
use super::pace::patiently;
use super::reply::{identifier, retry_after};
use super::token::Token;
use super::transport::Transport;
use super::{IdentityError, IdentitySetupError};
use crate::azure::{Diagnosis, Hop, Outcome, UserAssignedIdentity};
use crate::http::{object, sensitive};

const API_VERSION: &str = "2019-08-01";
const HOP: Hop = Hop::ManagedIdentity;

/// Managed identity, by the protocol of IMDS or of App Service.
///
/// It is ours and not the SDK's; the module says why.
pub(super) struct ManagedIdentity {
    transport: Transport,
    url: Uri,
    headers: HeaderMap,
    host: String,
}

impl ManagedIdentity {
    /// The machine's, from IMDS at `endpoint`.
    pub(super) fn imds(
        transport: Transport,
        endpoint: &Url,
        user_assigned: Option<&UserAssignedIdentity>,
        resource: &str,
    ) -> Result<Self, IdentitySetupError> {
        let mut url = endpoint.clone();
        url.set_path("/metadata/identity/oauth2/token");
        Self::new(transport, url, user_assigned, "msi_res_id", resource)
    }

    /// The app's, from `IDENTITY_ENDPOINT`, which wants to see `IDENTITY_HEADER`.
    pub(super) fn app_service(
        transport: Transport,
        endpoint: &Url,
        header: &Zeroizing<String>,
        user_assigned: Option<&UserAssignedIdentity>,
        resource: &str,
    ) -> Result<Self, IdentitySetupError> {
        let mut app = Self::new(transport, endpoint.clone(), user_assigned, "mi_res_id", resource)?;
        let value = sensitive(header.as_bytes()).ok_or(IdentitySetupError::UnfitHeader)?;
        app.headers.insert(HeaderName::from_static("x-identity-header"), value);
        Ok(app)
    }

    fn new(
        transport: Transport,
        mut url: Url,
        user_assigned: Option<&UserAssignedIdentity>,
        resource_id: &str,
        resource: &str,
    ) -> Result<Self, IdentitySetupError> {
        let host = url.host_str().unwrap_or_default().to_owned();
        if url.scheme() != "http" || host.is_empty() {
            return Err(IdentitySetupError::UnfitEndpoint);
        }
        let mut query = url.query_pairs_mut();
        query.clear().append_pair("api-version", API_VERSION);
        query.append_pair("resource", &format!("https://{resource}"));
        match user_assigned {
            None => {}
            Some(UserAssignedIdentity::ClientId(id)) => drop(query.append_pair("client_id", id)),
            Some(UserAssignedIdentity::ObjectId(id)) => drop(query.append_pair("object_id", id)),
            Some(UserAssignedIdentity::ResourceId(id)) => drop(query.append_pair(resource_id, id)),
        }
        drop(query);
        let Ok(url) = url.as_str().parse() else { return Err(IdentitySetupError::UnfitEndpoint) };
        let mut headers = HeaderMap::new();
        headers.insert(HeaderName::from_static("metadata"), HeaderValue::from_static("true"));
        Ok(Self { transport, url, headers, host })
    }

    async fn ask(&self) -> Result<Token, IdentityError> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = self.headers.clone();
        self.transport.token(HOP, &self.host, request, |answer| self.refusal(answer)).await
    }

    pub(super) fn refusal(&self, answer: &Response<Bytes>) -> IdentityError {
        let refusal: Option<IdentityRefusal> = object(answer.body());
        let status = answer.status().as_u16();
        let outcome = match status {
            400 => refusal.as_ref().map_or(Outcome::AnswerWrong, IdentityRefusal::outcome),
            401 | 403 => Outcome::CredentialRefused,
            404 => Outcome::IdentityMissing,
            429 => Outcome::Throttled,
            410 | 500..=599 => Outcome::Outage,
            _ => Outcome::AnswerWrong,
        };
        let code = refusal.as_ref().and_then(IdentityRefusal::code).and_then(identifier);
        let diagnosis = Diagnosis { status: Some(status), code, ..at(HOP, outcome, &self.host) };
        IdentityError::throttled(diagnosis, retry_after(answer.headers()))
    }
}

#[async_trait]
impl TokenSource for ManagedIdentity {
    async fn fetch(&self, deadline: Instant) -> Result<Token, IdentityError> {
        patiently(HOP, &self.host, deadline, || self.ask()).await
    }
}

/// What IMDS (`error`, `error_description`) and App Service (`message`, or `error` as an object)
/// say when they refuse.
#[derive(Default, Deserialize)]
#[serde(default)]
struct IdentityRefusal {
    error: serde_json::Value,
    error_description: String,
    message: String,
}

impl IdentityRefusal {
    fn code(&self) -> Option<&str> {
        self.error.as_str().or_else(|| self.error.get("code")?.as_str())
    }

    /// What a 400 means; only the words tell.
    fn outcome(&self) -> Outcome {
        let inner = self.error.get("message").and_then(|message| message.as_str());
        let words = [&self.error_description, &self.message, inner.unwrap_or_default()];
        let words = words.join(" ").to_ascii_lowercase();
        let says = |phrase| words.contains(phrase);
        if says("multiple user assigned") {
            return Outcome::IdentityAmbiguous;
        }
        let missing = ["identity not found", "no managed identity", "no user assigned"];
        if missing.into_iter().any(says) || says("not been assigned") || says("not assigned") {
            return Outcome::IdentityMissing;
        }
        Outcome::IdentityRequestRejected
    }
}
