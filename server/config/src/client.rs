//! `client`: declared identities. Their tokens are known by hash only (I6).

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{InvalidTokenHash, Policy, PolicyName, TokenHash};
use selkie_hcl::{Located, Section};

use crate::network::networks;
use crate::quantity::duration;

/// A declared client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredClient {
    /// Its name, for logs and display.
    pub name: ClientName,
    /// `token_sha256`: the hash of its token.
    pub token: TokenHash,
    /// `policies`, without `default`.
    pub policies: Vec<PolicyName>,
    /// `period`: what each renewal of its token is worth; without it the token never expires and
    /// cannot be renewed.
    pub period: Option<Duration>,
    /// `token_bound_cidrs`: where its token is good from; empty means anywhere.
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
) -> Vec<DeclaredClient> {
    let mut tokens = HashSet::new();
    let mut clients = Vec::new();
    for (label, section) in root.uniquely_labelled("client") {
        let place = label.place;
        let Some(client) = client(label, section, policies) else {
            continue;
        };
        if !tokens.insert(client.token) {
            place.report(ClientError::RepeatedToken);
        }
        clients.push(client);
    }
    clients
}

fn client(
    label: Located<'_, String>,
    mut section: Section<'_>,
    known: &BTreeSet<PolicyName>,
) -> Option<DeclaredClient> {
    let name = label.try_map(|text| ClientName::new(&text));
    let token = section.field("token_sha256").required().string().and_then(|text| {
        text.try_map(|text| text.parse().map_err(|source| ClientError::TokenHash { source }))
    });
    let policies = policies(&mut section, known);
    let period = duration(&mut section, "period", LONGEST_PERIOD);
    let bound = networks(section.field("token_bound_cidrs"));
    if let Some(list) = bound.as_ref().filter(|list| list.value.is_empty()) {
        list.place.report(ClientError::EmptyBound);
    }
    let no_default_policy =
        section.field("no_default_policy").boolean().is_some_and(|flag| flag.value);
    section.finish();
    Some(DeclaredClient {
        name: name?.value,
        token: token?.value,
        policies,
        period,
        token_bound_cidrs: bound.map(|list| list.value).unwrap_or_default(),
        no_default_policy,
    })
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
