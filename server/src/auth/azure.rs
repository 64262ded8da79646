//! `azure`: the token of a managed identity, or of another service principal of the tenant.
//!
//! Vault asks Azure Resource Manager about the machine that the request names. Here only what Entra
//! has signed counts: the token itself names the machine. What it does not say binds nobody, and a
//! role that needs it lets nobody in.

mod resource;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use async_trait::async_trait;
use selkie_config::{
    AzureConfig, AzureEnvironment, AzureProblem, AzureRole, DeclaredMethod, DeclaredRole,
};
use serde_json::Value;

use self::resource::{Machine, NoMachine};
use super::configured::{
    At, Configured, Noted, RoleDocument, WithToken, check_address, named_role, set_list, set_text,
    unproven,
};
use super::jwt::{
    Algorithm, Claims, Expected, KeySources, KeysFrom, Leeways, Location, SourceError, Unproven,
};
use super::methods::documents::Document;
use super::methods::parameters::Alias;
use super::methods::{AnswerKind, Login, MethodData, MethodError, MethodRequest};
use crate::api::fields::Fields;

/// The method.
#[derive(Debug)]
pub(crate) struct Azure {
    sources: KeySources,
}

impl Document for AzureConfig {
    const ROOT: &'static str = "azure-config";
    type Index = ();
}

impl RoleDocument for AzureRole {
    const ROOT: &'static str = "azure-role";
}

/// Why nobody logs in. The texts are Vault's where it has one.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("jwt is required")]
    NoToken,
    #[error("role is required")]
    NoRole,
    #[error("invalid role name {0:?}")]
    UnknownRole(String),
    #[error("azure backend not configured")]
    NoConfig,
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("error validating token: {0}")]
    Token(#[from] Unproven),
    #[error(transparent)]
    NotBound(#[from] NotBound),
}

/// Why the token does not suit the role or the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NotBound {
    #[error("the token is of another tenant")]
    Tenant,
    #[error("the token names no service principal")]
    NoPrincipal,
    #[error("service principal not authorized: {0}")]
    Principal(String),
    #[error("groups not authorized")]
    Groups,
    #[error(
        "the token has too many groups to list them (_claim_names), and Selkie does not ask Entra \
         for them: bind 'bound_service_principal_ids'"
    )]
    TooManyGroups,
    #[error(transparent)]
    NoMachine(#[from] NoMachine),
    #[error("subscription not authorized")]
    Subscription,
    #[error("resource group not authorized")]
    ResourceGroup,
    #[error("scale set not authorized")]
    ScaleSet,
    #[error("'{0}' is not what the token says")]
    Claimed(&'static str),
}

impl Azure {
    pub(crate) const fn new(sources: KeySources) -> Self {
        Self { sources }
    }
}

/// What a request says of its machine, which counts for nothing that the token does not say too.
#[derive(Debug, Default)]
struct Claimed {
    subscription_id: String,
    resource_group_name: String,
    vm_name: String,
    vmss_name: String,
    resource_id: String,
}

impl Claimed {
    fn read(fields: &mut Fields<'_>) -> Result<Self, MethodError> {
        let mut claimed = Self::default();
        set_text(fields, "subscription_id", &mut claimed.subscription_id)?;
        set_text(fields, "resource_group_name", &mut claimed.resource_group_name)?;
        set_text(fields, "vm_name", &mut claimed.vm_name)?;
        set_text(fields, "vmss_name", &mut claimed.vmss_name)?;
        set_text(fields, "resource_id", &mut claimed.resource_id)?;
        Ok(claimed)
    }

    /// Whatever it says must be so.
    fn check(&self, machine: &Result<Machine, NoMachine>) -> Result<(), NotBound> {
        let said = [
            ("subscription_id", &self.subscription_id),
            ("resource_group_name", &self.resource_group_name),
            ("vm_name", &self.vm_name),
            ("vmss_name", &self.vmss_name),
            ("resource_id", &self.resource_id),
        ];
        let mut said = said.into_iter().filter(|(_, text)| !text.is_empty()).peekable();
        if said.peek().is_none() {
            return Ok(());
        }
        let machine = machine.as_ref().map_err(|missing| *missing)?;
        let wrong = said.find(|(field, text)| !machine.is_called(field, text));
        wrong.map_or(Ok(()), |(field, _)| Err(NotBound::Claimed(field)))
    }
}

/// Whether `claims` are those of somebody whom the role is for; the principal's object id.
fn check(
    tenant: &str,
    role: &AzureRole,
    claims: &Claims,
    machine: &Result<Machine, NoMachine>,
) -> Result<String, NotBound> {
    let is_ours = claims.text("tid").is_some_and(|tid| tid.eq_ignore_ascii_case(tenant));
    if !is_ours {
        return Err(NotBound::Tenant);
    }
    let principal = claims.text("oid").filter(|id| !id.is_empty()).ok_or(NotBound::NoPrincipal)?;
    let among = |bound: &[String], text: &str| {
        bound.is_empty() || bound.iter().any(|one| one.eq_ignore_ascii_case(text))
    };
    let principals = &role.bound_service_principal_ids;
    if !among(principals, principal) && !principals.iter().any(|one| one == "*") {
        return Err(NotBound::Principal(principal.to_owned()));
    }
    check_groups(&role.bound_group_ids, claims)?;
    let binds_machine = !role.bound_subscription_ids.is_empty()
        || !role.bound_resource_groups.is_empty()
        || !role.bound_scale_sets.is_empty();
    if binds_machine {
        let machine = machine.as_ref().map_err(|missing| *missing)?;
        if !among(&role.bound_subscription_ids, &machine.subscription) {
            return Err(NotBound::Subscription);
        }
        if !among(&role.bound_resource_groups, &machine.resource_group) {
            return Err(NotBound::ResourceGroup);
        }
        if !among(&role.bound_scale_sets, machine.scale_set().unwrap_or_default()) {
            return Err(NotBound::ScaleSet);
        }
    }
    Ok(principal.to_owned())
}

fn check_groups(bound: &[String], claims: &Claims) -> Result<(), NotBound> {
    if bound.is_empty() {
        return Ok(());
    }
    let Some(Value::Array(groups)) = claims.get("groups") else {
        let elsewhere =
            claims.get("_claim_names").is_some_and(|names| names.get("groups").is_some());
        return Err(if elsewhere { NotBound::TooManyGroups } else { NotBound::Groups });
    };
    let mut groups = groups.iter().filter_map(Value::as_str);
    let known = groups.any(|group| bound.iter().any(|one| one.eq_ignore_ascii_case(group)));
    if known { Ok(()) } else { Err(NotBound::Groups) }
}

fn keys_from(config: &AzureConfig) -> KeysFrom {
    let location = Location::Entra(config.authority());
    KeysFrom::Published { location, ca_pem: config.authority_ca_pem.clone() }
}

#[async_trait]
impl Configured for Azure {
    const KIND: &'static str = "azure";
    type Config = AzureConfig;
    type Role = AzureRole;
    const ALIASES: &'static [Alias] =
        &[Alias::Policies, Alias::Ttl, Alias::MaxTtl, Alias::Period, Alias::NumUses];

    fn declared(declared: &DeclaredMethod) -> Option<(&AzureConfig, &[DeclaredRole<AzureRole>])> {
        match declared {
            DeclaredMethod::Azure(config, roles) => Some((config, roles)),
            _ => None,
        }
    }

    fn update_config(
        &self,
        old: Option<&AzureConfig>,
        fields: &mut Fields<'_>,
    ) -> Result<Noted<AzureConfig>, MethodError> {
        let mut config = old.cloned().unwrap_or_default();
        set_text(fields, "tenant_id", &mut config.tenant_id)?;
        set_text(fields, "resource", &mut config.resource)?;
        if let Some(name) = fields.text("environment")? {
            let cloud = AzureEnvironment::named(&name);
            config.environment =
                cloud.ok_or_else(|| MethodError::refused(AzureProblem::Environment))?;
        }
        set_text(fields, "authority_host", &mut config.authority_host)?;
        set_text(fields, "authority_ca_pem", &mut config.authority_ca_pem)?;
        let mut unused = Vec::new();
        for field in ["client_id", "client_secret"] {
            if fields.secret(field)?.is_some_and(|text| !text.expose_to_decode().is_empty()) {
                unused.push(field);
            }
        }
        config.check().map_err(MethodError::refused)?;
        let checked = self.sources.check(&keys_from(&config));
        checked.map_err(|error| MethodError::refused(Refused::Source(error)))?;
        let mut noted = Noted::from(config);
        if !unused.is_empty() {
            let names = unused.join(" and ");
            let warning = format!(
                "Selkie does not ask Azure Resource Manager: {names} was not kept and is not used"
            );
            noted.warnings.push(warning);
        }
        Ok(noted)
    }

    fn show_config(config: &AzureConfig, data: &mut MethodData) {
        data.set("tenant_id", config.tenant_id.as_str());
        data.set("resource", config.resource.as_str());
        data.set("environment", config.environment.name());
        data.set("authority_host", config.authority_host.as_str());
        data.set("authority_ca_pem", config.authority_ca_pem.as_str());
        data.set("client_id", "");
    }

    fn update_role(
        new: &mut WithToken<AzureRole>,
        fields: &mut Fields<'_>,
    ) -> Result<Vec<String>, MethodError> {
        let role = &mut new.role;
        let principals = &mut role.bound_service_principal_ids;
        set_list(fields, "bound_service_principal_ids", principals)?;
        set_list(fields, "bound_group_ids", &mut role.bound_group_ids)?;
        set_list(fields, "bound_subscription_ids", &mut role.bound_subscription_ids)?;
        set_list(fields, "bound_resource_groups", &mut role.bound_resource_groups)?;
        set_list(fields, "bound_scale_sets", &mut role.bound_scale_sets)?;
        let mut locations = Vec::new();
        set_list(fields, "bound_locations", &mut locations)?;
        if !locations.is_empty() {
            return Err(MethodError::refused(AzureProblem::Locations));
        }
        role.check().map_err(MethodError::refused)?;
        Ok(Vec::new())
    }

    fn show_role(role: &AzureRole, data: &mut MethodData) {
        data.set("bound_service_principal_ids", role.bound_service_principal_ids.clone());
        data.set("bound_group_ids", role.bound_group_ids.clone());
        data.set("bound_subscription_ids", role.bound_subscription_ids.clone());
        data.set("bound_resource_groups", role.bound_resource_groups.clone());
        data.set("bound_scale_sets", role.bound_scale_sets.clone());
        data.set("bound_locations", Vec::<String>::new());
    }

    async fn log_in(
        &self,
        at: At<'_, Self>,
        request: &mut MethodRequest<'_, '_>,
    ) -> Result<Login, MethodError> {
        let refused = |reason: Refused| MethodError::refused(reason);
        let token = request.fields.secret("jwt")?;
        let token = token.as_ref().map_or("", |text| text.expose_to_decode());
        if token.is_empty() {
            return Err(refused(Refused::NoToken));
        }
        let name = named_role(request.fields)?;
        if name.is_empty() {
            return Err(refused(Refused::NoRole));
        }
        let claimed = Claimed::read(request.fields)?;
        let config = at.config()?.ok_or_else(|| refused(Refused::NoConfig))?;
        let kept = at.role(&name)?.ok_or_else(|| refused(Refused::UnknownRole(name.clone())))?;
        check_address(&kept.token.bound_cidrs, request.credentials.address)?;
        let keys = self.sources.of(at.mount.uuid, &keys_from(&config));
        let keys = keys.map_err(|error| refused(Refused::Source(error)))?;
        let now = request.tools.clock.unix_seconds();
        let audiences = [config.resource.clone()];
        let expected = Expected {
            algorithms: &[Algorithm::RS256],
            issuers: &[],
            subject: None,
            audiences: &audiences,
            leeways: Leeways::default(),
        };
        let claims = keys.verify(token, expected, now).await;
        let claims = claims.map_err(|error| unproven(error, Refused::Token))?;
        let machine = Machine::of(&claims);
        let forbidden = |error| MethodError::told(AnswerKind::Forbidden, Refused::NotBound(error));
        let principal =
            check(&config.tenant_id, &kept.role, &claims, &machine).map_err(forbidden)?;
        claimed.check(&machine).map_err(forbidden)?;
        Ok(login(name, kept, principal, &claims, machine.ok().as_ref()))
    }

    fn sources(&self) -> &KeySources {
        &self.sources
    }

    fn keys_from(config: &AzureConfig) -> Option<KeysFrom> {
        Some(keys_from(config))
    }
}

fn login(
    name: String,
    kept: WithToken<AzureRole>,
    principal: String,
    claims: &Claims,
    machine: Option<&Machine>,
) -> Login {
    let mut metadata: BTreeMap<_, _> = machine.map(Machine::metadata).unwrap_or_default();
    if let Some(application) = claims.text("appid").or_else(|| claims.text("azp")) {
        metadata.insert("app_id".to_owned(), application.to_owned());
    }
    metadata.insert("object_id".to_owned(), principal.clone());
    metadata.insert("role".to_owned(), name);
    Login {
        display_name: principal.clone(),
        alias: principal,
        metadata,
        parameters: kept.token,
        ..Login::default()
    }
}
