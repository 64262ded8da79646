//! `cert`: the certificate of the connection makes a token, if a role takes it.
//!
//! What the listener asks of certificates comes first: who does not pass its handshake never gets
//! here.

mod entry;
mod login;

use std::sync::Arc;

use async_trait::async_trait;
use selkie_config::{CertRole, DeclaredMethod, DeclaredRole, role_name};
use uuid::Uuid;

use self::entry::{Entry, Fit};
use super::documents::{DocumentName, forget_mount};
use super::{AuthMount, Method, MethodError, MethodReply, MethodRequest, Renewal};
use crate::api::route::Operation;
use crate::state::records::{Batch, Mirror, Mirrors, Records, RecordsError, Unreadable};

/// The method, with the roles of all its mounts.
#[derive(Debug, Default)]
pub(super) struct Cert {
    roles: Arc<Mirror<Entry>>,
}

/// Why nobody logs in. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum LoginProblem {
    #[error("client certificate must be supplied")]
    NoCertificate,
    #[error("invalid certificate or no client certificate supplied")]
    Invalid,
    #[error("no chain matching all constraints could be found for this login certificate")]
    NoMatch,
    #[error("the certificate matches several roles: say which with \"name\"")]
    SeveralMatch,
    #[error("permission denied")]
    PermissionDenied,
}

#[async_trait]
impl Method for Cert {
    fn kind(&self) -> &'static str {
        "cert"
    }

    fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        vec![Arc::clone(&self.roles) as _]
    }

    fn is_login(&self, rest: &str, operation: Operation) -> bool {
        rest == "login" && operation == Operation::Update
    }

    fn creates(&self, _mount: &AuthMount, _rest: &str) -> bool {
        false
    }

    /// As in Vault, a certificate that has been revoked or has run out renews nothing.
    fn may_renew(&self, mount: &AuthMount, renewal: Renewal<'_>) -> bool {
        let Some(name) = renewal.metadata.get("cert_name") else { return false };
        let role = match self.role(mount, name) {
            Ok(Some(role)) => role,
            Ok(None) => return false,
            Err(_unreadable) => return true,
        };
        renewal.certificate.is_some_and(|shown| {
            let read = shown.certificate();
            read.is_ok_and(|read| entry::fit(&role.role, shown, read, renewal.now) == Fit::Matches)
        })
    }

    async fn answer(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let segments: Vec<&str> = request.rest.split('/').collect();
        match (&segments[..], request.operation) {
            (["login"], Operation::Update) => self.login(request),
            (["certs", ""], Operation::List) => {
                Ok(MethodReply::keys(self.role_names(request.mount)))
            }
            (["certs", name], _) => {
                let name = role_name(name).map_err(|_no_name| MethodError::UnsupportedPath)?;
                Ok(self.answer_role(request, &name.to_ascii_lowercase()).await?.captured(&["name"]))
            }
            (["login"] | ["certs"], _) => Err(MethodError::UnsupportedOperation),
            _ => Err(MethodError::UnsupportedPath),
        }
    }

    async fn forget(&self, records: &Records, uuid: Uuid) -> Result<(), RecordsError> {
        forget_mount(records, &self.roles, uuid).await
    }
}

impl Cert {
    /// The role of this name. A declared mount has its declared roles, and no others.
    fn role(&self, mount: &AuthMount, name: &str) -> Result<Option<Arc<Entry>>, Unreadable> {
        if let Some(declared) = declared(mount) {
            let role = declared.iter().find(|role| role.name == name);
            return Ok(role.map(|role| Arc::new(entry_of(role))));
        }
        let kept = self.roles.get(&DocumentName::new(mount.uuid, name))?;
        Ok(kept.map(|kept| kept.value))
    }

    /// All roles that can be read, or the one that is wanted.
    fn roles(&self, mount: &AuthMount, wanted: Option<&str>) -> Vec<(String, Arc<Entry>)> {
        let is_wanted = |name: &str| wanted.is_none_or(|wanted| name == wanted);
        if let Some(declared) = declared(mount) {
            let wanted = declared.iter().filter(|role| is_wanted(&role.name));
            return wanted.map(|role| (role.name.clone(), Arc::new(entry_of(role)))).collect();
        }
        let mut roles = Vec::new();
        self.roles.for_each(|name, entry| {
            if name.mount == mount.uuid && is_wanted(&name.name) {
                roles.push((name.name.to_string(), Arc::clone(entry)));
            }
        });
        roles
    }

    fn role_names(&self, mount: &AuthMount) -> Vec<String> {
        if let Some(declared) = declared(mount) {
            return declared.iter().map(|role| role.name.clone()).collect();
        }
        let names = self.roles.names().into_iter();
        let of_mount = names.filter(|name| name.mount == mount.uuid);
        of_mount.map(|name| name.name.into_string()).collect()
    }

    /// `certs/:name`
    async fn answer_role(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, operation, fields, tools, .. } = request;
        if mount.declared_at().is_none() {
            tools.records.store()?;
        }
        match operation {
            Operation::Read => {
                let role = self.role(mount, name)?.ok_or(MethodError::NotFound)?;
                return Ok(MethodReply::data(entry::show(&role)));
            }
            Operation::Update | Operation::Delete => {}
            _ => return Err(MethodError::UnsupportedOperation),
        }
        if let Some(at) = mount.declared_at() {
            let what = format!("role {name:?}");
            return Err(MethodError::Declared { what, at: at.to_owned() });
        }
        let document = DocumentName::new(mount.uuid, name);
        let current = tools.records.find(&self.roles, &document, None).await?;
        let mut batch = Batch::default();
        match (operation, current) {
            (Operation::Delete, None) => return Ok(MethodReply::done()),
            (Operation::Delete, Some(current)) => {
                batch.delete::<Entry>(&document, current.revision)?;
            }
            (_, current) => {
                let kept = current.as_ref().map(|current| Entry::clone(&current.value));
                let mut new = kept.unwrap_or_default();
                entry::update(&mut new, name, fields)?;
                batch.put(&document, &new, current.map(|current| current.revision))?;
            }
        }
        tools.records.commit(&batch).await?;
        Ok(MethodReply::done())
    }
}

/// `None` for a mount made through the API.
fn declared(mount: &AuthMount) -> Option<&[DeclaredRole<CertRole>]> {
    match mount.declaration()? {
        DeclaredMethod::Cert(roles) => Some(roles),
        _ => Some(&[]),
    }
}

fn entry_of(declared: &DeclaredRole<CertRole>) -> Entry {
    let mut role = declared.role.clone();
    if role.display_name.is_empty() {
        role.display_name.clone_from(&declared.name);
    }
    Entry { role, token: declared.token.clone() }
}

#[cfg(test)]
mod tests;
