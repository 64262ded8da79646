//! Keeps the token from every host but the vault.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::headers::WWW_AUTHENTICATE;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};
use url::Url;

use super::identity::audience;
use super::key_id::OwnKey;
use super::{Diagnosis, Hop, Outcome};

/// Sends to the endpoint, whatever an answer would have us do: the SDK follows the `nextLink` of a
/// list wherever it leads, token in hand. A link to the vault's own name is followed, but through
/// the endpoint, because the name may lead nowhere from here.
///
/// A challenge for another audience ends here: the SDK would remember that audience and from then on
/// ask for tokens for it alone, which the credential refuses, until the process ends.
#[derive(Debug)]
pub(super) struct VaultTransport {
    pub(super) inner: Arc<dyn HttpClient>,
    pub(super) endpoint: Url,
    pub(super) own: Arc<OwnKey>,
    /// What a token is asked for.
    pub(super) scope: String,
}

impl VaultTransport {
    async fn send(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.url().origin() == self.endpoint.origin() {
            return self.inner.execute_request(request).await;
        }
        let mut redirected = request.clone();
        let url = redirected.url_mut();
        let moved = self.own.is_on_vault(url)
            && url.set_host(self.endpoint.host_str()).is_ok()
            && url.set_port(self.endpoint.port()).is_ok();
        if moved {
            self.inner.execute_request(&redirected).await
        } else {
            Err(self.refuse(Outcome::AnswerWrong, None))
        }
    }

    fn refuse(&self, outcome: Outcome, status: Option<u16>) -> Error {
        let host = self.own.endpoint.to_string();
        let diagnosis = Diagnosis::unanswered(Hop::Get, outcome, &host);
        Error::new(ErrorKind::Other, Diagnosis { status, ..diagnosis })
    }
}

#[async_trait]
impl HttpClient for VaultTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.send(request).await?;
        let challenge = (answer.status() == StatusCode::Unauthorized)
            .then(|| answer.headers().get_optional_str(&WWW_AUTHENTICATE))
            .flatten();
        if challenge.is_some_and(|challenge| names_another(challenge, &self.scope)) {
            return Err(self.refuse(Outcome::WrongTenant, Some(401)));
        }
        Ok(answer)
    }
}

/// Whether `challenge` names an audience that is not that of `scope`, wherever the SDK may look for
/// it.
fn names_another(challenge: &str, scope: &str) -> bool {
    challenge.match_indices(r#"=""#).any(|(at, sign)| {
        let (name, value) = challenge.split_at(at);
        let value = value.strip_prefix(sign).unwrap_or(value).split('"').next().unwrap_or_default();
        let named = if name.ends_with("scope") {
            audience(value)
        } else if name.ends_with("resource") {
            audience(&format!("{value}/.default"))
        } else {
            return false;
        };
        named != audience(scope)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audience_of_a_challenge_is_ours_under_every_spelling_and_no_other() {
        let scope = "https://vault.azure.net/.default";
        let names_another = |challenge: &str| names_another(challenge, scope);
        for ours in [
            "",
            "Bearer",
            r#"Bearer authorization="https://login.test/tenant""#,
            r#"Bearer authorization="https://login.test/t", resource="https://vault.azure.net""#,
            r#"Bearer resource="https://Vault.Azure.net/""#,
            r#"Bearer scope="https://vault.azure.net/.default", error="invalid_token""#,
        ] {
            assert!(!names_another(ours), "{ours}");
        }
        for other in [
            r#"Bearer resource="https://azure.net""#,
            r#"Bearer resource="""#,
            r#"Bearer resource="https://vault.azure.net.evil.test""#,
            r#"Bearer scope="https://vault.azure.net""#,
            r#"Bearer realm="r", scope="api""#,
            r#"Bearer scope="openid", resource="https://vault.azure.net""#,
            r#"Bearer resource="https://vault.azure.net", scope="openid""#,
            r#"Bearer resource="https://other"#,
        ] {
            assert!(names_another(other), "{other}");
        }
    }
}
