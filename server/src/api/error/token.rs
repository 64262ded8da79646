//! What a client is told of tokens. Who has no good token at all is told elsewhere, always the
//! same.

use selkie_access::ManyPolicies;

use crate::api::quote::Quoted;
use crate::auth::tokens::LargeMetadata;

/// Why a token or a token role is not made, shown, renewed or revoked. Its display is Vault's text,
/// or ours where Vault has no such case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The parent has died since the request came in.
    #[error("parent token lookup failed: no parent found")]
    NoParent,
    /// A token with `num_uses` asks for another.
    #[error("restricted use token cannot generate child tokens")]
    RestrictedUse,
    /// A batch token asks for another.
    #[error("batch tokens cannot create more tokens")]
    BatchCannotCreate,
    /// A policy that the parent has not.
    #[error("child policies must be subset of parent")]
    NotSubset,
    /// What only sudo may ask for, as Vault calls it.
    #[error("root or sudo privileges required to {0}")]
    NeedsSudo(&'static str),
    /// `root` from a parent that is not.
    #[error("root tokens may not be created without parent token being root")]
    RootFromOther,
    /// No such role.
    #[error("unknown role {0}")]
    UnknownRole(Box<str>),
    /// `type` is none.
    #[error("invalid 'token_type' value")]
    InvalidType,
    /// `token_type` of a role is none.
    #[error("invalid 'token_type' value {}", Quoted(.0))]
    InvalidRoleType(Box<str>),
    /// `num_uses` is below 0.
    #[error("number of uses cannot be negative")]
    NegativeUses,
    /// A duration is below 0.
    #[error("{0} must be positive")]
    NotPositive(&'static str),
    /// A batch token cannot have this.
    #[error("batch tokens cannot have {} set", Quoted(.0))]
    BatchCannotHave(&'static str),
    /// A batch token cannot be revoked, so it cannot be root.
    #[error("batch tokens cannot be root tokens")]
    BatchRoot,
    /// A role whose batch tokens would be this.
    #[error("'token_type' cannot be 'batch' when role is set to generate {0}")]
    BatchRole(&'static str),
    /// A token for ever from one that is not.
    #[error("expiring root tokens cannot create non-expiring root tokens")]
    ExpiringRoot,
    /// The role does not allow these policies.
    #[error("{text}")]
    OutsideRole {
        /// The policies, the allowed ones and the allowed patterns, as Go prints them.
        text: Box<str>,
    },
    /// The role forbids this policy.
    #[error("token policy {} is disallowed by this role", Quoted(.0))]
    DisallowedByRole(Box<str>),
    /// Not the name of a policy.
    #[error("{} is not the name of a policy", Quoted(.0))]
    BadPolicyName(Box<str>),
    /// An entity alias without a role.
    #[error("'entity_alias' is only allowed in combination with token role")]
    EntityAliasWithoutRole,
    /// An entity alias that the role does not allow, as it must: there are no entities.
    #[error("invalid 'entity_alias' value")]
    InvalidEntityAlias,
    /// An `id` that is not one.
    #[error("custom token ID must be visible characters without '.'")]
    UnfitId,
    /// An `id` that a token has already.
    #[error("cannot create a token with a duplicate ID")]
    DuplicateId,
    /// `meta` is no map of texts.
    #[error("meta must be a map of texts")]
    BadMeta,
    /// Ours: `meta` has more, or longer, entries than each audit line is to tell.
    #[error("meta: {0}")]
    LargeMeta(LargeMetadata),
    /// Ours: it would have more policies than each audit line is to tell.
    #[error(transparent)]
    ManyPolicies(ManyPolicies),
    /// Ours: the same of `display_name`.
    #[error("display_name: at most {0} bytes")]
    LongDisplayName(usize),
    /// A network is none.
    #[error("{0}: expected addresses or CIDRs")]
    BadNetwork(&'static str),
    /// `path_suffix` with characters that it cannot have.
    #[error("given role path suffix contains invalid characters; must match \\w[\\w-.]+\\w")]
    BadPathSuffix,
    /// No token in the request.
    #[error("missing token ID")]
    MissingId,
    /// No accessor in the request.
    #[error("missing accessor")]
    MissingAccessor,
    /// No token has the accessor.
    #[error("invalid accessor")]
    InvalidAccessor,
    /// `lookup` of a token that is none.
    #[error("bad token")]
    BadToken,
    /// `renew` of a token that is none.
    #[error("token not found")]
    NotFound,
    /// `revoke-orphan` of a token that is none.
    #[error("token to revoke not found")]
    NothingToRevoke,
    /// A batch token lives as long as it was made to.
    #[error("batch tokens cannot be renewed")]
    BatchCannotBeRenewed,
    /// A batch token dies with its parent only.
    #[error("batch tokens cannot be revoked")]
    BatchCannotBeRevoked,
    /// As old as it can be.
    #[error("past the max TTL, cannot renew")]
    PastMax,
    /// Ours: the token stands in the configuration (invariant I6).
    #[error("the token is declared in the configuration file, as client {}: change it there",
        Quoted(.0))]
    Declared(Box<str>),
    /// Ours: its parent has too many ancestors.
    #[error("the parent token has too many ancestors")]
    TooDeep,
    /// Ours: it does not fit into the store, or into a header.
    #[error("the token is too large")]
    TooLarge,
    /// Ours: there is no `storage` to keep a token in.
    #[error("tokens need storage: configure it, or declare clients in the configuration file")]
    NoStorage,
}
