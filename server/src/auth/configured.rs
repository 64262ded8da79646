//! Methods that have one configuration and any number of roles, at `config`, `role/<name>` and
//! `login` below their mount, as most of Vault's have.

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use ipnet::IpNet;
use selkie_config::{DeclaredMethod, DeclaredRole, TokenParameters, role_name};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::address::is_within;
use super::jwt::{KeySources, KeysFrom, Unproven};
use super::methods::documents::{Document, DocumentName, forget_mount};
use super::methods::parameters::{self, Alias};
use super::methods::{
    AnswerKind, AuthMount, Login, Method, MethodData, MethodError, MethodReply, MethodRequest,
    Renewal,
};
use crate::api::fields::Fields;
use crate::api::route::Operation;
use crate::state::records::{Batch, Current, Mirror, Mirrors, Records, RecordsError, Unreadable};

const CONFIG: &str = "config";

/// A configuration and its roles.
pub(crate) type Declared<'d, Config, Role> = (&'d Config, &'d [DeclaredRole<Role>]);

/// What one such method is.
#[async_trait]
pub(crate) trait Configured: fmt::Debug + Send + Sync + 'static {
    /// Vault's name of its type.
    const KIND: &'static str;
    /// Its configuration, as it is kept.
    type Config: Document + Clone + fmt::Debug;
    /// What a role asks of those who log in.
    type Role: RoleDocument;
    /// The old names that its roles have for `token_*` fields.
    const ALIASES: &'static [Alias];

    /// The declared configuration, and the declared roles with their names in lower case; `None` for
    /// another method's.
    fn declared(declared: &DeclaredMethod) -> Option<Declared<'_, Self::Config, Self::Role>>;

    /// What `old` is with `fields`.
    fn update_config(
        &self,
        old: Option<&Self::Config>,
        fields: &mut Fields<'_>,
    ) -> Result<Noted<Self::Config>, MethodError>;

    /// What a read answers.
    fn show_config(config: &Self::Config, data: &mut MethodData);

    /// Takes what is set of a role, whose token is as it will be; what the client should know.
    fn update_role(
        role: &mut WithToken<Self::Role>,
        fields: &mut Fields<'_>,
    ) -> Result<Vec<String>, MethodError>;

    /// What a read answers.
    fn show_role(role: &Self::Role, data: &mut MethodData);

    /// Who logs in at `at`.
    async fn log_in(
        &self,
        at: At<'_, Self>,
        request: &mut MethodRequest<'_, '_>,
    ) -> Result<Login, MethodError>
    where
        Self: Sized;

    /// Under which keys the tokens of logins are proven.
    fn sources(&self) -> &KeySources;

    /// Where those of a mount with this configuration come from, if there are any.
    fn keys_from(config: &Self::Config) -> Option<KeysFrom>;

    /// Gets ready for logins at a mount with this configuration.
    fn prepare(&self, mount: Uuid, config: &Self::Config) {
        let keys = Self::keys_from(config).and_then(|from| self.sources().of(mount, &from).ok());
        if let Some(keys) = keys {
            keys.prepare();
        }
    }

    /// Forgets what it knows of a mount that is no more.
    fn forget(&self, mount: Uuid) {
        self.sources().forget(mount);
    }
}

/// What a role of some method asks of those who log in.
pub(crate) trait RoleDocument:
    Serialize + DeserializeOwned + Clone + Default + fmt::Debug + Send + Sync + 'static
{
    /// The first segment of the places where such roles are kept.
    const ROOT: &'static str;
}

impl<R: RoleDocument> Document for WithToken<R> {
    const ROOT: &'static str = R::ROOT;
    type Index = ();
}

/// A value with what the client should know of it.
#[derive(Debug)]
pub(crate) struct Noted<T> {
    pub(crate) value: T,
    pub(crate) warnings: Vec<String>,
}

impl<T> From<T> for Noted<T> {
    fn from(value: T) -> Self {
        Self { value, warnings: Vec::new() }
    }
}

/// Nobody logs in this way; the log knows why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("permission denied")]
pub(crate) struct PermissionDenied;

impl PermissionDenied {
    /// 403; only the log is told the reason.
    pub(crate) fn because(reason: impl std::error::Error + Send + Sync + 'static) -> MethodError {
        let reason = Some(Box::new(reason) as _);
        MethodError::Refused { kind: AnswerKind::Forbidden, told: Box::new(Self), reason }
    }
}

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the login comes from outside the role's token_bound_cidrs")]
struct OutsideBoundCidrs;

#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("missing role name")]
struct NoRoleName;

/// Sets what a field gives.
pub(crate) fn set<T>(place: &mut T, value: Option<impl Into<T>>) {
    if let Some(value) = value {
        *place = value.into();
    }
}

/// Sets the text of a field that is given.
pub(crate) fn set_text(
    fields: &mut Fields<'_>,
    field: &'static str,
    place: &mut String,
) -> Result<(), MethodError> {
    set(place, fields.text(field)?);
    Ok(())
}

/// Sets the texts of a field that is given, without empty ones.
pub(crate) fn set_list(
    fields: &mut Fields<'_>,
    field: &'static str,
    place: &mut Vec<String>,
) -> Result<(), MethodError> {
    if let Some(mut texts) = fields.list(field)? {
        texts.retain(|text| !text.is_empty());
        *place = texts;
    }
    Ok(())
}

/// A role as it is kept: what the method asks, and what the tokens are to be.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithToken<R> {
    pub(crate) role: R,
    #[serde(with = "parameters::kept")]
    pub(crate) token: TokenParameters,
}

impl<R: Clone> From<&DeclaredRole<R>> for WithToken<R> {
    fn from(declared: &DeclaredRole<R>) -> Self {
        Self { role: declared.role.clone(), token: declared.token.clone() }
    }
}

/// The role that a login names, in lower case; empty if it names none.
pub(crate) fn named_role(fields: &mut Fields<'_>) -> Result<String, MethodError> {
    Ok(fields.text("role")?.unwrap_or_default().to_ascii_lowercase())
}

/// 400, or 503 while nobody can say whether the token is good.
pub(crate) fn unproven<E: std::error::Error + Send + Sync + 'static>(
    error: Unproven,
    told: fn(Unproven) -> E,
) -> MethodError {
    let kind = match &error {
        Unproven::NoKeys(_) => AnswerKind::Unavailable,
        Unproven::Unbelievable(_) => AnswerKind::BadRequest,
    };
    MethodError::told(kind, told(error))
}

/// Refuses a login from outside `bound`.
pub(crate) fn check_address(bound: &[IpNet], from: IpAddr) -> Result<(), MethodError> {
    match is_within(bound, from) {
        true => Ok(()),
        false => Err(PermissionDenied::because(OutsideBoundCidrs)),
    }
}

/// Such a method with all that is kept for it.
#[derive(Debug)]
pub(crate) struct ConfiguredMethod<C: Configured> {
    way: C,
    kept: Kept<C>,
}

#[derive(Debug)]
struct Kept<C: Configured> {
    configs: Arc<Mirror<C::Config>>,
    roles: Arc<Mirror<WithToken<C::Role>>>,
}

/// One mount of such a method.
pub(crate) struct At<'a, C: Configured> {
    pub(crate) mount: &'a AuthMount,
    kept: &'a Kept<C>,
}

impl<C: Configured> Clone for At<'_, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<C: Configured> Copy for At<'_, C> {}

impl<C: Configured> At<'_, C> {
    /// The configuration, if there is one.
    pub(crate) fn config(&self) -> Result<Option<C::Config>, Unreadable> {
        if let Some(declared) = self.mount.declaration() {
            return Ok(C::declared(declared).map(|(config, _)| config.clone()));
        }
        Ok(self.kept_config()?.map(|current| (*current.value).clone()))
    }

    /// The role `name`, in whatever case.
    pub(crate) fn role(&self, name: &str) -> Result<Option<WithToken<C::Role>>, Unreadable> {
        let name = name.to_ascii_lowercase();
        if let Some(mut roles) = self.declared_roles() {
            return Ok(roles.find(|role| *role.name == *name).map(WithToken::from));
        }
        Ok(self.kept_role(&name)?.map(|current| (*current.value).clone()))
    }

    fn kept_config(&self) -> Result<Option<Current<C::Config>>, Unreadable> {
        self.kept.configs.get(&self.named(CONFIG))
    }

    /// `None` at a mount made through the API.
    fn declared_roles(&self) -> Option<impl Iterator<Item = &DeclaredRole<C::Role>>> {
        let declared = self.mount.declaration()?;
        Some(C::declared(declared).into_iter().flat_map(|(_, roles)| roles))
    }

    fn kept_role(&self, name: &str) -> Result<Option<Current<WithToken<C::Role>>>, Unreadable> {
        self.kept.roles.get(&self.named(name))
    }

    fn named(&self, name: &str) -> DocumentName {
        DocumentName::new(self.mount.uuid, name)
    }

    fn role_names(&self) -> Vec<String> {
        if let Some(roles) = self.declared_roles() {
            return roles.map(|role| role.name.to_string()).collect();
        }
        let names = self.kept.roles.names().into_iter();
        let mine = names.filter(|name| name.mount == self.mount.uuid);
        mine.map(|name| name.name.into_string()).collect()
    }

    /// Nothing of a declared mount is changed through the API (I6).
    fn refuse_declared(&self, what: impl FnOnce() -> String) -> Result<(), MethodError> {
        match self.mount.declared_at() {
            None => Ok(()),
            Some(at) => Err(MethodError::Declared { what: what(), at: at.to_owned() }),
        }
    }
}

impl<C: Configured> ConfiguredMethod<C> {
    pub(crate) fn new(way: C) -> Self {
        Self { way, kept: Kept { configs: Arc::default(), roles: Arc::default() } }
    }

    const fn at<'a>(&'a self, mount: &'a AuthMount) -> At<'a, C> {
        At { mount, kept: &self.kept }
    }

    async fn config(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let at = self.at(request.mount);
        match request.operation {
            Operation::Read => {
                let config = at.config()?.ok_or(MethodError::NotFound)?;
                let mut data = MethodData::default();
                C::show_config(&config, &mut data);
                Ok(MethodReply::data(data))
            }
            Operation::Update => {
                at.refuse_declared(|| "the method's configuration".to_owned())?;
                let old = at.kept_config()?;
                let held = old.as_ref().map(|current| &*current.value);
                let new = self.way.update_config(held, request.fields)?;
                let mut batch = Batch::default();
                let revision = old.as_ref().map(|current| current.revision);
                batch.put::<C::Config>(&at.named(CONFIG), &new.value, revision)?;
                request.tools.records.commit(&batch).await?;
                self.way.prepare(request.mount.uuid, &new.value);
                Ok(with_warnings(MethodReply::done(), new.warnings))
            }
            _ => Err(MethodError::UnsupportedOperation),
        }
    }

    async fn role(
        &self,
        name: &str,
        request: MethodRequest<'_, '_>,
    ) -> Result<MethodReply, MethodError> {
        let at = self.at(request.mount);
        let name = role_name(name).map_err(MethodError::refused)?.to_ascii_lowercase();
        let what = || format!("role {name:?}");
        match request.operation {
            Operation::Read => {
                let role = at.role(&name)?.ok_or(MethodError::NotFound)?;
                let mut data = MethodData::default();
                C::show_role(&role.role, &mut data);
                parameters::show(&role.token, &mut data);
                Ok(MethodReply::data(data).captured(&["name"]))
            }
            Operation::Update => {
                at.refuse_declared(what)?;
                let old = at.kept_role(&name)?;
                let (mut role, revision) = match old {
                    Some(current) => (WithToken::clone(&current.value), Some(current.revision)),
                    None => Default::default(),
                };
                parameters::update(&mut role.token, request.fields, C::ALIASES)?;
                let warnings = C::update_role(&mut role, request.fields)?;
                let mut batch = Batch::default();
                batch.put(&at.named(&name), &role, revision)?;
                request.tools.records.commit(&batch).await?;
                Ok(with_warnings(MethodReply::done().captured(&["name"]), warnings))
            }
            Operation::Delete => {
                at.refuse_declared(what)?;
                let records = request.tools.records;
                if let Some(old) = records.find(&self.kept.roles, &at.named(&name), None).await? {
                    let mut batch = Batch::default();
                    batch.delete::<WithToken<C::Role>>(&at.named(&name), old.revision)?;
                    records.commit(&batch).await?;
                }
                Ok(MethodReply::done().captured(&["name"]))
            }
            _ => Err(MethodError::UnsupportedOperation),
        }
    }
}

fn with_warnings(reply: MethodReply, warnings: Vec<String>) -> MethodReply {
    warnings.into_iter().fold(reply, MethodReply::warn)
}

#[async_trait]
impl<C: Configured> Method for ConfiguredMethod<C> {
    fn kind(&self) -> &'static str {
        C::KIND
    }

    fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        let Kept { configs, roles } = &self.kept;
        vec![Arc::clone(configs) as Arc<dyn Mirrors>, Arc::clone(roles) as Arc<dyn Mirrors>]
    }

    fn is_login(&self, rest: &str, operation: Operation) -> bool {
        rest == "login" && operation == Operation::Update
    }

    fn creates(&self, mount: &AuthMount, rest: &str) -> bool {
        let name = rest.strip_prefix("role/").filter(|name| !name.is_empty());
        // One that cannot be read is there.
        name.is_some_and(|name| matches!(self.at(mount).role(name), Ok(None)))
    }

    fn may_renew(&self, mount: &AuthMount, renewal: Renewal<'_>) -> bool {
        let name = renewal.metadata.get("role");
        name.is_some_and(|name| !matches!(self.at(mount).role(name), Ok(None)))
    }

    async fn answer(&self, mut request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let rest = request.rest;
        match rest.split_once('/') {
            None if rest == CONFIG => self.config(request).await,
            None if rest == "login" && request.operation == Operation::Update => {
                let login = self.way.log_in(self.at(request.mount), &mut request).await?;
                login.check()?;
                Ok(MethodReply::login(login))
            }
            None if rest == "login" => Err(MethodError::UnsupportedOperation),
            Some(("role", "")) if request.operation == Operation::List => {
                Ok(MethodReply::keys(self.at(request.mount).role_names()))
            }
            Some(("role", "")) => Err(MethodError::refused(NoRoleName)),
            Some(("role", name)) if !name.contains('/') => self.role(name, request).await,
            _ => Err(MethodError::UnsupportedPath),
        }
    }

    fn prepare(&self, mount: &AuthMount) {
        if let Some((config, _)) = mount.declaration().and_then(C::declared) {
            self.way.prepare(mount.uuid, config);
        }
    }

    async fn forget(&self, records: &Records, uuid: Uuid) -> Result<(), RecordsError> {
        self.way.forget(uuid);
        forget_mount(records, &self.kept.configs, uuid).await?;
        forget_mount(records, &self.kept.roles, uuid).await
    }
}
