//! `cert`: the certificate of the connection makes a token, if a role takes it.
//!
//! What the listener asks of certificates comes first: who does not pass its handshake never gets
//! here.

mod entry;
mod login;

use std::sync::Arc;

use async_trait::async_trait;
use selkie_config::role_name;
use uuid::Uuid;

use self::entry::{Entry, Fit};
use super::documents::{DocumentName, forget_mount};
use super::{AuthMount, Method, MethodError, MethodReply, MethodRequest, Renewal};
use crate::api::route::Operation;
use crate::state::records::{Batch, Mirror, Mirrors, Records, RecordsError};

/// The method, with the roles of all its mounts.
#[derive(Debug, Default)]
pub(super) struct Cert {
    roles: Arc<Mirror<Entry>>,
}

/// What is wrong with a request. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum CertProblem {
    #[error("failed to parse certificate")]
    Certificate,
    #[error("required_extensions: {text:?} is neither OID:VALUE nor hex:OID:VALUE")]
    Extension { text: String },
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
        let role = match self.roles.get(&DocumentName::new(mount.uuid, name)) {
            Ok(Some(current)) => current.value,
            Ok(None) => return false,
            Err(_unreadable) => return true,
        };
        renewal.certificate.is_some_and(|shown| {
            let read = shown.certificate();
            read.is_ok_and(|read| role.fit(shown, read, renewal.now) == Fit::Matches)
        })
    }

    async fn answer(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError> {
        let segments: Vec<&str> = request.rest.split('/').collect();
        match (&segments[..], request.operation) {
            (["login"], Operation::Update) => self.login(request),
            (["certs", ""], Operation::List) => {
                let names = self.roles.names().into_iter();
                let of_mount = names.filter(|name| name.mount == request.mount.uuid);
                Ok(MethodReply::keys(of_mount.map(|name| name.name.into_string()).collect()))
            }
            (["certs", name], _) => {
                let name = role_name(name).map_err(|_no_name| MethodError::UnsupportedPath)?;
                let name = DocumentName::new(request.mount.uuid, &name.to_ascii_lowercase());
                Ok(self.role(request, &name).await?.captured(&["name"]))
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
    /// `certs/:name`
    async fn role(
        &self,
        request: MethodRequest<'_, '_>,
        name: &DocumentName,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { operation, fields, tools, .. } = request;
        tools.records.store()?;
        let current = self.roles.get(name)?;
        let mut batch = Batch::default();
        match (operation, current) {
            (Operation::Read, current) => {
                let current = current.ok_or(MethodError::NotFound)?;
                return Ok(MethodReply::data(current.value.show()));
            }
            (Operation::Update, current) => {
                let mut entry = match &current {
                    Some(current) => Entry::clone(&current.value),
                    None => Entry::default(),
                };
                entry.update(&name.name, fields)?;
                batch.put(name, &entry, current.map(|current| current.revision))?;
            }
            (Operation::Delete, Some(current)) => batch.delete::<Entry>(name, current.revision)?,
            (Operation::Delete, None) => return Ok(MethodReply::done()),
            _ => return Err(MethodError::UnsupportedOperation),
        }
        tools.records.commit(&batch).await?;
        Ok(MethodReply::done())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::{IpAddr, Ipv4Addr};

    use selkie_crypto::os_random;
    use selkie_listener::ShownCertificate;
    use selkie_storage::MemoryStore;
    use serde_json::json;

    use super::super::Tools;
    use super::*;
    use crate::api::fields::Fields;
    use crate::clock::SystemClock;

    /// A certificate that nobody issued, as PEM and as it is shown.
    fn certificate() -> (String, Arc<ShownCertificate>) {
        let names = vec!["vault.example".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).unwrap().cert;
        (made.pem(), ShownCertificate::unverified(vec![made.der().clone()]).unwrap())
    }

    async fn ask(records: &Records, method: &Cert, mount: &AuthMount, body: Option<&[u8]>) {
        let operation = body.map_or(Operation::Delete, |_| Operation::Update);
        let mut fields = Fields::parse(body.unwrap_or_default(), None).unwrap();
        let (clock, random) = (&SystemClock, &os_random);
        let tools = Tools { records, state_key: None, clock, random };
        let credentials = IpAddr::from(Ipv4Addr::LOCALHOST).into();
        let rest = "certs/web";
        let fields = &mut fields;
        let request = MethodRequest { mount, rest, operation, fields, credentials, tools };
        method.answer(request).await.unwrap();
    }

    #[tokio::test]
    async fn a_login_is_renewed_only_with_a_certificate_that_its_role_takes() {
        let method = Cert::default();
        let records = Records::new(true, method.mirrors());
        records.attach(Arc::new(MemoryStore::new())).await.unwrap();
        let mount = AuthMount::managed("cert".parse().unwrap(), "cert", Uuid::new_v4());
        let ((pem, own), (_, other)) = (certificate(), certificate());
        let body = json!({ "certificate": pem }).to_string();
        ask(&records, &method, &mount, Some(body.as_bytes())).await;
        let metadata = BTreeMap::from([("cert_name".to_owned(), "web".to_owned())]);
        let renews = |certificate| {
            method.may_renew(&mount, Renewal { metadata: &metadata, certificate, now: 0 })
        };
        assert!(renews(Some(&*own)));
        assert!(!renews(Some(&*other)));
        assert!(!renews(None), "it was revoked, or is not there");
        ask(&records, &method, &mount, None).await;
        assert!(!renews(Some(&*own)));
    }
}
