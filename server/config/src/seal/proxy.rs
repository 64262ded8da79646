//! The HTTP proxy on the way to Key Vault and Entra.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use selkie_hcl::{Located, Section};
use url::{Host, Url};

use super::setting::{Origin, ServerUrlError, Setting, is_reference, server_url};
use crate::secret::Reading;

const EXAMPLE: &str = "http://proxy.example.com:3128";

/// The address of an HTTP proxy, `http://[user:password@]host[:port]`; it prints without password.
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyUrl(Url);

impl ProxyUrl {
    /// The address, with the password.
    #[must_use]
    pub fn into_url(self) -> Url {
        self.0
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.0.host_str().map_or("", |host| host))?;
        self.0.port_or_known_default().map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is wrong with a proxy.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error(transparent)]
    Url(#[from] ServerUrlError),
    #[error("a proxy is spoken to by plain HTTP: it must begin with \"http://\"")]
    NotHttp,
    #[error("a proxy has no path")]
    Path,
    #[error(
        "a secret never stands in this file: move the URL to a file or variable and write \
         \"file:///path\" or \"env://NAME\""
    )]
    Password,
}

/// What the stanza and the environment say of proxies.
pub(crate) enum Proxies {
    /// None at all.
    Direct,
    /// `proxy`: for every host.
    Declared(ProxyUrl),
    /// `HTTPS_PROXY`: for every host that `NO_PROXY` does not exempt.
    Ambient(ProxyUrl, Exemptions),
}

/// `None` if it was reported to be wrong.
pub(crate) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Proxies> {
    if let Some(setting) = Setting::of_field(section.field("proxy")) {
        return declared(setting, reading).map(Proxies::Declared);
    }
    let mut variables = ["HTTPS_PROXY", "https_proxy"].into_iter();
    let found = variables.find_map(|name| Some((name, reading.ambient_text(name)?)));
    let Some((name, value)) = found else {
        return Some(Proxies::Direct);
    };
    let setting = Setting { value, origin: Origin::Variable(name), place: section.place() };
    let proxy = setting.try_map(|text| proxy_url(&text))?.value;
    let exempt = reading.ambient_text("NO_PROXY").or_else(|| reading.ambient_text("no_proxy"));
    Some(Proxies::Ambient(proxy, Exemptions::parse(&exempt.unwrap_or_default())))
}

fn declared(setting: Setting<'_>, reading: &Reading<'_>) -> Option<ProxyUrl> {
    let Setting { value, origin, place } = setting;
    if !is_reference(&value) {
        let setting = Setting { value, origin, place };
        let checked = setting.try_map(|text| match proxy_url(&text)? {
            proxy if proxy.0.password().is_some() => Err(ProxyError::Password),
            proxy => Ok(proxy),
        });
        return checked.map(|proxy| proxy.value);
    }
    let text = reading.secret_line("proxy", &Located { value, place })?;
    let setting = Setting { value: text, origin, place };
    setting.try_map(|text| proxy_url(&text)).map(|proxy| proxy.value)
}

/// A proxy without a scheme is one of HTTP, as everywhere else.
fn proxy_url(text: &str) -> Result<ProxyUrl, ProxyError> {
    let url = match text.contains("://") {
        true => server_url(text, EXAMPLE)?,
        false => server_url(&format!("http://{text}"), EXAMPLE)?,
    };
    if url.scheme() != "http" {
        return Err(ProxyError::NotHttp);
    }
    let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if is_bare { Ok(ProxyUrl(url)) } else { Err(ProxyError::Path) }
}

impl Proxies {
    /// The proxy on the way to `server`.
    pub(crate) fn to(&self, server: &Url) -> Option<ProxyUrl> {
        match self {
            Self::Direct => None,
            Self::Declared(proxy) => Some(proxy.clone()),
            Self::Ambient(proxy, exemptions) => (!exemptions.cover(server)).then(|| proxy.clone()),
        }
    }
}

/// `NO_PROXY`, as Go and with it Vault reads it.
#[derive(Debug, Default)]
pub(crate) struct Exemptions {
    all: bool,
    networks: Vec<IpNet>,
    /// Suffixes of names without a leading dot, with a port if only that one is meant, and whether
    /// the name itself is exempt as well.
    names: Vec<(String, Option<u16>, bool)>,
}

impl Exemptions {
    fn parse(text: &str) -> Self {
        let mut exemptions = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            exemptions.add(&part.to_ascii_lowercase());
        }
        exemptions
    }

    fn add(&mut self, part: &str) {
        if part == "*" {
            self.all = true;
        } else if let Ok(network) = part.parse::<IpNet>() {
            self.networks.push(network);
        } else if let Ok(address) = part.parse::<IpAddr>() {
            self.networks.push(IpNet::from(address));
        } else {
            let (name, port) = match part.rsplit_once(':') {
                Some((name, port)) => (name, port.parse().ok()),
                None => (part, None),
            };
            let suffix = name.strip_prefix('*').unwrap_or(name);
            let bare = suffix.strip_prefix('.');
            self.names.push((bare.unwrap_or(suffix).to_owned(), port, bare.is_none()));
        }
    }

    /// Whether `server` is reached directly; this machine always is.
    fn cover(&self, server: &Url) -> bool {
        let address = match server.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(name)) => return self.all || self.cover_name(name, server),
            None => return self.all,
        };
        self.all
            || address.is_loopback()
            || self.networks.iter().any(|network| network.contains(&address))
    }

    fn cover_name(&self, host: &str, server: &Url) -> bool {
        let server_port = server.port_or_known_default();
        host == "localhost"
            || self.names.iter().any(|(suffix, port, is_itself)| {
                let is_port = port.is_none() || *port == server_port;
                let rest = host.strip_suffix(suffix.as_str());
                let is_below = rest.is_some_and(|rest| rest.ends_with('.'));
                is_port && (is_below || (*is_itself && host == suffix))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(exemptions: &str, server: &str) -> bool {
        Exemptions::parse(exemptions).cover(&server.parse().unwrap())
    }

    #[test]
    fn no_proxy_exempts_a_name_and_what_is_below_it() {
        let vault = "https://kv1.vault.azure.net";
        for exemptions in
            ["vault.azure.net", ".vault.azure.net", "*.azure.net", "x, KV1.vault.azure.net", "*"]
        {
            assert!(covers(exemptions, vault), "{exemptions}");
        }
        for exemptions in
            ["", "ault.azure.net", ".kv1.vault.azure.net", "vault.azure", "10.0.0.0/8"]
        {
            assert!(!covers(exemptions, vault), "{exemptions}");
        }
    }

    #[test]
    fn no_proxy_may_mean_one_port_or_a_network() {
        assert!(covers("kv.test:8443", "https://kv.test:8443"));
        assert!(covers("kv.test:443", "https://kv.test"));
        assert!(!covers("kv.test:8443", "https://kv.test"));
        assert!(covers("10.0.0.0/8", "https://10.1.2.3"));
        assert!(covers("fd00::/8", "https://[fd00::1]"));
        assert!(!covers("10.0.0.0/8", "https://11.1.2.3"));
    }

    #[test]
    fn this_machine_is_never_behind_a_proxy_of_the_environment() {
        for server in ["https://localhost:8443", "https://127.0.0.1", "https://[::1]:1"] {
            assert!(covers("", server), "{server}");
        }
    }

    #[test]
    fn a_proxy_prints_without_its_password() {
        let proxy = proxy_url("http://user:hunter2@proxy.test:3128").unwrap();
        assert_eq!(format!("{proxy} {proxy:?}"), "http://proxy.test:3128 http://proxy.test:3128");
        assert_eq!(proxy.into_url().password(), Some("hunter2"));
        assert_eq!(proxy_url("proxy.test:3128").unwrap().to_string(), "http://proxy.test:3128");
    }
}
