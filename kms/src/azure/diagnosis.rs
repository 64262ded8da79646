//! What was seen on the way to Key Vault, and what mends it.

use std::fmt;

/// One step of the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hop {
    /// The name of a host.
    Dns,
    /// The connection.
    Tcp,
    /// The HTTP proxy.
    Proxy,
    /// The certificate, the cipher.
    Tls,
    /// The endpoint of managed identity.
    ManagedIdentity,
    /// Entra's token endpoint.
    Entra,
    /// Key Vault's answer to a read of the key.
    Get,
    /// Key Vault's answer to a wrap.
    Wrap,
    /// Key Vault's answer to an unwrap.
    Unwrap,
}

/// What became of a call, as the table in docs/operations.md lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// 429: the vault's or the subscription's limit.
    Throttled,
    /// 5xx: an outage in Azure.
    Outage,
    /// No answer in time.
    TimedOut,
    /// The host's name is unknown, or no name server answers.
    NameNotResolved,
    /// The connection is refused, reset, or cut.
    NotConnected,
    /// The proxy refuses.
    ProxyRefused,
    /// TLS fails: an unknown authority, another name, an expired certificate.
    TlsFailed,
    /// This machine has no managed identity, or no endpoint for it.
    IdentityMissing,
    /// Several identities are assigned and none is named.
    IdentityAmbiguous,
    /// Entra does not accept the credential.
    CredentialRefused,
    /// The file with the federated token cannot be read.
    TokenFileUnreadable,
    /// The token is of another tenant or for another audience.
    WrongTenant,
    /// The role is missing (RBAC), or was assigned minutes ago.
    RoleMissing,
    /// The access policy lacks the permission.
    PolicyMissing,
    /// The vault's firewall does not know our address.
    Firewall,
    /// The vault accepts private links alone.
    PrivateLink,
    /// The key version is disabled.
    KeyDisabled,
    /// The key version is expired.
    KeyExpired,
    /// The key version is not yet valid.
    KeyNotYetValid,
    /// The key's `key_ops` lack the operation.
    OperationNotAllowed,
    /// The key, or this version of it, is not there: deleted, purged, or never made.
    KeyMissing,
    /// The key is no RSA key of a supported size and no 256-bit symmetric key.
    KeyUnsuitable,
    /// Key Vault does not accept the request: a wrapped DEK that is not its own, above all.
    RequestRejected,
    /// The answer makes no sense.
    AnswerWrong,
    /// 403 of a kind that is not listed here.
    Forbidden,
}

/// What was seen of one failed call, for the operator. It holds nothing secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Where it failed.
    pub hop: Hop,
    /// What happened.
    pub outcome: Outcome,
    /// The host asked.
    pub host: String,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Azure's code for it: `innererror.code`, else `error.code`, else an `AADSTS...`/`AKV...`.
    pub code: Option<String>,
    /// `x-ms-request-id`, or Entra's `trace_id`, which Azure's support asks for.
    pub request_id: Option<String>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {:?}", self.hop, self.outcome)
    }
}

impl std::error::Error for Diagnosis {}
