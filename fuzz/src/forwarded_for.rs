use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use selkie_listener::{ConnectionInfo, ForwardedError, ForwardedFor, client_address};

/// Feeds `X-Forwarded-For` to what decides who a request's client is: the first byte is the hops to
/// skip, the second the options, and each further line a line of the header.
///
/// The client is the one that a naive reading of the joined header names; nobody but an authorised
/// proxy is believed.
pub fn forwarded_for(data: &[u8]) -> bool {
    agrees(data, client_address)
}

type Decide = fn(&ConnectionInfo, &HeaderMap) -> Result<IpAddr, ForwardedError>;

pub(crate) fn agrees(data: &[u8], decide: Decide) -> bool {
    let Some(([hops, options], lines)) = data.split_first_chunk() else { return false };
    let is_set = |bit: u8| options >> bit & 1 == 1;
    let peer = if is_set(0) { "10.0.0.1" } else { "192.0.2.9" };
    let mut connection =
        ConnectionInfo::plain("fuzz", format!("{peer}:1").parse().expect("an address"));
    connection.forwarded_for = is_set(1).then(|| {
        Arc::new(ForwardedFor {
            authorized: vec!["10.0.0.0/8".parse().expect("a network")],
            hop_skips: usize::from(hops % 8),
            reject_not_authorized: is_set(2),
            reject_not_present: is_set(3),
        })
    });
    let lines: Vec<HeaderValue> = match is_set(4) {
        true => Vec::new(),
        false => lines
            .split(|byte| *byte == b'\n')
            .map_while(|line| HeaderValue::from_bytes(line).ok())
            .collect(),
    };
    let mut headers = HeaderMap::new();
    for line in &lines {
        headers.append("x-forwarded-for", line.clone());
    }
    let seen = decide(&connection, &headers);
    let expected = naive(&connection, &lines);
    assert_eq!(seen.ok(), expected, "another client: {connection:?} {lines:?} {seen:?}");
    let believes = is_set(0) && is_set(1) && !lines.is_empty();
    assert!(
        believes || seen.is_err() || seen == Ok(connection.peer.ip()),
        "a stranger was believed"
    );
    believes && seen.is_ok()
}

fn naive(connection: &ConnectionInfo, lines: &[HeaderValue]) -> Option<IpAddr> {
    let peer = connection.peer.ip();
    let Some(policy) = &connection.forwarded_for else { return Some(peer) };
    if lines.is_empty() {
        return (!policy.reject_not_present).then_some(peer);
    }
    if !peer.to_string().starts_with("10.") {
        return (!policy.reject_not_authorized).then_some(peer);
    }
    let joined: Vec<u8> = lines.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b',');
    let hops: Vec<&[u8]> = joined.split(|byte| *byte == b',').collect();
    let at = hops.len().checked_sub(policy.hop_skips + 1)?;
    address(str::from_utf8(hops[at]).ok()?.trim())
}

/// An address, an address in brackets, or either with a port; IPv6 with a port has brackets.
fn address(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (inside, behind) = rest.split_once(']')?;
            let is_port = |port: &str| {
                !port.is_empty()
                    && port.bytes().all(|b| b.is_ascii_digit())
                    && port.parse::<u16>().is_ok()
            };
            let fits = behind.is_empty() || behind.strip_prefix(':').is_some_and(is_port);
            let inside: IpAddr = inside.parse().ok().filter(|_| fits)?;
            // "[1.2.3.4]" passes, "[1.2.3.4]:5" is nothing that anybody writes.
            (behind.is_empty() || inside.is_ipv6()).then_some(inside)?
        }
        None => match text.rsplit_once(':') {
            Some((before, port)) if !before.contains(':') => {
                let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
                let before: std::net::Ipv4Addr = before.parse().ok()?;
                (is_port && port.parse::<u16>().is_ok()).then_some(before.into())?
            }
            _ => text.parse().ok()?,
        },
    };
    Some(address.to_canonical())
}
