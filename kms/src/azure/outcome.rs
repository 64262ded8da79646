//! The table of outcomes: name, meaning, remedy.

use std::fmt;

use super::Outcome;

const ROLE: &str = "assign our identity the role \"Key Vault Crypto Service Encryption User\" on the \
    key or its vault (az role assignment create --assignee-object-id OBJECT_ID --role \"Key Vault \
    Crypto Service Encryption User\" --scope VAULT_ID/keys/KEY; for a managed HSM: az keyvault role \
    assignment create --hsm-name HSM --role \"Managed HSM Crypto Service Encryption User\" \
    --assignee OBJECT_ID --scope /keys/KEY); an assignment takes up to ten minutes to work";

impl Outcome {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 28] = [
        Self::Throttled,
        Self::Outage,
        Self::TokenUnverified,
        Self::TimedOut,
        Self::NameNotResolved,
        Self::NotConnected,
        Self::ProxyRefused,
        Self::TlsFailed,
        Self::IdentityMissing,
        Self::IdentityAmbiguous,
        Self::IdentityRequestRejected,
        Self::CredentialRefused,
        Self::TokenFileUnreadable,
        Self::WrongTenant,
        Self::RoleMissing,
        Self::PolicyMissing,
        Self::Firewall,
        Self::PrivateLink,
        Self::KeyDisabled,
        Self::KeyExpired,
        Self::KeyNotYetValid,
        Self::OperationNotAllowed,
        Self::KeyMissing,
        Self::OtherVault,
        Self::KeyUnsuitable,
        Self::RequestRejected,
        Self::AnswerWrong,
        Self::Forbidden,
    ];

    /// Its name in tables, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Outage => "outage",
            Self::TokenUnverified => "token_unverified",
            Self::TimedOut => "timed_out",
            Self::NameNotResolved => "name_not_resolved",
            Self::NotConnected => "not_connected",
            Self::ProxyRefused => "proxy_refused",
            Self::TlsFailed => "tls_failed",
            Self::IdentityMissing => "identity_missing",
            Self::IdentityAmbiguous => "identity_ambiguous",
            Self::IdentityRequestRejected => "identity_request_rejected",
            Self::CredentialRefused => "credential_refused",
            Self::TokenFileUnreadable => "token_file_unreadable",
            Self::WrongTenant => "wrong_tenant",
            Self::RoleMissing => "role_missing",
            Self::PolicyMissing => "policy_missing",
            Self::Firewall => "firewall",
            Self::PrivateLink => "private_link",
            Self::KeyDisabled => "key_disabled",
            Self::KeyExpired => "key_expired",
            Self::KeyNotYetValid => "key_not_yet_valid",
            Self::OperationNotAllowed => "operation_not_allowed",
            Self::KeyMissing => "key_missing",
            Self::OtherVault => "other_vault",
            Self::KeyUnsuitable => "key_unsuitable",
            Self::RequestRejected => "request_rejected",
            Self::AnswerWrong => "answer_wrong",
            Self::Forbidden => "forbidden",
        }
    }

    /// What happened, in a few words for the log.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Throttled => "the limit of the vault or the subscription is reached",
            Self::Outage => "Azure does not work now",
            Self::TokenUnverified => "Key Vault cannot check our token now",
            Self::TimedOut => "no answer in time",
            Self::NameNotResolved => "the name is not resolved",
            Self::NotConnected => "the connection is refused, reset or cut",
            Self::ProxyRefused => "the proxy does not let us through",
            Self::TlsFailed => "TLS does not come about",
            Self::IdentityMissing => "this machine has no such managed identity",
            Self::IdentityAmbiguous => "this machine has several managed identities",
            Self::IdentityRequestRejected => "the identity endpoint rejects the request",
            Self::CredentialRefused => "our credential is not accepted",
            Self::TokenFileUnreadable => "the file with the federated token is unreadable",
            Self::WrongTenant => "the token is of another tenant or for another audience",
            Self::RoleMissing => "our identity lacks the role",
            Self::PolicyMissing => "the access policy lacks the permission",
            Self::Firewall => "the vault's firewall does not admit our address",
            Self::PrivateLink => "the vault admits private links alone",
            Self::KeyDisabled => "the key version is disabled",
            Self::KeyExpired => "the key version is expired",
            Self::KeyNotYetValid => "the key version is not yet valid",
            Self::OperationNotAllowed => "the key is not meant for the operation",
            Self::KeyMissing => "there is no such key or version",
            Self::OtherVault => "the ciphertext names another vault",
            Self::KeyUnsuitable => "the key is of an unsuitable type or size",
            Self::RequestRejected => "the request is not accepted",
            Self::AnswerWrong => "the answer makes no sense",
            Self::Forbidden => "forbidden, for a reason that is not known to us",
        }
    }

    /// What mends it: a setting, a role, or a command.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::RoleMissing => ROLE,
            Self::Throttled
            | Self::Outage
            | Self::TokenUnverified
            | Self::TimedOut
            | Self::NameNotResolved
            | Self::NotConnected
            | Self::ProxyRefused
            | Self::TlsFailed
            | Self::AnswerWrong => self.remedy_on_the_way(),
            Self::IdentityMissing
            | Self::IdentityAmbiguous
            | Self::IdentityRequestRejected
            | Self::CredentialRefused
            | Self::TokenFileUnreadable
            | Self::WrongTenant => self.remedy_of_identity(),
            Self::PolicyMissing
            | Self::Firewall
            | Self::PrivateLink
            | Self::KeyDisabled
            | Self::KeyExpired
            | Self::KeyNotYetValid
            | Self::OperationNotAllowed
            | Self::KeyMissing
            | Self::OtherVault
            | Self::KeyUnsuitable
            | Self::RequestRejected
            | Self::Forbidden => self.remedy_in_the_vault(),
        }
    }

    /// Whether it may pass although nobody changes anything.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Throttled
                | Self::Outage
                | Self::TokenUnverified
                | Self::TimedOut
                | Self::NameNotResolved
                | Self::NotConnected
                | Self::AnswerWrong
        )
    }

    const fn remedy_on_the_way(self) -> &'static str {
        match self {
            Self::Throttled => {
                "nothing, it passes; if it lasts, give Selkie a vault of its own, or use a 2048-bit \
                 key (a 4096-bit one counts eight times as much)"
            }
            Self::Outage => {
                "nothing, it passes; if it lasts, see https://status.azure.com and give Microsoft's \
                 support the request id"
            }
            Self::TokenUnverified => {
                "nothing, it passes: the token is new, and Key Vault does not know the key that it \
                 is signed with, or that it is valid already; if it lasts, check that vault and \
                 identity are of one cloud, and give Microsoft's support the request id"
            }
            Self::TimedOut => {
                "see whether a firewall or a route on the way drops packets to this host; for \
                 managed identity, whether 169.254.169.254 is reachable from here"
            }
            Self::NameNotResolved => {
                "check `vault_name`, `resource` and `endpoint`, and that this machine's name server \
                 knows the host (a private endpoint needs the zone \
                 privatelink.vaultcore.azure.net; of a proxy or Entra, check `proxy` and \
                 `authority_host`)"
            }
            Self::NotConnected => {
                "see whether the host listens and a firewall on the way lets us connect; check \
                 `endpoint` and `proxy`"
            }
            Self::ProxyRefused => {
                "check `proxy` and its user and password, and let the proxy tunnel to this host"
            }
            Self::TlsFailed => {
                "if a proxy, private endpoint or emulator has a certificate of its own, name its \
                 authority in `ca_file`; else check this machine's clock and CA certificates, and \
                 that `endpoint` is a name in the certificate"
            }
            _ => {
                "see what answers under this name: a proxy's error page, or `endpoint` naming \
                 another service"
            }
        }
    }

    const fn remedy_of_identity(self) -> &'static str {
        match self {
            Self::IdentityMissing => {
                "assign the machine a managed identity (az vm identity assign), or correct \
                 `client_id`; on Kubernetes use workload identity"
            }
            Self::IdentityAmbiguous => {
                "name the identity: set `client_id` (or `object_id`, `resource_id`)"
            }
            Self::IdentityRequestRejected => {
                "check `resource` (vault.azure.net, managedhsm.azure.net or the sovereign cloud's) \
                 and the form of `client_id` (or `object_id`, `resource_id`)"
            }
            Self::CredentialRefused => {
                "check `tenant_id`, `client_id` and the secret, certificate or federated credential \
                 of the application, and whether it has expired (az ad app credential list --id \
                 CLIENT_ID)"
            }
            Self::TokenFileUnreadable => {
                "check that the federated token file is there and readable for Selkie \
                 (AZURE_FEDERATED_TOKEN_FILE), and that the pod is labelled \
                 azure.workload.identity/use=true"
            }
            _ => {
                "use an identity of the vault's own tenant (az keyvault show --query \
                 properties.tenantId), and check `resource`: vault.azure.net, managedhsm.azure.net \
                 or the sovereign cloud's"
            }
        }
    }

    const fn remedy_in_the_vault(self) -> &'static str {
        match self {
            Self::PolicyMissing => {
                "allow our identity get, wrapKey and unwrapKey (az keyvault set-policy --name VAULT \
                 --object-id OBJECT_ID --key-permissions get list wrapKey unwrapKey)"
            }
            Self::Firewall => {
                "let our address in (az keyvault network-rule add --name VAULT --ip-address \
                 ADDRESS), or reach the vault through a private endpoint"
            }
            Self::PrivateLink => {
                "reach the vault through its private endpoint: its name has to resolve to a private \
                 address here, and the connection has to be approved"
            }
            Self::KeyDisabled => {
                "enable it (az keyvault key set-attributes --id KEY_ID --enabled true): what \
                 it wrapped opens no other way; to encrypt, a new version does too (az keyvault key rotate)"
            }
            Self::KeyExpired => {
                "make a new version (az keyvault key rotate), or move the date (az keyvault key \
                 set-attributes --id KEY_ID --expires DATE)"
            }
            Self::KeyNotYetValid => {
                "wait, or move the date (az keyvault key set-attributes --id KEY_ID --not-before \
                 DATE)"
            }
            Self::OperationNotAllowed => {
                "allow them (az keyvault key set-attributes --id KEY_ID --ops wrapKey unwrapKey)"
            }
            Self::KeyMissing => {
                "check `vault_name` and `key_name`; if the key was deleted, recover it before its \
                 retention ends (az keyvault key list-deleted, az keyvault key recover)"
            }
            Self::OtherVault => {
                "if the key was restored from a backup of that vault, add the vault's host to \
                 `former_vaults` of the seal; else declare a seal for that vault"
            }
            Self::KeyUnsuitable => {
                "use an RSA or RSA-HSM key of 2048, 3072 or 4096 bits, or in a managed HSM a \
                 256-bit oct-HSM key (az keyvault key create --kty RSA --size 2048 --ops wrapKey \
                 unwrapKey)"
            }
            Self::RequestRejected => {
                "nothing, if a client sent a ciphertext that was never ours; else the master key was \
                 replaced by another of the same id"
            }
            _ => {
                "see the vault's own log for the request id; likely are the vault's access control, \
                 its firewall, or a policy of the subscription"
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.meaning())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn table_lists_every_outcome_once() {
        assert!(Outcome::ALL.is_sorted_by(|one, next| one < next));
        assert_eq!(Outcome::ALL.len(), Outcome::Forbidden as usize + 1);
    }

    #[test]
    fn every_outcome_has_a_name_a_meaning_and_a_remedy_of_its_own() {
        for text in [Outcome::name, Outcome::meaning, Outcome::remedy] {
            let texts: BTreeSet<&str> = Outcome::ALL.into_iter().map(text).collect();
            assert_eq!(texts.len(), Outcome::ALL.len());
            assert!(texts.iter().all(|text| !text.contains("  ") && !text.contains('\n')));
        }
    }
}
