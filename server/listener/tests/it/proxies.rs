use selkie_listener::{ForwardedFor, ListenerSettings, ProxyProtocol, TlsSource};
use tokio::time::Instant;

use crate::{
    harness::{Running, on_paused_clock, settings},
    tls::{Authority, connect_tls},
};

const HEADER: &str = "PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200\r\n";

fn v2_header() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    header.extend([192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x67, 0x20, 0x08]);
    header
}

fn behind_proxy(proxy_protocol: ProxyProtocol) -> ListenerSettings {
    ListenerSettings { proxy_protocol, ..settings() }
}

#[tokio::test]
async fn a_proxy_header_names_the_peer_of_every_request() {
    let running = Running::start(behind_proxy(ProxyProtocol::UseAlways));
    for header in [HEADER.as_bytes(), &v2_header()] {
        let mut client = running.connect().await;
        client.send([header, b"GET /client HTTP/1.1\r\nhost: t\r\n\r\n"].concat()).await;
        assert!(client.reply().await.ends_with("\r\n192.0.2.7"));
        assert!(client.get("/client").await.ends_with("\r\n192.0.2.7"));
    }
}

#[tokio::test]
async fn a_proxy_header_is_read_before_tls() {
    let authority = Authority::new();
    let tls = Some(TlsSource::new(authority.material()));
    let proxied = ListenerSettings { tls, ..behind_proxy(ProxyProtocol::UseAlways) };
    let running = Running::start(proxied);
    for header in [HEADER.as_bytes(), &v2_header()] {
        let mut tcp = running.connect().await;
        tcp.send(header).await;
        let mut client = connect_tls(tcp.stream, authority.client()).await.unwrap();
        assert!(client.get("/client").await.ends_with("\r\n192.0.2.7"));
        assert!(client.get("/tls").await.ends_with("test Tls13 0 certificates"));
    }
}

#[tokio::test]
async fn whoever_is_not_authorised_gets_no_answer() {
    let others = vec!["10.0.0.0/8".parse().unwrap()];
    let running = Running::start(behind_proxy(ProxyProtocol::DenyUnauthorized(others)));
    let mut client = running.connect().await;
    assert!(client.is_closed().await);
}

#[test]
fn a_proxy_header_that_does_not_end_is_cut() {
    on_paused_clock(async {
        let running = Running::start(behind_proxy(ProxyProtocol::UseAlways));
        let mut client = running.connect().await;
        client.send("PROXY TCP4 ").await;
        let start = Instant::now();
        assert!(client.is_closed().await);
        assert_eq!(start.elapsed().as_secs(), 10);
    });
}

#[tokio::test]
async fn without_the_setting_a_proxy_header_is_no_http() {
    let running = Running::start(settings());
    let mut client = running.connect().await;
    client.send(HEADER).await;
    client.send("GET / HTTP/1.1\r\n\r\n").await;
    assert!(client.reply().await.starts_with("HTTP/1.1 400 "));
}

#[tokio::test]
async fn x_forwarded_for_is_judged_for_every_request() {
    let policy = ForwardedFor {
        authorized: vec!["127.0.0.0/8".parse().unwrap()],
        hop_skips: 0,
        reject_not_authorized: true,
        reject_not_present: true,
    };
    let running = Running::start(ListenerSettings { forwarded_for: Some(policy), ..settings() });
    let mut client = running.connect().await;
    for address in ["192.0.2.7", "2001:db8::7"] {
        let head = format!("GET /client HTTP/1.1\r\nX-Forwarded-For: {address}\r\n\r\n");
        client.send(head).await;
        assert!(client.reply().await.ends_with(&format!("\r\n{address}")));
    }
    let refused = client.get("/client").await;
    assert!(refused.starts_with("HTTP/1.1 400 "));
    assert!(refused.ends_with("configured to reject when not present"));
}
