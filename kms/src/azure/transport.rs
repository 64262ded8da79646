//! Keeps the token from every host but the vault.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::{Error, ErrorKind};
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use url::Url;

use super::key_id::OwnKey;
use super::{Diagnosis, Hop, Outcome};

/// Sends to the endpoint, whatever an answer would have us do: the SDK follows the `nextLink` of a
/// list wherever it leads, token in hand. A link to the vault's own name is followed, but through
/// the endpoint, because the name may lead nowhere from here.
#[derive(Debug)]
pub(super) struct VaultTransport {
    pub(super) inner: Arc<dyn HttpClient>,
    pub(super) endpoint: Url,
    pub(super) own: Arc<OwnKey>,
}

#[async_trait]
impl HttpClient for VaultTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        if request.url().origin() == self.endpoint.origin() {
            return self.inner.execute_request(request).await;
        }
        let mut redirected = request.clone();
        let url = redirected.url_mut();
        let moved = self.own.is_on_vault(url)
            && url.set_host(self.endpoint.host_str()).is_ok()
            && url.set_port(self.endpoint.port()).is_ok();
        if !moved {
            let host = self.own.endpoint.to_string();
            let diagnosis = Diagnosis::unanswered(Hop::Get, Outcome::AnswerWrong, &host);
            return Err(Error::new(ErrorKind::Other, diagnosis));
        }
        self.inner.execute_request(&redirected).await
    }
}
