//! The same of a seal in Key Vault: above all which identity is used, and why that one.

use std::fmt;
use std::time::Duration;

use selkie_config::{
    AzureIdentity, AzureKeyVaultSeal, IdentityReason, SealKind, UserAssignedIdentity, WrapPlace,
};
use selkie_crypto::SealName;
use tracing::info;

use crate::seal::Connection;

/// What a stanza says about a key in Key Vault, noted before the provider takes it over.
#[derive(Debug)]
pub(super) struct KeyVaultSeal {
    url: String,
    identity: String,
    reason: IdentityReason,
    wrap: WrapPlace,
    poll_interval: Duration,
}

impl KeyVaultSeal {
    /// `None` for a seal of another type.
    pub(super) fn of(kind: &SealKind) -> Option<Self> {
        match kind {
            SealKind::AzureKeyVault(seal) => Some(Self::new(seal)),
            SealKind::Static(_)
            | SealKind::BreakGlass(_)
            | SealKind::Pkcs11(_)
            | SealKind::Transit(_) => None,
        }
    }

    fn new(seal: &AzureKeyVaultSeal) -> Self {
        Self {
            url: format!("{}keys/{}", seal.endpoint, seal.key_name),
            identity: Identity(&seal.identity).to_string(),
            reason: seal.identity_reason,
            wrap: seal.wrap,
            poll_interval: seal.poll_interval,
        }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn log(&self, seal: &SealName) {
        info!(
            %seal,
            key = self.url,
            identity = self.identity,
            because = %self.reason,
            wrap = self.wrap(),
            poll_seconds = self.poll_interval.as_secs(),
            "master key in Key Vault"
        );
    }

    /// What is told beneath the name of the seal, a title and a text each.
    pub(super) fn lines(&self, connection: &Connection) -> [(&'static str, String); 4] {
        [
            ("identity", format!("{}, because {}", self.identity, self.reason)),
            ("wraps", self.wrap().to_owned()),
            ("asks", format!("Key Vault for news every {} s", self.poll_interval.as_secs())),
            ("restart", format!("while Key Vault is away: {}", self.after_restart(connection))),
        ]
    }

    /// What holds after a restart (invariant I2).
    pub(super) fn after_restart(&self, connection: &Connection) -> &'static str {
        match self.wrap {
            WrapPlace::Local => connection.lasting_trust(),
            WrapPlace::Remote => "does not encrypt, as every wrap is made in Key Vault",
        }
    }

    const fn wrap(&self) -> &'static str {
        match self.wrap {
            WrapPlace::Local => "here, under an RSA key; in Key Vault under a symmetric one",
            WrapPlace::Remote => "in Key Vault",
        }
    }
}

/// An identity as people know it.
struct Identity<'i>(&'i AzureIdentity);

impl fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            AzureIdentity::ManagedIdentity { user_assigned, .. } => {
                managed(f, "managed identity", user_assigned.as_ref())
            }
            AzureIdentity::AppService { user_assigned, .. } => {
                managed(f, "managed identity of App Service", user_assigned.as_ref())
            }
            AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file } => {
                let file = token_file.display();
                write!(f, "workload identity {client_id} of tenant {tenant_id}, token in {file}")
            }
            AzureIdentity::ClientSecret { tenant_id, client_id, .. } => {
                write!(f, "client secret of {client_id} of tenant {tenant_id}")
            }
            AzureIdentity::ClientCertificate { tenant_id, client_id, .. } => {
                write!(f, "client certificate of {client_id} of tenant {tenant_id}")
            }
        }
    }
}

fn managed(
    f: &mut fmt::Formatter<'_>,
    kind: &str,
    user_assigned: Option<&UserAssignedIdentity>,
) -> fmt::Result {
    match user_assigned {
        None => write!(f, "system-assigned {kind}"),
        Some(UserAssignedIdentity::ClientId(id)) => write!(f, "{kind} with client id {id}"),
        Some(UserAssignedIdentity::ObjectId(id)) => write!(f, "{kind} with object id {id}"),
        Some(UserAssignedIdentity::ResourceId(id)) => write!(f, "{kind} {id}"),
    }
}
