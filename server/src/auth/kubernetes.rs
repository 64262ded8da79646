//! `kubernetes`: the token of a service account, about which the cluster's API server is asked, or
//! which is verified under the cluster's keys.

mod account;
mod pod;
mod review;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use selkie_config::{
    DeclaredMethod, DeclaredRole, KubernetesConfig, KubernetesProblem, KubernetesRole,
    ReviewerToken, ServiceAccountAlias,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use self::account::{Account, NotBound};
use self::pod::Pod;
use self::review::{ApiServer, Reviewed, Reviewer};
use super::configured::{
    At, Configured, Noted, PermissionDenied, RoleDocument, WithToken, check_address, named_role,
    set, set_list, set_text,
};
use super::jwt::{
    Compact, Expected, KeySources, KeysFrom, Leeways, Location, SourceError, Unbelievable,
    Unproven, WebError, https, lock,
};
use super::methods::documents::Document;
use super::methods::parameters::Alias;
use super::methods::{AnswerKind, Login, MethodData, MethodError, MethodRequest};
use crate::api::fields::Fields;

/// The method.
#[derive(Debug)]
pub(crate) struct Kubernetes {
    sources: KeySources,
    pod: Pod,
    /// The API server that was asked last at each mount, with whom it is trusted by.
    servers: Mutex<BTreeMap<Uuid, ApiServer>>,
}

impl Document for KubernetesConfig {
    const ROOT: &'static str = "kubernetes-config";
    type Index = ();
}

impl RoleDocument for KubernetesRole {
    const ROOT: &'static str = "kubernetes-role";
}

/// Why nobody logs in. The texts are Vault's.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("missing role")]
    NoRole,
    #[error("missing jwt")]
    NoToken,
    #[error("invalid role name {0:?}")]
    UnknownRole(String),
    #[error("could not load backend configuration")]
    NoConfig,
    #[error(
        "without an API server, which would check it, the role needs an 'audience': else a token \
         that was meant for anybody would log in"
    )]
    NoAudience,
    #[error("the API server cannot be asked; the server's log says why")]
    NotReviewed,
    #[error(transparent)]
    NotBound(#[from] NotBound),
    #[error("{0}")]
    Source(#[from] SourceError),
    #[error("error validating token: {0}")]
    Token(#[from] Unproven),
}

impl Kubernetes {
    pub(crate) fn new(sources: KeySources) -> Self {
        Self::in_pod(sources, Pod::default())
    }

    fn in_pod(sources: KeySources, pod: Pod) -> Self {
        Self { sources, pod, servers: Mutex::default() }
    }

    /// The claims of a token that is signed by the cluster, where its keys are known; else of one
    /// of which the API server will say whether it is.
    async fn account(
        &self,
        at: At<'_, Self>,
        config: &KubernetesConfig,
        role: &KubernetesRole,
        token: &str,
        now: u64,
    ) -> Result<Account, MethodError> {
        let is_local = config.kubernetes_host.is_empty();
        if is_local && role.audience.is_empty() {
            return Err(MethodError::refused(Refused::NoAudience));
        }
        let audiences = audiences(role, token);
        let checks_issuer = is_local || !config.disable_iss_validation;
        let issuer = [config.issuer.clone()];
        let issuers: &[String] =
            if checks_issuer && !config.issuer.is_empty() { &issuer } else { &[] };
        let expected = Expected {
            algorithms: &[],
            issuers,
            subject: None,
            audiences: &audiences,
            // A token that lies in a secret has no times: it ends with the secret, as the API server
            // knows.
            leeways: Leeways { may_be_missing: !is_local, ..Leeways::default() },
        };
        let Some(from) = keys_from(config) else {
            // Nobody at all would prove the token: 'jwks_url' is there and is no URL to ask at.
            if is_local {
                return Err(MethodError::refused(Refused::NoConfig));
            }
            return Account::unproven(token, &expected, now).map_err(PermissionDenied::because);
        };
        let keys = self.sources.of(at.mount.uuid, &from);
        let keys = keys.map_err(|error| MethodError::refused(Refused::Source(error)))?;
        let claims = keys.verify(token, expected, now).await.map_err(|error| match error {
            Unproven::NoKeys(_) => {
                MethodError::told(AnswerKind::Unavailable, Refused::Token(error))
            }
            Unproven::Unbelievable(_) => PermissionDenied::because(error),
        })?;
        Account::of(&claims).map_err(PermissionDenied::because)
    }

    /// Asks the API server whether the account is as its token says.
    async fn review(
        &self,
        mount: Uuid,
        config: &KubernetesConfig,
        role: &KubernetesRole,
        token: &str,
        account: &Account,
    ) -> Result<(), MethodError> {
        let server = self.server(mount, config).await.map_err(not_reviewed)?;
        let reviewer = match &config.token_reviewer_jwt {
            Some(own) => Reviewer::Configured(own.clone()),
            None if config.disable_local_ca_jwt => Reviewer::Client,
            // Read for every question, because Kubernetes exchanges it every hour.
            None => self.pod.token().await.map_or(Reviewer::Client, Reviewer::Pod),
        };
        let reviewed =
            server.review(token, &reviewer, &role.audience).await.map_err(not_reviewed)?;
        match reviewed {
            Reviewed::Account { name, namespace, uid } => {
                let same = account.is(&name, &namespace, &uid);
                if same { Ok(()) } else { Err(PermissionDenied::because(NotBound::OtherAccount)) }
            }
            Reviewed::No(reason) => Err(PermissionDenied::because(reason)),
        }
    }

    async fn server(&self, mount: Uuid, config: &KubernetesConfig) -> Result<ApiServer, WebError> {
        let own = config.kubernetes_ca_cert.as_str();
        let ca = match own.is_empty() && !config.disable_local_ca_jwt {
            true => self.pod.ca_certificate().await.unwrap_or_default(),
            false => own.to_owned(),
        };
        let mut servers = lock(&self.servers);
        if let Some(known) =
            servers.get(&mount).filter(|known| known.is(&config.kubernetes_host, &ca))
        {
            return Ok(known.clone());
        }
        let web = self.sources.outside().trusting(&ca)?;
        let server = ApiServer::new(&config.kubernetes_host, ca, web)?;
        servers.insert(mount, server.clone());
        Ok(server)
    }
}

/// 503: nobody can say whether the token is good.
fn not_reviewed(error: WebError) -> MethodError {
    let reason = Some(Box::new(error) as _);
    MethodError::Refused {
        kind: AnswerKind::Unavailable,
        told: Box::new(Refused::NotReviewed),
        reason,
    }
}

/// The role's audience; without one any that the token has.
fn audiences(role: &KubernetesRole, token: &str) -> Vec<String> {
    if !role.audience.is_empty() {
        return vec![role.audience.clone()];
    }
    let token = Compact::parse(token).ok();
    let claimed = token.and_then(|token| token.unproven("aud").cloned());
    match claimed {
        Some(serde_json::Value::String(one)) => vec![one],
        Some(serde_json::Value::Array(many)) => {
            many.into_iter().filter_map(|one| one.as_str().map(ToOwned::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

fn keys_from(config: &KubernetesConfig) -> Option<KeysFrom> {
    if !config.pem_keys.is_empty() {
        return Some(KeysFrom::Given(config.pem_keys.clone()));
    }
    let location = Location::Set(https(&config.jwks_url).ok()?);
    Some(KeysFrom::Published { location, ca_pem: config.kubernetes_ca_cert.clone() })
}

#[async_trait]
impl Configured for Kubernetes {
    const KIND: &'static str = "kubernetes";
    type Config = KubernetesConfig;
    type Role = KubernetesRole;
    const ALIASES: &'static [Alias] = &[
        Alias::Policies,
        Alias::Ttl,
        Alias::MaxTtl,
        Alias::Period,
        Alias::BoundCidrs,
        Alias::NumUses,
    ];

    fn declared(
        declared: &DeclaredMethod,
    ) -> Option<(&KubernetesConfig, &[DeclaredRole<KubernetesRole>])> {
        match declared {
            DeclaredMethod::Kubernetes(config, roles) => Some((config, roles)),
            _ => None,
        }
    }

    /// As in Vault a write replaces all there was.
    fn update_config(
        &self,
        _old: Option<&KubernetesConfig>,
        fields: &mut Fields<'_>,
    ) -> Result<Noted<KubernetesConfig>, MethodError> {
        let mut config = KubernetesConfig::default();
        set_text(fields, "kubernetes_host", &mut config.kubernetes_host)?;
        set_text(fields, "kubernetes_ca_cert", &mut config.kubernetes_ca_cert)?;
        if let Some(token) = fields.secret("token_reviewer_jwt")? {
            let text = Zeroizing::new(token.expose_to_decode().to_owned());
            config.token_reviewer_jwt = (!text.is_empty()).then(|| ReviewerToken::new(text));
        }
        set_list(fields, "pem_keys", &mut config.pem_keys)?;
        set_text(fields, "jwks_url", &mut config.jwks_url)?;
        set_text(fields, "issuer", &mut config.issuer)?;
        set(&mut config.disable_iss_validation, fields.bool("disable_iss_validation")?);
        set(&mut config.disable_local_ca_jwt, fields.bool("disable_local_ca_jwt")?);
        // Known to Vault; nothing here follows from annotations.
        fields.bool("use_annotations_as_alias_metadata")?;
        config.check().map_err(MethodError::refused)?;
        if let Some(from) = keys_from(&config) {
            let checked = self.sources.check(&from);
            checked.map_err(|error| MethodError::refused(Refused::Source(error)))?;
        }
        if !config.kubernetes_ca_cert.is_empty() {
            let trusted = self.sources.outside().trusting(&config.kubernetes_ca_cert);
            trusted.map_err(|error| MethodError::refused(Refused::Source(error.into())))?;
        }
        Ok(config.into())
    }

    fn show_config(config: &KubernetesConfig, data: &mut MethodData) {
        data.set("kubernetes_host", config.kubernetes_host.as_str());
        data.set("kubernetes_ca_cert", config.kubernetes_ca_cert.as_str());
        data.set("token_reviewer_jwt_set", config.token_reviewer_jwt.is_some());
        data.set("pem_keys", config.pem_keys.clone());
        data.set("jwks_url", config.jwks_url.as_str());
        data.set("issuer", config.issuer.as_str());
        data.set("disable_iss_validation", config.disable_iss_validation);
        data.set("disable_local_ca_jwt", config.disable_local_ca_jwt);
        data.set("use_annotations_as_alias_metadata", false);
    }

    fn update_role(
        new: &mut WithToken<KubernetesRole>,
        fields: &mut Fields<'_>,
    ) -> Result<Vec<String>, MethodError> {
        let role = &mut new.role;
        set_list(fields, "bound_service_account_names", &mut role.bound_service_account_names)?;
        let namespaces = &mut role.bound_service_account_namespaces;
        set_list(fields, "bound_service_account_namespaces", namespaces)?;
        set_text(fields, "audience", &mut role.audience)?;
        let selector = fields.text("bound_service_account_namespace_selector")?;
        if selector.is_some_and(|selector| !selector.is_empty()) {
            return Err(MethodError::refused(KubernetesProblem::Selector));
        }
        if let Some(name) = fields.text("alias_name_source")? {
            let source = ServiceAccountAlias::named(&name);
            let unknown = || MethodError::refused(KubernetesProblem::Alias);
            role.alias_name_source = source.ok_or_else(unknown)?;
        }
        role.check().map_err(MethodError::refused)?;
        let warning = "Role does not have an audience. In Vault v1.21+, specifying an audience on \
                       roles will be required.";
        let warning = role.audience.is_empty().then(|| warning.to_owned());
        Ok(warning.into_iter().collect())
    }

    fn show_role(role: &KubernetesRole, data: &mut MethodData) {
        data.set("bound_service_account_names", role.bound_service_account_names.clone());
        let namespaces = role.bound_service_account_namespaces.clone();
        data.set("bound_service_account_namespaces", namespaces);
        data.set("bound_service_account_namespace_selector", "");
        data.set("audience", role.audience.as_str());
        data.set("alias_name_source", role.alias_name_source.name());
    }

    async fn log_in(
        &self,
        at: At<'_, Self>,
        request: &mut MethodRequest<'_, '_>,
    ) -> Result<Login, MethodError> {
        let refused = |reason: Refused| MethodError::refused(reason);
        let name = named_role(request.fields)?;
        if name.is_empty() {
            return Err(refused(Refused::NoRole));
        }
        let token = request.fields.secret("jwt")?;
        let token = token.as_ref().map_or("", |text| text.expose_to_decode());
        if token.is_empty() {
            return Err(refused(Refused::NoToken));
        }
        let kept = at.role(&name)?.ok_or_else(|| refused(Refused::UnknownRole(name.clone())))?;
        check_address(&kept.token.bound_cidrs, request.credentials.address)?;
        let config = at.config()?.ok_or_else(|| refused(Refused::NoConfig))?;
        let now = request.tools.clock.unix_seconds();
        let account = self.account(at, &config, &kept.role, token, now).await?;
        let bound = account.check(&kept.role);
        bound
            .map_err(|error| MethodError::told(AnswerKind::Forbidden, Refused::NotBound(error)))?;
        if !config.kubernetes_host.is_empty() {
            self.review(at.mount.uuid, &config, &kept.role, token, &account).await?;
        }
        let alias = account.alias(kept.role.alias_name_source);
        let mut metadata = account.metadata();
        metadata.insert("role".to_owned(), name);
        Ok(Login {
            display_name: account.display_name(),
            alias,
            metadata,
            parameters: kept.token,
            ..Login::default()
        })
    }

    fn sources(&self) -> &KeySources {
        &self.sources
    }

    fn keys_from(config: &KubernetesConfig) -> Option<KeysFrom> {
        keys_from(config)
    }

    fn forget(&self, mount: Uuid) {
        self.sources.forget(mount);
        lock(&self.servers).remove(&mount);
    }
}

impl From<Unbelievable> for NotBound {
    fn from(error: Unbelievable) -> Self {
        Self::Unbelievable(error)
    }
}
