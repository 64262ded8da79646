use std::{
    convert::Infallible, future::Future, net::SocketAddr, pin::Pin, sync::Arc, time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::Service};
use selkie_listener::{
    ConnectionInfo, Drain, Drained, Limits, Listener, ListenerSettings, ProxyProtocol,
    client_address,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
    task::JoinHandle,
};

use crate::network;

pub(crate) type Reply = Result<Response<Full<Bytes>>, Infallible>;

/// The service that the tests talk to; the path says what it does.
#[derive(Clone, Default)]
pub(crate) struct TestService {
    /// One `notify_one` lets one request to `/wait` go.
    pub(crate) go: Arc<Notify>,
}

impl TestService {
    async fn answer(self, request: Request<Incoming>) -> Reply {
        let info = Arc::clone(request.extensions().get::<Arc<ConnectionInfo>>().unwrap());
        let (status, body) = match request.uri().path() {
            "/echo" => (StatusCode::OK, request.into_body().collect().await.unwrap().to_bytes()),
            "/stranger" => {
                let body = info.as_stranger(request.into_body().collect()).await;
                (StatusCode::OK, body.unwrap().to_bytes())
            }
            "/wait" => {
                self.go.notified().await;
                (StatusCode::OK, Bytes::from_static(b"waited"))
            }
            #[expect(clippy::panic, reason = "what the test is about")]
            "/panic" => panic!("as asked"),
            "/client" => match client_address(&info, request.headers()) {
                Ok(address) => (StatusCode::OK, address.to_string().into()),
                Err(error) => (StatusCode::BAD_REQUEST, error.to_string().into()),
            },
            "/lapsed" => (StatusCode::OK, describe_lapse(&info).into()),
            "/tls" => (StatusCode::OK, describe_tls(&info).into()),
            _ => (StatusCode::OK, Bytes::from_static(b"hello")),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = status;
        Ok(response)
    }
}

impl Service<Request<Incoming>> for TestService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Box::pin(self.clone().answer(request))
    }
}

/// The tests' own present: 2026-06-01.
pub(crate) const NOW: u64 = 1_780_272_000;
const YEAR_5000: u64 = 95_617_584_000;

fn describe_lapse(info: &ConnectionInfo) -> String {
    let Some(shown) = info.tls.as_ref().and_then(|tls| tls.client.as_ref()) else {
        return "nothing shown".to_owned();
    };
    let at = |now| if shown.check(now).is_ok() { "passes" } else { "lapsed" };
    let unread = if shown.certificate().is_ok() { "" } else { ", unread" };
    format!("{} now, {} in the year 5000{unread}", at(NOW), at(YEAR_5000))
}

fn describe_tls(info: &ConnectionInfo) -> String {
    match &info.tls {
        None => format!("{} plain", info.listener),
        Some(tls) => {
            let certificates = tls.client.as_ref().map_or(0, |shown| shown.chain().len());
            format!("{} {:?} {certificates} certificates", info.listener, tls.version)
        }
    }
}

pub(crate) fn settings() -> ListenerSettings {
    ListenerSettings {
        name: "test".to_owned(),
        limits: Limits::default(),
        tls: None,
        proxy_protocol: ProxyProtocol::Off,
        forwarded_for: None,
    }
}

pub(crate) fn with_limits(limits: Limits) -> ListenerSettings {
    ListenerSettings { limits, ..settings() }
}

/// Runs a test whose clock stands still, and goes on to the next deadline when all that was sent has
/// arrived. With `start_paused` alone it goes on whenever nobody has anything to do, which is so as
/// well while the kernel has yet to deliver.
pub(crate) fn on_paused_clock(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).on_thread_park(network::settle).build();
    runtime.unwrap().block_on(test);
}

/// A listener that serves until the test ends.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    pub(crate) drain: Drain,
    pub(crate) served: JoinHandle<Drained>,
    pub(crate) service: TestService,
}

impl Running {
    pub(crate) fn start(settings: ListenerSettings) -> Self {
        let service = TestService::default();
        Self::start_with(settings, service.clone(), service)
    }

    pub(crate) fn start_with<S>(settings: ListenerSettings, front: S, service: TestService) -> Self
    where
        S: Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send,
    {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), settings).unwrap();
        let address = listener.local_address().unwrap();
        network::watch(address.port());
        let drain = Drain::new();
        let served = tokio::spawn(listener.serve(front, drain.clone()));
        Self { address, drain, served, service }
    }

    pub(crate) async fn connect(&self) -> Client<TcpStream> {
        Client::new(TcpStream::connect(self.address).await.unwrap())
    }
}

/// One connection, spoken to in plain bytes.
pub(crate) struct Client<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The head of the next reply and, by its content-length, the body.
    pub(crate) async fn reply(&mut self) -> String {
        let mut text = self.read_head().await;
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.unwrap();
        text.push_str(std::str::from_utf8(&body).unwrap());
        text
    }

    pub(crate) async fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) async fn get(&mut self, path: &str) -> String {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: test\r\n\r\n")).await;
        self.reply().await
    }

    /// Whether the other side ends the connection, sending nothing more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        matches!(self.stream.read(&mut [0; 1]).await, Ok(0) | Err(_))
    }

    pub(crate) async fn hears_nothing_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.read_u8()).await.is_err()
    }
}
