use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::Service};
use selkie_listener::{Drained, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Reply, Running, TestService, on_paused_clock, settings, with_limits};

#[tokio::test]
async fn a_connection_is_kept_for_many_requests() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    for _ in 0..3 {
        let reply = client.get("/").await;
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("hello"), "{reply}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    let post = |body: &str| {
        format!("POST /echo HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    client.send([post("one"), post("second"), post("3")].concat()).await;
    for body in ["one", "second", "3"] {
        assert!(client.reply().await.ends_with(&format!("\r\n\r\n{body}")));
    }
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    let head = "PUT /echo HTTP/1.1\r\nhost: t\r\ncontent-length: 4\r\nexpect: 100-continue\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.read_head().await, "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("body").await;
    assert!(client.reply().await.ends_with("\r\n\r\nbody"));
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    client.send("PUT /echo HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.send("3\r\nabc\r\n").await;
    client.send("2\r\nde\r\n0\r\n\r\n").await;
    assert!(client.reply().await.ends_with("\r\n\r\nabcde"));
}

/// A proxy that counts by the length would have sent the second request as a part of the first.
#[tokio::test]
async fn nothing_that_follows_a_chunked_body_is_a_request() {
    let running = Running::start(settings());
    for framing in [
        "transfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
    ] {
        let mut client = running.connect().await;
        let smuggled = "0\r\n\r\nGET /client HTTP/1.1\r\nhost: t\r\n\r\n";
        client.send(format!("PUT /echo HTTP/1.1\r\nhost: t\r\n{framing}\r\n{smuggled}")).await;
        assert!(client.reply().await.contains("\r\nconnection: close\r\n"), "{framing}");
        assert!(client.is_closed().await, "{framing}");
    }
}

#[tokio::test]
async fn a_large_body_passes_through_small_buffers() {
    let running = Running::start(settings());
    let (mut reader, mut writer) = running.connect().await.stream.into_split();
    let body = Bytes::from(vec![b'x'; 4 << 20]);
    let sending = tokio::spawn({
        let body = body.clone();
        async move {
            let head =
                format!("PUT /echo HTTP/1.1\r\nhost: t\r\ncontent-length: {}\r\n", body.len());
            writer.write_all(head.as_bytes()).await.unwrap();
            writer.write_all(b"connection: close\r\n\r\n").await.unwrap();
            writer.write_all(&body).await.unwrap();
            writer
        }
    });
    let mut reply = Vec::new();
    reader.read_to_end(&mut reply).await.unwrap();
    sending.await.unwrap();
    assert!(reply.ends_with(&body));
}

#[tokio::test]
async fn a_head_with_too_many_bytes_is_refused() {
    let running = Running::start(with_limits(Limits { header_bytes: 2048, ..Limits::default() }));
    let mut client = running.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(1900))).await;
    assert!(client.reply().await.starts_with("HTTP/1.1 200 "));
    client.send(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(2100))).await;
    assert!(client.reply().await.starts_with("HTTP/1.1 431 "));
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn the_default_limit_of_a_head_is_held() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(65_000))).await;
    assert!(client.reply().await.starts_with("HTTP/1.1 200 "));
    // A head this large has ended that connection.
    let mut client = running.connect().await;
    client.send(format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(66_000))).await;
    assert!(client.reply().await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_head_with_too_many_fields_is_refused() {
    let running = Running::start(settings());
    for (fields, status) in [(100, 200), (101, 431)] {
        let mut client = running.connect().await;
        client.send(format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(fields))).await;
        assert!(client.reply().await.starts_with(&format!("HTTP/1.1 {status} ")));
    }
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_listener_lives() {
    let running = Running::start(settings());
    for garbage in ["\x16\x03\x01\x02\x00", "GET\r\n\r\n", "GET / HTTP/1.1\r\na b: c\r\n\r\n"] {
        let mut client = running.connect().await;
        client.send(garbage).await;
        assert!(client.reply().await.starts_with("HTTP/1.1 400 "), "{garbage}");
        assert!(client.is_closed().await);
    }
    let mut client = running.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(client.is_closed().await, "HTTP/2 without TLS");
    assert!(running.connect().await.get("/").await.ends_with("hello"));
}

#[tokio::test]
async fn a_panic_ends_its_own_connection_only() {
    let running = Running::start(settings());
    let mut other = running.connect().await;
    other.get("/").await;
    let mut client = running.connect().await;
    client.send("GET /panic HTTP/1.1\r\nhost: t\r\n\r\n").await;
    assert!(client.is_closed().await);
    assert!(other.get("/").await.ends_with("hello"));
    running.drain.begin(Duration::ZERO);
    assert_eq!(running.served.await.unwrap(), Drained { cut: 0 });
}

/// A service whose clone panics when it is told to; the accept loop clones it for each connection.
#[derive(Default)]
struct Fragile {
    service: TestService,
    panics: Arc<AtomicBool>,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        assert!(!self.panics.load(Ordering::Relaxed), "as asked");
        Self { service: self.service.clone(), panics: Arc::clone(&self.panics) }
    }
}

impl Service<Request<Incoming>> for Fragile {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Reply> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.service.call(request)
    }
}

fn fragile() -> (Running, Arc<AtomicBool>) {
    let fragile = Fragile::default();
    let (service, panics) = (fragile.service.clone(), Arc::clone(&fragile.panics));
    (Running::start_with(settings(), fragile, service), panics)
}

#[test]
fn an_accept_loop_that_panics_goes_on_with_its_connections() {
    on_paused_clock(async {
        let (running, panics) = fragile();
        let mut other = running.connect().await;
        other.get("/").await;
        for _ in 0..10 {
            for _ in 0..3 {
                panics.store(true, Ordering::Relaxed);
                assert!(running.connect().await.is_closed().await);
                panics.store(false, Ordering::Relaxed);
                assert!(running.connect().await.get("/").await.ends_with("hello"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(other.get("/").await.ends_with("hello"));
        running.drain.begin(Duration::from_secs(5));
        assert_eq!(running.served.await.unwrap(), Drained { cut: 0 });
    });
}

#[test]
fn an_accept_loop_that_panics_over_and_over_ends() {
    on_paused_clock(async {
        let (running, panics) = fragile();
        panics.store(true, Ordering::Relaxed);
        for number in 1..=4 {
            assert!(!running.served.is_finished(), "{number}");
            assert!(running.connect().await.is_closed().await);
        }
        assert!(running.served.await.unwrap_err().is_panic());
    });
}
