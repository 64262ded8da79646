use std::error::Error;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use rustls::CertificateError;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::test_server::{Authority, Received, Reply, TestServer, answer, settings};
use super::*;

const SHORT: Duration = Duration::from_millis(30);

fn plain() -> Arc<HttpClient> {
    HttpClient::plain(settings(Roots::Given(Vec::new()))).unwrap()
}

fn get(url: &str) -> Request<Bytes> {
    Request::get(url).body(Bytes::new()).unwrap()
}

async fn ask(client: &HttpClient, server: &TestServer) -> Result<Response<Bytes>, HttpError> {
    client.send(get(&format!("http://{}/path?a=b", server.address))).await
}

async fn ask_tls(client: &HttpClient, server: &TestServer) -> Result<Response<Bytes>, HttpError> {
    client.send(get(&format!("https://kv.test:{}/keys/kek", server.address.port()))).await
}

fn is_timeout(outcome: &Result<Response<Bytes>, HttpError>, hop: HttpHop) -> bool {
    matches!(outcome, Err(HttpError { hop: at, reason: HttpReason::TimedOut, .. }) if *at == hop)
}

#[tokio::test]
async fn connection_is_used_again_for_the_next_request() {
    let server = TestServer::plain(|_| answer(200, "hello")).await;
    let client = plain();
    for _ in 0..3 {
        assert_eq!(ask(&client, &server).await.unwrap().into_body(), "hello");
    }
    let received = server.received();
    assert_eq!(received.last().map(|one| (one.connection, one.nth)), Some((1, 3)));
    let host = format!("host: {}\r\n", server.address);
    assert!(received[0].text.starts_with("GET /path?a=b HTTP/1.1\r\n"), "{}", received[0].text);
    assert!(received[0].text.contains(&host), "{}", received[0].text);
}

#[tokio::test]
async fn connection_that_was_idle_for_a_minute_is_not_used_again() {
    let server = TestServer::plain(|_| answer(200, "hello")).await;
    let client = plain();
    // The machine itself may take some seconds of the minute.
    for (idle, connections) in [(0, 1), (45, 1), (60, 2)] {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(idle)).await;
        tokio::time::resume();
        ask(&client, &server).await.unwrap();
        assert_eq!(server.connections(), connections, "{idle}");
    }
}

/// A name whose address changes.
#[derive(Debug)]
struct Moving(std::sync::Mutex<Ipv4Addr>);

impl Resolve for Moving {
    fn resolve<'a>(&'a self, _: &'a str) -> Resolved<'a> {
        Box::pin(async { Ok(vec![(*self.0.lock().unwrap()).into()]) })
    }
}

/// Two servers at one port of two addresses, of which the first answers `status`, and a client of
/// their common name.
async fn moving(status: u16) -> (TestServer, Arc<Moving>, Arc<HttpClient>) {
    let here = TestServer::plain(move |_| answer(status, "here")).await;
    let there = TcpListener::bind((MOVED, here.address.port())).await.unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = there.accept().await.unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        let text = b"HTTP/1.1 200 X\r\ncontent-length: 5\r\n\r\nthere";
        stream.write_all(text).await.unwrap();
        std::future::pending::<()>().await;
    });
    let resolver = Arc::new(Moving(Ipv4Addr::LOCALHOST.into()));
    let mut terms = settings(Roots::System);
    terms.resolver = Arc::clone(&resolver) as _;
    (here, resolver, HttpClient::plain(terms).unwrap())
}

const MOVED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

#[tokio::test]
async fn a_server_that_refuses_or_fails_is_looked_up_anew_for_the_next_request() {
    for (status, expected) in [
        (403, "there"),
        (421, "there"),
        (500, "there"),
        (503, "there"),
        (200, "here"),
        (400, "here"),
        (429, "here"),
    ] {
        let (here, resolver, client) = moving(status).await;
        let url = format!("http://kv.test:{}/", here.address.port());
        assert_eq!(client.send(get(&url)).await.unwrap().status(), status);
        *resolver.0.lock().unwrap() = MOVED;
        assert_eq!(client.send(get(&url)).await.unwrap().into_body(), expected, "{status}");
    }
}

#[tokio::test]
async fn a_connection_in_use_all_the_time_follows_its_name_within_five_minutes() {
    let (here, resolver, client) = moving(200).await;
    let url = format!("http://kv.test:{}/", here.address.port());
    let mut bodies = Vec::new();
    for seconds in (0..=320).step_by(40) {
        bodies.push((seconds, client.send(get(&url)).await.unwrap().into_body()));
        *resolver.0.lock().unwrap() = MOVED;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(40)).await;
        tokio::time::resume();
        if bodies.last().is_some_and(|(_, body)| body == "there") {
            break;
        }
    }
    let (moved, last) = bodies.last().unwrap();
    assert_eq!(last, "there");
    assert!((240..=320).contains(moved), "at {moved} s");
    assert_eq!(here.connections(), 1);
}

#[tokio::test]
async fn calls_at_once_have_connections_of_their_own_which_are_kept() {
    let server = TestServer::plain(|_| answer(200, "hello")).await;
    let client = plain();
    for _ in 0..2 {
        let calls = (0..10).map(|_| ask(&client, &server));
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        // All are sent before any is answered.
        for call in &mut calls {
            assert!(poll_once(call.as_mut()).await.is_none());
        }
        for call in calls {
            assert!(call.await.is_ok());
        }
    }
    assert_eq!(server.connections(), 10);
}

/// Polls once.
async fn poll_once<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
        std::task::Poll::Pending => std::task::Poll::Ready(None),
    })
    .await
}

#[tokio::test]
async fn connection_that_the_server_closed_while_idle_costs_no_call() {
    let server = TestServer::plain(|received: &Received| match received {
        // The second request of a connection finds it closed without a word.
        Received { nth: 2, .. } => Reply::Last(String::new()),
        _ => answer(200, "hello"),
    })
    .await;
    let client = plain();
    for _ in 0..4 {
        assert_eq!(ask(&client, &server).await.unwrap().into_body(), "hello");
    }
    assert_eq!(server.connections(), 4);
}

/// More than any machine takes for an answer that comes.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Keeps three connections on which no request is answered any more.
async fn three_dead_connections() -> (TestServer, Arc<HttpClient>) {
    let server = TestServer::plain(|received| match received {
        Received { connection: ..=3, nth: 2.., .. } => Reply::Hang,
        _ => answer(200, "hello"),
    })
    .await;
    let mut terms = settings(Roots::System);
    terms.timeouts.answer = ANSWER_TIME;
    let client = HttpClient::plain(terms).unwrap();
    let mut calls: Vec<_> = (0..3).map(|_| Box::pin(ask(&client, &server))).collect();
    for call in &mut calls {
        assert!(poll_once(call.as_mut()).await.is_none());
    }
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(server.connections(), 3);
    (server, client)
}

#[tokio::test]
async fn idle_connections_that_died_without_a_word_cost_one_call_together() {
    let (server, client) = three_dead_connections().await;
    let mut call = Box::pin(ask(&client, &server));
    assert!(poll_once(call.as_mut()).await.is_none());
    tokio::time::pause();
    tokio::time::advance(ANSWER_TIME).await;
    tokio::time::resume();
    assert!(is_timeout(&call.await, HttpHop::Exchange));
    ask(&client, &server).await.unwrap();
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn idle_connections_are_left_alone_after_a_call_that_was_given_up_in_silence() {
    let (server, client) = three_dead_connections().await;
    let mut call = Box::pin(ask(&client, &server));
    assert!(poll_once(call.as_mut()).await.is_none());
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(1)).await;
    tokio::time::resume();
    drop(call);
    ask(&client, &server).await.unwrap();
    assert_eq!(server.connections(), 4);
}

#[tokio::test]
async fn new_connection_that_is_closed_without_an_answer_is_an_error_and_no_loop() {
    let server = TestServer::plain(|_| Reply::Last(String::new())).await;
    let error = ask(&plain(), &server).await.unwrap_err();
    assert!(matches!(error.reason, HttpReason::Cut(_)), "{error:?}");
    assert_eq!((error.hop, server.received().len()), (HttpHop::Exchange, 1));
}

#[tokio::test]
async fn answer_that_began_is_not_asked_for_again() {
    let server = TestServer::plain(|received| match received.nth {
        1 => answer(200, "hello"),
        _ => Reply::Last("HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nhel".to_owned()),
    })
    .await;
    let client = plain();
    ask(&client, &server).await.unwrap();
    let error = ask(&client, &server).await.unwrap_err();
    assert!(matches!(error.reason, HttpReason::Cut(_)), "{error:?}");
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn answer_that_nobody_asked_for_is_never_the_next_ones() {
    let server = TestServer::plain(|received| {
        let answer =
            |body: &str| format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let surplus = if received.connection == 1 { answer("surplus") } else { String::new() };
        Reply::Answer(answer("asked for") + &surplus)
    })
    .await;
    let client = plain();
    for _ in 0..3 {
        assert_eq!(ask(&client, &server).await.unwrap().body(), "asked for");
    }
}

#[tokio::test]
async fn redirect_is_an_answer_like_any_other() {
    let elsewhere = "HTTP/1.1 307 X\r\nlocation: /other\r\ncontent-length: 0\r\n\r\n";
    let server = TestServer::plain(|_| Reply::Answer(elsewhere.to_owned())).await;
    assert_eq!(ask(&plain(), &server).await.unwrap().status(), 307);
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn answer_that_is_too_large_is_refused_whether_or_not_it_says_so() {
    const MIB: usize = 1024 * 1024;
    let announced = "HTTP/1.1 200 X\r\ncontent-length: 1048577\r\n\r\n".to_owned();
    let mut endless = "HTTP/1.1 200 X\r\n\r\n".to_owned();
    endless.push_str(&"a".repeat(MIB + 1));
    for text in [announced, endless] {
        let server = TestServer::plain(move |_| Reply::Last(text.clone())).await;
        let error = ask(&plain(), &server).await.unwrap_err();
        assert!(matches!(error.reason, HttpReason::TooLarge), "{error:?}");
    }
    let whole = format!("HTTP/1.1 200 X\r\n\r\n{}", "a".repeat(MIB));
    let server = TestServer::plain(move |_| Reply::Last(whole.clone())).await;
    assert_eq!(ask(&plain(), &server).await.unwrap().body().len(), MIB);
}

#[tokio::test]
async fn answer_that_is_not_http_is_told_from_a_cut_one() {
    let server = TestServer::plain(|_| Reply::Last("SSH-2.0-OpenSSH\r\n\r\n".to_owned())).await;
    let error = ask(&plain(), &server).await.unwrap_err();
    assert!(matches!(error.reason, HttpReason::NotHttp(Some(_))), "{error:?}");
}

#[tokio::test]
async fn chunked_answer_is_whole() {
    let text =
        "HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n";
    let server = TestServer::plain(|_| Reply::Answer(text.to_owned())).await;
    let client = plain();
    for _ in 0..2 {
        assert_eq!(ask(&client, &server).await.unwrap().into_body(), "hello");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn trusted_server_of_the_right_name_answers_over_one_connection() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "kv.test", |_| answer(200, "hello")).await;
    let client = HttpClient::https(settings(authority.roots())).unwrap();
    for _ in 0..2 {
        assert_eq!(ask_tls(&client, &server).await.unwrap().into_body(), "hello");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn unknown_authority_and_wrong_name_fail_in_tls_with_its_reason() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "kv.test", |_| answer(200, "hello")).await;
    let stranger = HttpClient::https(settings(Authority::new().roots())).unwrap();
    let error = ask_tls(&stranger, &server).await.unwrap_err();
    let unknown = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
    assert_eq!((error.hop, error.host.as_str()), (HttpHop::Tls, "kv.test"));
    assert!(matches!(error.reason, HttpReason::Tls(reason) if reason == unknown));

    let client = HttpClient::https(settings(authority.roots())).unwrap();
    let url = format!("https://other.test:{}/", server.address.port());
    let error = client.send(get(&url)).await.unwrap_err();
    let HttpReason::Tls(rustls::Error::InvalidCertificate(reason)) = &error.reason else {
        panic!("{error:?}");
    };
    assert!(format!("{reason:?}").starts_with("NotValidForName"), "{reason:?}");
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn server_that_does_not_speak_tls_fails_in_tls() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = HttpClient::https(settings(Authority::new().roots())).unwrap();
    let error = client.send(get(&format!("https://kv.test:{port}/"))).await.unwrap_err();
    assert!(matches!(error.reason, HttpReason::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn client_of_one_scheme_refuses_the_other_before_it_connects() {
    let server = TestServer::plain(|_| answer(200, "hello")).await;
    let secure = HttpClient::https(settings(Authority::new().roots())).unwrap();
    let downgraded = ask(&secure, &server).await.unwrap_err();
    assert!(matches!(downgraded.reason, HttpReason::OtherScheme), "{downgraded:?}");
    let upgraded = plain().send(get("https://kv.test/")).await.unwrap_err();
    assert_eq!(upgraded.hop, HttpHop::Request);
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn address_that_refuses_is_passed_over_for_the_next() {
    let server = TestServer::plain(|_| answer(200, "hello")).await;
    let url = format!("http://two.test:{}/", server.address.port());
    assert_eq!(plain().send(get(&url)).await.unwrap().into_body(), "hello");
}

#[tokio::test]
async fn unknown_name_and_refused_connection_are_told_apart() {
    let error = plain().send(get("http://nowhere.invalid/")).await.unwrap_err();
    assert_eq!((error.hop, error.host.as_str()), (HttpHop::Dns, "nowhere.invalid"));
    assert!(matches!(error.reason, HttpReason::NameNotResolved(_)), "{error:?}");

    let error = plain().send(get("http://127.0.0.1:1/")).await.unwrap_err();
    let HttpReason::Io(io) = &error.reason else { panic!("{error:?}") };
    assert_eq!((error.hop, io.kind()), (HttpHop::Tcp, std::io::ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn every_step_that_hangs_ends_at_its_own_deadline() {
    let mut terms = settings(Authority::new().roots());
    terms.timeouts.dns = SHORT;
    let client = HttpClient::https(terms).unwrap();
    assert!(is_timeout(&client.send(get("https://hang.invalid/")).await, HttpHop::Dns));

    // Accepts, and says nothing.
    let mute = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = mute.local_addr().unwrap().port();
    let mut terms = settings(Authority::new().roots());
    terms.timeouts.tls = SHORT;
    let client = HttpClient::https(terms).unwrap();
    assert!(is_timeout(&client.send(get(&format!("https://kv.test:{port}/"))).await, HttpHop::Tls));

    let mut terms = settings(Authority::new().roots());
    terms.timeouts.proxy = SHORT;
    terms.proxy = Some(format!("http://127.0.0.1:{port}").parse().unwrap());
    let client = HttpClient::https(terms).unwrap();
    assert!(is_timeout(&client.send(get("https://kv.test/")).await, HttpHop::Proxy));

    for text in [None, Some("HTTP/1.1 200 X\r\ncontent-length: 100\r\n\r\nhel")] {
        let server = TestServer::plain(move |received| match text {
            Some(text) if received.nth == 1 => Reply::Answer(text.to_owned()),
            _ => Reply::Hang,
        })
        .await;
        let mut terms = settings(Roots::System);
        terms.timeouts.answer = SHORT;
        let client = HttpClient::plain(terms).unwrap();
        assert!(is_timeout(&ask(&client, &server).await, HttpHop::Exchange));
        // On a busy machine it may have come too late to be read.
        assert!(server.received().len() <= 1, "a slow answer is not asked for twice");
    }
}

/// A proxy that answers with `status`, and opens the tunnel if that is 200.
async fn proxy(status: u16, target: u16) -> (u16, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        let answer = format!("HTTP/1.1 {status} X\r\nvia: test\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        if status == 200 {
            let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut stream, &mut server).await });
        }
        String::from_utf8(request).unwrap()
    });
    (port, serving)
}

#[tokio::test]
async fn tunnel_through_the_proxy_is_asked_for_by_name_and_with_the_credentials() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "kv.internal", |_| answer(200, "hello")).await;
    let target = server.address.port();
    let (port, serving) = proxy(200, target).await;
    let mut terms = settings(authority.roots());
    terms.proxy = Some(format!("http://me:secret@proxy.test:{port}").parse().unwrap());
    let client = HttpClient::https(terms).unwrap();
    // A name that only the proxy can resolve.
    let reply = client.send(get(&format!("https://kv.internal:{target}/"))).await.unwrap();
    assert_eq!(reply.into_body(), "hello");
    let request = serving.await.unwrap();
    assert!(
        request.starts_with(&format!("CONNECT kv.internal:{target} HTTP/1.1\r\n")),
        "{request}"
    );
    assert!(request.contains("Proxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{request}");
    assert!(!server.received()[0].text.to_lowercase().contains("proxy-authorization"));
}

#[tokio::test]
async fn proxy_that_refuses_is_told_from_one_that_is_not_there() {
    for status in [403, 407, 502] {
        let (port, _serving) = proxy(status, 1).await;
        let mut terms = settings(Authority::new().roots());
        terms.proxy = Some(format!("http://proxy.test:{port}").parse().unwrap());
        let client = HttpClient::https(terms).unwrap();
        let error = client.send(get("https://kv.test/")).await.unwrap_err();
        assert_eq!((error.hop, error.host.as_str()), (HttpHop::Proxy, "proxy.test"));
        assert!(matches!(error.reason, HttpReason::ProxyStatus(seen) if seen == status));
    }
    for (proxy, resolved) in [("http://nowhere.invalid:1", false), ("http://proxy.test:1", true)] {
        let mut terms = settings(Authority::new().roots());
        terms.proxy = Some(proxy.parse().unwrap());
        let client = HttpClient::https(terms).unwrap();
        let error = client.send(get("https://kv.test/")).await.unwrap_err();
        assert_eq!(error.hop, HttpHop::Proxy);
        assert_eq!(matches!(error.reason, HttpReason::Io(_)), resolved, "{error:?}");
    }
}

#[tokio::test]
async fn plain_client_never_takes_a_proxy() {
    let mut terms = settings(Roots::System);
    terms.proxy = Some("http://proxy.test:3128".parse().unwrap());
    assert!(matches!(HttpClient::plain(terms), Err(HttpSetupError::ProxyForPlain)));
}

#[tokio::test]
async fn client_without_a_usable_authority_cannot_be_built() {
    let none = HttpClient::https(settings(Roots::Given(Vec::new())));
    assert!(matches!(none, Err(HttpSetupError::NoRoots)));
    let garbage = rustls_pki_types::CertificateDer::from(b"garbage".to_vec());
    let unusable = HttpClient::https(settings(Roots::Given(vec![garbage])));
    assert!(matches!(unusable, Err(HttpSetupError::UnusableRoot { number: 1, .. })));
}

#[tokio::test]
async fn probe_tells_of_each_step_until_one_fails() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "kv.test", |_| answer(401, "")).await;
    let walk = async |authority: &Authority| {
        let client = HttpClient::https(settings(authority.roots())).unwrap();
        let url = format!("https://kv.test:{}/", server.address.port()).parse().unwrap();
        let mut steps = Vec::new();
        let mut observe = |hop, outcome: Result<ProbeFact, HttpError>| steps.push((hop, outcome));
        client.probe(&url, &mut observe).await;
        steps
    };
    let good = walk(&authority).await;
    let hops: Vec<_> = good.iter().map(|(hop, _)| *hop).collect();
    assert_eq!(hops, [HttpHop::Dns, HttpHop::Tcp, HttpHop::Tls, HttpHop::Exchange]);
    assert!(
        matches!(&good[2].1, Ok(ProbeFact::Secured { certificates, .. }) if certificates.len() == 1)
    );
    assert!(matches!(good[3].1, Ok(ProbeFact::Answered(401))));
    let bad = walk(&Authority::new()).await;
    assert_eq!(bad.len(), 3);
    assert!(matches!(&bad[2], (HttpHop::Tls, Err(error)) if error.hop == HttpHop::Tls));
}

#[tokio::test]
async fn sdk_gets_the_answer_or_an_error_that_leads_to_its_reason() {
    use azure_core::http::{HttpClient as _, Method, Request};
    let server = TestServer::plain(|_| {
        Reply::Answer("HTTP/1.1 429 X\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}".to_owned())
    })
    .await;
    let client = plain();
    let mut request =
        Request::new(format!("http://{}/keys", server.address).parse().unwrap(), Method::Post);
    request.insert_header("x-custom", "value");
    request.set_body(b"body".to_vec());
    let reply = client.execute_request(&request).await.unwrap();
    assert_eq!(u16::from(reply.status()), 429);
    let (_, headers, body) = reply.deconstruct();
    assert_eq!(headers.get_optional_string(&"retry-after".into()).as_deref(), Some("3"));
    assert_eq!(body.collect().await.unwrap(), "{}");
    let text = &server.received()[0].text;
    assert!(
        text.starts_with("POST /keys HTTP/1.1\r\n") && text.ends_with("\r\n\r\nbody"),
        "{text}"
    );
    assert!(text.contains("x-custom: value\r\n"), "{text}");

    let request = Request::new("http://nowhere.invalid/".parse().unwrap(), Method::Get);
    let error = client.execute_request(&request).await.unwrap_err();
    assert_eq!(HttpError::within(&error).map(|found| found.hop), Some(HttpHop::Dns));
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_header_a_query_or_the_proxy_password() {
    let mut terms = settings(Authority::new().roots());
    terms.proxy = Some("http://me:hunter2@nowhere.invalid:1".parse().unwrap());
    let mut printed = format!("{terms:?}");
    let client = HttpClient::https(terms).unwrap();
    let request = Request::get("https://kv.test/?code=hunter2").header("authorization", "hunter2");
    let error = client.send(request.body(Bytes::from("hunter2")).unwrap()).await.unwrap_err();
    printed += &format!("{client:?} {error:?} {error} {:?}", error.source());
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(printed.contains("nowhere.invalid"), "{printed}");
}
