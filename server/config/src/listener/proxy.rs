//! Where a connection or a request really comes from, when a proxy stands before a listener.

use ipnet::IpNet;
use selkie_hcl::{Located, Section};

use crate::network::networks;
use crate::quantity::limited;
use crate::secret::Reading;
use crate::warning::WarningKind;

/// `proxy_protocol_behavior`: who may say in a PROXY header where a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// Not set: nobody, a PROXY header is garbage.
    Off,
    /// `use_always`: everybody.
    UseAlways,
    /// `allow_authorized`: these; the header of anybody else is ignored.
    AllowAuthorized(Vec<IpNet>),
    /// `deny_unauthorized`: these; the connection of anybody else is closed.
    DenyUnauthorized(Vec<IpNet>),
}

/// `x_forwarded_for_*`: whose `X-Forwarded-For` is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedFor {
    /// `x_forwarded_for_authorized_addrs`: the proxies that are believed; never empty.
    pub authorized: Vec<IpNet>,
    /// `x_forwarded_for_hop_skips`: how many addresses at the end of the list are proxies too.
    pub hop_skips: usize,
    /// `x_forwarded_for_reject_not_authorized`: whether anybody else's header is an error.
    pub reject_not_authorized: bool,
    /// `x_forwarded_for_reject_not_present`: whether a request without the header is an error.
    pub reject_not_present: bool,
}

/// What is wrong with what is said of proxies.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error(
        "field \"proxy_protocol_behavior\": there are \"use_always\", \"allow_authorized\" and \
         \"deny_unauthorized\""
    )]
    UnknownBehavior,
    #[error("{behavior:?} needs addresses in \"proxy_protocol_authorized_addrs\"")]
    NobodyAuthorized { behavior: &'static str },
    #[error("field {field:?} has no effect without {needed:?}")]
    NoEffect { field: &'static str, needed: &'static str },
    #[error("field \"x_forwarded_for_authorized_addrs\": at least one address is needed")]
    NobodyForwards,
}

pub(super) fn proxy_protocol(section: &mut Section<'_>, reading: &Reading<'_>) -> ProxyProtocol {
    let behavior = section.field("proxy_protocol_behavior").string();
    let field = section.field("proxy_protocol_authorized_addrs");
    let declared_at = field.place();
    let authorized = networks(field).map(|list| list.value).unwrap_or_default();
    let Some(Located { value: behavior, place }) = behavior else {
        if let Some(place) = declared_at {
            let field = "proxy_protocol_authorized_addrs";
            place.report(ProxyError::NoEffect { field, needed: "proxy_protocol_behavior" });
        }
        return ProxyProtocol::Off;
    };
    let (known, protocol) = match behavior.as_str() {
        "use_always" => {
            reading.warn(place, WarningKind::EveryProxyBelieved);
            return ProxyProtocol::UseAlways;
        }
        "allow_authorized" => ("allow_authorized", ProxyProtocol::AllowAuthorized(authorized)),
        "deny_unauthorized" => ("deny_unauthorized", ProxyProtocol::DenyUnauthorized(authorized)),
        _ => {
            place.report(ProxyError::UnknownBehavior);
            return ProxyProtocol::Off;
        }
    };
    if let ProxyProtocol::AllowAuthorized(list) | ProxyProtocol::DenyUnauthorized(list) = &protocol
        && list.is_empty()
    {
        place.report(ProxyError::NobodyAuthorized { behavior: known });
    }
    protocol
}

pub(super) fn forwarded_for(section: &mut Section<'_>) -> Option<ForwardedFor> {
    let authorized = section.field("x_forwarded_for_authorized_addrs");
    let hop_skips = section.field("x_forwarded_for_hop_skips");
    let not_authorized = section.field("x_forwarded_for_reject_not_authorized");
    let not_present = section.field("x_forwarded_for_reject_not_present");
    if authorized.place().is_none() {
        let needed = "x_forwarded_for_authorized_addrs";
        for set in [&hop_skips, &not_authorized, &not_present] {
            if let Some(place) = set.place() {
                place.report(ProxyError::NoEffect { field: set.name(), needed });
            }
        }
    }
    let hop_skips = hop_skips
        .unsigned_or_text()
        .and_then(|skips| limited(skips, "x_forwarded_for_hop_skips", 0..=100))
        .map_or(0, |skips| skips.value);
    let reject_not_authorized = not_authorized.boolean().is_none_or(|reject| reject.value);
    let reject_not_present = not_present.boolean().is_none_or(|reject| reject.value);
    let authorized = networks(authorized)?;
    if authorized.value.is_empty() {
        authorized.place.report(ProxyError::NobodyForwards);
    }
    let authorized = authorized.value;
    Some(ForwardedFor { authorized, hop_skips, reject_not_authorized, reject_not_present })
}
