use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};

use super::*;

const CLIENT: &str = "192.0.2.7:4711";

fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
    [v2::PROTOCOL_PREFIX, &[0x20 | command, family], &length, payload].concat()
}

fn ipv4_payload() -> Vec<u8> {
    let mut payload = vec![192, 0, 2, 7, 10, 0, 0, 1];
    payload.extend(4711_u16.to_be_bytes());
    payload.extend(8200_u16.to_be_bytes());
    payload
}

/// What the peer is taken for, and what TLS or HTTP would read after the header.
async fn accept(
    behaviour: ProxyProtocol,
    pieces: &[&[u8]],
) -> Result<(String, Vec<u8>), ProxyError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.set_nodelay(true).unwrap();
    let (stream, socket) = listener.accept().await.unwrap();
    let pieces: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.to_vec()).collect();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            client.write_all(&piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let accepted = behaviour.accept(stream, socket).await;
    sending.await.unwrap();
    let (mut stream, peer) = accepted?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    let peer = if peer == socket { "the socket's".to_owned() } else { peer.to_string() };
    Ok((peer, rest))
}

#[tokio::test]
async fn every_good_header_names_the_client_and_leaves_the_rest() {
    let with_tlv = [ipv4_payload(), vec![0x04, 0, 1, 42]].concat();
    let mut ipv6 = [0_u8; 36];
    ipv6[15] = 1;
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200\r\n".to_vec(), CLIENT),
        (b"PROXY TCP6 2001:db8::7 ::1 4711 8200\r\n".to_vec(), "[2001:db8::7]:4711"),
        (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 8200\r\n".to_vec(), CLIENT),
        (b"PROXY UNKNOWN\r\n".to_vec(), "the socket's"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), "the socket's"),
        (v2(1, 0x11, &ipv4_payload()), CLIENT),
        (v2(1, 0x11, &with_tlv), CLIENT),
        (v2(1, 0x21, &ipv6), "[::1]:0"),
        (v2(0, 0x00, &[]), "the socket's"),
        (v2(0, 0x11, &ipv4_payload()), "the socket's"),
        (v2(1, 0x00, &[]), "the socket's"),
        (v2(1, 0x31, &[0; 216]), "the socket's"),
        // Found by fuzz/: what follows is to be ignored, whatever it is.
        (b"PROXY UNKNOWN ffff::1 2 3 4 and more\r\n".to_vec(), "the socket's"),
        (v2(0, 0xff, &[1, 2, 3]), "the socket's"),
    ] {
        let at_once = [header.as_slice(), b"GET /"].concat();
        let accepted = accept(ProxyProtocol::UseAlways, &[&at_once]).await.unwrap();
        assert_eq!(accepted, (client.to_owned(), b"GET /".to_vec()), "{header:?}");
        let bytewise: Vec<&[u8]> = at_once.chunks(1).collect();
        let accepted = accept(ProxyProtocol::UseAlways, &bytewise).await.unwrap();
        assert_eq!(accepted, (client.to_owned(), b"GET /".to_vec()), "bytewise {header:?}");
    }
}

#[tokio::test]
async fn a_connection_without_a_header_is_served_under_its_own_address() {
    for start in
        [&b"PUT /v1/transit"[..], b"PROPFIND / HTTP/1.1", b"\r\n\r\nGET /", b"\x16\x03\x01"]
    {
        let accepted = accept(ProxyProtocol::UseAlways, &[start]).await.unwrap();
        assert_eq!(accepted, ("the socket's".to_owned(), start.to_vec()));
    }
}

#[tokio::test]
async fn bad_headers_end_the_connection() {
    let too_long = [&b"PROXY TCP4 "[..], &[b' '; 107]].concat();
    for header in [
        b"PROXY TCP4 192.0.2.7\r\n".to_vec(),
        b"PROXY TCP4 ::1 ::1 1 1\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 8200\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200\n".to_vec(),
        // Found by fuzz/: a port has no sign, a space ends no line, and a CR parts no words.
        b"PROXY TCP4 192.0.2.7 10.0.0.1 +4711 8200\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200 \n".to_vec(),
        b"PROXY UNKNOWN 1 2 3 4 \n".to_vec(),
        b"PROXY TCP4 192.0.2.7\r10.0.0.1 4711 8200\r\n".to_vec(),
        b"PROXYTCP4 192.0.2.7 10.0.0.1 4711 8200\r\n".to_vec(),
        b"PROXY \xff\xff\r\n".to_vec(),
        v2(2, 0x11, &ipv4_payload()),
        v2(1, 0x41, &ipv4_payload()),
        v2(1, 0x11, &ipv4_payload()[..8]),
    ] {
        let refused = accept(ProxyProtocol::UseAlways, &[&header]).await;
        assert!(matches!(refused, Err(ProxyError::Malformed)), "{header:?}");
    }
    for header in [too_long, v2(1, 0x11, &[0; LONGEST_HEADER])] {
        let refused = accept(ProxyProtocol::UseAlways, &[&header]).await;
        assert!(matches!(refused, Err(ProxyError::TooLong)));
    }
    for cut in [&b""[..], b"PROXY", b"PROXY TCP4 192.0.2.7", &v2(1, 0x11, &ipv4_payload())[..20]] {
        let refused = accept(ProxyProtocol::UseAlways, &[cut]).await;
        assert!(matches!(refused, Err(ProxyError::Truncated)), "{cut:?}");
    }
}

#[tokio::test]
async fn only_the_authorised_are_believed() {
    let header = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8200\r\n";
    let us = || vec!["127.0.0.0/8".parse().unwrap()];
    let others = || vec!["10.0.0.0/8".parse().unwrap()];
    let believed = (CLIENT.to_owned(), Vec::new());
    let ignored = ("the socket's".to_owned(), Vec::new());
    let peer = async |behaviour| accept(behaviour, &[header]).await;
    assert_eq!(peer(ProxyProtocol::AllowAuthorized(us())).await.unwrap(), believed);
    assert_eq!(peer(ProxyProtocol::AllowAuthorized(others())).await.unwrap(), ignored);
    assert_eq!(peer(ProxyProtocol::DenyUnauthorized(us())).await.unwrap(), believed);
    let refused = peer(ProxyProtocol::DenyUnauthorized(others())).await;
    assert!(matches!(refused, Err(ProxyError::Unauthorized)));
}

#[tokio::test]
async fn what_follows_the_header_is_wiped_once_it_is_handed_on() {
    let (mut stream, _) = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"PROXY UNKNOWN\r\nsecret").await.unwrap();
        let (stream, socket) = listener.accept().await.unwrap();
        ProxyProtocol::UseAlways.accept(stream, socket).await.unwrap()
    };
    stream.read_exact(&mut [0; 6]).await.unwrap();
    assert_eq!(stream.rest(), [0; 6]);
}
