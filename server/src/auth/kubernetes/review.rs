//! TokenReview: the API server says whether it made a token, and whether its account and pod are
//! still there.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Uri};
use selkie_config::ReviewerToken;
use selkie_kms::http::{HttpError, HttpHop, HttpReason};
use selkie_memory::WipedVec;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::auth::jwt::{PATIENCE, Web, WebError, https};

const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// An API server, and who is trusted to be it.
#[derive(Clone, Debug)]
pub(super) struct ApiServer {
    host: String,
    ca_pem: String,
    url: Uri,
    web: Arc<dyn Web>,
}

/// As whom it is asked.
#[derive(Debug)]
pub(super) enum Reviewer {
    Configured(ReviewerToken),
    Pod(Zeroizing<String>),
    /// By the token itself, whose account must be allowed to create TokenReviews.
    Client,
}

/// What it says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reviewed {
    Account { name: String, namespace: String, uid: String },
    No(NotReviewed),
}

/// Why the API server does not vouch for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotReviewed {
    #[error("lookup failed: service account jwt not valid")]
    NotAuthenticated,
    #[error("lookup failed: unexpected username format")]
    NoServiceAccount,
    #[error("the API server did not check the audience")]
    Audience,
    #[error("the API server refuses the client's own token as reviewer")]
    ClientRefused,
}

impl ApiServer {
    pub(super) fn new(host: &str, ca_pem: String, web: Arc<dyn Web>) -> Result<Self, WebError> {
        let url = https(&format!("{}{PATH}", host.trim_end_matches('/')))?;
        Ok(Self { host: host.to_owned(), ca_pem, url, web })
    }

    /// Whether it is this one.
    pub(super) fn is(&self, host: &str, ca_pem: &str) -> bool {
        self.host == host && self.ca_pem == ca_pem
    }

    /// Asks about `token`; `audience` empty: the API server's own.
    pub(super) async fn review(
        &self,
        token: &str,
        reviewer: &Reviewer,
        audience: &str,
    ) -> Result<Reviewed, WebError> {
        let request = self.request(token, reviewer, audience)?;
        let answer = timeout(PATIENCE, self.web.send(request)).await;
        let answer = answer.or(Err(WebError::TimedOut))??;
        let status = answer.status().as_u16();
        match status {
            200 | 201 => {}
            401 | 403 if matches!(reviewer, Reviewer::Client) => {
                return Ok(Reviewed::No(NotReviewed::ClientRefused));
            }
            _ => return Err(WebError::Status { host: self.name(), status }),
        }
        let review = serde_json::from_slice::<Review>(answer.body());
        let wanted = "a TokenReview";
        let review = review.or(Err(WebError::Unexpected { host: self.name(), wanted }))?;
        Ok(review.status.meaning(audience))
    }

    fn request(
        &self,
        token: &str,
        reviewer: &Reviewer,
        audience: &str,
    ) -> Result<Request<Bytes>, WebError> {
        let bearer = match reviewer {
            Reviewer::Configured(own) => own.expose(),
            Reviewer::Pod(own) => own.as_str(),
            Reviewer::Client => token,
        };
        let mut header = WipedVec::with_capacity(bearer.len().saturating_add(7));
        header.extend_from_slice(b"Bearer ");
        header.extend_from_slice(bearer.as_bytes());
        // What holds it is wiped with the last who has it.
        let bearer = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(header)));
        let unfit = || HttpError {
            hop: HttpHop::Request,
            host: self.name(),
            reason: HttpReason::UnfitHeader,
        };
        let mut bearer = bearer.or(Err(unfit()))?;
        bearer.set_sensitive(true);
        let mut request = Request::new(Bytes::from_owner(Wiped(question(token, audience))));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let json = HeaderValue::from_static("application/json");
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, bearer);
        headers.insert(ACCEPT, json.clone());
        headers.insert(CONTENT_TYPE, json);
        Ok(request)
    }

    fn name(&self) -> String {
        self.url.host().unwrap_or_default().to_owned()
    }
}

/// Bytes that are wiped with their last holder.
struct Wiped(WipedVec);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The body of the question, of which no other copy is left.
fn question(token: &str, audience: &str) -> WipedVec {
    let length = token.len().saturating_add(audience.len()).saturating_mul(6);
    let mut body = WipedVec::with_capacity(length.saturating_add(256));
    let audiences: &[&str] = if audience.is_empty() { &[] } else { &[audience] };
    let review = Question {
        api_version: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: Spec { token, audiences },
    };
    // Writing texts to memory does not fail.
    let _written = serde_json::to_writer(&mut body, &review);
    body
}

#[derive(Serialize)]
struct Question<'a> {
    #[serde(rename = "apiVersion")]
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    audiences: &'a [&'a str],
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    audiences: Vec<String>,
    user: User,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
}

impl Status {
    fn meaning(self, audience: &str) -> Reviewed {
        if !self.authenticated || !self.error.is_empty() {
            return Reviewed::No(NotReviewed::NotAuthenticated);
        }
        // One that knows nothing of audiences leaves them out, and has checked none.
        if !audience.is_empty() && !self.audiences.iter().any(|one| one == audience) {
            return Reviewed::No(NotReviewed::Audience);
        }
        let parts: Vec<_> = self.user.username.split(':').collect();
        match parts.as_slice() {
            ["system", "serviceaccount", namespace, name] => Reviewed::Account {
                name: (*name).to_owned(),
                namespace: (*namespace).to_owned(),
                uid: self.user.uid,
            },
            _ => Reviewed::No(NotReviewed::NoServiceAccount),
        }
    }
}
