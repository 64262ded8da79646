//! `client`: declared identities. Their tokens are known by hash only (I6).

mod certificate;

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{InvalidTokenHash, Policy, PolicyName, TokenHash};
use selkie_hcl::{Located, Section};

pub use self::certificate::DeclaredCertificate;
use crate::listener::Listener;
use crate::network::networks;
use crate::quantity::duration;

/// A declared client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredClient {
    /// Its name, for logs and display.
    pub name: ClientName,
    /// `token_sha256`: the hash of its token. One at least of token and certificate is there.
    pub token: Option<TokenHash>,
    /// `certificate`: what names it by itself where it has no token, and must come with its token
    /// where it has one.
    pub certificate: Option<DeclaredCertificate>,
    /// `policies`, without `default`.
    pub policies: Vec<PolicyName>,
    /// `period`: what each renewal of its token is worth; without it the token never expires and
    /// cannot be renewed.
    pub period: Option<Duration>,
    /// `token_bound_cidrs`: where its token or certificate is good from; empty means anywhere.
    pub token_bound_cidrs: Vec<IpNet>,
    /// `no_default_policy`: whether it is without the policy `default`.
    pub no_default_policy: bool,
}

/// The name of a client: 1 to 128 of `A-Z a-z 0-9 _ - . / @`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientName(Box<str>);

/// A name has a character or a length that no client's name has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client's name has 1 to 128 of the characters A-Z a-z 0-9 _ - . / @")]
pub struct InvalidClientName;

impl ClientName {
    /// `name`, checked.
    ///
    /// # Errors
    ///
    /// [`InvalidClientName`] if it is not of the form above.
    pub fn new(name: &str) -> Result<Self, InvalidClientName> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./@".contains(&byte);
        let fits = (1..=128).contains(&name.len()) && name.bytes().all(allowed);
        if fits { Ok(Self(name.into())) } else { Err(InvalidClientName) }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a client.
#[derive(Debug, thiserror::Error)]
enum ClientError {
    #[error("field \"token_sha256\": {source}, the output of: printf %s TOKEN | sha256sum")]
    TokenHash { source: InvalidTokenHash },
    #[error("another client has this token already")]
    RepeatedToken,
    #[error("client {client:?} needs \"token_sha256\", a \"certificate\" block, or both")]
    NoCredential { client: String },
    #[error("field \"period\": only a token is renewed, and this client has none")]
    PeriodWithoutToken,
    #[error(
        "client {other:?} has certificates that would be this client's as well: nobody could tell \
         which of the two it is"
    )]
    SameCertificate { other: String },
    #[error("policy {name:?} is not declared")]
    UnknownPolicy { name: String },
    #[error("field \"token_bound_cidrs\": an empty list would bind the token to nothing")]
    EmptyBound,
}

const LONGEST_PERIOD: Duration = Duration::from_secs(10 * 365 * 86_400);

/// All `client` stanzas, without those that have problems of their own.
pub(crate) fn decode(
    root: &mut Section<'_>,
    policies: &BTreeSet<PolicyName>,
    listeners: &[Listener],
) -> Vec<DeclaredClient> {
    let mut tokens = HashSet::new();
    let mut clients: Vec<DeclaredClient> = Vec::new();
    let can_show = listeners.iter().any(Listener::asks_clients);
    for (label, section) in root.uniquely_labelled("client") {
        let place = label.place;
        let Some(client) = client(label, section, policies, can_show) else {
            continue;
        };
        if client.token.is_some_and(|token| !tokens.insert(token)) {
            place.report(ClientError::RepeatedToken);
        }
        if let Some(other) = clients.iter().find(|other| client.cannot_be_told_from(other)) {
            place.report(ClientError::SameCertificate { other: other.name.to_string() });
        }
        clients.push(client);
    }
    clients
}

impl DeclaredClient {
    /// Whether both are named by a certificate alone, and some are named by the same one.
    fn cannot_be_told_from(&self, other: &Self) -> bool {
        match (self.alone(), other.alone()) {
            (Some(one), Some(other)) => one.meets(other) || other.meets(one),
            _ => false,
        }
    }

    /// The certificate that names it without a token.
    fn alone(&self) -> Option<&DeclaredCertificate> {
        self.certificate.as_ref().filter(|_| self.token.is_none())
    }
}

fn client(
    label: Located<'_, String>,
    mut section: Section<'_>,
    known: &BTreeSet<PolicyName>,
    can_show: bool,
) -> Option<DeclaredClient> {
    let credential = credential(&label.value, &mut section, can_show);
    let name = label.try_map(|text| ClientName::new(&text));
    let policies = policies(&mut section, known);
    let period_place = section.field("period").place();
    let period = duration(&mut section, "period", LONGEST_PERIOD);
    if let (Some((None, Some(_))), Some(place)) = (&credential, period_place) {
        place.report(ClientError::PeriodWithoutToken);
    }
    let bound = networks(section.field("token_bound_cidrs"));
    if let Some(list) = bound.as_ref().filter(|list| list.value.is_empty()) {
        list.place.report(ClientError::EmptyBound);
    }
    let no_default_policy =
        section.field("no_default_policy").boolean().is_some_and(|flag| flag.value);
    section.finish();
    let (token, certificate) = credential?;
    Some(DeclaredClient {
        name: name?.value,
        token,
        certificate,
        policies,
        period,
        token_bound_cidrs: bound.map(|list| list.value).unwrap_or_default(),
        no_default_policy,
    })
}

/// Its token, its certificate, or both; `None` if one of them has a problem or both are missing.
fn credential(
    name: &str,
    section: &mut Section<'_>,
    can_show: bool,
) -> Option<(Option<TokenHash>, Option<DeclaredCertificate>)> {
    let token = section.field("token_sha256");
    let has_token = token.place().is_some();
    let token = token.string().and_then(|text| {
        text.try_map(|text| text.parse().map_err(|source| ClientError::TokenHash { source }))
    });
    let block = section.block("certificate");
    if !has_token && block.is_none() {
        section.place().report(ClientError::NoCredential { client: name.to_owned() });
        return None;
    }
    let certificate = match block {
        Some(block) => Some(certificate::decode(block, can_show)?),
        None => None,
    };
    let token = token.map(|token| token.value);
    (token.is_some() || !has_token).then_some((token, certificate))
}

fn policies(section: &mut Section<'_>, known: &BTreeSet<PolicyName>) -> Vec<PolicyName> {
    let listed = section.field("policies").required().strings();
    let mut policies = Vec::new();
    for element in listed.map(|list| list.value).unwrap_or_default() {
        let policy = element.try_map(|text| {
            let name = text.parse::<PolicyName>().ok();
            name.filter(|name| known.contains(name))
                .ok_or(ClientError::UnknownPolicy { name: text })
        });
        policies.extend(policy.map(|policy| policy.value));
    }
    policies.sort();
    policies.dedup();
    policies.retain(|name| name != Policy::default_policy().name());
    policies
}
