//! The `token_*` fields that the roles of all methods have.

use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{ManyPolicies, NameError, PolicyName};
use selkie_hcl::Section;

use super::LONGEST_LEASE;
use crate::network::networks;
use crate::quantity::{duration, number};

/// What the tokens that a role gives out are to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenParameters {
    /// `token_ttl`; zero: the mount's.
    pub ttl: Duration,
    /// `token_max_ttl`; zero: the mount's.
    pub max_ttl: Duration,
    /// `token_policies`, in order, without `default`.
    pub policies: Vec<PolicyName>,
    /// `token_bound_cidrs`: from where logins and tokens are good; empty: from anywhere.
    pub bound_cidrs: Vec<IpNet>,
    /// `token_explicit_max_ttl`; zero: none.
    pub explicit_max_ttl: Duration,
    /// `token_no_default_policy`
    pub no_default_policy: bool,
    /// `token_num_uses`; 0: any number.
    pub num_uses: u32,
    /// `token_period`; zero: not periodic.
    pub period: Duration,
    /// `token_type`
    pub token_type: TokenType,
}

/// `token_type`, of a role or of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenType {
    /// What the mount says, else a service token.
    #[default]
    Default,
    /// A service token.
    Service,
    /// A batch token.
    Batch,
}

impl TokenType {
    /// Vault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Service => "service",
            Self::Batch => "batch",
        }
    }

    /// The type of this name; none at all is the default.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "default" => Some(Self::Default),
            "service" => Some(Self::Service),
            "batch" => Some(Self::Batch),
            _ => None,
        }
    }
}

/// Why parameters do not go together. The texts are Vault's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterConflict {
    /// A ttl that is never reached.
    #[error("'token_ttl' cannot be greater than 'token_max_ttl'")]
    TtlAboveMax,
    /// A batch token cannot be renewed.
    #[error(
        "'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens"
    )]
    PeriodicBatch,
    /// The uses of a batch token cannot be counted.
    #[error(
        "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with \
         limited use count"
    )]
    CountedBatch,
    /// No token can have as many, so that every login would be refused, with a use of its secret id
    /// gone.
    #[error(transparent)]
    ManyPolicies(#[from] ManyPolicies),
}

impl TokenParameters {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`ParameterConflict`].
    pub fn check(&self) -> Result<(), ParameterConflict> {
        if self.token_type == TokenType::Batch && !self.period.is_zero() {
            return Err(ParameterConflict::PeriodicBatch);
        }
        if self.token_type == TokenType::Batch && self.num_uses != 0 {
            return Err(ParameterConflict::CountedBatch);
        }
        if !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return Err(ParameterConflict::TtlAboveMax);
        }
        // As a login adds it.
        let default = (!self.no_default_policy).then(PolicyName::default_policy);
        let added = default.iter().filter(|name| !self.policies.contains(name));
        Ok(ManyPolicies::check(self.policies.iter().chain(added))?)
    }
}

#[derive(Debug, thiserror::Error)]
enum ParameterError {
    #[error("field \"token_policies\": {source}")]
    Policy { source: NameError },
    #[error("field \"token_policies\": a login never gives the policy \"root\"")]
    Root,
    #[error("field \"token_type\": there are \"default\", \"service\" and \"batch\"")]
    TokenType,
    #[error("field \"token_bound_cidrs\": an empty list would bind the token to nothing")]
    EmptyBound,
    #[error("{role}: field \"token_policies\": no login can have so many {source}")]
    ManyPolicies { role: String, source: ManyPolicies },
}

/// The `token_*` fields of a role.
pub(crate) fn decode(section: &mut Section<'_>) -> TokenParameters {
    let mut time = |field| duration(section, field, LONGEST_LEASE).unwrap_or_default();
    let (ttl, max_ttl) = (time("token_ttl"), time("token_max_ttl"));
    let (explicit_max_ttl, period) = (time("token_explicit_max_ttl"), time("token_period"));
    let bound = networks(section.field("token_bound_cidrs"));
    if let Some(list) = bound.as_ref().filter(|list| list.value.is_empty()) {
        list.place.report(ParameterError::EmptyBound);
    }
    let token_type = section.field("token_type").string().and_then(|text| {
        text.try_map(|text| TokenType::named(&text).ok_or(ParameterError::TokenType))
    });
    let most = u64::from(u32::MAX);
    let parameters = TokenParameters {
        ttl,
        max_ttl,
        explicit_max_ttl,
        period,
        policies: policies(section),
        bound_cidrs: bound.map(|list| list.value).unwrap_or_default(),
        no_default_policy: section
            .field("token_no_default_policy")
            .boolean()
            .is_some_and(|flag| flag.value),
        num_uses: number(section, "token_num_uses", 0..=most).map_or(0, |uses| uses.value),
        token_type: token_type.map(|named| named.value).unwrap_or_default(),
    };
    match parameters.check() {
        Ok(()) => {}
        Err(ParameterConflict::ManyPolicies(source)) => {
            let role = section.title().to_owned();
            section.place().report(ParameterError::ManyPolicies { role, source });
        }
        Err(conflict) => section.place().report(conflict),
    }
    parameters
}

fn policies(section: &mut Section<'_>) -> Vec<PolicyName> {
    let listed = section.field("token_policies").strings();
    let mut policies = Vec::new();
    for element in listed.map(|list| list.value).unwrap_or_default() {
        let policy = element.try_map(|text| match text.parse::<PolicyName>() {
            Ok(name) if name.is_root() => Err(ParameterError::Root),
            Ok(name) => Ok(name),
            Err(source) => Err(ParameterError::Policy { source }),
        });
        policies.extend(policy.map(|policy| policy.value));
    }
    policies.sort();
    policies.dedup();
    policies
}
