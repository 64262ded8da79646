//! What an `azure` method and its roles are. The fields and the texts are Vault's.

use selkie_hcl::Section;
use serde::{Deserialize, Serialize};

use super::parameters::TokenParameters;
use super::role::{text, texts};

/// Which tenant an `azure` method belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureConfig {
    /// The tenant's id: a UUID.
    pub tenant_id: String,
    /// What `aud` must be: the resource that clients ask a token for.
    pub resource: String,
    /// Which cloud.
    pub environment: AzureEnvironment,
    /// Entra's URL, instead of the cloud's; Selkie's own field.
    pub authority_host: String,
    /// Whom TLS with it trusts; empty: the system's certificates. Selkie's own field.
    pub authority_ca_pem: String,
}

/// `environment`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AzureEnvironment {
    /// `AzurePublicCloud`
    #[default]
    AzurePublicCloud,
    /// `AzureUSGovernmentCloud`
    AzureUSGovernmentCloud,
    /// `AzureChinaCloud`
    AzureChinaCloud,
}

/// Who may log in by a role of an `azure` method. All that is set must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AzureRole {
    /// Object ids of service principals; `*`: any of the tenant.
    pub bound_service_principal_ids: Vec<String>,
    /// Object ids of groups, of which the token must name one.
    pub bound_group_ids: Vec<String>,
    /// Subscriptions of the machine.
    pub bound_subscription_ids: Vec<String>,
    /// Its resource groups.
    pub bound_resource_groups: Vec<String>,
    /// The scale set that it is of.
    pub bound_scale_sets: Vec<String>,
}

/// What cannot be. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AzureProblem {
    /// `tenant_id` is no UUID.
    #[error("'tenant_id' must be the tenant's id, a UUID")]
    Tenant,
    /// `resource` is empty.
    #[error("'resource' must be set: it is the audience of the tokens that log in")]
    Resource,
    /// `environment` is none of those that there are.
    #[error(
        "invalid 'environment': there are \"AzurePublicCloud\", \"AzureUSGovernmentCloud\" and \
         \"AzureChinaCloud\""
    )]
    Environment,
    /// `authority_host` is no https URL.
    #[error("'authority_host' must be an https URL")]
    Authority,
    /// A role binds nothing.
    #[error("must have at least one bound constraint when creating/updating a role")]
    NoConstraint,
    /// `bound_locations` is set, which no token proves.
    #[error(
        "'bound_locations' cannot be verified: no token says where a machine is, and Selkie does \
         not ask Azure Resource Manager; bind 'bound_resource_groups' instead"
    )]
    Locations,
    /// `*` stands beside other values.
    #[error("can not mix \"*\" with values")]
    Mixed,
}

impl AzureConfig {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`AzureProblem`].
    pub fn check(&self) -> Result<(), AzureProblem> {
        if !is_uuid(&self.tenant_id) {
            return Err(AzureProblem::Tenant);
        }
        if self.resource.is_empty() {
            return Err(AzureProblem::Resource);
        }
        let own = &self.authority_host;
        if own.is_empty() || own.starts_with("https://") {
            Ok(())
        } else {
            Err(AzureProblem::Authority)
        }
    }

    /// Where Entra publishes what belongs to the tenant.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match (self.authority_host.as_str(), self.environment) {
            ("", AzureEnvironment::AzurePublicCloud) => "https://login.microsoftonline.com",
            ("", AzureEnvironment::AzureUSGovernmentCloud) => "https://login.microsoftonline.us",
            ("", AzureEnvironment::AzureChinaCloud) => "https://login.chinacloudapi.cn",
            (own, _) => own.trim_end_matches('/'),
        };
        format!("{host}/{}", self.tenant_id)
    }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').map(str::len).collect();
    let hexadecimal = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    groups == [8, 4, 4, 4, 12] && hexadecimal
}

impl AzureEnvironment {
    /// The cloud of this name; none at all is the public one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "" | "azurepubliccloud" => Some(Self::AzurePublicCloud),
            "azureusgovernmentcloud" => Some(Self::AzureUSGovernmentCloud),
            "azurechinacloud" => Some(Self::AzureChinaCloud),
            _ => None,
        }
    }

    /// Vault's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AzurePublicCloud => "AzurePublicCloud",
            Self::AzureUSGovernmentCloud => "AzureUSGovernmentCloud",
            Self::AzureChinaCloud => "AzureChinaCloud",
        }
    }
}

impl AzureRole {
    /// Checks what no single field can say.
    ///
    /// # Errors
    ///
    /// [`AzureProblem`].
    pub fn check(&self) -> Result<(), AzureProblem> {
        let principals = &self.bound_service_principal_ids;
        if principals.iter().any(|one| one == "*") && principals.len() > 1 {
            return Err(AzureProblem::Mixed);
        }
        let bounds = [
            principals,
            &self.bound_group_ids,
            &self.bound_subscription_ids,
            &self.bound_resource_groups,
            &self.bound_scale_sets,
        ];
        let is_bound = bounds.iter().any(|list| !list.is_empty());
        if is_bound { Ok(()) } else { Err(AzureProblem::NoConstraint) }
    }
}

pub(super) fn decode(section: &mut Section<'_>) -> AzureConfig {
    let environment = text(section, "environment");
    let config = AzureConfig {
        tenant_id: text(section, "tenant_id"),
        resource: text(section, "resource"),
        environment: AzureEnvironment::named(&environment).unwrap_or_default(),
        authority_host: text(section, "authority_host"),
        authority_ca_pem: text(section, "authority_ca_pem"),
    };
    let known = AzureEnvironment::named(&environment).ok_or(AzureProblem::Environment);
    if let Err(problem) = known.and_then(|_cloud| config.check()) {
        section.place().report(problem);
    }
    config
}

pub(super) fn role(
    section: &mut Section<'_>,
    _token: &TokenParameters,
) -> (AzureRole, Result<(), AzureProblem>) {
    let locations = texts(section, "bound_locations");
    let role = AzureRole {
        bound_service_principal_ids: texts(section, "bound_service_principal_ids"),
        bound_group_ids: texts(section, "bound_group_ids"),
        bound_subscription_ids: texts(section, "bound_subscription_ids"),
        bound_resource_groups: texts(section, "bound_resource_groups"),
        bound_scale_sets: texts(section, "bound_scale_sets"),
    };
    let checked = if locations.is_empty() { role.check() } else { Err(AzureProblem::Locations) };
    (role, checked)
}
