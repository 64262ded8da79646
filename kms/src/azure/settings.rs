//! What has to be known to reach a master key in Azure.

use std::path::PathBuf;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;
use zeroize::Zeroizing;

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
    /// Whether every DEK is wrapped in Key Vault, also where it could be wrapped here.
    pub wrap_remotely: bool,
    /// Who we are.
    pub identity: Identity,
    /// Where Entra is, such as `https://login.microsoftonline.com`; `https` always.
    pub authority: Url,
    /// The only authorities that TLS to Key Vault and Entra trusts; `None` for the system's.
    pub ca_certificates: Option<Vec<CertificateDer<'static>>>,
    /// The HTTP proxy on the way to Key Vault and Entra, `http://[user:password@]host:port`.
    /// Managed identity never goes through it.
    pub proxy: Option<Url>,
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
