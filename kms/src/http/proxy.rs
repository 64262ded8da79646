//! Tunnels through an HTTP proxy, which sees the name of the other side and nothing behind TLS.

use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use url::{Host, Url};
use zeroize::Zeroizing;

use super::{HttpReason, HttpSetupError};

/// More than any proxy has to say about a tunnel.
const ANSWER_BYTES: usize = 8192;

/// An HTTP proxy that is asked for a tunnel.
pub(super) struct Proxy {
    pub(super) host: Host<String>,
    pub(super) port: u16,
    /// `Basic ...`, if it wants to know us.
    authorization: Option<Zeroizing<String>>,
}

impl Proxy {
    pub(super) fn new(url: &Url) -> Result<Self, HttpSetupError> {
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(HttpSetupError::UnfitProxy);
        };
        let is_bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if url.scheme() != "http" || !is_bare {
            return Err(HttpSetupError::UnfitProxy);
        }
        Ok(Self { host: host.to_owned(), port, authorization: basic(url) })
    }

    /// Asks for a tunnel to `target`, `host:port`, over a connection to the proxy.
    pub(super) async fn tunnel<S>(&self, stream: &mut S, target: &str) -> Result<(), HttpReason>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let request = self.request(target);
        stream.write_all(request.as_bytes()).await.map_err(HttpReason::Io)?;
        match status(stream).await? {
            200..=299 => Ok(()),
            status => Err(HttpReason::ProxyStatus(status)),
        }
    }

    fn request(&self, target: &str) -> Zeroizing<String> {
        let secret = self.authorization.as_ref().map_or("", |text| text.as_str());
        // Room for all of it, so that no growth leaves a copy behind.
        let mut request =
            Zeroizing::new(String::with_capacity(secret.len() + 2 * target.len() + 96));
        let parts = ["CONNECT ", target, " HTTP/1.1\r\nHost: ", target, "\r\n"];
        parts.iter().for_each(|part| request.push_str(part));
        if self.authorization.is_some() {
            ["Proxy-Authorization: ", secret, "\r\n"]
                .iter()
                .for_each(|part| request.push_str(part));
        }
        request.push_str("\r\n");
        request
    }
}

fn basic(url: &Url) -> Option<Zeroizing<String>> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let password = url.password().unwrap_or_default();
    let mut plain = Zeroizing::new(Vec::with_capacity(url.username().len() + password.len() + 1));
    plain.extend(percent_decode_str(url.username()));
    plain.push(b':');
    plain.extend(percent_decode_str(password));
    let mut header = Zeroizing::new(String::with_capacity(plain.len().div_ceil(3) * 4 + 8));
    header.push_str("Basic ");
    STANDARD.encode_string(&*plain, &mut header);
    Some(header)
}

/// The status of the proxy's answer, whose head is read to its end and not further: what follows
/// belongs to TLS, where we speak first.
async fn status<S: AsyncRead + Unpin>(stream: &mut S) -> Result<u16, HttpReason> {
    let mut head = Vec::with_capacity(512);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER_BYTES {
            return Err(HttpReason::TooLarge);
        }
        head.push(stream.read_u8().await.map_err(HttpReason::Io)?);
    }
    let status = head
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(1..5))
        .and_then(|rest| rest.strip_prefix(b" "))
        .and_then(|digits| std::str::from_utf8(digits).ok())
        .and_then(|digits| digits.parse().ok());
    status.ok_or(HttpReason::NotHttp(None))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(url: &str) -> Proxy {
        Proxy::new(&url.parse().unwrap()).ok().unwrap()
    }

    #[test]
    fn credentials_are_decoded_from_the_url_before_they_are_sent() {
        let request = proxy("http://user:p%40ss@proxy:3128").request("kv.test:443");
        let secret = STANDARD.encode("user:p@ss");
        let expected = format!(
            "CONNECT kv.test:443 HTTP/1.1\r\nHost: kv.test:443\r\n\
             Proxy-Authorization: Basic {secret}\r\n\r\n"
        );
        assert_eq!(*request, expected);
        assert!(!proxy("http://proxy:3128").request("kv.test:443").contains("Authorization"));
    }

    #[test]
    fn url_of_a_proxy_has_no_other_scheme_and_no_path() {
        for unfit in
            ["https://proxy:3128", "socks5://proxy:1080", "http://proxy/path", "http://p?q"]
        {
            assert!(Proxy::new(&unfit.parse().unwrap()).is_err(), "{unfit}");
        }
        assert_eq!(proxy("http://proxy").port, 80);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_http_is_told_from_a_refusal_and_an_endless_one_ends() {
        let answer = |text: Vec<u8>| async move { status(&mut text.as_slice()).await };
        assert!(matches!(answer(b"HTTP/1.1 407 Who\r\n\r\n".to_vec()).await, Ok(407)));
        assert!(matches!(answer(b"HTTP/1.0 200\r\n\r\n".to_vec()).await, Ok(200)));
        assert!(matches!(
            answer(b"SSH-2.0\r\n\r\n".to_vec()).await,
            Err(HttpReason::NotHttp(None))
        ));
        assert!(matches!(answer(vec![b'a'; 10_000]).await, Err(HttpReason::TooLarge)));
        assert!(matches!(answer(b"HTTP/1.1 200".to_vec()).await, Err(HttpReason::Io(_))));
    }
}
