//! Where a request comes from: whether one may from there, and whom one address stands for.

use std::net::IpAddr;

use ipnet::IpNet;

/// Whether `address` lies in one of `networks`; where there are none, anywhere is good.
pub(crate) fn is_within(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.is_empty() || networks.iter().any(|network| network.contains(&address))
}

/// All the addresses that whoever has one of them has: in IPv4 that one, in IPv6 the 2^64 around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ClientNetwork {
    /// One address of IPv4.
    V4(u32),
    /// The first 64 bits of addresses of IPv6.
    V6([u8; 8]),
}

impl From<IpAddr> for ClientNetwork {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_of_ipv4_is_the_same_written_as_one_of_ipv6() {
        let network = ["10.0.0.0/8".parse().unwrap()];
        assert!(is_within(&network, address("10.1.2.3")));
        assert!(is_within(&network, address("::ffff:10.1.2.3")));
        assert!(!is_within(&network, address("11.1.2.3")));
        assert!(is_within(&[], address("11.1.2.3")));
        let of = |text| ClientNetwork::from(address(text));
        assert_eq!(of("10.1.2.3"), of("::ffff:10.1.2.3"));
        assert_ne!(of("10.1.2.3"), of("10.1.2.4"));
    }

    #[test]
    fn who_has_an_address_of_ipv6_has_all_of_its_64_bits() {
        let of = |text| ClientNetwork::from(address(text));
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
