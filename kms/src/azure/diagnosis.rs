//! What was seen on the way to Key Vault, and what mends it.

use std::fmt;

use crate::KmsError;

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

/// What became of a call, as the table in docs/troubleshooting.md lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// 429: the vault's or the subscription's limit.
    Throttled,
    /// 5xx: an outage in Azure.
    Outage,
    /// 401 of a vault that cannot check our token now: it lacks the issuer's new key, say, or its
    /// clock is behind the issuer's.
    TokenUnverified,
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
    /// The endpoint of managed identity does not accept what is asked: another audience than it
    /// knows, an id of no form.
    IdentityRequestRejected,
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
    /// The key is there, but what is to be unwrapped names a vault that is not ours.
    OtherVault,
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

impl Diagnosis {
    /// What was seen of the failed call behind `error`, if it was a call to Azure.
    pub fn of(error: &KmsError) -> Option<&Self> {
        let cause = match error {
            KmsError::Denied(cause)
            | KmsError::Rejected(cause)
            | KmsError::UnknownKek(cause)
            | KmsError::Disabled(cause)
            | KmsError::Throttled { cause, .. }
            | KmsError::Unavailable(cause)
            | KmsError::TimedOut(cause)
            | KmsError::Misbehaved(cause) => cause.as_ref()?,
        };
        cause.downcast_ref()
    }

    /// Whether Key Vault itself found fault with the request. Then Key Vault works, and anyone can
    /// bring it about with a forged ciphertext.
    pub(crate) fn is_of_a_bad_request(&self) -> bool {
        self.is_key_vaults_own() && self.status == Some(400)
    }

    /// Whether the answer was an error in Key Vault's own form, and no proxy's page.
    pub(super) const fn is_key_vaults_own(&self) -> bool {
        matches!(self.hop, Hop::Get | Hop::Wrap | Hop::Unwrap) && self.code.is_some()
    }

    /// What mends it: a setting, a role, or a command.
    pub const fn remedy(&self) -> &'static str {
        match (self.hop, self.outcome) {
            (Hop::ManagedIdentity, Outcome::NotConnected) => {
                "see whether this is an Azure machine and lets us connect to 169.254.169.254, and \
                 check `imds_endpoint`; elsewhere use workload identity or an application's secret \
                 or certificate"
            }
            (_, outcome) => outcome.remedy(),
        }
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.hop, self.host, self.outcome)?;
        let parts = [
            self.status.map(|status| format!("status {status}")),
            self.code.clone(),
            self.request_id.as_ref().map(|id| format!("request {id}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() { Ok(()) } else { write!(f, " ({})", parts.join(", ")) }
    }
}

impl std::error::Error for Diagnosis {}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dns => "DNS",
            Self::Tcp => "TCP",
            Self::Proxy => "proxy",
            Self::Tls => "TLS",
            Self::ManagedIdentity => "managed identity",
            Self::Entra => "Entra",
            Self::Get => "Key Vault get",
            Self::Wrap => "Key Vault wrapKey",
            Self::Unwrap => "Key Vault unwrapKey",
        })
    }
}
