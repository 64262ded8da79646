//! `alerts`: from when on something is unusual, and who is told.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use selkie_crypto::{WebhookKey, sha256};
use selkie_hcl::{Located, Section};
use url::Url;

use crate::header::{SecretHeader, headers};
use crate::quantity;
use crate::seal::{ProxyUrl, decode_proxies};
use crate::secret::Reading;
use crate::telemetry::is_this_machine;
use crate::warning::WarningKind;

const DAY: Duration = Duration::from_secs(86_400);

/// The `alerts` stanza.
#[derive(Debug)]
pub struct Alerts {
    /// `learning`: how long everything new is taken for usual, from the first start on; a day by
    /// default, at most 30.
    pub learning: Duration,
    /// `network_prefix_v4`: how many bits of an IPv4 address make its network; 24 by default.
    pub prefix_v4: u8,
    /// `network_prefix_v6`: the same of IPv6; 64 by default.
    pub prefix_v6: u8,
    /// `burst`
    pub burst: Burst,
    /// `webhook`
    pub webhook: Option<Webhook>,
}

/// From when on decrypts are a burst, of one client or of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Burst {
    /// `decrypts`: how many are still usual within the window; 20 by default.
    pub decrypts: u64,
    /// `window`: 1 min by default, at most a day.
    pub window: Duration,
}

/// Where alerts are posted to.
pub struct Webhook {
    /// `url`, given or referred to, as its path may be a secret.
    pub url: Url,
    /// `ca_file`: whom to trust; the system's roots without it.
    pub ca_file: Option<PathBuf>,
    /// `proxy`, else `HTTPS_PROXY` unless `NO_PROXY` exempts the host; never for plain HTTP.
    pub proxy: Option<ProxyUrl>,
    /// `headers`: sent with every post.
    pub headers: Vec<SecretHeader>,
    /// `hmac_key`: what the body is signed under.
    pub hmac_key: Option<WebhookKey>,
    /// `timeout`: how long an answer may take; 10 s by default, at most 60.
    pub timeout: Duration,
}

impl Alerts {
    /// Tells settings apart, but for the webhook.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let Self { learning, prefix_v4, prefix_v6, burst, webhook: _ } = self;
        sha256(format!("{learning:?} {prefix_v4} {prefix_v6} {burst:?}").as_bytes())
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What comes behind the host may be a secret.
        f.debug_struct("Webhook")
            .field("scheme", &self.url.scheme())
            .field("host", &self.url.host_str())
            .field("port", &self.url.port())
            .field("ca_file", &self.ca_file)
            .field("proxy", &self.proxy)
            .field("headers", &self.headers)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// What is wrong with the stanza.
#[derive(Debug, thiserror::Error)]
enum AlertsError {
    #[error("field \"learning\": must be at most 720h (\"0s\": nothing is learned silently)")]
    TooLongLearning,
    #[error("field \"url\": expected a URL such as \"https://hooks.example.com/selkie\"")]
    NotAUrl,
    #[error("field \"url\": credentials belong into \"headers\", and a fragment is not sent")]
    TooMuch,
    #[error("{field:?} belongs to TLS, and \"url\" begins with http://")]
    TlsForPlain { field: &'static str },
    #[error("field \"ca_file\": must be an absolute path")]
    RelativePath,
}

/// The `alerts` stanza; `remembers` says whether what was seen can be kept across a restart.
pub(crate) fn decode(
    root: &mut Section<'_>,
    remembers: bool,
    reading: &Reading<'_>,
) -> Option<Alerts> {
    let mut section = root.block("alerts")?;
    if !remembers {
        reading.warn(section.place(), WarningKind::AlertsForgetful);
    }
    let learning = section.field("learning").duration().and_then(|given| {
        let fits =
            |time| if time <= 30 * DAY { Ok(time) } else { Err(AlertsError::TooLongLearning) };
        given.try_map(fits)
    });
    let prefix_v4 = quantity::number(&mut section, "network_prefix_v4", 1..=32);
    let prefix_v6 = quantity::number(&mut section, "network_prefix_v6", 1..=128);
    let burst = section.block("burst").map(burst);
    let webhook = section.block("webhook").and_then(|section| webhook(section, reading));
    section.finish();
    Some(Alerts {
        learning: learning.map_or(DAY, |learning| learning.value),
        prefix_v4: prefix_v4.map_or(24, |prefix| prefix.value),
        prefix_v6: prefix_v6.map_or(64, |prefix| prefix.value),
        burst: burst.unwrap_or_default(),
        webhook,
    })
}

impl Default for Burst {
    fn default() -> Self {
        Self { decrypts: 20, window: Duration::from_secs(60) }
    }
}

fn burst(mut section: Section<'_>) -> Burst {
    let default = Burst::default();
    let decrypts = quantity::number(&mut section, "decrypts", 1..=1_000_000_000);
    let window = quantity::duration(&mut section, "window", DAY);
    section.finish();
    Burst {
        decrypts: decrypts.map_or(default.decrypts, |decrypts| decrypts.value),
        window: window.unwrap_or(default.window),
    }
}

fn webhook(mut section: Section<'_>, reading: &Reading<'_>) -> Option<Webhook> {
    let url = url(&mut section, reading);
    let ca_file = section.field("ca_file").string();
    let has_proxy = section.field("proxy").place();
    let proxies = decode_proxies(&mut section, reading);
    let headers = headers(&mut section, "headers", reading);
    let hmac_key = section.field("hmac_key").string().and_then(|reference| {
        let keep = |bytes: &[u8; 32]| WebhookKey::init_with(|page| page.copy_from_slice(bytes));
        reading.key("hmac_key", &reference, keep)
    });
    let timeout = quantity::duration(&mut section, "timeout", Duration::from_secs(60));
    section.finish();
    let Located { value: url, place } = url?;
    let is_plain = url.scheme() == "http";
    if is_plain {
        let host = url.host().map(|host| host.to_owned());
        if let Some(host) = host.filter(|host| !is_this_machine(host)) {
            reading.warn(place, WarningKind::AlertsInClear { host: host.to_string() });
        }
        let of_tls = [("ca_file", ca_file.as_ref().map(|file| file.place)), ("proxy", has_proxy)];
        for (field, place) in of_tls {
            place.into_iter().for_each(|place| place.report(AlertsError::TlsForPlain { field }));
        }
    }
    let ca_file = ca_file.and_then(|file| {
        file.try_map(|text| {
            let path = PathBuf::from(text);
            if path.is_absolute() { Ok(path) } else { Err(AlertsError::RelativePath) }
        })
    });
    Some(Webhook {
        proxy: proxies.filter(|_| !is_plain).and_then(|proxies| proxies.to(&url)),
        url,
        ca_file: ca_file.map(|file| file.value),
        headers,
        hmac_key,
        timeout: timeout.unwrap_or(Duration::from_secs(10)),
    })
}

fn url<'d>(section: &mut Section<'d>, reading: &Reading<'_>) -> Option<Located<'d, Url>> {
    let given = section.field("url").required().string()?;
    let text = given.value.as_str();
    if !text.starts_with("env://") && !text.starts_with("file://") {
        return given.try_map(|text| checked(&text));
    }
    let place = given.place;
    let secret = reading.secret_line("url", &given)?;
    if reading.makes_up_access() {
        return Some(Located { value: checked("https://placeholder.invalid/").ok()?, place });
    }
    Located { value: secret, place }.try_map(|text| checked(&text))
}

fn checked(text: &str) -> Result<Url, AlertsError> {
    let url: Url = text.parse().map_err(|_unfit: url::ParseError| AlertsError::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(AlertsError::NotAUrl);
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.fragment().is_some() { Err(AlertsError::TooMuch) } else { Ok(url) }
}
