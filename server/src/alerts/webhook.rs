//! Posts alerts to where the operator said. Nobody waits for it: alerts queue, those that wait at
//! the same time go together, and what cannot be delivered is tried again for an hour.

mod body;
mod error;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Uri};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use selkie_config::Webhook;
use selkie_crypto::{Random, WebhookKey};
use selkie_kms::http::{HttpClient, HttpClientSettings, HttpTimeouts, Roots};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use self::body::Post;
use self::error::PostError;
use super::figures::{AlertFigures, Loss};
use super::{Alert, AlertsError};
use crate::clock::Clock;
use crate::jitter::jittered;
use crate::telemetry::WithCauses;

/// How many alerts wait; further ones are only logged and counted.
pub(super) const QUEUE: usize = 1_024;
/// How many go into one post.
pub(super) const MOST_IN_ONE: usize = 100;
/// How hurried it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// How long the first waits for others, as one cause often raises several.
    gathering: Duration,
    /// How long the receiver is left alone after a failure; each further one doubles it, up to the
    /// last.
    first_retry: Duration,
    last_retry: Duration,
    /// How long one post is tried.
    given_up_after: Duration,
}

const PACE: Pace = Pace {
    gathering: Duration::from_secs(1),
    first_retry: Duration::from_secs(1),
    last_retry: Duration::from_secs(300),
    given_up_after: Duration::from_secs(3_600),
};

/// The header with the signature of the body: `sha256=` and 64 hexadecimal digits.
const SIGNATURE: HeaderName = HeaderName::from_static("x-selkie-signature");

/// An alert that is told, and how often it was raised since it was told last.
#[derive(Clone, Debug)]
pub(super) struct ToldAlert {
    pub(super) alert: Alert,
    pub(super) repeated: u64,
}

/// Who tells, in every post.
#[derive(Clone, Debug)]
pub(super) struct Teller {
    pub(super) realm: String,
    /// `cluster_name`
    pub(super) cluster: Option<String>,
    /// The name of the machine.
    pub(super) host: String,
}

/// Delivers what is queued.
pub(super) struct Courier {
    queue: Receiver<ToldAlert>,
    client: Arc<HttpClient>,
    uri: Uri,
    headers: HeaderMap,
    key: Option<WebhookKey>,
    teller: Teller,
    clock: Arc<dyn Clock>,
    random: Arc<Random>,
    figures: Arc<AlertFigures>,
    is_failing: bool,
    pace: Pace,
}

/// What a courier takes from its surroundings.
pub(super) struct Surroundings {
    pub(super) teller: Teller,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<Random>,
    pub(super) figures: Arc<AlertFigures>,
}

/// The courier to where `declared` says, and what is queued for it. Files are read now.
pub(super) fn prepare(
    declared: Webhook,
    surroundings: Surroundings,
) -> Result<(Sender<ToldAlert>, Courier), AlertsError> {
    let client = client(&declared)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("selkie/", env!("CARGO_PKG_VERSION"))),
    );
    for header in &declared.headers {
        let unfit = || AlertsError::Header { name: header.name.clone() };
        let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_unfit| unfit())?;
        let mut value = HeaderValue::from_str(&header.value).map_err(|_unfit| unfit())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    let uri = declared.url.as_str().parse().map_err(AlertsError::Url)?;
    let (sender, queue) = mpsc::channel(QUEUE);
    let Surroundings { teller, clock, random, figures } = surroundings;
    let key = declared.hmac_key;
    let (is_failing, pace) = (false, PACE);
    let courier = Courier {
        queue,
        client,
        uri,
        headers,
        key,
        teller,
        clock,
        random,
        figures,
        is_failing,
        pace,
    };
    Ok((sender, courier))
}

fn client(declared: &Webhook) -> Result<Arc<HttpClient>, AlertsError> {
    let default = HttpTimeouts::default();
    let timeout = declared.timeout;
    let timeouts = HttpTimeouts {
        dns: default.dns.min(timeout),
        connect: default.connect.min(timeout),
        proxy: default.proxy.min(timeout),
        tls: default.tls.min(timeout),
        answer: timeout,
    };
    let settings = HttpClientSettings { timeouts, ..HttpClientSettings::default() };
    if declared.url.scheme() == "http" {
        return Ok(HttpClient::plain(settings)?);
    }
    let roots = match &declared.ca_file {
        None => Roots::System,
        Some(path) => {
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
            let refused = |source| AlertsError::Authorities { path: path.clone(), source };
            Roots::Given(read.map_err(refused)?)
        }
    };
    let proxy = declared.proxy.clone().map(selkie_config::ProxyUrl::into_url);
    Ok(HttpClient::https(HttpClientSettings { roots, proxy, ..settings })?)
}

impl Courier {
    /// Delivers until nobody can raise alerts any more and none waits.
    pub(super) async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            sleep(self.pace.gathering).await;
            let mut alerts = vec![first];
            while alerts.len() < MOST_IN_ONE
                && let Ok(next) = self.queue.try_recv()
            {
                alerts.push(next);
            }
            self.deliver(&alerts).await;
        }
    }

    async fn deliver(&mut self, alerts: &[ToldAlert]) {
        // The same in all attempts, so that the receiver knows what it has.
        let id = Uuid::new_v4().to_string();
        let (begun, mut retry) = (Instant::now(), self.pace.first_retry);
        loop {
            let outcome = self.post(&id, alerts).await;
            self.figures.posted(outcome.as_ref().map_or_else(PostError::outcome, |()| "ok"));
            self.tell(outcome.as_ref().err());
            if outcome.is_ok() {
                return;
            }
            let pause = jittered(&*self.random, retry);
            if begun.elapsed() + pause > self.pace.given_up_after {
                let lost = u64::try_from(alerts.len()).unwrap_or(u64::MAX);
                self.figures.lost(Loss::GivenUp, lost);
                tracing::error!(alerts = lost, "alerts were not delivered, and are given up");
                return;
            }
            sleep(pause).await;
            retry = (2 * retry).min(self.pace.last_retry);
        }
    }

    async fn post(&self, id: &str, alerts: &[ToldAlert]) -> Result<(), PostError> {
        let post = Post::new(id, self.clock.unix_seconds(), &self.teller, alerts);
        let body = serde_json::to_vec(&post).map_err(PostError::Body)?;
        let mut request = Request::new(Bytes::new());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().clone_from(&self.headers);
        if let Some(key) = &self.key {
            let hex = base16ct::lower::encode_string(&key.signature(&body));
            if let Ok(value) = HeaderValue::try_from(format!("sha256={hex}")) {
                request.headers_mut().insert(SIGNATURE, value);
            }
        }
        *request.body_mut() = body.into();
        let answer = self.client.send(request).await?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            status @ 300..=399 => Err(PostError::Redirected { status }),
            status => Err(PostError::Refused { status }),
        }
    }

    /// One line when it begins to fail, and one when it works again.
    fn tell(&mut self, error: Option<&PostError>) {
        match error {
            Some(error) if !self.is_failing => tracing::warn!(
                outcome = error.outcome(),
                reason = %WithCauses(error),
                advice = error.advice(),
                "alerts cannot be posted to the webhook; they are tried again"
            ),
            None if self.is_failing => tracing::info!("the webhook takes alerts again"),
            Some(_) | None => {}
        }
        self.is_failing = error.is_some();
    }
}

#[cfg(test)]
mod tests;
