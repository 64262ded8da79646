//! Lists of addresses.

use std::net::{AddrParseError, IpAddr};

use ipnet::IpNet;
use selkie_hcl::{Field, Located};

/// An element of such a list that is no address.
#[derive(Debug, thiserror::Error)]
#[error("expected an IP address or a network such as \"10.0.0.0/8\"")]
struct NotANetwork {
    #[source]
    source: AddrParseError,
}

/// IP addresses and networks, as a list or, as in Vault, in one string with commas between them.
pub(crate) fn networks<'d>(field: Field<'d>) -> Option<Located<'d, Vec<IpNet>>> {
    let list = field.string_or_strings()?;
    let mut found = Vec::new();
    for element in list.value {
        for text in element.value.split(',').map(str::trim).filter(|text| !text.is_empty()) {
            match network(text) {
                Ok(network) => found.push(network),
                Err(error) => element.place.report(error),
            }
        }
    }
    Some(Located { value: found, place: list.place })
}

fn network(text: &str) -> Result<IpNet, NotANetwork> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(network.trunc());
    }
    text.parse::<IpAddr>().map(IpNet::from).map_err(|source| NotANetwork { source })
}
