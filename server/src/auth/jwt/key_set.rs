//! The keys that a provider publishes. They are fetched when they are needed first, again when they
//! are old or a token names one that is not among them, and never more often than [`PAUSE`]: a
//! rotation works at once, and a flood of invented names costs one fetch. A login waits for that;
//! what was fetched last is used for as long as [`LAST_GOOD`] while the provider is away or slow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use tokio::time::{Instant, timeout, timeout_at};

use super::compact::Compact;
use super::key::VerificationKey;
use super::web::{PATIENCE, Web, WebError, get, https, lock};
use crate::telemetry::WithCauses;

/// Between one fetch and the next.
pub(super) const PAUSE: Duration = Duration::from_secs(10);
/// When keys are fetched again though none is missing, so that a withdrawn one is soon unknown.
pub(super) const REFRESH: Duration = Duration::from_secs(600);
/// How long keys are used that cannot be fetched again.
pub(super) const LAST_GOOD: Duration = Duration::from_secs(24 * 3600);

/// For how long after a fetch has begun it is waited for where there are keys already. Whoever waits
/// holds a place of logins meanwhile, for which others wait twice as long.
pub(super) const WORTH_WAITING: Duration = Duration::from_millis(500);

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

/// Where keys are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Location {
    /// At this URL.
    Set(Uri),
    /// Where the OpenID configuration of this provider says, which must name the provider as issuer.
    Provider(String),
    /// The same of Entra, whose configuration names another issuer than its own URL.
    Entra(String),
}

/// What a provider publishes.
#[derive(Debug)]
pub(crate) struct KeySet {
    /// As whom the provider signs, where it says so; else empty.
    pub(crate) issuers: Vec<String>,
    pub(crate) keys: Vec<VerificationKey>,
    fetched: Instant,
}

/// The keys of one provider.
#[derive(Debug)]
pub(crate) struct RemoteKeys {
    location: Location,
    web: Arc<dyn Web>,
    held: Mutex<Held>,
    /// Held while they are fetched.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    set: Option<Arc<KeySet>>,
    /// When a fetch began, or, once it is over, ended: with `set`, if it is the one that gave it.
    tried: Option<Instant>,
}

/// Nobody can say now whether the key is the provider's; where a fetch has failed, the log knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error fetching the provider's keys; the server's log says why")]
pub struct NoKeys;

impl KeySet {
    fn knows(&self, token: &Compact<'_>) -> bool {
        self.keys.iter().any(|key| key.may_have_signed(token))
    }
}

impl RemoteKeys {
    pub(crate) fn new(location: Location, web: Arc<dyn Web>) -> Arc<Self> {
        let (held, fetching) = (Mutex::default(), tokio::sync::Mutex::default());
        Arc::new(Self { location, web, held, fetching })
    }

    /// The keys among which the one is that signed `token`, if that is one of the provider's.
    pub(crate) async fn for_token(
        self: &Arc<Self>,
        token: &Compact<'_>,
    ) -> Result<Arc<KeySet>, NoKeys> {
        let held = self.usable();
        let Some(set) = held.filter(|set| set.knows(token)) else { return self.renewed().await };
        if set.fetched.elapsed() < REFRESH {
            return Ok(set);
        }
        // What was withdrawn since must not log in; while nobody says what was, nothing was.
        let _is_in_time = self.fetched_in_time().await;
        self.usable().ok_or(NoKeys)
    }

    /// The keys as the provider publishes them now, or did within [`PAUSE`]: what is not among them is
    /// unknown. While it cannot be asked, or takes longer than is [`WORTH_WAITING`], nobody can say
    /// that, and a refusal would be for good.
    pub(crate) async fn renewed(self: &Arc<Self>) -> Result<Arc<KeySet>, NoKeys> {
        if self.usable().is_none() {
            self.fetched().await;
            return self.usable().ok_or(NoKeys);
        }
        let is_in_time = self.fetched_in_time().await;
        self.as_last_tried().filter(|_| is_in_time).ok_or(NoKeys)
    }

    /// Fetches them, unless that was done within [`PAUSE`], and waits no longer than is
    /// [`WORTH_WAITING`]; who gives up leaves the fetch to go on. Whether it did not give up.
    async fn fetched_in_time(self: &Arc<Self>) -> bool {
        let until = self.worth_waiting_until();
        until <= Instant::now() || timeout_at(until, self.fetched()).await.is_ok()
    }

    /// The keys, unless a fetch has begun, or has failed, since they were fetched.
    fn as_last_tried(&self) -> Option<Arc<KeySet>> {
        let held = lock(&self.held);
        let set = held.set.as_ref().filter(|set| held.tried == Some(set.fetched));
        set.map(Arc::clone)
    }

    /// Counted from the fetch, not from whoever waits: else a flood would hold the places for all the
    /// time that a provider hangs.
    fn worth_waiting_until(&self) -> Instant {
        let tried = lock(&self.held).tried.filter(|tried| tried.elapsed() < PAUSE);
        tried.unwrap_or_else(Instant::now) + WORTH_WAITING
    }

    async fn fetched(self: &Arc<Self>) {
        // In a task of its own: clients that hang up must not keep everybody from new keys.
        let this = Arc::clone(self);
        let fetched = tokio::spawn(async move { this.fetch_unless_just_done().await });
        // An end without a result is that of the process.
        let _ended = fetched.await;
    }

    /// Fetches them in the background, unless that was done within [`PAUSE`].
    pub(crate) fn fetch_soon(self: &Arc<Self>) {
        if self.may_try() {
            let this = Arc::clone(self);
            tokio::spawn(async move { this.fetch_unless_just_done().await });
        }
    }

    fn usable(&self) -> Option<Arc<KeySet>> {
        let set = lock(&self.held).set.clone();
        set.filter(|set| set.fetched.elapsed() < LAST_GOOD)
    }

    fn may_try(&self) -> bool {
        lock(&self.held).tried.is_none_or(|tried| tried.elapsed() >= PAUSE)
    }

    async fn fetch_unless_just_done(&self) {
        let _one_at_a_time = self.fetching.lock().await;
        if !self.may_try() {
            return;
        }
        lock(&self.held).tried = Some(Instant::now());
        let fetched = timeout(PATIENCE, self.fetch()).await.unwrap_or(Err(WebError::TimedOut));
        let mut held = lock(&self.held);
        held.tried = Some(Instant::now());
        match fetched {
            Ok(set) => {
                held.tried = Some(set.fetched);
                tracing::debug!(keys = set.keys.len(), issuers = ?set.issuers, "fetched a provider's keys");
                held.set = Some(Arc::new(set));
            }
            Err(error) => {
                let kept = held.set.is_some();
                let cause = WithCauses(&error).to_string();
                tracing::warn!(location = ?self.location, cause, kept, "a provider's keys cannot be fetched");
            }
        }
    }

    async fn fetch(&self) -> Result<KeySet, WebError> {
        let (issuers, url) = match &self.location {
            Location::Set(url) => (Vec::new(), url.clone()),
            Location::Provider(base) => {
                let found = self.discover(base).await?;
                // OpenID Connect Discovery section 4.3: else anybody could publish for anybody.
                if found.issuer.trim_end_matches('/') != base.trim_end_matches('/') {
                    return Err(unexpected(base, "an OpenID configuration of that issuer"));
                }
                (vec![found.issuer], https(&found.jwks_uri)?)
            }
            Location::Entra(base) => {
                let found = self.discover(base).await?;
                // Of tokens of version 1.0, and of 2.0, under the same keys.
                let issuers = vec![found.issuer, format!("{}/v2.0", base.trim_end_matches('/'))];
                (issuers, https(&found.jwks_uri)?)
            }
        };
        let host = url.to_string();
        let set = get(&*self.web, url).await?;
        let keys = VerificationKey::from_set(&set);
        let keys = keys.or(Err(unexpected(&host, "a JSON Web Key set")))?;
        Ok(KeySet { issuers, keys, fetched: Instant::now() })
    }

    async fn discover(&self, base: &str) -> Result<Discovered, WebError> {
        let url = https(&format!("{}{WELL_KNOWN}", base.trim_end_matches('/')))?;
        let answer = get(&*self.web, url).await?;
        let found = serde_json::from_slice(&answer);
        found.or(Err(unexpected(base, "an OpenID configuration")))
    }
}

/// The members that are needed (OpenID Connect Discovery section 3).
#[derive(Deserialize)]
struct Discovered {
    issuer: String,
    jwks_uri: String,
}

fn unexpected(url: &str, wanted: &'static str) -> WebError {
    let host = url.parse::<Uri>().ok().and_then(|url| url.host().map(ToOwned::to_owned));
    WebError::Unexpected { host: host.unwrap_or_default(), wanted }
}
