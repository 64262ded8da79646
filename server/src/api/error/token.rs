use std::fmt;

use crate::api::quote::Quoted;

/// Why a token or a token role is not made, shown, renewed or revoked. Its display is Vault's text,
/// or ours where Vault has no such case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// The parent has died since the request came in.
    NoParent,
    /// A token with `num_uses` asks for another.
    RestrictedUse,
    /// A batch token asks for another.
    BatchCannotCreate,
    /// A policy that the parent has not.
    NotSubset,
    /// What only sudo may ask for, as Vault calls it.
    NeedsSudo(&'static str),
    /// `root` from a parent that is not.
    RootFromOther,
    /// No such role.
    UnknownRole(Box<str>),
    /// `type` is none.
    InvalidType,
    /// `token_type` of a role is none.
    InvalidRoleType(Box<str>),
    /// `num_uses` is below 0.
    NegativeUses,
    /// A duration is below 0.
    NotPositive(&'static str),
    /// A batch token cannot have this.
    BatchCannotHave(&'static str),
    /// A batch token cannot be revoked, so it cannot be root.
    BatchRoot,
    /// A role whose batch tokens would be this.
    BatchRole(&'static str),
    /// A token for ever from one that is not.
    ExpiringRoot,
    /// The role does not allow these policies.
    OutsideRole {
        /// The policies, the allowed ones and the allowed patterns, as Go prints them.
        text: Box<str>,
    },
    /// The role forbids this policy.
    DisallowedByRole(Box<str>),
    /// Not the name of a policy.
    BadPolicyName(Box<str>),
    /// An entity alias without a role.
    EntityAliasWithoutRole,
    /// An entity alias that the role does not allow, as it must: there are no entities.
    InvalidEntityAlias,
    /// An `id` that is not one.
    UnfitId,
    /// An `id` that a token has already.
    DuplicateId,
    /// `meta` is no map of texts.
    BadMeta,
    /// A network is none.
    BadNetwork(&'static str),
    /// `path_suffix` with characters that it cannot have.
    BadPathSuffix,
    /// No token in the request.
    MissingId,
    /// No accessor in the request.
    MissingAccessor,
    /// No token has the accessor.
    InvalidAccessor,
    /// `lookup` of a token that is none.
    BadToken,
    /// `renew` of a token that is none.
    NotFound,
    /// `revoke-orphan` of a token that is none.
    NothingToRevoke,
    /// A batch token lives as long as it was made to.
    BatchCannotBeRenewed,
    /// A batch token dies with its parent only.
    BatchCannotBeRevoked,
    /// As old as it can be.
    PastMax,
    /// Ours: the token stands in the configuration (invariant I6).
    Declared(Box<str>),
    /// Ours: its parent has too many ancestors.
    TooDeep,
    /// Ours: it does not fit into the store, or into a header.
    TooLarge,
    /// Ours: there is no `storage` to keep a token in.
    NoStorage,
}

impl fmt::Display for TokenFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedsSudo(what) => write!(f, "root or sudo privileges required to {what}"),
            Self::UnknownRole(role) => write!(f, "unknown role {role}"),
            Self::InvalidRoleType(text) => {
                write!(f, "invalid 'token_type' value {}", Quoted(text))
            }
            Self::NotPositive(field) => write!(f, "{field} must be positive"),
            Self::BatchCannotHave(field) => {
                write!(f, "batch tokens cannot have {} set", Quoted(field))
            }
            Self::BatchRole(what) => {
                write!(f, "'token_type' cannot be 'batch' when role is set to generate {what}")
            }
            Self::OutsideRole { text } => f.write_str(text),
            Self::DisallowedByRole(policy) => {
                write!(f, "token policy {} is disallowed by this role", Quoted(policy))
            }
            Self::BadPolicyName(name) => write!(f, "{} is not the name of a policy", Quoted(name)),
            Self::BadNetwork(field) => write!(f, "{field}: expected addresses or CIDRs"),
            Self::Declared(name) => write!(
                f,
                "the token is declared in the configuration file, as client {}: change it there",
                Quoted(name)
            ),
            fixed => f.write_str(fixed.words()),
        }
    }
}

impl TokenFault {
    /// The text of those that say the same always.
    const fn words(&self) -> &'static str {
        match self {
            Self::NoParent => "parent token lookup failed: no parent found",
            Self::RestrictedUse => "restricted use token cannot generate child tokens",
            Self::BatchCannotCreate => "batch tokens cannot create more tokens",
            Self::NotSubset => "child policies must be subset of parent",
            Self::RootFromOther => "root tokens may not be created without parent token being root",
            Self::InvalidType => "invalid 'token_type' value",
            Self::NegativeUses => "number of uses cannot be negative",
            Self::BatchRoot => "batch tokens cannot be root tokens",
            Self::ExpiringRoot => "expiring root tokens cannot create non-expiring root tokens",
            Self::EntityAliasWithoutRole => {
                "'entity_alias' is only allowed in combination with token role"
            }
            Self::InvalidEntityAlias => "invalid 'entity_alias' value",
            Self::UnfitId => "custom token ID must be visible characters without '.'",
            Self::DuplicateId => "cannot create a token with a duplicate ID",
            Self::BadMeta => "meta must be a map of texts",
            Self::BadPathSuffix => {
                "given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w"
            }
            Self::MissingId => "missing token ID",
            Self::MissingAccessor => "missing accessor",
            Self::InvalidAccessor => "invalid accessor",
            Self::BadToken => "bad token",
            Self::NotFound => "token not found",
            Self::NothingToRevoke => "token to revoke not found",
            Self::BatchCannotBeRenewed => "batch tokens cannot be renewed",
            Self::BatchCannotBeRevoked => "batch tokens cannot be revoked",
            Self::PastMax => "past the max TTL, cannot renew",
            Self::TooDeep => "the parent token has too many ancestors",
            Self::TooLarge => "the token is too large",
            Self::NoStorage => {
                "tokens need storage: configure it, or declare clients in the configuration file"
            }
            Self::NeedsSudo(_)
            | Self::UnknownRole(_)
            | Self::InvalidRoleType(_)
            | Self::NotPositive(_)
            | Self::BatchCannotHave(_)
            | Self::BatchRole(_)
            | Self::OutsideRole { .. }
            | Self::DisallowedByRole(_)
            | Self::BadPolicyName(_)
            | Self::BadNetwork(_)
            | Self::Declared(_) => "",
        }
    }
}
