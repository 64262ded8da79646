//! What the log says of a request: nothing that may be a token.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use selkie_listener::{ConnectionInfo, client_address};

/// The most that a log line quotes of a path, or of a reason that may quote one.
const MOST_BYTES: usize = 256;

/// Stands where something was left out.
const MARK: char = '…';

/// A request as the log knows it.
#[derive(Debug)]
pub(super) struct LoggedRequest<'a> {
    /// The id in the reply.
    pub(super) id: &'a str,
    pub(super) path: Cow<'a, str>,
    pub(super) parts: &'a Parts,
}

impl<'a> LoggedRequest<'a> {
    /// The path is told in full only if it `is_endpoint`.
    pub(super) fn new(id: &'a str, parts: &'a Parts, is_endpoint: bool) -> Self {
        let path = parts.uri.path();
        let path = if is_endpoint { cut(path) } else { abridged(path) };
        Self { id, path, parts }
    }

    /// Who asks: the client, or the peer where the request does not say who the client is.
    pub(super) fn address(&self) -> String {
        let connection = self.parts.extensions.get::<Arc<ConnectionInfo>>();
        let address = connection.map(|connection| {
            let client = client_address(connection, &self.parts.headers);
            client.unwrap_or(connection.peer.ip())
        });
        address.map(|address| address.to_string()).unwrap_or_default()
    }
}

/// `text`, or its beginning and `…`.
pub(super) fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MOST_BYTES {
        return text.into();
    }
    let end = text.floor_char_boundary(MOST_BYTES - MARK.len_utf8());
    let mut short = text.get(..end).unwrap_or_default().to_owned();
    short.push(MARK);
    short.into()
}

/// The first two segments of a path that is none of ours: behind them old clients put tokens, as
/// in `auth/token/renew/:token`. An escape ends it as well, which may stand for a slash.
pub(super) fn abridged(path: &str) -> Cow<'_, str> {
    const VERSION: &str = "/v1/";
    let start = if path.starts_with(VERSION) { VERSION.len() } else { 0 };
    let rest = path.get(start..).unwrap_or_default();
    let leading = rest.len() - rest.trim_start_matches('/').len();
    let mut slashes = rest.match_indices('/').map(|(at, _)| at).filter(|at| *at >= leading);
    let escape = rest.find('%');
    let end = slashes.nth(1).into_iter().chain(escape).min();
    match end.and_then(|end| path.get(..start + end)) {
        Some(shown) => cut(&format!("{shown}/{MARK}")).into_owned().into(),
        None => cut(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_path_that_is_no_endpoint_two_segments_are_told() {
        for (path, told) in [
            ("/v1/auth/token/renew/s.secret", "/v1/auth/token/…"),
            ("auth/token/renew/s.secret", "auth/token/…"),
            ("/v1//auth/token/renew/s.secret", "/v1//auth/token/…"),
            ("/auth/token/renew/s.secret", "/auth/token/…"),
            ("/v1/auth/token%2Frenew%2Fs.secret", "/v1/auth/token/…"),
            ("/v1/auth%2ftoken/renew/s.secret", "/v1/auth/…"),
            ("/v1/sys/nonsense", "/v1/sys/nonsense"),
            ("/", "/"),
            ("", ""),
        ] {
            assert_eq!(abridged(path), told, "{path}");
        }
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let short = "é".repeat(128);
        assert_eq!(cut(&short), short);
        let long = format!("a{}", "é".repeat(128));
        let told = cut(&long);
        assert!(told.len() <= MOST_BYTES && told.ends_with("é…"), "{told}");
        let segment = format!("/v1/{}/x/y", "k".repeat(9000));
        assert!(abridged(&segment).len() <= MOST_BYTES);
    }
}
