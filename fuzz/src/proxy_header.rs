use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use selkie_listener::fuzzing::{Beginning, beginning};

/// Feeds the first bytes of a connection to the reader of PROXY headers (version 1 and 2).
///
/// What it takes them for is what the specification says, read here once more by hand. Whatever is
/// missing is only ever waited for as long as it may still come.
pub fn proxy_header(data: &[u8]) -> bool {
    agrees(data, beginning)
}

pub(crate) fn agrees(data: &[u8], read: impl Fn(&[u8]) -> Beginning) -> bool {
    let seen = read(data);
    assert_eq!(seen, by_hand(data), "read otherwise: {}", data.escape_ascii());
    let Beginning::Header(length, _) = seen else { return false };
    assert_eq!(read(&data[..length]), seen, "what follows a header changed it");
    for cut in (0..length).filter(|cut| *cut < 128) {
        assert_eq!(read(&data[..cut]), Beginning::Incomplete, "cut to {cut}");
    }
    true
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LONGEST: usize = 4096;

fn by_hand(data: &[u8]) -> Beginning {
    if data.starts_with(SIGNATURE) {
        return binary(data);
    }
    if data.starts_with(b"PROXY") {
        return line(data);
    }
    if SIGNATURE.starts_with(data) || b"PROXY".starts_with(data) {
        return Beginning::Incomplete;
    }
    Beginning::Absent
}

/// §2.1: a line of at most 107 bytes.
fn line(data: &[u8]) -> Beginning {
    let Some(end) = data.iter().take(107).position(|byte| *byte == b'\n') else {
        return if data.len() < 107 { Beginning::Incomplete } else { Beginning::Refused };
    };
    let named = data[..=end].strip_suffix(b"\r\n");
    // "The receiver must ignore anything presented before the CRLF."
    if named.is_some_and(|line| line == b"PROXY UNKNOWN" || line.starts_with(b"PROXY UNKNOWN ")) {
        return Beginning::Header(end + 1, None);
    }
    match named.and_then(|line| words(str::from_utf8(line).ok()?)) {
        Some(source) => Beginning::Header(end + 1, source),
        None => Beginning::Refused,
    }
}

fn words(line: &str) -> Option<Option<SocketAddr>> {
    let words: Vec<&str> = line.split(' ').collect();
    let address = |text: &str| match words[1] {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
        _ => text.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
    };
    match words[..] {
        ["PROXY", "TCP4" | "TCP6", from, to, from_port, to_port] => {
            let (from, _to) = (address(from)?, address(to)?);
            let (port, _to_port) = (number(from_port)?, number(to_port)?);
            Some(Some(SocketAddr::new(from.to_canonical(), port)))
        }
        _ => None,
    }
}

/// Without sign and leading zeros.
fn number(text: &str) -> Option<u16> {
    let number: u16 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// §2.2: 12 bytes of signature, version and command, family, length, addresses.
fn binary(data: &[u8]) -> Beginning {
    let Some(&[command, family, high, low]) = data.get(12..16) else {
        return Beginning::Incomplete;
    };
    let length = 16 + usize::from(high) * 256 + usize::from(low);
    if length > LONGEST {
        return Beginning::Refused;
    }
    let Some(addresses) = data.get(16..length) else { return Beginning::Incomplete };
    if command == 0x20 {
        // "The receiver must discard the protocol block including the family."
        return Beginning::Header(length, None);
    }
    let needed = match family >> 4 {
        0 => 0,
        1 => 12,
        2 => 36,
        3 => 216,
        _ => return Beginning::Refused,
    };
    if command != 0x21 || family & 15 > 2 || addresses.len() < needed {
        return Beginning::Refused;
    }
    Beginning::Header(length, address(family >> 4, addresses))
}

fn address(family: u8, bytes: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from(bytes[at]) << 8 | u16::from(bytes[at + 1]);
    match family {
        1 => {
            let ip: [u8; 4] = bytes[..4].try_into().expect("checked");
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port(8)))
        }
        2 => {
            let ip: [u8; 16] = bytes[..16].try_into().expect("checked");
            Some(SocketAddr::new(IpAddr::from(Ipv6Addr::from(ip)).to_canonical(), port(32)))
        }
        _ => None,
    }
}
