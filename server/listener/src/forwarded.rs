//! Whose request it is behind proxies. Only what an authorised proxy says is believed.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, header::HeaderName};
use ipnet::IpNet;

use crate::ConnectionInfo;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Whose `X-Forwarded-For` is believed, and what happens to requests without one that is: Vault's
/// `x_forwarded_for_*` options of a listener.
#[derive(Clone, Debug)]
pub struct ForwardedFor {
    /// The proxies whose header is believed.
    pub authorized: Vec<IpNet>,
    /// How many addresses to pass over, counted from the last, which the nearest proxy added.
    pub hop_skips: usize,
    /// Refuse a request that carries the header but comes from somewhere else; if false, its header
    /// is ignored.
    pub reject_not_authorized: bool,
    /// Refuse a request without the header, from wherever; if false, its peer is the client.
    pub reject_not_present: bool,
}

/// Why a request is to be refused with 400; the text is Vault's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForwardedError {
    /// No header, and the listener requires one.
    #[error("missing x-forwarded-for header and configured to reject when not present")]
    NotPresent,
    /// A header from an address that is not authorised.
    #[error(
        "client address not authorized for x-forwarded-for and configured to reject connection"
    )]
    NotAuthorized,
    /// Fewer addresses than are to be passed over. The length is, as in Vault, the number of header
    /// lines.
    #[error(
        "malformed x-forwarded-for configuration or request, hops to skip ({hop_skips}) would skip \
         before earliest chain link (chain length {header_lines})"
    )]
    TooFewHops {
        /// As configured.
        hop_skips: usize,
        /// Of the request.
        header_lines: usize,
    },
    /// The address that counts is none. Vault would take it as it is.
    #[error("malformed x-forwarded-for request, not an address")]
    NotAnAddress,
}

/// The address of the client that made a request: the connection's peer, or the one that an
/// authorised proxy names in `X-Forwarded-For`.
///
/// # Errors
/// [`ForwardedError`] when the request must not be served at all.
pub fn client_address(
    connection: &ConnectionInfo,
    headers: &HeaderMap,
) -> Result<IpAddr, ForwardedError> {
    let peer = connection.peer.ip();
    let Some(policy) = &connection.forwarded_for else {
        return Ok(peer);
    };
    if !headers.contains_key(X_FORWARDED_FOR) {
        return match policy.reject_not_present {
            true => Err(ForwardedError::NotPresent),
            false => Ok(peer),
        };
    }
    if !policy.authorized.iter().any(|network| network.contains(&peer)) {
        return match policy.reject_not_authorized {
            true => Err(ForwardedError::NotAuthorized),
            false => Ok(peer),
        };
    }
    named_by_proxy(policy.hop_skips, headers)
}

fn named_by_proxy(hop_skips: usize, headers: &HeaderMap) -> Result<IpAddr, ForwardedError> {
    let lines = headers.get_all(X_FORWARDED_FOR);
    let hop = lines
        .iter()
        .rev()
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','))
        .nth(hop_skips)
        .ok_or_else(|| ForwardedError::TooFewHops {
            hop_skips,
            header_lines: lines.iter().count(),
        })?;
    parse_hop(hop).ok_or(ForwardedError::NotAnAddress)
}

/// Some proxies (Azure Application Gateway) add the port, and then write IPv6 in brackets.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|a| a.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::HeaderValue;

    use super::*;

    fn policy(authorized: &str) -> ForwardedFor {
        ForwardedFor {
            authorized: vec![authorized.parse().unwrap()],
            hop_skips: 0,
            reject_not_authorized: true,
            reject_not_present: true,
        }
    }

    fn ask(policy: Option<ForwardedFor>, lines: &[&str]) -> Result<String, ForwardedError> {
        let mut connection = ConnectionInfo::plain("test", "127.0.0.1:4711".parse().unwrap());
        connection.forwarded_for = policy.map(Arc::new);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(line).unwrap());
        }
        client_address(&connection, &headers).map(|address| address.to_string())
    }

    #[test]
    fn without_a_policy_the_header_means_nothing() {
        assert_eq!(ask(None, &["9.9.9.9"]).unwrap(), "127.0.0.1");
    }

    #[test]
    fn an_authorised_proxy_names_the_client() {
        for (line, client) in [
            ("1.2.3.4", "1.2.3.4"),
            (" 1.2.3.4 ", "1.2.3.4"),
            ("9.9.9.9, 1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:5678", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
        ] {
            assert_eq!(ask(Some(policy("127.0.0.0/8")), &[line]).unwrap(), client, "{line}");
        }
    }

    #[test]
    fn hops_are_skipped_from_the_end_over_all_lines() {
        let skip_one = || Some(ForwardedFor { hop_skips: 1, ..policy("127.0.0.1/32") });
        for lines in [
            &["2.3.4.5,3.4.5.6,4.5.6.7,5.6.7.8"][..],
            &["2.3.4.5", "3.4.5.6,4.5.6.7", "5.6.7.8"][..],
        ] {
            assert_eq!(ask(skip_one(), lines).unwrap(), "4.5.6.7");
        }
    }

    #[test]
    fn skipping_before_the_first_hop_is_refused_in_vaults_words() {
        let skip_four = ForwardedFor { hop_skips: 4, ..policy("127.0.0.1/32") };
        let error = ask(Some(skip_four), &["2.3.4.5,3.4.5.6"]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "malformed x-forwarded-for configuration or request, hops to skip (4) would skip \
             before earliest chain link (chain length 1)"
        );
    }

    #[test]
    fn a_missing_header_is_refused_or_means_the_peer() {
        let strict = policy("127.0.0.1/32");
        let lenient = ForwardedFor { reject_not_present: false, ..strict.clone() };
        assert_eq!(ask(Some(strict), &[]), Err(ForwardedError::NotPresent));
        assert_eq!(ask(Some(lenient), &[]).unwrap(), "127.0.0.1");
    }

    #[test]
    fn a_header_from_elsewhere_is_refused_or_ignored() {
        let strict = policy("1.2.3.4/32");
        let lenient = ForwardedFor { reject_not_authorized: false, ..strict.clone() };
        assert_eq!(ask(Some(strict), &["5.6.7.8"]), Err(ForwardedError::NotAuthorized));
        assert_eq!(ask(Some(lenient), &["5.6.7.8"]).unwrap(), "127.0.0.1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for line in ["", "unknown", "1.2.3.4,", "1.2.3", "1.2.3.4;", "[1.2.3.4", "a:b:c:d:e"] {
            let refused = ask(Some(policy("127.0.0.1/32")), &[line]);
            assert_eq!(refused, Err(ForwardedError::NotAnAddress), "{line}");
        }
    }
}
