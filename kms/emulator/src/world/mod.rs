//! What there is: tenants, identities, apps, vaults, keys.

pub(crate) mod access;
pub(crate) mod file;
pub(crate) mod key;
pub(crate) mod material;
pub(crate) mod principal;
pub(crate) mod rotation;
pub(crate) mod throttle;
pub(crate) mod vault;

use serde::{Deserialize, Serialize};

use principal::{App, Identity, Principal};
use vault::Vault;

/// Everything that requests act on.
#[derive(Clone, Debug, Default)]
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) identities: Vec<Identity>,
    pub(crate) apps: Vec<App>,
    pub(crate) vaults: Vec<Vault>,
}

/// What is not of one vault or identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) tenant: String,
    pub(crate) other_tenants: Vec<String>,
    pub(crate) app_service_header: String,
    pub(crate) managed_identity_token_seconds: u32,
    pub(crate) app_token_seconds: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tenant: "7e3a0000-0000-4000-8000-000000000001".into(),
            other_tenants: Vec::new(),
            app_service_header: "emulator-header".into(),
            managed_identity_token_seconds: 86_400,
            app_token_seconds: 3599,
        }
    }
}

impl World {
    /// Everyone who can hold a token.
    pub(crate) fn principals(&self) -> impl Iterator<Item = Principal> + '_ {
        let identities = self.identities.iter().map(Identity::principal);
        identities.chain(self.apps.iter().map(App::principal))
    }

    pub(crate) fn vault(&self, name: &str) -> Option<&Vault> {
        self.vaults.iter().find(|vault| vault.name().eq_ignore_ascii_case(name))
    }

    pub(crate) fn vault_mut(&mut self, name: &str) -> Option<&mut Vault> {
        self.vaults.iter_mut().find(|vault| vault.name().eq_ignore_ascii_case(name))
    }
}

/// The objects of an emulator that was told nothing, as a vaults file.
pub(crate) const DEFAULT_OBJECTS: &str = r#"{
  "identities": [
    { "name": "selkie", "system_assigned": true, "client_id": "7e3a0000-0000-4000-8000-0000000000c1",
      "object_id": "7e3a0000-0000-4000-8000-0000000000d1" }
  ],
  "apps": [
    { "name": "tester", "client_id": "7e3a0000-0000-4000-8000-0000000000c2",
      "object_id": "7e3a0000-0000-4000-8000-0000000000d2", "secrets": ["emulator-secret"],
      "federated_tokens": ["emulator-federated-token"] },
    { "name": "officer", "client_id": "7e3a0000-0000-4000-8000-0000000000c3",
      "object_id": "7e3a0000-0000-4000-8000-0000000000d3", "secrets": ["emulator-secret"] }
  ],
  "vaults": [
    { "name": "kv1",
      "roles": [
        { "principal": "selkie", "role": "Key Vault Crypto Service Encryption User" },
        { "principal": "tester", "role": "Key Vault Crypto Service Encryption User" },
        { "principal": "officer", "role": "Key Vault Crypto Officer" }
      ],
      "keys": [{ "name": "selkie", "kty": "RSA", "key_size": 2048 }] }
  ]
}"#;
