use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::Service;
use selkie_listener::{Drain, Limits, Listener, ListenerSettings, ProxyProtocol};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

/// A request as somebody understood it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    /// None if it did not end.
    pub(crate) body: Option<Vec<u8>>,
}

const HEADER_BYTES: usize = 8192;

/// Sends the bytes over a socket to the real accept loop, and ends.
///
/// The service behind it sees the requests that a strict reading by hand (RFC 9112) sees, one after
/// another and never one more: where the framing of a body is said twice or badly, nothing that
/// follows is a request. Whatever is plain and whole is seen, and a connection ends when its peer
/// does.
pub fn http_head(data: &[u8]) -> bool {
    thread_local!(static SERVER: Server = Server::start());
    SERVER.with(|server| agrees(data, |data| server.hear(data)))
}

pub(crate) fn agrees(data: &[u8], hear: impl Fn(&[u8]) -> Vec<Seen>) -> bool {
    let seen = hear(data);
    let expected = by_hand(data);
    let shown = data.escape_ascii();
    assert!(seen.len() <= expected.requests.len(), "more than there are: {seen:?} of {shown}");
    for (seen, expected) in seen.iter().zip(&expected.requests) {
        let target = as_uri(&expected.target);
        assert_eq!((&seen.method, &seen.target), (&expected.method, &target), "{shown}");
        assert!(seen.body.is_none() || seen.body == expected.body, "{seen:?} {expected:?} {shown}");
    }
    assert!(
        seen.len() >= expected.plain,
        "{} were to be seen of {shown}: {seen:?}",
        expected.plain
    );
    !seen.is_empty()
}

/// A target as a service sees it, which is without a fragment and with the path that an absolute one
/// may lack. What is claimed here is which bytes are a target, not what it means.
fn as_uri(target: &str) -> String {
    target.parse::<Uri>().map_or_else(|_| target.to_owned(), |uri| uri.to_string())
}

struct Server {
    runtime: Runtime,
    address: SocketAddr,
    seen: Witness,
}

/// Notes what it is asked, and says yes.
#[derive(Clone, Default)]
struct Witness(Arc<Mutex<Vec<Seen>>>);

impl Witness {
    async fn note(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        let (method, target) = (request.method().to_string(), request.uri().to_string());
        let lock = || self.0.lock().expect("nobody panics with it");
        lock().push(Seen { method, target, body: None });
        let body = request.into_body().collect().await;
        if let (Ok(body), Some(last)) = (body, lock().last_mut()) {
            last.body = Some(body.to_bytes().to_vec());
        }
        Ok(Response::new(Full::new(Bytes::from_static(b"yes"))))
    }
}

impl Service<Request<Incoming>> for Witness {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().note(request))
    }
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let limits = Limits { header_bytes: HEADER_BYTES, ..Limits::default() };
        let settings = ListenerSettings {
            name: "fuzz".to_owned(),
            limits,
            tls: None,
            proxy_protocol: ProxyProtocol::Off,
            forwarded_for: None,
        };
        let seen = Witness::default();
        let address = runtime.block_on(async {
            let any = SocketAddr::from(([127, 0, 0, 1], 0));
            let listener = Listener::bind(any, settings).expect("a free port");
            let address = listener.local_address().expect("bound");
            tokio::spawn(listener.serve(seen.clone(), Drain::new()));
            address
        });
        Self { runtime, address, seen }
    }

    fn hear(&self, data: &[u8]) -> Vec<Seen> {
        let exchange = async {
            let (mut reader, mut writer) =
                TcpStream::connect(self.address).await.expect("it listens").into_split();
            let write = async {
                // It may have had enough before the end.
                let _cut = writer.write_all(data).await;
                let _ended = writer.shutdown().await;
            };
            let mut replies = Vec::new();
            let (_, _read) = tokio::join!(write, reader.read_to_end(&mut replies));
            replies
        };
        let limited = async { tokio::time::timeout(Duration::from_secs(8), exchange).await };
        let replies = self.runtime.block_on(limited).expect("a connection outlived its peer");
        let seen = std::mem::take(&mut *self.seen.0.lock().expect("nobody panics with it"));
        assert!(replies.len() <= 512 * (seen.len() + 1), "more was answered than was asked");
        seen
    }
}

#[derive(Default)]
struct Reading {
    requests: Vec<Seen>,
    /// How many from the first on are beyond doubt, so that none of them may be missed.
    plain: usize,
}

/// Up to where the bytes are requests; the last may lack its end.
fn by_hand(mut data: &[u8]) -> Reading {
    let mut reading = Reading::default();
    loop {
        let Some(head) = Head::read(&mut data) else { return reading };
        let is_plain = head.is_plain && reading.plain == reading.requests.len();
        let Head { method, target, framing, is_last, .. } = head;
        let body = match framing {
            Framing::Refused => return reading,
            Framing::Length(length) => take(&mut data, length),
            Framing::Chunked => chunked(&mut data),
        };
        let is_whole = body.is_some();
        reading.requests.push(Seen { method, target, body });
        if is_plain && is_whole {
            reading.plain += 1;
        }
        if !is_whole || is_last {
            return reading;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Refused,
}

struct Head {
    method: String,
    target: String,
    framing: Framing,
    is_last: bool,
    is_plain: bool,
}

impl Head {
    fn read(data: &mut &[u8]) -> Option<Self> {
        // §2.2: empty lines before a request are ignored.
        while let Some(rest) = data.strip_prefix(b"\r\n").or_else(|| data.strip_prefix(b"\n")) {
            *data = rest;
        }
        let start = line(data)?;
        let text = str::from_utf8(start).ok()?;
        let words: Vec<&str> =
            text.trim_end_matches(' ').split(' ').filter(|word| !word.is_empty()).collect();
        let [method, target, version] = words[..] else { return None };
        let is_old = version == "HTTP/1.0";
        if !is_old && version != "HTTP/1.1" {
            return None;
        }
        let mut head = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            framing: Framing::Length(0),
            is_last: is_old,
            is_plain: !is_old && is_plain_start(method, target, text),
        };
        let (mut lengths, mut codings) = (Vec::new(), Vec::new());
        let mut fields = 0;
        loop {
            let field = line(data)?;
            if field.is_empty() {
                break;
            }
            fields += 1;
            let colon = field.iter().position(|byte| *byte == b':')?;
            let name = str::from_utf8(&field[..colon]).ok()?.to_ascii_lowercase();
            let value = field[colon + 1..].trim_ascii();
            head.is_plain &= is_plain_field(&name, &field[colon + 1..]);
            match &*name {
                "content-length" => lengths.push(value.to_vec()),
                "transfer-encoding" => codings.push(value.to_vec()),
                "connection" => head.connection(value),
                "upgrade" | "expect" => head.is_plain = false,
                _ => {}
            }
        }
        head.is_plain &= fields <= 32 && codings.is_empty();
        head.framing = framing(&lengths, &codings, is_old);
        // §6.1: after both, or after any coding, nothing more is believed.
        head.is_last |= !codings.is_empty();
        Some(head)
    }

    fn connection(&mut self, value: &[u8]) {
        self.is_plain = false;
        let value = value.to_ascii_lowercase();
        if value == b"close" {
            self.is_last = true;
        } else if value == b"keep-alive" {
            self.is_last = false;
        }
    }
}

fn is_plain_start(method: &str, target: &str, line: &str) -> bool {
    matches!(method, "GET" | "PUT" | "POST" | "LIST" | "DELETE")
        && target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'/')
        && target.len() < 1024
        && line == format!("{method} {target} HTTP/1.1")
}

fn is_plain_field(name: &str, value: &[u8]) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        && value.iter().all(|byte| (0x20..0x7f).contains(byte))
        && value.len() < 200
}

/// §6.3, and §6.1 and §6.2 where they let a server refuse.
fn framing(lengths: &[Vec<u8>], codings: &[Vec<u8>], is_old: bool) -> Framing {
    match (lengths, codings) {
        ([], []) => Framing::Length(0),
        ([first, others @ ..], []) => {
            let is_number = !first.is_empty() && first.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(first).ok().and_then(|text| text.parse().ok());
            match length {
                Some(length) if is_number && others.iter().all(|one| one == first) => {
                    Framing::Length(length)
                }
                _ => Framing::Refused,
            }
        }
        // What was done to the body before that is for the service to refuse, which asks for JSON.
        (_, [.., last]) if !is_old && is_chunked(last) => Framing::Chunked,
        _ => Framing::Refused,
    }
}

fn is_chunked(codings: &[u8]) -> bool {
    let last = codings.rsplit(|byte| *byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn line<'d>(data: &mut &'d [u8]) -> Option<&'d [u8]> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = data.split_at(end);
    *data = &rest[1..];
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

fn take(data: &mut &[u8], length: usize) -> Option<Vec<u8>> {
    let (body, rest) = data.split_at_checked(length)?;
    *data = rest;
    Some(body.to_vec())
}

/// §7.1; trailers are read over.
fn chunked(data: &mut &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = data.windows(2).position(|two| two == b"\r\n")?;
        let size = data[..end].split(|byte| *byte == b';').next()?.trim_ascii_end();
        *data = &data[end + 2..];
        let digits = str::from_utf8(size).ok().filter(|digits| !digits.starts_with('+'))?;
        let size = usize::from_str_radix(digits, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend(take(data, size)?);
        *data = data.strip_prefix(b"\r\n")?;
    }
    loop {
        if line(data)?.is_empty() {
            return Some(body);
        }
    }
}
