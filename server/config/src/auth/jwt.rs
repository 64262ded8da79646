//! What a `jwt` method and its roles are. The fields and the texts are Vault's.

use std::collections::BTreeMap;

use selkie_hcl::Section;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parameters::TokenParameters;
use super::role::{text, texts, truth};

/// The signing algorithms that are verified.
pub const JWT_ALGORITHMS: [&str; 9] =
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// Whom a `jwt` method trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtConfig {
    /// The provider's URL, without `/.well-known/openid-configuration`.
    pub oidc_discovery_url: String,
    /// Whom TLS with it trusts; empty: the system's certificates.
    pub oidc_discovery_ca_pem: String,
    /// Where the keys are published.
    pub jwks_url: String,
    /// Whom TLS with it trusts; empty: the system's certificates.
    pub jwks_ca_pem: String,
    /// The keys themselves, in PEM.
    pub jwt_validation_pubkeys: Vec<String>,
    /// How tokens may be signed; empty: by any of [`JWT_ALGORITHMS`].
    pub jwt_supported_algs: Vec<String>,
    /// What `iss` must be; empty: the provider, where it is found by its URL.
    pub bound_issuer: String,
    /// The role of a login that names none.
    pub default_role: String,
}

/// Who may log in by a role of a `jwt` method.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JwtRole {
    /// One of them must be in `aud`.
    pub bound_audiences: Vec<String>,
    /// What `sub` must be; empty: anything.
    pub bound_subject: String,
    /// Claims, by name or JSON pointer, and the values of which each must have one.
    pub bound_claims: BTreeMap<String, Vec<Value>>,
    /// How those are compared.
    pub bound_claims_type: BoundClaimsType,
    /// Claims, and under which names they become metadata.
    pub claim_mappings: BTreeMap<String, String>,
    /// The claim that tells one user from another.
    pub user_claim: String,
    /// Whether that is a JSON pointer.
    pub user_claim_json_pointer: bool,
    /// The claim that lists the user's groups; empty: none.
    pub groups_claim: String,
    /// Seconds around `exp` and `nbf`; 0: 60, negative: none.
    pub clock_skew_leeway: i64,
    /// How many seconds a token without `exp` is good; 0: 150, negative: none.
    pub expiration_leeway: i64,
    /// How many seconds before `exp` a token without `nbf` and `iat` is good; 0: 150, negative: none.
    pub not_before_leeway: i64,
}

/// `bound_claims_type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BoundClaimsType {
    /// Values are the same.
    #[default]
    String,
    /// `*` stands for any text.
    Glob,
}

/// What cannot be. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwtProblem {
    /// No source of keys, or more than one.
    #[error(
        "exactly one of 'jwt_validation_pubkeys', 'jwks_url' or 'oidc_discovery_url' must be set"
    )]
    Sources,
    /// A URL that is not https.
    #[error("'{field}' must be an https URL")]
    NotHttps {
        /// Where it stands.
        field: &'static str,
    },
    /// A signing algorithm that is not known.
    #[error("invalid jwt_supported_algs: unsupported signing algorithm {name:?}")]
    Algorithm {
        /// As it was written.
        name: String,
    },
    /// `role_type` is `oidc`.
    #[error(
        "role_type \"oidc\" logs a person in by a browser, which Selkie does not do: use role_type \
         \"jwt\" with a token of the provider, or a person's token of another method"
    )]
    Browser,
    /// `role_type` is neither of those that there are.
    #[error("invalid 'role_type': {name}")]
    RoleType {
        /// As it was written.
        name: String,
    },
    /// `bound_claims_type` is neither of those that there are.
    #[error("invalid 'bound_claims_type': {name}")]
    BoundClaimsType {
        /// As it was written.
        name: String,
    },
    /// A role names no `user_claim`.
    #[error("a user claim must be defined on the role")]
    NoUserClaim,
    /// A role binds nothing.
    #[error("must have at least one bound constraint when creating/updating a role")]
    NoConstraint,
    /// Two claims go to one place in the metadata.
    #[error("multiple keys are mapped to metadata key {name:?}")]
    MappedTwice {
        /// The place.
        name: String,
    },
    /// A claim goes to a place in the metadata that is the server's own.
    #[error("metadata key {name:?} is reserved and may not be a mapping destination")]
    Reserved {
        /// The place.
        name: String,
    },
    /// A bound value is of a kind that no claim is compared with.
    #[error("bound claim {claim:?} is not a string, a number, true or false, or a list of them")]
    BoundClaim {
        /// Whose value it is.
        claim: String,
    },
    /// A value that is no text is to be compared as a glob.
    #[error("claim is not a string: {value}")]
    NoGlob {
        /// The value.
        value: Value,
    },
}

impl JwtConfig {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`JwtProblem`].
    pub fn check(&self) -> Result<(), JwtProblem> {
        let urls = [("oidc_discovery_url", &self.oidc_discovery_url), ("jwks_url", &self.jwks_url)];
        let given = urls.iter().filter(|(_, url)| !url.is_empty()).count();
        if given + usize::from(!self.jwt_validation_pubkeys.is_empty()) != 1 {
            return Err(JwtProblem::Sources);
        }
        let plain = urls.iter().find(|(_, url)| !url.is_empty() && !url.starts_with("https://"));
        if let Some((field, _)) = plain {
            return Err(JwtProblem::NotHttps { field });
        }
        let mut algorithms = self.jwt_supported_algs.iter();
        match algorithms.find(|name| !JWT_ALGORITHMS.contains(&name.as_str())) {
            Some(name) => Err(JwtProblem::Algorithm { name: name.clone() }),
            None => Ok(()),
        }
    }
}

impl JwtRole {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`JwtProblem`].
    pub fn check(&self, token: &TokenParameters) -> Result<(), JwtProblem> {
        if self.user_claim.is_empty() {
            return Err(JwtProblem::NoUserClaim);
        }
        let bound = !self.bound_audiences.is_empty()
            || !self.bound_subject.is_empty()
            || !self.bound_claims.is_empty()
            || !token.bound_cidrs.is_empty();
        if !bound {
            return Err(JwtProblem::NoConstraint);
        }
        let scalar =
            |value: &Value| matches!(value, Value::String(_) | Value::Bool(_) | Value::Number(_));
        let mut claims = self.bound_claims.iter();
        if let Some((claim, _)) = claims.find(|(_, values)| !values.iter().all(scalar)) {
            return Err(JwtProblem::BoundClaim { claim: claim.clone() });
        }
        let mut values = self.bound_claims.values().flatten();
        if self.bound_claims_type == BoundClaimsType::Glob
            && let Some(value) = values.find(|value| !value.is_string())
        {
            return Err(JwtProblem::NoGlob { value: value.clone() });
        }
        let mut names: Vec<_> = self.claim_mappings.values().collect();
        names.sort();
        if let Some(name) = names.iter().find(|name| name.as_str() == "role") {
            return Err(JwtProblem::Reserved { name: (*name).clone() });
        }
        match names
            .windows(2)
            .find(|pair| pair.first() == pair.last())
            .and_then(|pair| pair.first())
        {
            Some(name) => Err(JwtProblem::MappedTwice { name: (*name).clone() }),
            None => Ok(()),
        }
    }
}

impl BoundClaimsType {
    /// The type of this name; none at all is `string`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "" | "string" => Some(Self::String),
            "glob" => Some(Self::Glob),
            _ => None,
        }
    }

    /// Vault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Glob => "glob",
        }
    }
}

pub(super) fn decode(section: &mut Section<'_>) -> JwtConfig {
    let config = JwtConfig {
        oidc_discovery_url: text(section, "oidc_discovery_url"),
        oidc_discovery_ca_pem: text(section, "oidc_discovery_ca_pem"),
        jwks_url: text(section, "jwks_url"),
        jwks_ca_pem: text(section, "jwks_ca_pem"),
        jwt_validation_pubkeys: texts(section, "jwt_validation_pubkeys"),
        jwt_supported_algs: texts(section, "jwt_supported_algs"),
        bound_issuer: text(section, "bound_issuer"),
        default_role: text(section, "default_role").to_ascii_lowercase(),
    };
    if let Err(problem) = config.check() {
        section.place().report(problem);
    }
    config
}

pub(super) fn role(
    section: &mut Section<'_>,
    token: &TokenParameters,
) -> (JwtRole, Result<(), JwtProblem>) {
    let role_type = text(section, "role_type");
    let comparison = text(section, "bound_claims_type");
    let role = JwtRole {
        bound_audiences: texts(section, "bound_audiences"),
        bound_subject: text(section, "bound_subject"),
        bound_claims: bound_claims(section),
        bound_claims_type: BoundClaimsType::named(&comparison).unwrap_or_default(),
        claim_mappings: mappings(section),
        user_claim: text(section, "user_claim"),
        user_claim_json_pointer: truth(section, "user_claim_json_pointer", false),
        groups_claim: text(section, "groups_claim"),
        clock_skew_leeway: leeway(section, "clock_skew_leeway"),
        expiration_leeway: leeway(section, "expiration_leeway"),
        not_before_leeway: leeway(section, "not_before_leeway"),
    };
    let checked = match role_type.as_str() {
        "oidc" => Err(JwtProblem::Browser),
        "" | "jwt" if BoundClaimsType::named(&comparison).is_none() => {
            Err(JwtProblem::BoundClaimsType { name: comparison })
        }
        "" | "jwt" => role.check(token),
        _ => Err(JwtProblem::RoleType { name: role_type }),
    };
    (role, checked)
}

fn bound_claims(section: &mut Section<'_>) -> BTreeMap<String, Vec<Value>> {
    let map = section.field("bound_claims").texts_by_name();
    let claims = map.map(|map| map.value).unwrap_or_default().into_iter();
    let values = |texts: Vec<selkie_hcl::Located<'_, String>>| {
        texts.into_iter().map(|text| Value::String(text.value)).collect()
    };
    claims.map(|(claim, texts)| (claim, values(texts))).collect()
}

fn mappings(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let map = section.field("claim_mappings").texts_by_name();
    let entries = map.map(|map| map.value).unwrap_or_default().into_iter();
    let one = |(claim, texts): (String, Vec<selkie_hcl::Located<'_, String>>)| {
        Some((claim, texts.into_iter().next()?.value))
    };
    entries.filter_map(one).collect()
}

/// The file has no way to say "none at all", which is for tests of clocks.
fn leeway(section: &mut Section<'_>, field: &'static str) -> i64 {
    let given = section.field(field).duration();
    given.map_or(0, |time| i64::try_from(time.value.as_secs()).unwrap_or(i64::MAX))
}
