//! The method itself: `config`, `role/<name>` and `login`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use selkie_config::{
    BoundClaimsType, DeclaredMethod, DeclaredRole, JwtConfig, JwtProblem, JwtRole,
};
use serde_json::{Map, Value};

use super::binding::{self, BoundClaims, Comparison};
use super::key_set::Location;
use super::source::{KeySources, KeysFrom, SourceError, Unproven};
use super::web::https;
use super::{Algorithm, Claims, Expected, Leeways, Unbelievable, UnknownAlgorithm};
use crate::api::fields::Fields;
use crate::auth::configured::{
    At, Configured, Noted, RoleDocument, WithToken, check_address, named_role, set, set_list,
    set_text, unproven,
};
use crate::auth::methods::documents::Document;
use crate::auth::methods::parameters::Alias;
use crate::auth::methods::{Login, MethodData, MethodError, MethodRequest};

/// The method.
#[derive(Debug)]
pub(crate) struct Jwt {
    sources: KeySources,
}

impl Document for JwtConfig {
    const ROOT: &'static str = "jwt-config";
    type Index = ();
}

impl RoleDocument for JwtRole {
    const ROOT: &'static str = "jwt-role";
}

/// Why nobody logs in. The texts are Vault's.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("could not load configuration")]
    NoConfig,
    #[error("missing role")]
    NoRole,
    #[error("role {0:?} could not be found")]
    UnknownRole(String),
    #[error("missing token")]
    NoToken,
    #[error("error configuring token validator: {0}")]
    Source(#[from] SourceError),
    #[error("error configuring token validator: {0}")]
    Algorithm(#[from] UnknownAlgorithm),
    #[error("error validating token: {0}")]
    Token(#[from] Unproven),
}

/// What the API cannot take for a configuration.
#[derive(Debug, thiserror::Error)]
enum ConfigProblem {
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error(
        "'{0}' belongs to logins of people by a browser, which Selkie does not do: leave it away"
    )]
    Browser(&'static str),
}

impl Jwt {
    pub(crate) const fn new(sources: KeySources) -> Self {
        Self { sources }
    }
}

#[async_trait]
impl Configured for Jwt {
    const KIND: &'static str = "jwt";
    type Config = JwtConfig;
    type Role = JwtRole;
    const ALIASES: &'static [Alias] = &[
        Alias::Policies,
        Alias::Ttl,
        Alias::MaxTtl,
        Alias::Period,
        Alias::BoundCidrs,
        Alias::NumUses,
    ];

    fn declared(declared: &DeclaredMethod) -> Option<(&JwtConfig, &[DeclaredRole<JwtRole>])> {
        match declared {
            DeclaredMethod::Jwt(config, roles) => Some((config, roles)),
            _ => None,
        }
    }

    /// As in Vault a write replaces all there was.
    fn update_config(
        &self,
        _old: Option<&JwtConfig>,
        fields: &mut Fields<'_>,
    ) -> Result<Noted<JwtConfig>, MethodError> {
        let mut config = JwtConfig::default();
        for browser in ["oidc_client_id", "oidc_client_secret", "oidc_response_mode"] {
            if fields.secret(browser)?.is_some_and(|text| !text.expose_to_decode().is_empty()) {
                return Err(MethodError::refused(ConfigProblem::Browser(browser)));
            }
        }
        set_text(fields, "oidc_discovery_url", &mut config.oidc_discovery_url)?;
        set_text(fields, "oidc_discovery_ca_pem", &mut config.oidc_discovery_ca_pem)?;
        set_text(fields, "jwks_url", &mut config.jwks_url)?;
        set_text(fields, "jwks_ca_pem", &mut config.jwks_ca_pem)?;
        set_list(fields, "jwt_validation_pubkeys", &mut config.jwt_validation_pubkeys)?;
        set_list(fields, "jwt_supported_algs", &mut config.jwt_supported_algs)?;
        set_text(fields, "bound_issuer", &mut config.bound_issuer)?;
        set_text(fields, "default_role", &mut config.default_role)?;
        config.default_role.make_ascii_lowercase();
        config.check().map_err(MethodError::refused)?;
        let checked = self.sources.check(&keys_from(&config));
        checked.map_err(|error| MethodError::refused(ConfigProblem::from(error)))?;
        Ok(config.into())
    }

    fn show_config(config: &JwtConfig, data: &mut MethodData) {
        data.set("oidc_discovery_url", config.oidc_discovery_url.as_str());
        data.set("oidc_discovery_ca_pem", config.oidc_discovery_ca_pem.as_str());
        data.set("oidc_client_id", "");
        data.set("oidc_response_mode", "");
        data.set("oidc_response_types", Vec::<String>::new());
        data.set("jwks_url", config.jwks_url.as_str());
        data.set("jwks_ca_pem", config.jwks_ca_pem.as_str());
        data.set("jwks_pairs", Vec::<String>::new());
        data.set("jwt_validation_pubkeys", config.jwt_validation_pubkeys.clone());
        data.set("jwt_supported_algs", config.jwt_supported_algs.clone());
        data.set("bound_issuer", config.bound_issuer.as_str());
        data.set("default_role", config.default_role.as_str());
        data.set("provider_config", Map::new());
        data.set("namespace_in_state", false);
        data.set("unsupported_critical_cert_extensions", Vec::<String>::new());
    }

    fn update_role(
        new: &mut WithToken<JwtRole>,
        fields: &mut Fields<'_>,
    ) -> Result<Vec<String>, MethodError> {
        update_role(&mut new.role, fields)?;
        new.role.check(&new.token).map_err(MethodError::refused)?;
        Ok(Vec::new())
    }

    fn show_role(role: &JwtRole, data: &mut MethodData) {
        let claims = role.bound_claims.iter().map(|(claim, values)| {
            // As it was given: a single value stands for a list of one.
            let value = match values.as_slice() {
                [one] => one.clone(),
                many => Value::from(many.to_vec()),
            };
            (claim.clone(), value)
        });
        data.set("role_type", "jwt");
        data.set("bound_audiences", role.bound_audiences.clone());
        data.set("bound_subject", role.bound_subject.as_str());
        data.set("bound_claims", claims.collect::<Map<_, _>>());
        data.set("bound_claims_type", role.bound_claims_type.name());
        let mappings =
            role.claim_mappings.iter().map(|(a, b)| (a.clone(), Value::from(b.as_str())));
        data.set("claim_mappings", mappings.collect::<Map<_, _>>());
        data.set("user_claim", role.user_claim.as_str());
        data.set("user_claim_json_pointer", role.user_claim_json_pointer);
        data.set("groups_claim", role.groups_claim.as_str());
        data.set("clock_skew_leeway", role.clock_skew_leeway);
        data.set("expiration_leeway", role.expiration_leeway);
        data.set("not_before_leeway", role.not_before_leeway);
        data.set("allowed_redirect_uris", Vec::<String>::new());
        data.set("oidc_scopes", Vec::<String>::new());
        data.set("verbose_oidc_logging", false);
        data.set("max_age", 0);
    }

    async fn log_in(
        &self,
        at: At<'_, Self>,
        request: &mut MethodRequest<'_, '_>,
    ) -> Result<Login, MethodError> {
        let refused = |reason: Refused| MethodError::refused(reason);
        let config = at.config()?.ok_or_else(|| refused(Refused::NoConfig))?;
        let named = named_role(request.fields)?;
        let name = if named.is_empty() { config.default_role.clone() } else { named };
        if name.is_empty() {
            return Err(refused(Refused::NoRole));
        }
        let role = at.role(&name)?.ok_or_else(|| refused(Refused::UnknownRole(name.clone())))?;
        let token = request.fields.secret("jwt")?;
        let token = token.as_ref().map_or("", |text| text.expose_to_decode());
        if token.is_empty() {
            return Err(refused(Refused::NoToken));
        }
        check_address(&role.token.bound_cidrs, request.credentials.address)?;
        let keys = self.sources.of(at.mount.uuid, &keys_from(&config));
        let keys = keys.map_err(|error| refused(Refused::Source(error)))?;
        let now = request.tools.clock.unix_seconds();
        let algorithms = algorithms(&config).map_err(|error| refused(Refused::Algorithm(error)))?;
        let issuers = issuers(&config.bound_issuer);
        let expected = expected(&role.role, &algorithms, &issuers);
        let claims = keys.verify(token, expected, now).await.map_err(|error| match error {
            Unproven::Unbelievable(unbound @ Unbelievable::AudienceUnbound) => {
                MethodError::refused(unbound)
            }
            error => unproven(error, Refused::Token),
        })?;
        login(name, role, &claims).map_err(MethodError::refused)
    }

    fn sources(&self) -> &KeySources {
        &self.sources
    }

    fn keys_from(config: &JwtConfig) -> Option<KeysFrom> {
        Some(keys_from(config))
    }
}

/// What a request sets of a role.
fn update_role(role: &mut JwtRole, fields: &mut Fields<'_>) -> Result<(), MethodError> {
    let role_type = fields.text("role_type")?.unwrap_or_default().into_owned();
    match role_type.as_str() {
        "" | "jwt" => {}
        "oidc" => return Err(MethodError::refused(JwtProblem::Browser)),
        _ => return Err(MethodError::refused(JwtProblem::RoleType { name: role_type })),
    }
    set_list(fields, "bound_audiences", &mut role.bound_audiences)?;
    set_text(fields, "bound_subject", &mut role.bound_subject)?;
    set_text(fields, "user_claim", &mut role.user_claim)?;
    set(&mut role.user_claim_json_pointer, fields.bool("user_claim_json_pointer")?);
    set_text(fields, "groups_claim", &mut role.groups_claim)?;
    set(&mut role.clock_skew_leeway, fields.signed_seconds("clock_skew_leeway")?);
    set(&mut role.expiration_leeway, fields.signed_seconds("expiration_leeway")?);
    set(&mut role.not_before_leeway, fields.signed_seconds("not_before_leeway")?);
    if let Some(name) = fields.text("bound_claims_type")? {
        let unknown = || JwtProblem::BoundClaimsType { name: name.clone().into_owned() };
        let named = BoundClaimsType::named(&name);
        role.bound_claims_type = named.ok_or_else(|| MethodError::refused(unknown()))?;
    }
    if let Some(claims) = fields.json_object("bound_claims")? {
        let values = |value| match value {
            Value::Array(many) => many,
            one => vec![one],
        };
        role.bound_claims =
            claims.into_iter().map(|(claim, value)| (claim, values(value))).collect();
    }
    set(&mut role.claim_mappings, fields.pairs("claim_mappings")?);
    Ok(())
}

fn keys_from(config: &JwtConfig) -> KeysFrom {
    if !config.oidc_discovery_url.is_empty() {
        let location = Location::Provider(config.oidc_discovery_url.clone());
        return KeysFrom::Published { location, ca_pem: config.oidc_discovery_ca_pem.clone() };
    }
    match https(&config.jwks_url) {
        Ok(url) => {
            let location = Location::Set(url);
            KeysFrom::Published { location, ca_pem: config.jwks_ca_pem.clone() }
        }
        Err(_) => KeysFrom::Given(config.jwt_validation_pubkeys.clone()),
    }
}

/// None allow all, so a name that a later release has kept is not just left out.
fn algorithms(config: &JwtConfig) -> Result<Vec<Algorithm>, UnknownAlgorithm> {
    config.jwt_supported_algs.iter().map(|name| name.parse()).collect()
}

fn issuers(bound: &str) -> Vec<String> {
    if bound.is_empty() { Vec::new() } else { vec![bound.to_owned()] }
}

fn expected<'a>(
    role: &'a JwtRole,
    algorithms: &'a [Algorithm],
    issuers: &'a [String],
) -> Expected<'a> {
    let subject = Some(role.bound_subject.as_str()).filter(|subject| !subject.is_empty());
    let leeways = Leeways {
        clock_skew: role.clock_skew_leeway,
        expiration: role.expiration_leeway,
        not_before: role.not_before_leeway,
        ..Leeways::default()
    };
    Expected { algorithms, issuers, subject, audiences: &role.bound_audiences, leeways }
}

fn login(
    name: String,
    kept: WithToken<JwtRole>,
    claims: &Claims,
) -> Result<Login, binding::Unsuitable> {
    let WithToken { role, token } = kept;
    let user_claim = match role.user_claim_json_pointer {
        true if !role.user_claim.starts_with('/') => format!("/{}", role.user_claim),
        _ => role.user_claim,
    };
    let user = binding::user(claims, &user_claim)?.to_owned();
    let mut metadata: BTreeMap<_, _> = binding::metadata(claims, &role.claim_mappings)?;
    if !role.groups_claim.is_empty() {
        // Vault refuses a token without them, though nothing here follows from groups.
        binding::groups(claims, &role.groups_claim)?;
    }
    let comparison = match role.bound_claims_type {
        BoundClaimsType::String => Comparison::Exact,
        BoundClaimsType::Glob => Comparison::Glob,
    };
    BoundClaims { values: role.bound_claims, comparison }.check(claims)?;
    metadata.insert("role".to_owned(), name);
    Ok(Login {
        display_name: user.clone(),
        alias: user,
        metadata,
        parameters: token,
        ..Login::default()
    })
}
