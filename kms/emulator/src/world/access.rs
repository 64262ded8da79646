//! Who may do what: data actions, RBAC roles, access policies.

use serde::{Deserialize, Serialize};

/// A permission on keys, with its name in RBAC and in access policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permission {
    Get,
    List,
    Create,
    Import,
    Update,
    Delete,
    Recover,
    Purge,
    Backup,
    Restore,
    Wrap,
    Unwrap,
    Encrypt,
    Decrypt,
    Sign,
    Verify,
    Rotate,
    ReadPolicy,
    WritePolicy,
}

use Permission as P;

const EVERY: [P; 19] = [
    P::Get,
    P::List,
    P::Create,
    P::Import,
    P::Update,
    P::Delete,
    P::Recover,
    P::Purge,
    P::Backup,
    P::Restore,
    P::Wrap,
    P::Unwrap,
    P::Encrypt,
    P::Decrypt,
    P::Sign,
    P::Verify,
    P::Rotate,
    P::ReadPolicy,
    P::WritePolicy,
];
const ENCRYPTION_USER: [P; 4] = [P::Get, P::List, P::Wrap, P::Unwrap];
const READER: [P; 2] = [P::Get, P::List];
const USER: [P; 10] = [
    P::Get,
    P::List,
    P::Update,
    P::Backup,
    P::Encrypt,
    P::Decrypt,
    P::Wrap,
    P::Unwrap,
    P::Sign,
    P::Verify,
];
const HSM_ADMINISTRATOR: [P; 5] = [P::Get, P::List, P::Delete, P::Backup, P::Restore];

/// The built-in roles that touch keys: name, id, permissions.
const ROLES: [(&str, &str, &[P]); 10] = [
    ("Key Vault Administrator", "00482a5a-887f-4fb3-b363-3b7fe8e74483", &EVERY),
    ("Key Vault Crypto Officer", "14b46e9e-c2b7-41b4-b07b-48a6ebf60603", &EVERY),
    ("Key Vault Crypto User", "12338af0-0e69-4776-bea7-57ae8d297424", &USER),
    (
        "Key Vault Crypto Service Encryption User",
        "e147488a-f6f5-4113-8e2d-b22465e65bf6",
        &ENCRYPTION_USER,
    ),
    ("Key Vault Reader", "21090545-7ca7-4776-b22c-e363652d74d2", &READER),
    ("Managed HSM Administrator", "a290e904-7015-4bba-90c8-60543313cdb4", &HSM_ADMINISTRATOR),
    ("Managed HSM Crypto Officer", "515eb02d-2335-4d2d-92f2-b1cbdf9c3778", &EVERY),
    ("Managed HSM Crypto User", "21dbd100-6940-42c2-9190-5d6cb909625b", &USER),
    (
        "Managed HSM Crypto Service Encryption User",
        "33413926-3206-4cdd-b39a-83574fe37a17",
        &ENCRYPTION_USER,
    ),
    ("Managed HSM Crypto Auditor", "2c18b078-7c48-4d3a-af88-5a3a1b3f82b3", &READER),
];

/// What a role permits, by its name or id; `None` for a role that does not exist.
pub(crate) fn role_permissions(role: &str) -> Option<&'static [Permission]> {
    ROLES
        .iter()
        .find(|(name, id, _)| role.eq_ignore_ascii_case(name) || role.eq_ignore_ascii_case(id))
        .map(|(_, _, permissions)| *permissions)
}

impl Permission {
    /// Its name in an access policy.
    pub(crate) const fn policy_name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Import => "import",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Recover => "recover",
            Self::Purge => "purge",
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Wrap => "wrapKey",
            Self::Unwrap => "unwrapKey",
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Sign => "sign",
            Self::Verify => "verify",
            Self::Rotate => "rotate",
            Self::ReadPolicy => "getrotationpolicy",
            Self::WritePolicy => "setrotationpolicy",
        }
    }

    /// Its data action in RBAC.
    pub(crate) const fn data_action(self) -> &'static str {
        match self {
            Self::Get | Self::List => "Microsoft.KeyVault/vaults/keys/read",
            Self::Create => "Microsoft.KeyVault/vaults/keys/create/action",
            Self::Import => "Microsoft.KeyVault/vaults/keys/import/action",
            Self::Update => "Microsoft.KeyVault/vaults/keys/update/action",
            Self::Delete => "Microsoft.KeyVault/vaults/keys/delete",
            Self::Recover => "Microsoft.KeyVault/vaults/keys/recover/action",
            Self::Purge => "Microsoft.KeyVault/vaults/keys/purge/action",
            Self::Backup => "Microsoft.KeyVault/vaults/keys/backup/action",
            Self::Restore => "Microsoft.KeyVault/vaults/keys/restore/action",
            Self::Wrap => "Microsoft.KeyVault/vaults/keys/wrap/action",
            Self::Unwrap => "Microsoft.KeyVault/vaults/keys/unwrap/action",
            Self::Encrypt => "Microsoft.KeyVault/vaults/keys/encrypt/action",
            Self::Decrypt => "Microsoft.KeyVault/vaults/keys/decrypt/action",
            Self::Sign => "Microsoft.KeyVault/vaults/keys/sign/action",
            Self::Verify => "Microsoft.KeyVault/vaults/keys/verify/action",
            Self::Rotate => "Microsoft.KeyVault/vaults/keys/rotate/action",
            Self::ReadPolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/read",
            Self::WritePolicy => "Microsoft.KeyVault/vaults/keyrotationpolicies/write",
        }
    }

    /// Whether an access policy knows this name.
    pub(crate) fn is_policy_name(name: &str) -> bool {
        name.eq_ignore_ascii_case("all")
            || EVERY.iter().any(|p| p.policy_name().eq_ignore_ascii_case(name))
    }
}

/// A role assignment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Assignment {
    pub(crate) principal: String,
    pub(crate) role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) effective_in_ms: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// An entry of the access policies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PolicyEntry {
    pub(crate) principal: String,
    pub(crate) keys: Vec<String>,
}

impl PolicyEntry {
    pub(crate) fn permits(&self, permission: Permission) -> bool {
        let name = permission.policy_name();
        self.keys.iter().any(|k| k.eq_ignore_ascii_case(name) || k.eq_ignore_ascii_case("all"))
    }
}

/// The firewall of a vault: only these may come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Firewall {
    pub(crate) allow: Vec<String>,
}

impl Firewall {
    pub(crate) fn admits(&self, address: std::net::IpAddr) -> bool {
        let address = address.to_canonical();
        self.allow.iter().filter_map(|text| network(text)).any(|net| net.contains(&address))
    }
}

/// An address or a network in CIDR form.
pub(crate) fn network(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(Into::into))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encryption_user_reads_wraps_and_unwraps_and_no_more() {
        let by_name = role_permissions("key vault crypto service encryption user").unwrap();
        let by_id = role_permissions("E147488A-f6f5-4113-8e2d-b22465e65bf6").unwrap();
        assert_eq!(by_name, by_id);
        let permitted: Vec<_> = EVERY.into_iter().filter(|p| by_name.contains(p)).collect();
        assert_eq!(permitted, [P::Get, P::List, P::Wrap, P::Unwrap]);
        assert_eq!(role_permissions("Owner"), None);
    }

    #[test]
    fn a_firewall_admits_addresses_and_networks_alone() {
        let firewall = Firewall { allow: vec!["127.0.0.1".into(), "10.0.0.0/8".into()] };
        for (address, admitted) in [
            ("127.0.0.1", true),
            ("10.9.8.7", true),
            ("127.0.0.2", false),
            ("::ffff:10.1.1.1", true),
        ] {
            assert_eq!(firewall.admits(address.parse().unwrap()), admitted, "{address}");
        }
    }
}
