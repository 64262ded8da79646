//! What is allowed but worth telling.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use selkie_hcl::{Place, Position};

use crate::secret::ExposedFile;

/// Something that works and that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The file it is about.
    pub file: Arc<str>,
    /// Where in it.
    pub position: Position,
    /// What.
    pub kind: WarningKind,
}

/// What is worth telling.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WarningKind {
    /// Others than its owner may read the file of a secret.
    #[error("\"allow_readable_secrets\": {0}")]
    ExposedFile(ExposedFile),
    /// Nothing but the system's own rules stands between it and the machine.
    #[error(
        "sandbox \"off\": the server may open every file and start every program that its user may"
    )]
    NotConfined,
    /// A key of 32 printable characters has far less than 256 bits.
    #[error("the key is printable text, so hardly random: make one with `openssl rand 32`")]
    PrintableKey,
    /// One more word makes it misbehave.
    #[error(
        "\"allow_faults\" lets --faults make a test bench of this server: remove it from a \
         configuration that anyone depends on"
    )]
    FaultsAllowed,
    /// What is made through the API is lost at exit.
    #[error("storage \"inmem\" forgets all keys made through the API when the server stops")]
    ForgetfulStorage,
    /// Whoever reaches the port says where a connection comes from.
    #[error("proxy_protocol_behavior \"use_always\" believes everyone who reaches this listener")]
    EveryProxyBelieved,
    /// A variable of the environment replaces what stands in the file, as in Vault.
    #[error("environment variable {variable} wins over field {field:?}")]
    VariableWins {
        /// The variable.
        variable: &'static str,
        /// The field.
        field: &'static str,
    },
    /// `IDENTITY_ENDPOINT` is set and not believed.
    #[error(
        "environment variable IDENTITY_ENDPOINT is ignored: set identity = \"app_service\" if \
         tokens are to come from there"
    )]
    StrayIdentityEndpoint,
    /// `AZURE_AUTHORITY_HOST` is set and not believed.
    #[error(
        "environment variable AZURE_AUTHORITY_HOST is ignored: it counts only together with \
         AZURE_FEDERATED_TOKEN_FILE; set \"authority_host\" if Entra is elsewhere"
    )]
    StrayAuthorityHost,
    /// A managed identity has its tenant from the machine.
    #[error("\"tenant_id\" has no part in a managed identity: remove it")]
    UnusedTenant,
    /// Tokens come over plain HTTP from another machine.
    #[error("\"imds_endpoint\": tokens come in clear from {host:?}, which is not this machine")]
    DistantImds {
        /// The host.
        host: String,
    },
    /// What was learned of the master key is lost at exit.
    #[error(
        "no \"data_dir\" and no STATE_DIRECTORY: after a restart nothing is encrypted until Key \
         Vault answers"
    )]
    PinsForgotten,
    /// What was learned of the master key is not trusted after a restart.
    #[error(
        "neither \"public_key_sha256\" nor \"local_key\" is set: after a restart nothing is \
         encrypted until Key Vault has confirmed the key"
    )]
    PinsUnproven,
    /// Another replica hashes the same value to something else.
    #[error(
        "neither \"audit_key\" nor \"origin_key\" is set: the audit key is derived from \"local_key\", \
         so each machine hashes values and chains lines under a key of its own"
    )]
    AuditKeyOfOneMachine,
    /// Every seal of a key is needed.
    #[error(
        "\"quorum\": all {quorum} seals are needed, so the loss of one loses what the key \
         encrypted: list more seals than the quorum needs"
    )]
    QuorumWithoutSpare {
        /// How many are needed.
        quorum: u8,
    },
    /// A password travels in clear.
    #[error("\"address\" begins with http:// : the password for etcd travels in clear")]
    PasswordInClear,
    /// What stands in many a Vault's stanza and changes nothing here.
    #[error("{field:?} has no effect here: {reason}")]
    WithoutEffect {
        /// The field.
        field: &'static str,
        /// The reason, in words.
        reason: &'static str,
    },
    /// Whoever reaches the address reads the metrics.
    #[error("\"metrics_address\": everyone who reaches {address} reads the metrics, in clear")]
    PublicMetrics {
        /// The address.
        address: SocketAddr,
    },
    /// Traces leave the machine unprotected.
    #[error("\"otlp_endpoint\": traces and their headers travel in clear to {host:?}")]
    TracesInClear {
        /// The host.
        host: String,
    },
    /// Alerts leave the machine unprotected.
    #[error("\"url\": alerts and their headers travel in clear to {host:?}")]
    AlertsInClear {
        /// The host.
        host: String,
    },
    /// What was seen before is lost at exit.
    #[error(
        "\"alerts\" has nothing to remember with, so that each restart begins to learn anew: set \
         \"storage\", or \"data_dir\" and \"local_key\""
    )]
    AlertsForgetful,
    /// Tokens and plaintexts go over the wire unprotected.
    #[error("tls_disable on an address that others can reach: tokens and secrets travel in clear")]
    PlainHttp,
}

impl Warning {
    pub(crate) fn at(place: Place<'_>, kind: WarningKind) -> Self {
        Self { file: place.file(), position: place.position(), kind }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: warning: {}", self.file, self.position, self.kind)
    }
}
