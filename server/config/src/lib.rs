//! Selkie's configuration file: text in, a checked [`Config`] or every located problem out. The
//! stanzas and fields are Vault's wherever Vault has them. Reading has no side effect but the
//! resolving of secret references through [`Sources`]; a secret never stands in the file itself,
//! nothing is coerced and nothing is silently ignored. It opens no socket and talks to no master key.

mod alerts;
mod at_hand;
mod audit;
mod auth;
mod authorities;
mod client;
mod config;
mod faults;
mod header;
mod key;
mod lease;
mod listener;
mod mount;
mod network;
mod pins;
mod policy;
mod previous;
mod promises;
mod quantity;
mod regression;
mod seal;
mod secret;
mod sources;
mod storage;
mod takeover;
mod telemetry;
mod warning;

pub use alerts::{Alerts, Burst, Webhook};
pub use at_hand::ConfigAtHand;
pub use audit::{
    Audit, AuditDevice, AuditFile, AuditKind, AuditSocket, AuditSyslog, AuditTarget, read_audit_key,
};
pub use auth::{
    AzureConfig, AzureEnvironment, AzureProblem, AzureRole, BoundClaimsType, CertProblem, CertRole,
    DeclaredAppRole, DeclaredAuth, DeclaredMethod, DeclaredRole, InvalidRoleName, JWT_ALGORITHMS,
    JwtConfig, JwtProblem, JwtRole, KubernetesConfig, KubernetesProblem, KubernetesRole,
    ParameterConflict, ReviewerToken, ServiceAccountAlias, TokenParameters, TokenType, role_name,
};
pub use authorities::ClientAuthorities;
pub use client::{ClientName, DeclaredCertificate, DeclaredClient, InvalidClientName};
pub use config::{Config, LogFormat, LogLevel, Logging, SandboxMode};
pub use faults::{
    Calls, Faults, FaultyOperation, RequestFault, RequestOutcome, SealFault, SealOperation,
    SealOutcome, When, Window,
};
pub use header::SecretHeader;
pub use key::{DeclaredKey, VersionRule};
pub use lease::LeaseTimes;
pub use listener::{
    ClientCertificates, Endpoint, ForwardedFor, Listener, ListenerLimits, ProxyProtocol, Tls,
    TlsVersion,
};
pub use mount::Mount;
pub use promises::Promises;
pub use regression::Regression;
pub use seal::{
    AzureCertificate, AzureIdentity, AzureKeyVaultSeal, BreakGlassSeal, DistantKey, IdentityReason,
    Origin, Pkcs11Mechanism, Pkcs11Seal, ProxyUrl, PublicKeyFingerprint, RevokedSeal, Seal,
    SealKind, StaticKey, StaticSeal, TransitSeal, UnreadSeal, UpstreamToken, UserAssignedIdentity,
    WrapPlace,
};
pub use secret::ExposedFile;
pub use selkie_hcl::{Position, Problem, Problems};
pub use sources::{Exposure, SourceError, Sources, SystemSources};
pub use storage::{
    EtcdCertificate, EtcdCredentials, EtcdStorage, SledStorage, Storage, StoreIdentity,
};
pub use takeover::Takeover;
pub use telemetry::{MetricsListener, Telemetry, Tracing};
pub use warning::{Warning, WarningKind};
