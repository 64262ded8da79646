//! What the endpoints of `auth/token/` take.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::api::error::TokenFault;
use crate::api::fields::{FieldError, Fields};
use crate::api::{ApiError, SecretText};
use crate::auth::tokens::LargeMetadata;

/// `create`, `create-orphan`, `create/:role`
#[derive(Debug)]
pub struct CreateToken<'a> {
    /// The text that the token is to have.
    pub id: Option<SecretText<'a>>,
    /// Names of policies.
    pub policies: Vec<String>,
    /// For the audit log and templates.
    pub meta: BTreeMap<String, String>,
    /// Whether it is to be an orphan.
    pub no_parent: bool,
    /// Whether it is to be without the policy `default`.
    pub no_default_policy: bool,
    /// Whether it can be renewed; absent: as the role says.
    pub renewable: Option<bool>,
    /// In seconds; 0 is the default.
    pub ttl: i64,
    /// In seconds; 0 is none.
    pub explicit_max_ttl: i64,
    /// In seconds; 0 is none.
    pub period: i64,
    /// Empty: `token`.
    pub display_name: Cow<'a, str>,
    /// 0 is any number.
    pub num_uses: i64,
    /// `service`, `batch`, or empty.
    pub token_type: Cow<'a, str>,
    /// Vault's link to an entity.
    pub entity_alias: Cow<'a, str>,
}

impl<'a> CreateToken<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let lease = fields.seconds("lease")?;
        let bad_meta = |error: FieldError| match error.is_too_many() {
            true => TokenFault::LargeMeta(LargeMetadata),
            false => TokenFault::BadMeta,
        };
        let meta = fields.pairs("meta").map_err(bad_meta)?.filter(|meta| !meta.is_empty());
        let other = fields.pairs("metadata").map_err(bad_meta)?;
        let meta = meta.or(other).unwrap_or_default();
        LargeMetadata::check(&meta).map_err(TokenFault::LargeMeta)?;
        // Known to Vault's schema.
        fields.text("format")?;
        let text = |text: Option<Cow<'a, str>>| text.unwrap_or_default();
        Ok(Self {
            id: fields.secret("id")?.filter(|id| !id.is_empty()),
            policies: fields.list("policies")?.unwrap_or_default(),
            meta,
            no_parent: fields.bool("no_parent")?.unwrap_or_default(),
            no_default_policy: fields.bool("no_default_policy")?.unwrap_or_default(),
            renewable: fields.bool("renewable")?,
            ttl: fields.seconds("ttl")?.or(lease).unwrap_or_default(),
            explicit_max_ttl: fields.seconds("explicit_max_ttl")?.unwrap_or_default(),
            period: fields.seconds("period")?.unwrap_or_default(),
            display_name: display_name(fields)?,
            num_uses: fields.int("num_uses")?.unwrap_or_default(),
            token_type: text(fields.text("type")?),
            entity_alias: text(fields.text("entity_alias")?),
        })
    }
}

fn display_name<'a>(fields: &mut Fields<'a>) -> Result<Cow<'a, str>, ApiError> {
    const MOST_BYTES: usize = 512;
    let name = fields.text("display_name")?.unwrap_or_default();
    match name.len() <= MOST_BYTES {
        true => Ok(name),
        false => Err(TokenFault::LongDisplayName(MOST_BYTES).into()),
    }
}

/// `lookup`, `renew`, `revoke` and `revoke-orphan`
#[derive(Debug)]
pub struct OfToken<'a> {
    /// The token; absent or empty where none was given.
    pub token: Option<SecretText<'a>>,
    /// Seconds asked for; 0 is the token's own.
    pub increment: i64,
}

impl<'a> OfToken<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'a>, has_increment: bool) -> Result<Self, ApiError> {
        let increment = if has_increment { fields.seconds("increment")? } else { None };
        Ok(Self {
            token: fields.secret("token")?.filter(|token| !token.is_empty()),
            increment: increment.unwrap_or_default(),
        })
    }
}

/// `lookup-accessor`, `renew-accessor` and `revoke-accessor`
#[derive(Debug)]
pub struct OfAccessor<'a> {
    /// Never empty.
    pub accessor: Cow<'a, str>,
    /// Seconds asked for; 0 is the token's own.
    pub increment: i64,
}

impl<'a> OfAccessor<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted, or no accessor.
    pub fn decode(fields: &mut Fields<'a>, has_increment: bool) -> Result<Self, ApiError> {
        let increment = if has_increment { fields.seconds("increment")? } else { None };
        let accessor = fields.text("accessor")?.filter(|accessor| !accessor.is_empty());
        Ok(Self {
            accessor: accessor.ok_or(TokenFault::MissingAccessor)?,
            increment: increment.unwrap_or_default(),
        })
    }
}

/// `roles/:name`, write; what is absent stays as it is.
#[derive(Debug)]
pub struct WriteTokenRole<'a> {
    /// Lists of names and patterns, in the order of the wire's: allowed, disallowed.
    pub allowed_policies: Option<Vec<String>>,
    /// With `*`.
    pub allowed_policies_glob: Option<Vec<String>>,
    /// Names.
    pub disallowed_policies: Option<Vec<String>>,
    /// With `*`.
    pub disallowed_policies_glob: Option<Vec<String>>,
    /// Kept and shown only.
    pub allowed_entity_aliases: Option<Vec<String>>,
    /// Whether its tokens have no parent.
    pub orphan: Option<bool>,
    /// Whether its tokens can be renewed.
    pub renewable: Option<bool>,
    /// Stands behind the path of its tokens.
    pub path_suffix: Option<Cow<'a, str>>,
    /// Networks.
    pub bound_cidrs: Option<Vec<String>>,
    /// In seconds.
    pub period: Option<i64>,
    /// In seconds.
    pub explicit_max_ttl: Option<i64>,
    /// Whether its tokens are without the policy `default`.
    pub no_default_policy: Option<bool>,
    /// 0 is any number.
    pub num_uses: Option<i64>,
    /// One of four.
    pub token_type: Option<Cow<'a, str>>,
}

impl<'a> WriteTokenRole<'a> {
    /// Takes the endpoint's fields.
    ///
    /// # Errors
    ///
    /// A field that cannot be converted.
    pub fn decode(fields: &mut Fields<'a>) -> Result<Self, ApiError> {
        let (period, old_period) = (fields.seconds("token_period")?, fields.seconds("period")?);
        let most = fields.seconds("token_explicit_max_ttl")?;
        let old_most = fields.seconds("explicit_max_ttl")?;
        let (bound, old_bound) = (fields.list("token_bound_cidrs")?, fields.list("bound_cidrs")?);
        Ok(Self {
            allowed_policies: fields.list("allowed_policies")?,
            allowed_policies_glob: fields.list("allowed_policies_glob")?,
            disallowed_policies: fields.list("disallowed_policies")?,
            disallowed_policies_glob: fields.list("disallowed_policies_glob")?,
            allowed_entity_aliases: fields.list("allowed_entity_aliases")?,
            orphan: fields.bool("orphan")?,
            renewable: fields.bool("renewable")?,
            path_suffix: fields.text("path_suffix")?,
            bound_cidrs: bound.or(old_bound),
            period: period.or(old_period),
            explicit_max_ttl: most.or(old_most),
            no_default_policy: fields.bool("token_no_default_policy")?,
            num_uses: fields.int("token_num_uses")?,
            token_type: fields.text("token_type")?,
        })
    }
}
