//! What has to be known to reach a master key in Azure.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use selkie_crypto::sha256;
use url::Url;
use zeroize::Zeroizing;

use crate::http::Roots;

/// Where the master key is, who we are there, and how it is reached.
#[derive(Debug)]
pub struct AzureSettings {
    /// `https://NAME.vault.azure.net` or whatever stands in its place; `https` always.
    pub endpoint: Url,
    /// The host suffix of the service, such as `vault.azure.net` or `managedhsm.azure.net`: the
    /// audience of the token is `https://` and this, whatever a challenge says.
    pub resource: String,
    /// The name of the key: 1 to 127 of `0-9 A-Z a-z -`.
    pub key_name: String,
    /// The vaults, `https://HOST[:PORT]` as key ids name them, that the key was restored from: what
    /// was wrapped there is unwrapped by the version of the same name in ours.
    pub former_vaults: Vec<Url>,
    /// Whether every DEK is wrapped in Key Vault, also where it could be wrapped here.
    pub wrap_remotely: bool,
    /// Who we are.
    pub identity: Identity,
    /// Where Entra is, such as `https://login.microsoftonline.com`; `https` always.
    pub authority: Url,
    /// The only authorities that TLS to Key Vault and Entra trusts; `None` for the system's.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// The HTTP proxy on the way to Key Vault, `http://[user:password@]host:port`.
    pub key_vault_proxy: Option<Url>,
    /// The same on the way to Entra. Managed identity never goes through one.
    pub entra_proxy: Option<Url>,
}

impl AzureSettings {
    /// Tells these settings from others, secrets included: SHA-256 over all of them, and over the
    /// system's authorities as they are now where those count.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut text = Text(Zeroizing::new(Vec::new()));
        text.add("endpoint", self.endpoint.as_str());
        text.add("resource", &self.resource);
        text.add("key_name", &self.key_name);
        for vault in &self.former_vaults {
            text.add("former_vault", vault.as_str());
        }
        text.add("wrap_remotely", if self.wrap_remotely { "1" } else { "0" });
        text.add("authority", self.authority.as_str());
        text.add("authorities", self.roots().digest());
        text.add("own_authorities", if self.ca_certificates.is_some() { "1" } else { "0" });
        for (name, proxy) in [("key_vault", &self.key_vault_proxy), ("entra", &self.entra_proxy)] {
            text.add(name, proxy.as_ref().map_or("", Url::as_str));
        }
        self.identity.add_to(&mut text);
        sha256(&text.0)
    }

    /// Whom TLS to Key Vault and Entra trusts.
    pub(super) fn roots(&self) -> Roots {
        self.ca_certificates.clone().map_or(Roots::System, Roots::Given)
    }
}

/// Parts of settings, each with its name and length in front, so that no two lists read alike.
struct Text(Zeroizing<Vec<u8>>);

impl Text {
    fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        for part in [name.as_bytes(), value.as_ref()] {
            self.0.extend_from_slice(&part.len().to_be_bytes());
            self.0.extend_from_slice(part);
        }
    }
}

/// How we prove who we are. It is always chosen by the configuration, never by trying.
pub enum Identity {
    /// The identity of the machine, from IMDS.
    ManagedIdentity {
        /// One of several user-assigned ones; `None` for the machine's own.
        user_assigned: Option<UserAssignedIdentity>,
        /// IMDS's address, `http://169.254.169.254` but for emulators.
        endpoint: Url,
    },
    /// The same from App Service, Functions or Container Apps: `IDENTITY_ENDPOINT` and
    /// `IDENTITY_HEADER` are believed because the configuration says so.
    AppService {
        /// One of several user-assigned ones; `None` for the app's own.
        user_assigned: Option<UserAssignedIdentity>,
        /// `IDENTITY_ENDPOINT`.
        endpoint: Url,
        /// `IDENTITY_HEADER`.
        header: Zeroizing<String>,
    },
    /// A token of Kubernetes or another issuer, exchanged in Entra; the file is read again each
    /// time.
    WorkloadIdentity {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Where the token is.
        token_file: PathBuf,
    },
    /// An application's secret.
    ClientSecret {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The secret.
        client_secret: Zeroizing<String>,
    },
    /// An application's certificate: the assertion is signed here.
    ClientCertificate {
        /// The tenant.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// The certificate with its key.
        certificate: ClientCertificate,
    },
}

/// A user-assigned managed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAssignedIdentity {
    /// By its application's id.
    ClientId(String),
    /// By its principal's id.
    ObjectId(String),
    /// By its ARM resource id.
    ResourceId(String),
}

/// A certificate and its private key (RSA).
pub struct ClientCertificate {
    /// The certificate that Entra knows, then its issuers.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key.
    pub key: PrivateKeyDer<'static>,
}

impl Identity {
    /// The kind, as the log and `validate` name it.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::ManagedIdentity { user_assigned: None, .. } => "system-assigned managed identity",
            Self::ManagedIdentity { .. } => "user-assigned managed identity",
            Self::AppService { .. } => "managed identity of App Service",
            Self::WorkloadIdentity { .. } => "workload identity",
            Self::ClientSecret { .. } => "client secret",
            Self::ClientCertificate { .. } => "client certificate",
        }
    }
}

impl Identity {
    fn add_to(&self, text: &mut Text) {
        text.add("identity", self.kind());
        match self {
            Self::ManagedIdentity { user_assigned, endpoint } => {
                text.add("endpoint", endpoint.as_str());
                add_user_assigned(user_assigned.as_ref(), text);
            }
            Self::AppService { user_assigned, endpoint, header } => {
                text.add("endpoint", endpoint.as_str());
                text.add("header", header.as_bytes());
                add_user_assigned(user_assigned.as_ref(), text);
            }
            Self::WorkloadIdentity { tenant_id, client_id, token_file } => {
                add_application(tenant_id, client_id, text);
                text.add("token_file", token_file.as_os_str().as_encoded_bytes());
            }
            Self::ClientSecret { tenant_id, client_id, client_secret } => {
                add_application(tenant_id, client_id, text);
                text.add("client_secret", client_secret.as_bytes());
            }
            Self::ClientCertificate { tenant_id, client_id, certificate } => {
                add_application(tenant_id, client_id, text);
                certificate.chain.iter().for_each(|one| text.add("certificate", one));
                text.add("key", certificate.key.secret_der());
            }
        }
    }
}

fn add_application(tenant_id: &str, client_id: &str, text: &mut Text) {
    text.add("tenant_id", tenant_id);
    text.add("client_id", client_id);
}

fn add_user_assigned(identity: Option<&UserAssignedIdentity>, text: &mut Text) {
    match identity {
        None => {}
        Some(UserAssignedIdentity::ClientId(id)) => text.add("client_id", id),
        Some(UserAssignedIdentity::ObjectId(id)) => text.add("object_id", id),
        Some(UserAssignedIdentity::ResourceId(id)) => text.add("resource_id", id),
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind())
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientCertificate")
    }
}
