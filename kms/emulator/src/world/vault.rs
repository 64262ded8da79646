//! A vault or managed HSM.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::World;
use super::access::{Assignment, Firewall, Permission, PolicyEntry, role_permissions};
use super::file::KeyFile;
use super::key::Key;
use super::throttle::{Throttle, Window};

/// Whether it is a vault or a managed HSM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum VaultKind {
    #[default]
    Vault,
    ManagedHsm,
}

/// How access to a vault is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AccessModel {
    #[default]
    Rbac,
    Policies,
}

/// A vault as the vaults file has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct VaultFile {
    pub(crate) name: String,
    pub(crate) kind: VaultKind,
    pub(crate) region: String,
    pub(crate) access: AccessModel,
    pub(crate) roles: Vec<Assignment>,
    pub(crate) policies: Vec<PolicyEntry>,
    pub(crate) firewall: Option<Firewall>,
    pub(crate) public_network_access: bool,
    pub(crate) purge_protection: bool,
    pub(crate) retention_days: u16,
    pub(crate) resource: Option<String>,
    pub(crate) id_host: Option<String>,
    pub(crate) disabled_key_wraps: bool,
    pub(crate) page_size: usize,
    pub(crate) throttle: Option<Throttle>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) keys: Vec<KeyFile>,
}

impl Default for VaultFile {
    fn default() -> Self {
        Self {
            name: String::new(),
            kind: VaultKind::Vault,
            region: "westeurope".into(),
            access: AccessModel::Rbac,
            roles: Vec::new(),
            policies: Vec::new(),
            firewall: None,
            public_network_access: true,
            purge_protection: false,
            retention_days: 90,
            resource: None,
            id_host: None,
            disabled_key_wraps: false,
            page_size: 25,
            throttle: None,
            keys: Vec::new(),
        }
    }
}

/// A vault and what is in it.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    /// Its settings; `keys` is empty, they are below.
    pub(crate) settings: VaultFile,
    /// When the roles were given, on the emulator's clock.
    pub(crate) roles_since_ms: i64,
    /// By name in small letters; soft-deleted keys too.
    pub(crate) keys: BTreeMap<String, Key>,
    pub(crate) window: Window,
}

impl Vault {
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn is_hsm(&self) -> bool {
        self.settings.kind == VaultKind::ManagedHsm
    }

    /// The key, unless it is soft-deleted; due rotations are done.
    pub(crate) fn live_key(&mut self, name: &str, now: i64) -> Option<&mut Key> {
        self.purge_if_due(name, now);
        let key = self.keys.get_mut(&name.to_ascii_lowercase())?;
        if key.deleted_at.is_some() {
            return None;
        }
        key.rotate_if_due(now);
        Some(key)
    }

    /// The key, if it is soft-deleted.
    pub(crate) fn deleted_key(&mut self, name: &str, now: i64) -> Option<&mut Key> {
        self.purge_if_due(name, now);
        self.keys.get_mut(&name.to_ascii_lowercase()).filter(|key| key.deleted_at.is_some())
    }

    /// When a key deleted at a time is purged.
    pub(crate) fn purges_at(&self, deleted_at: i64) -> i64 {
        deleted_at.saturating_add(i64::from(self.settings.retention_days) * 86_400)
    }

    fn purge_if_due(&mut self, name: &str, now: i64) {
        let name = name.to_ascii_lowercase();
        let deleted_at = self.keys.get(&name).and_then(|key| key.deleted_at);
        if deleted_at.is_some_and(|at| self.purges_at(at) <= now) {
            self.keys.remove(&name);
        }
    }

    /// Does every rotation and purge that is due.
    pub(crate) fn tend(&mut self, now: i64) {
        let names: Vec<_> = self.keys.keys().cloned().collect();
        for name in names {
            self.live_key(&name, now);
        }
    }

    /// How it throttles, if at all.
    pub(crate) fn throttle(&self) -> Option<Throttle> {
        let throttle = match &self.settings.throttle {
            Some(throttle) => throttle.clone(),
            None if self.is_hsm() => return None,
            None => Throttle::default(),
        };
        throttle.enabled.then_some(throttle)
    }
}

impl World {
    /// Whether the holder of an object id may do this with this key.
    pub(crate) fn permits(
        &self,
        vault: &Vault,
        object_id: &str,
        permission: Permission,
        key: Option<&str>,
        now_ms: i64,
    ) -> bool {
        let Some(holder) = self.principals().find(|p| p.object_id == object_id) else {
            return false;
        };
        match vault.settings.access {
            AccessModel::Policies if !vault.is_hsm() => vault
                .settings
                .policies
                .iter()
                .any(|entry| holder.is(&entry.principal) && entry.permits(permission)),
            AccessModel::Policies | AccessModel::Rbac => {
                let since = now_ms.saturating_sub(vault.roles_since_ms);
                vault.settings.roles.iter().any(|role| {
                    holder.is(&role.principal)
                        && u64::try_from(since).unwrap_or(0) >= role.effective_in_ms
                        && covers(role, key)
                        && role_permissions(&role.role).is_some_and(|ps| ps.contains(&permission))
                })
            }
        }
    }
}

fn covers(role: &Assignment, key: Option<&str>) -> bool {
    match (&role.key, key) {
        (None, _) => true,
        (Some(only), Some(key)) => only.eq_ignore_ascii_case(key),
        (Some(_), None) => false,
    }
}
