//! What of an answer may reach a log.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;

/// `text` if it can be a code or an id: nothing else of an answer reaches a log.
pub(super) fn identifier(text: &str) -> Option<String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_short = (1..=64).contains(&text.len());
    (is_short && text.bytes().all(fits)).then(|| text.to_owned())
}

/// How long the other side wants to be left alone.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
