//! The names of a vault, a key and its versions, checked before they enter a path and when they
//! come back.

use std::fmt;
use std::sync::OnceLock;

use selkie_crypto::KekId;
use url::{Position, Url};

const VERSION_DIGITS: usize = 32;
const LONGEST_NAME: usize = 127;

/// The name of a key: 1 to 127 of `0-9 A-Z a-z -`. Key Vault compares names without regard to case.
#[derive(Clone, Debug)]
pub(super) struct KeyName(String);

impl KeyName {
    pub(super) fn new(name: &str) -> Option<Self> {
        let fits = (1..=LONGEST_NAME).contains(&name.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (fits && name.bytes().all(allowed)).then(|| Self(name.to_ascii_lowercase()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A version of a key: 32 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyVersion(String);

impl KeyVersion {
    fn new(version: &str) -> Option<Self> {
        let fits = version.len() == VERSION_DIGITS;
        let fits = fits && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        fits.then(|| Self(version.to_ascii_lowercase()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Host and, unless it is 443, port: `kv1.vault.azure.net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Authority(String);

impl Authority {
    fn of(url: &Url) -> Option<Self> {
        url.host_str()?;
        Some(Self(url[Position::BeforeHost..Position::AfterPort].to_owned()))
    }

    /// That of `https://HOST[:PORT]`, and of nothing else.
    fn of_bare(url: &Url) -> Option<Self> {
        let is_bare = url.scheme() == "https"
            && matches!(url.path(), "" | "/")
            && url[Position::AfterPath..].is_empty()
            && url.username().is_empty()
            && url.password().is_none();
        Self::of(url).filter(|_| is_bare)
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `https://HOST/keys/NAME/VERSION`, the id that Key Vault gives to a version of a key. It is kept
/// in lower case, because Key Vault compares ids without regard to case, and an id that moved with
/// the spelling in a configuration or an answer would look like a rotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyId {
    pub(super) authority: Authority,
    pub(super) version: KeyVersion,
    name: String,
}

impl KeyId {
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let url = Url::parse(&text).ok()?;
        let mut segments = url.path_segments()?;
        let (Some("keys"), Some(name), Some(version), None) =
            (segments.next(), segments.next(), segments.next(), segments.next())
        else {
            return None;
        };
        let authority = Authority::of(&url)?;
        let version = KeyVersion::new(version)?;
        let id = Self { authority, version, name: KeyName::new(name)?.0 };
        // What the URL's parser had to mend was no id of Key Vault's.
        (id.to_string() == text).then_some(id)
    }

    pub(super) fn kek_id(&self) -> Option<KekId> {
        KekId::new(&self.to_string()).ok()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}/keys/{}/{}", self.authority, self.name, self.version.as_str())
    }
}

/// The one key of the one vault that a provider speaks of.
///
/// Whose ids are ours: an id has our key's name, and the vault's host. If the endpoint's host is
/// under the service's suffix (`kv1.vault.azure.net` under `vault.azure.net`), it is the vault's
/// host. Else the endpoint is another way to the vault (a private endpoint's own name, an
/// emulator), and the vault's host is what the first answer about our key names: the endpoint's
/// host or one under the suffix; from then on that one alone, for as long as the process lives.
///
/// A backup of a key restores into another vault with its versions. So what was wrapped in a vault
/// that the key is declared to have been in is unwrapped by the version of the same name in ours.
#[derive(Debug)]
pub(super) struct OwnKey {
    pub(super) name: KeyName,
    pub(super) endpoint: Authority,
    suffix: String,
    vault: OnceLock<Authority>,
    former: Vec<Authority>,
}

impl OwnKey {
    /// `None` if the endpoint is not `https://HOST[:PORT]`.
    pub(super) fn new(endpoint: &Url, resource: &str, name: KeyName) -> Option<Self> {
        let endpoint = Authority::of_bare(endpoint)?;
        let suffix = format!(".{}", resource.to_ascii_lowercase());
        let (vault, former) = (OnceLock::new(), Vec::new());
        let key = Self { name, endpoint, suffix, vault, former };
        if key.is_under_suffix(&key.endpoint) {
            key.vault.get_or_init(|| key.endpoint.clone());
        }
        Some(key)
    }

    /// The same, which was in these `vaults` before; `None` if one is not `https://HOST[:PORT]`.
    pub(super) fn formerly_in(self, vaults: &[Url]) -> Option<Self> {
        let former = vaults.iter().map(Authority::of_bare).collect::<Option<_>>()?;
        Some(Self { former, ..self })
    }

    /// Whether the endpoint's host is under the service's suffix.
    pub(super) fn is_endpoint_under_suffix(&self) -> bool {
        self.is_under_suffix(&self.endpoint)
    }

    /// The id in `text`, if it is one of our key's.
    pub(super) fn id(&self, text: &str) -> Option<KeyId> {
        let id = KeyId::parse(text)?;
        (id.name == self.name.0 && self.is_vault(&id.authority)).then_some(id)
    }

    /// The id in `text` if our key may unwrap what was wrapped under it: one of our key's, or one that
    /// it had in a former vault.
    pub(super) fn unwrapping_id(&self, text: &str) -> Option<KeyId> {
        let id = KeyId::parse(text)?;
        let is_ours = self.is_vault(&id.authority) || self.was_in(&id.authority);
        (id.name == self.name.0 && is_ours).then_some(id)
    }

    /// Whether `text`, in the answer to an unwrap under `asked`, names that version of our key.
    pub(super) fn is_answer_of(&self, asked: &KeyId, text: &str) -> bool {
        self.answered_id(text).is_some_and(|id| {
            let is_there = id.authority == asked.authority || self.was_in(&asked.authority);
            is_there && id.version == asked.version
        })
    }

    /// Whether `text` would be an id of our key but for the vault, which is another than ours.
    pub(super) fn is_in_other_vault(&self, text: &str) -> bool {
        let is_other = |id: KeyId| self.vault.get().is_some_and(|vault| *vault != id.authority);
        KeyId::parse(text).is_some_and(|id| id.name == self.name.0 && is_other(id))
    }

    /// Whether an id that is not one of our key's may turn out to be once the vault has told its
    /// host: only the host is wrong, and that is not known yet.
    pub(super) fn may_become_ours(&self, text: &str) -> bool {
        self.vault.get().is_none() && KeyId::parse(text).is_some_and(|id| id.name == self.name.0)
    }

    /// The same, of an answer about our key, which teaches us the vault's host.
    pub(super) fn answered_id(&self, text: &str) -> Option<KeyId> {
        let id = self.id(text)?;
        // Of two that learn at once, the one that comes second has to agree.
        (*self.vault.get_or_init(|| id.authority.clone()) == id.authority).then_some(id)
    }

    /// Whether `url` is on the vault, under whichever name.
    pub(super) fn is_on_vault(&self, url: &Url) -> bool {
        let authority = Authority::of(url);
        url.scheme() == "https"
            && authority.is_some_and(|host| host == self.endpoint || self.is_vault(&host))
    }

    fn was_in(&self, authority: &Authority) -> bool {
        self.former.contains(authority)
    }

    fn is_vault(&self, authority: &Authority) -> bool {
        match self.vault.get() {
            Some(vault) => vault == authority,
            None => *authority == self.endpoint || self.is_under_suffix(authority),
        }
    }

    /// `LABEL.SUFFIX`, on the default port or the endpoint's.
    fn is_under_suffix(&self, authority: &Authority) -> bool {
        let (host, port) = split_port(&authority.0);
        let (suffix, _) = split_port(&self.suffix);
        let label = host.strip_suffix(suffix);
        let known_port = port.is_none() || port == split_port(&self.endpoint.0).1;
        known_port && label.is_some_and(|label| !label.is_empty())
    }
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // Inside `[...]` it is a part of the address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION: &str = "0123456789abcdef0123456789abcdef";

    fn key(endpoint: &str) -> OwnKey {
        let name = KeyName::new("Unseal").unwrap();
        OwnKey::new(&Url::parse(endpoint).unwrap(), "vault.azure.net", name).unwrap()
    }

    fn id(host: &str) -> String {
        format!("https://{host}/keys/unseal/{VERSION}")
    }

    #[test]
    fn names_that_would_change_a_path_are_refused() {
        let long = "a".repeat(128);
        for bad in ["", "a/b", "../a", "a%2fb", "a?b", "a#b", "a b", "a_b", "\u{e4}", &*long] {
            assert!(KeyName::new(bad).is_none(), "{bad:?}");
        }
        for good in ["a", "A-1", &long[1..]] {
            assert!(KeyName::new(good).is_some(), "{good:?}");
        }
    }

    #[test]
    fn ids_that_are_not_those_of_our_key_are_foreign() {
        let key = key("https://kv1.vault.azure.net");
        let good = id("kv1.vault.azure.net");
        assert!(key.id(&good).is_some());
        for bad in [
            "",
            "unseal",
            VERSION,
            "https://kv1.vault.azure.net/keys/unseal",
            "https://kv1.vault.azure.net/keys/unseal/",
            "https://kv1.vault.azure.net/keys/unseal/0123",
            &format!("https://kv1.vault.azure.net/keys/unseal/../unseal/{VERSION}"),
            &format!("https://kv1.vault.azure.net/keys/unseal/{}g", &VERSION[1..]),
            &format!("https://kv1.vault.azure.net/keys/other/{VERSION}"),
            &format!("https://kv1.vault.azure.net/secrets/unseal/{VERSION}"),
            &format!("https://kv1.vault.azure.net//keys/unseal/{VERSION}"),
            &format!("https://user@kv1.vault.azure.net/keys/unseal/{VERSION}"),
            &good.replace("https", "http"),
            &good.replace("kv1", "kv2"),
            &good.replace("kv1", "x.kv1"),
            &good.replace(".net/", ".net.evil/"),
            &good.replace(".net/", ".net:444/"),
            &good.replace(".net/", ".net:443/"),
            &format!("{good}/"),
            &format!("{good}/unwrapkey"),
            &format!("{good}?a=b"),
            &format!("{good}#a"),
            &format!(" {good}"),
            &format!("{good}\n"),
        ] {
            assert!(key.id(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn case_makes_no_other_id() {
        let key = key("https://KV1.vault.azure.net/");
        let spelled = id("kv1.vault.azure.net").to_ascii_uppercase();
        let found = key.id(&spelled.replace("HTTPS", "https")).unwrap();
        assert_eq!(found.to_string(), id("kv1.vault.azure.net"));
        assert_eq!(found.kek_id().unwrap().as_str(), id("kv1.vault.azure.net"));
    }

    #[test]
    fn vault_behind_another_endpoint_is_the_one_that_answers_first() {
        let key = key("https://10.0.0.4:8443");
        assert!(!key.is_endpoint_under_suffix());
        for unlearned in ["10.0.0.4:8443", "kv1.vault.azure.net", "kv2.vault.azure.net:8443"] {
            assert!(key.id(&id(unlearned)).is_some(), "{unlearned}");
        }
        for foreign in ["10.0.0.4", "vault.azure.net", "kv1.vault.azure.net:1", "evil.example"] {
            assert!(key.answered_id(&id(foreign)).is_none(), "{foreign}");
        }
        assert!(key.answered_id(&id("kv1.vault.azure.net")).is_some());
        assert!(key.answered_id(&id("kv1.vault.azure.net")).is_some());
        for other in ["10.0.0.4:8443", "kv2.vault.azure.net"] {
            assert!(key.answered_id(&id(other)).is_none(), "{other}");
            assert!(key.id(&id(other)).is_none(), "{other}");
        }
    }

    fn moved(endpoint: &str) -> OwnKey {
        let former = ["https://kv1.vault.azure.net", "https://10.0.0.9:8443"];
        key(endpoint).formerly_in(&former.map(|url| Url::parse(url).unwrap())).unwrap()
    }

    #[test]
    fn a_former_vault_counts_for_unwrapping_alone_and_only_for_our_key() {
        let key = moved("https://kv2.vault.azure.net");
        for former in ["kv1.vault.azure.net", "10.0.0.9:8443"] {
            let (asked, former) = (key.unwrapping_id(&id(former)).unwrap(), id(former));
            assert!(key.id(&former).is_none() && key.answered_id(&former).is_none());
            assert!(key.is_answer_of(&asked, &id("kv2.vault.azure.net")));
            for wrong in [former, id("kv3.vault.azure.net"), id("kv2.vault.azure.net") + "/a"] {
                assert!(!key.is_answer_of(&asked, &wrong), "{wrong}");
            }
            let other_version = id("kv2.vault.azure.net").replace("0123", "ffff");
            assert!(!key.is_answer_of(&asked, &other_version));
        }
        for foreign in [
            id("kv3.vault.azure.net"),
            id("10.0.0.9"),
            id("kv1.vault.azure.net").replace("unseal", "other"),
            id("kv1.vault.azure.net").replace("0123", "012g"),
        ] {
            assert!(key.unwrapping_id(&foreign).is_none(), "{foreign}");
        }
    }

    #[test]
    fn a_former_vault_counts_before_the_present_one_is_known_too() {
        let key = moved("https://10.0.0.4");
        let asked = key.unwrapping_id(&id("kv1.vault.azure.net")).unwrap();
        assert!(key.is_answer_of(&asked, &id("kv2.vault.azure.net")));
        assert!(!key.is_answer_of(&asked, &id("kv3.vault.azure.net")), "kv2 has answered");
    }

    #[test]
    fn only_our_key_in_a_vault_that_is_not_ours_is_in_another() {
        let key = moved("https://kv2.vault.azure.net");
        assert!(key.is_in_other_vault(&id("kv3.vault.azure.net")));
        assert!(!key.is_in_other_vault(&id("kv2.vault.azure.net")));
        assert!(!key.is_in_other_vault(&id("kv3.vault.azure.net").replace("unseal", "other")));
        let unlearned = moved("https://10.0.0.4");
        assert!(!unlearned.is_in_other_vault(&id("kv3.example")), "nobody knows yet");
    }

    #[test]
    fn endpoints_that_are_no_bare_https_host_are_refused() {
        for bad in [
            "http://kv1.vault.azure.net",
            "https://kv1.vault.azure.net/a",
            "https://kv1.vault.azure.net?a",
            "https://a:b@kv1.vault.azure.net",
        ] {
            let endpoint = Url::parse(bad).unwrap();
            let name = KeyName::new("a").unwrap();
            assert!(OwnKey::new(&endpoint, "vault.azure.net", name).is_none(), "{bad}");
            assert!(key("https://kv2.vault.azure.net").formerly_in(&[endpoint]).is_none(), "{bad}");
        }
    }

    #[test]
    fn ports_are_told_from_addresses() {
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert_eq!(split_port("[::1]:8443"), ("[::1]", Some("8443")));
        assert_eq!(split_port("a.b"), ("a.b", None));
        assert_eq!(split_port("a.b:1"), ("a.b", Some("1")));
    }
}
