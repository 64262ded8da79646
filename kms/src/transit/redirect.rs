//! Where a standby sends us: Vault's client follows once, and so do we.

use http::header::LOCATION;
use http::{Response, Uri};
use url::Url;

use super::settings::is_this_machine;

/// Where `answer` to a request for `asked` leads, if we follow: with the token, and a plaintext
/// perhaps. So only to the same path, and over TLS that vouches for the other side as it did for
/// the first; in clear only within this machine.
pub(super) fn target(asked: &Url, answer: &Response<bytes::Bytes>) -> Option<Uri> {
    if !matches!(answer.status().as_u16(), 301 | 302 | 307 | 308) {
        return None;
    }
    let location = answer.headers().get(LOCATION)?.to_str().ok()?;
    let target = asked.join(location).ok()?;
    let is_same = target.scheme() == asked.scheme()
        && target.path() == asked.path()
        && target.query() == asked.query()
        && target.username().is_empty()
        && target.password().is_none();
    let is_safe = target.scheme() == "https" || is_this_machine(&target);
    (is_same && is_safe).then(|| target.as_str().parse().ok())?
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn followed(asked: &str, status: u16, location: &str) -> Option<String> {
        let answer = Response::builder().status(status).header(LOCATION, location);
        let answer = answer.body(Bytes::new()).unwrap();
        target(&asked.parse().unwrap(), &answer).map(|uri| uri.to_string())
    }

    #[test]
    fn redirect_is_followed_to_the_same_path_and_never_into_the_clear() {
        let asked = "https://a.test:8200/v1/transit/encrypt/k";
        let active = "https://b.test:8200/v1/transit/encrypt/k";
        for status in [301, 302, 307, 308] {
            assert_eq!(followed(asked, status, active).as_deref(), Some(active));
        }
        for (status, location) in [
            (300, active),
            (200, active),
            (307, "http://b.test:8200/v1/transit/encrypt/k"),
            (307, "http://127.0.0.1:8200/v1/transit/encrypt/k"),
            (307, "https://b.test:8200/v1/other/encrypt/k"),
            (307, "https://b.test:8200/v1/transit/encrypt/k?x=1"),
            (307, "https://user@b.test:8200/v1/transit/encrypt/k"),
            (307, "::"),
        ] {
            assert_eq!(followed(asked, status, location), None, "{location}");
        }
        let plain = "http://127.0.0.1:8200/v1/x";
        assert_eq!(
            followed(plain, 307, "http://localhost:8202/v1/x").as_deref(),
            Some("http://localhost:8202/v1/x")
        );
        assert_eq!(followed(plain, 307, "http://b.test:8202/v1/x"), None);
    }
}
