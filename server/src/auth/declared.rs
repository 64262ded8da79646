//! Bearer tokens of declared clients, found by their SHA-256 alone.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use selkie_access::{Acl, Identity, Policy, PolicyName, TokenHash, TokenText};
use selkie_config::DeclaredClient;
use selkie_crypto::sha256;
use selkie_kms::ClientTag;
use selkie_listener::ShownCertificate;

use super::address::is_within;
use super::certificate::{CertificateClients, CertificateRule, OF_CLIENT};
use super::{Client, Credentials, Declaration, NotAuthenticated, Origin};
use crate::deployment::DeploymentError;

/// The declared clients.
#[derive(Debug, Default)]
pub struct Clients {
    /// By the hash of their token.
    by_token: BTreeMap<TokenHash, Declared>,
    by_certificate: CertificateClients,
    /// When the first revocation list of a client's own should have been replaced, in seconds since
    /// 1970, and whose it is; in order.
    lists_until: Vec<(u64, String)>,
}

/// A declared client, and where and with what it may come.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) client: Arc<Client>,
    bound_cidrs: Vec<IpNet>,
    /// Names it if it has no token, else it must come with that.
    pub(super) certificate: Option<CertificateRule>,
    /// Its policies, where they say something else to each certificate.
    templated: Vec<Policy>,
}

impl Clients {
    /// `declared`, each with the policies that it names, and what certificates are verified against.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::Client`].
    pub fn new(
        declared: Vec<DeclaredClient>,
        policies: &[Policy],
    ) -> Result<Self, DeploymentError> {
        let mut by_token = BTreeMap::new();
        let (mut without_token, mut lists_until) = (Vec::new(), Vec::new());
        for one in declared {
            let token = one.token;
            let client = Declared::new(one, policies)?;
            let until = client.certificate.as_ref().and_then(CertificateRule::lists_until);
            let whose = |until| (until, format!("{OF_CLIENT}{}", client.client.name()));
            lists_until.extend(until.map(whose));
            match token {
                Some(token) => drop(by_token.insert(token, client)),
                None => without_token.push(client),
            }
        }
        lists_until.sort();
        Ok(Self { by_token, by_certificate: CertificateClients::new(without_token), lists_until })
    }

    /// Whose revocation lists there are beside those of listeners, and when the first of each should
    /// have been replaced, in seconds since 1970; the first to end comes first.
    pub fn lists_until(&self) -> impl Iterator<Item = (&str, u64)> {
        self.lists_until.iter().map(|(until, whose)| (whose.as_str(), *until))
    }

    /// The client that is declared with this token.
    #[must_use]
    pub fn find(&self, token: &TokenHash) -> Option<&Arc<Client>> {
        self.by_token.get(token).map(|declared| &declared.client)
    }

    /// The client of this accessor.
    #[must_use]
    pub fn find_accessor(&self, accessor: &str) -> Option<&Arc<Client>> {
        let mut all = self.by_token.values().map(|declared| &declared.client);
        all.find(|client| client.accessor() == accessor)
    }

    /// The accessors of all of them.
    pub fn accessors(&self) -> impl Iterator<Item = &str> {
        self.by_token.values().map(|declared| declared.client.accessor())
    }

    /// Whether a client is declared with this token.
    #[must_use]
    pub fn has(&self, token: &TokenHash) -> bool {
        self.by_token.contains_key(token)
    }

    /// Whether the client that is declared with this token comes with such a certificate, or need
    /// not come with any; at `now`, in seconds since 1970.
    pub(crate) fn takes(
        &self,
        token: &TokenHash,
        certificate: Option<&ShownCertificate>,
        now: u64,
    ) -> bool {
        self.by_token.get(token).is_some_and(|declared| declared.takes(certificate, now))
    }

    /// Where the token of this hash is good from; empty: from anywhere.
    #[must_use]
    pub(crate) fn bound_cidrs(&self, token: &TokenHash) -> &[IpNet] {
        self.by_token.get(token).map_or(&[], |declared| &declared.bound_cidrs)
    }

    /// The name of the client that `tag` tells from the others, if it is declared.
    #[must_use]
    pub fn name_of(&self, tag: ClientTag) -> Option<&str> {
        let by_token = self.by_token.values().map(|declared| &declared.client);
        let mut all = by_token.chain(self.by_certificate.iter());
        all.find(|client| client.tag == tag).map(|client| client.name())
    }

    /// The client whose token this is.
    ///
    /// # Errors
    ///
    /// [`NotAuthenticated`].
    pub fn authenticate(
        &self,
        token: &TokenText,
        with: Credentials<'_>,
        now: u64,
    ) -> Result<Arc<Client>, NotAuthenticated> {
        let hash = TokenHash::new(sha256(token.expose_for_hash()));
        let declared = self.by_token.get(&hash).ok_or(NotAuthenticated::UnknownToken)?;
        declared.require_address(with.address)?;
        match declared.takes(with.certificate, now) {
            true => Ok(Arc::clone(&declared.client)),
            false => Err(NotAuthenticated::WithoutCertificate(declared.client.known())),
        }
    }

    /// The client that the certificate alone names, at `now`, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// [`NotAuthenticated`].
    pub fn by_certificate(
        &self,
        with: Credentials<'_>,
        now: u64,
    ) -> Result<Arc<Client>, NotAuthenticated> {
        let shown = with.certificate.ok_or(NotAuthenticated::NoToken)?;
        self.by_certificate.find(shown, with.address, now)
    }
}

impl Declared {
    fn new(declared: DeclaredClient, policies: &[Policy]) -> Result<Self, DeploymentError> {
        let rule = declared.certificate;
        let rule = rule.map(|rule| CertificateRule::load(declared.name.as_str(), rule)).transpose();
        let certificate = rule
            .map_err(|source| DeploymentError::Client { client: declared.name.clone(), source })?;
        let mut names = declared.policies;
        let is_root = names.iter().any(PolicyName::is_root);
        if !is_root && !declared.no_default_policy {
            names.push(Policy::default_policy().name().clone());
        }
        names.sort();
        let named = in_force(policies, &names);
        let name = declared.name.as_str().to_owned();
        let (tag, accessor) = (tag(declared.token.as_ref(), &name), declared.token.as_ref());
        let acl = Arc::new(Acl::of(&named, &identity(&name, &BTreeMap::new())));
        let who = Arc::new(Declaration {
            name,
            accessor: accessor.map(accessor_of).unwrap_or_default(),
            policies: names.into(),
            metadata: BTreeMap::new(),
            certificate: BTreeMap::new(),
        });
        let origin = Origin::Declared { who, period: declared.period };
        let client = Client { acl, tag, origin };
        let bound_cidrs = declared.token_bound_cidrs;
        let is_templated = named.iter().any(Policy::is_templated);
        let templated = if is_templated { named } else { Vec::new() };
        Ok(Self { client: Arc::new(client), bound_cidrs, certificate, templated })
    }

    /// What the client may do when it has shown a certificate that says this.
    pub(super) fn acl_with(&self, certificate: &BTreeMap<String, String>) -> Arc<Acl> {
        if self.templated.is_empty() {
            return Arc::clone(&self.client.acl);
        }
        Arc::new(Acl::of(&self.templated, &identity(self.client.name(), certificate)))
    }

    fn takes(&self, certificate: Option<&ShownCertificate>, now: u64) -> bool {
        let shown = |rule: &CertificateRule| certificate.is_some_and(|it| rule.matches(it, now));
        self.certificate.as_ref().is_none_or(shown)
    }

    pub(super) fn require_address(&self, address: IpAddr) -> Result<(), NotAuthenticated> {
        if is_within(&self.bound_cidrs, address) {
            return Ok(());
        }
        Err(NotAuthenticated::OutsideBoundCidrs(self.client.known()))
    }
}

/// Those of `names` that are declared or built in; what is declared takes the place of what is built
/// in.
fn in_force(policies: &[Policy], names: &[PolicyName]) -> Vec<Policy> {
    let built_in = [Policy::root(), Policy::default_policy()];
    let find = |name: &PolicyName| {
        policies.iter().chain(&built_in).find(|policy| policy.name() == name).cloned()
    };
    names.iter().filter_map(find).collect()
}

/// What templates say of a declared client: its name, whichever way they ask for it, and what the
/// certificate says by which it is known.
pub(super) fn identity(name: &str, certificate: &BTreeMap<String, String>) -> Identity {
    let (name, token_display_name) = (name.to_owned(), name.to_owned());
    Identity { name, token_display_name, certificate: certificate.clone(), ..Identity::default() }
}

/// Of the token, or, without one, of the name: certificates are renewed.
fn tag(token: Option<&TokenHash>, name: &str) -> ClientTag {
    ClientTag::from_digest(&match token {
        Some(token) => sha256(&[b"selkie client", token.as_bytes().as_slice()].concat()),
        None => sha256(&[b"selkie client by certificate", name.as_bytes()].concat()),
    })
}

/// 24 characters of base62, as Vault's accessors are, from a hash of the token's hash.
fn accessor_of(token: &TokenHash) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let digest = sha256(&[b"selkie accessor", token.as_bytes().as_slice()].concat());
    let digit = |byte: &u8| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]);
    digest.iter().take(24).map(digit).collect()
}

#[cfg(test)]
mod tests {
    use selkie_config::ClientName;

    use super::*;

    fn token(text: &str) -> TokenText {
        TokenText::from_header(text.as_bytes()).unwrap()
    }

    fn declared(name: &str, token: &str) -> DeclaredClient {
        DeclaredClient {
            name: ClientName::new(name).unwrap(),
            token: Some(TokenHash::new(sha256(token.as_bytes()))),
            certificate: None,
            policies: Vec::new(),
            period: None,
            token_bound_cidrs: Vec::new(),
            no_default_policy: false,
        }
    }

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn a_token_is_found_by_its_hash_alone() {
        let clients =
            Clients::new(vec![declared("a", "s.one"), declared("b", "s.two")], &[]).unwrap();
        let found =
            |text| clients.authenticate(&token(text), HOME.into(), 0).map(|c| c.name().to_owned());
        assert_eq!(found("s.one").as_deref(), Ok("a"));
        assert_eq!(found("s.two").as_deref(), Ok("b"));
        assert_eq!(found("s.three"), Err(NotAuthenticated::UnknownToken));
        let hash = TokenHash::new(sha256(b"s.one")).to_string();
        assert_eq!(
            found(&hash),
            Err(NotAuthenticated::UnknownToken),
            "the declaration is no token"
        );
    }

    #[test]
    fn a_bound_token_is_good_from_its_networks_alone() {
        let bound = DeclaredClient {
            token_bound_cidrs: vec!["10.1.0.0/16".parse().unwrap()],
            ..declared("a", "s.one")
        };
        let clients = Clients::new(vec![bound], &[]).unwrap();
        let from = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            clients.authenticate(&token("s.one"), address.into(), 0)
        };
        assert!(from("10.1.2.3").is_ok());
        assert!(from("::ffff:10.1.2.3").is_ok());
        let outside = from("10.2.0.1").unwrap_err();
        let is_known =
            matches!(&outside, NotAuthenticated::OutsideBoundCidrs(it) if it.name == "a");
        assert!(is_known, "{outside:?}");
    }

    #[test]
    fn every_client_has_the_default_policy_unless_it_declines_or_is_root() {
        let names = |declared| {
            let client = Declared::new(declared, &[]).unwrap().client;
            client.policies().iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(declared("a", "t")), ["default"]);
        let without = DeclaredClient { no_default_policy: true, ..declared("a", "t") };
        assert_eq!(names(without), Vec::<String>::new());
        let root = DeclaredClient { policies: vec!["root".parse().unwrap()], ..declared("a", "t") };
        assert_eq!(names(root), ["root"]);
    }

    #[test]
    fn a_declared_default_takes_the_place_of_the_built_in_one() {
        let text = "path \"mine\" { capabilities = [\"read\"] }";
        let name = Policy::default_policy().name().clone();
        let own = Policy::parse(name, "selkie.hcl", text).unwrap();
        let client = Declared::new(declared("a", "t"), &[own]).unwrap().client;
        assert_eq!(client.acl.capabilities("mine"), ["read"]);
        assert_eq!(client.acl.capabilities("auth/token/lookup-self"), ["deny"]);
        let built_in = Declared::new(declared("a", "t"), &[]).unwrap().client;
        assert_eq!(built_in.acl.capabilities("auth/token/lookup-self"), ["read"]);
    }

    #[test]
    fn an_accessor_looks_like_vaults_and_is_no_hash_of_the_token() {
        let hash = TokenHash::new(sha256(b"s.one"));
        let accessor = accessor_of(&hash);
        assert_eq!(accessor.len(), 24);
        assert!(accessor.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert!(!hash.to_string().contains(&accessor));
    }
}
