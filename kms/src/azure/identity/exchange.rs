//! Stands between Azure's client and Entra, since that client's errors quote answers, which may
//! hold secrets: none of its texts gets out.

use std::fmt;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use bytes::Bytes;
use http::Response;
use serde::Deserialize;

use super::IdentityError;
use super::failure::at;
use super::reply::{identifier, retry_after};
use super::token::check_for_sdk;
use super::transport::Transport;
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::http::{incoming, object, outgoing};

const HOP: Hop = Hop::Entra;

/// What `azure_identity` speaks to Entra over. Good answers alone come back to it: whatever else
/// happens is an [`IdentityError`] here, because its own errors are text that quotes the answer.
/// [`IdentityError::within`] finds it again in the SDK's.
pub(super) struct Exchange {
    pub(super) transport: Transport,
    pub(super) host: String,
}

impl Exchange {
    async fn answer(
        &self,
        request: &azure_core::http::Request,
    ) -> Result<Response<Bytes>, IdentityError> {
        let request = outgoing(request).map_err(|error| IdentityError::transport(HOP, error))?;
        let answer = self.transport.answer(HOP, request, |answer| self.refusal(answer)).await?;
        let status = answer.status().as_u16();
        let fits = check_for_sdk(answer.body());
        fits.map_err(|error| IdentityError::tokenless(HOP, &self.host, status, error))?;
        Ok(answer)
    }

    fn refusal(&self, answer: &Response<Bytes>) -> IdentityError {
        let refusal: EntraRefusal = object(answer.body()).unwrap_or_default();
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
impl azure_core::http::HttpClient for Exchange {
    async fn execute_request(
        &self,
        request: &azure_core::http::Request,
    ) -> azure_core::Result<azure_core::http::AsyncRawResponse> {
        let answer = self.answer(request).await;
        answer.map(incoming).map_err(|error| Error::new(ErrorKind::Credential, error))
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("host", &self.host).finish_non_exhaustive()
    }
}

/// What Entra says when it refuses.
#[derive(Default, Deserialize)]
#[serde(default)]
struct EntraRefusal {
    error: Option<String>,
    error_description: String,
    trace_id: Option<String>,
}

impl EntraRefusal {
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
