//! The vaults file: JSON in, a checked [`World`] or located errors out, and back.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::access::{Permission, network, role_permissions};
use super::key::{Key, KeyType, KeyUse, Version, is_key_name, is_version, random_version};
use super::material::{Exported, Kind, Material, MaterialError, PrivateJwk};
use super::principal::{App, Identity};
use super::rotation::{PolicyError, RotationPolicy};
use super::vault::{Vault, VaultFile, VaultKind};
use super::{Settings, World};

/// The vaults file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WorldFile {
    tenant: String,
    other_tenants: Vec<String>,
    app_service_header: String,
    managed_identity_token_seconds: u32,
    app_token_seconds: u32,
    identities: Vec<Identity>,
    apps: Vec<App>,
    vaults: Vec<VaultFile>,
}

impl Default for WorldFile {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            tenant: settings.tenant,
            other_tenants: settings.other_tenants,
            app_service_header: settings.app_service_header,
            managed_identity_token_seconds: settings.managed_identity_token_seconds,
            app_token_seconds: settings.app_token_seconds,
            identities: Vec::new(),
            apps: Vec::new(),
            vaults: Vec::new(),
        }
    }
}

/// A key as the vaults file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct KeyFile {
    pub(crate) name: String,
    kty: KeyType,
    key_size: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key_ops: Option<Vec<KeyUse>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<PrivateJwk>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_policy: Option<RotationPolicy>,
    versions: Vec<VersionFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<i64>,
}

/// A version as the vaults file has it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct VersionFile {
    version: Option<String>,
    enabled: Option<bool>,
    exp: Option<i64>,
    nbf: Option<i64>,
    created: Option<i64>,
    updated: Option<i64>,
    key_ops: Option<Vec<KeyUse>>,
    tags: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pem: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwk: Option<PrivateJwk>,
}

/// What is wrong, and where: `vaults[0] "kv1": …`.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}")]
pub(crate) struct Misfit {
    place: String,
    problem: Problem,
}

/// What can be wrong with an object.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("has no name")]
    NoName,
    #[error("a vault's name is 3 to 24 of 0-9 A-Z a-z -")]
    VaultName,
    #[error("a key's name is 1 to 127 of 0-9 A-Z a-z -")]
    KeyName,
    #[error("a version is 32 hexadecimal digits")]
    Version,
    #[error("there is another one with this name or id")]
    Duplicate,
    #[error("there is no role {0:?}")]
    Role(String),
    #[error("there is no identity or app {0:?}")]
    Principal(String),
    #[error("an access policy has no permission {0:?}")]
    Permission(String),
    #[error("{0:?} is neither an address nor a network such as 10.0.0.0/8")]
    Address(String),
    #[error("a vault has RSA and RSA-HSM keys, a managed HSM RSA-HSM and oct-HSM")]
    TypeHere,
    #[error("key_size is 2048, 3072 or 4096; 256 for oct-HSM")]
    Size,
    #[error("the private key {0}")]
    Material(#[from] MaterialError),
    #[error("the private key is of another type or size than kty and key_size say")]
    OtherMaterial,
    #[error("the file {0} cannot be read: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("rotation_policy: {0}")]
    Policy(#[from] PolicyError),
    #[error("page_size is 1 to 1000, retention_days 7 to 90, window_ms and limit at least 1")]
    Number,
    #[error("scale is a number from 0 upwards")]
    Scale,
}

impl Problem {
    pub(crate) fn at(self, place: String) -> Misfit {
        Misfit { place, problem: self }
    }
}

impl WorldFile {
    /// Checks it and makes a world of it; paths are relative to `base`.
    pub(crate) fn into_world(self, base: &Path, now_ms: i64) -> Result<World, Misfit> {
        let mut world = World {
            settings: Settings {
                tenant: self.tenant,
                other_tenants: self.other_tenants,
                app_service_header: self.app_service_header,
                managed_identity_token_seconds: self.managed_identity_token_seconds,
                app_token_seconds: self.app_token_seconds,
            },
            ..World::default()
        };
        for (i, identity) in self.identities.into_iter().enumerate() {
            let place = format!("identities[{i}] {:?}", identity.name);
            world.put_identity(identity, false).map_err(|p| p.at(place))?;
        }
        for (i, app) in self.apps.into_iter().enumerate() {
            let place = format!("apps[{i}] {:?}", app.name);
            world.put_app(app, base, false).map_err(|p| p.at(place))?;
        }
        for (i, vault) in self.vaults.into_iter().enumerate() {
            let place = format!("vaults[{i}]");
            world.add_vault(vault, base, now_ms, &place)?;
        }
        Ok(world)
    }
}

impl World {
    /// Adds a managed identity, or replaces the one of that name.
    pub(crate) fn put_identity(
        &mut self,
        identity: Identity,
        replace: bool,
    ) -> Result<(), Problem> {
        if identity.name.is_empty() {
            return Err(Problem::NoName);
        }
        if replace {
            self.identities.retain(|i| i.name != identity.name);
        }
        self.refuse_duplicate(&identity.name)?;
        self.identities.push(identity.completed());
        Ok(())
    }

    /// Adds an application, or replaces the one of that name.
    pub(crate) fn put_app(
        &mut self,
        mut app: App,
        base: &Path,
        replace: bool,
    ) -> Result<(), Problem> {
        if app.name.is_empty() {
            return Err(Problem::NoName);
        }
        for certificate in &mut app.certificates {
            *certificate = text_or_file(certificate, base)?;
        }
        if replace {
            self.apps.retain(|a| a.name != app.name);
        }
        self.refuse_duplicate(&app.name)?;
        self.apps.push(app.completed());
        Ok(())
    }

    fn refuse_duplicate(&self, name: &str) -> Result<(), Problem> {
        if self.principals().any(|p| p.name == name) { Err(Problem::Duplicate) } else { Ok(()) }
    }

    /// Adds a vault with its keys.
    pub(crate) fn add_vault(
        &mut self,
        mut file: VaultFile,
        base: &Path,
        now_ms: i64,
        place: &str,
    ) -> Result<(), Misfit> {
        let place = format!("{place} {:?}", file.name);
        let keys = std::mem::take(&mut file.keys);
        self.check_vault(&file).map_err(|p| p.at(place.clone()))?;
        if self.vault(&file.name).is_some() {
            return Err(Problem::Duplicate.at(place));
        }
        let mut vault = Vault {
            settings: file,
            roles_since_ms: now_ms,
            keys: BTreeMap::new(),
            window: super::throttle::Window::default(),
        };
        for (i, key) in keys.into_iter().enumerate() {
            let place = format!("{place}: keys[{i}] {:?}", key.name);
            add_key(&mut vault, key, base, now_ms.div_euclid(1000)).map_err(|p| p.at(place))?;
        }
        self.vaults.push(vault);
        Ok(())
    }

    /// Checks a vault's own settings.
    pub(crate) fn check_vault(&self, file: &VaultFile) -> Result<(), Problem> {
        let fits = file.name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !fits || !(3..=24).contains(&file.name.len()) {
            return Err(Problem::VaultName);
        }
        let in_range =
            (1..=1000).contains(&file.page_size) && (7..=90).contains(&file.retention_days);
        let throttle = file.throttle.clone().unwrap_or_default();
        if !in_range || throttle.window_ms == 0 || throttle.limit == 0 {
            return Err(Problem::Number);
        }
        if !(throttle.scale.is_finite() && throttle.scale >= 0.0) {
            return Err(Problem::Scale);
        }
        for role in &file.roles {
            role_permissions(&role.role).ok_or_else(|| Problem::Role(role.role.clone()))?;
            self.check_principal(&role.principal)?;
        }
        for entry in &file.policies {
            self.check_principal(&entry.principal)?;
            let unknown = entry.keys.iter().find(|name| !Permission::is_policy_name(name));
            unknown.map_or(Ok(()), |name| Err(Problem::Permission(name.clone())))?;
        }
        let networks = file.firewall.iter().flat_map(|firewall| &firewall.allow);
        for text in networks {
            network(text).ok_or_else(|| Problem::Address(text.clone()))?;
        }
        Ok(())
    }

    fn check_principal(&self, text: &str) -> Result<(), Problem> {
        let known = self.principals().any(|p| p.is(text)) || uuid::Uuid::parse_str(text).is_ok();
        if known { Ok(()) } else { Err(Problem::Principal(text.to_owned())) }
    }

    /// The state in the form of the vaults file, with private keys.
    pub(crate) fn to_file(&self) -> WorldFile {
        let settings = self.settings.clone();
        WorldFile {
            tenant: settings.tenant,
            other_tenants: settings.other_tenants,
            app_service_header: settings.app_service_header,
            managed_identity_token_seconds: settings.managed_identity_token_seconds,
            app_token_seconds: settings.app_token_seconds,
            identities: self.identities.clone(),
            apps: self.apps.clone(),
            vaults: self.vaults.iter().map(|vault| vault.to_file(true)).collect(),
        }
    }
}

impl Vault {
    /// The vault in the form of the vaults file.
    pub(crate) fn to_file(&self, private: bool) -> VaultFile {
        let keys = self.keys.values().map(|key| key.to_file(private)).collect();
        VaultFile { keys, ..self.settings.clone() }
    }
}

impl Key {
    /// The key in the form of the vaults file.
    pub(crate) fn to_file(&self, private: bool) -> KeyFile {
        KeyFile {
            name: self.name.clone(),
            kty: self.key_type,
            key_size: Some(match self.kind {
                Kind::Rsa(bits) => bits,
                Kind::Aes => 256,
            }),
            rotation_policy: self.policy.clone(),
            versions: self.versions.iter().map(|v| v.to_file(private)).collect(),
            deleted_at: self.deleted_at,
            ..KeyFile::default()
        }
    }
}

impl Version {
    fn to_file(&self, private: bool) -> VersionFile {
        let exported = if private { self.material.export() } else { None };
        let (pem, jwk) = match exported {
            Some(Exported::Pem(pem)) => (Some(pem), None),
            Some(Exported::Jwk(jwk)) => (None, Some(*jwk)),
            None => (None, None),
        };
        VersionFile {
            version: Some(self.id.clone()),
            enabled: Some(self.enabled),
            exp: self.exp,
            nbf: self.nbf,
            created: Some(self.created),
            updated: Some(self.updated),
            key_ops: Some(self.uses.clone()),
            tags: Some(self.tags.clone()),
            pem,
            jwk,
        }
    }
}

/// Adds a key to a vault.
pub(crate) fn add_key(
    vault: &mut Vault,
    file: KeyFile,
    base: &Path,
    now: i64,
) -> Result<(), Problem> {
    if !is_key_name(&file.name) {
        return Err(Problem::KeyName);
    }
    if vault.keys.contains_key(&file.name.to_ascii_lowercase()) {
        return Err(Problem::Duplicate);
    }
    let here = match vault.settings.kind {
        VaultKind::Vault => file.kty != KeyType::OctHsm,
        VaultKind::ManagedHsm => file.kty != KeyType::Rsa,
    };
    if !here {
        return Err(Problem::TypeHere);
    }
    let key = file.into_key(base, now)?;
    vault.keys.insert(key.name.to_ascii_lowercase(), key);
    Ok(())
}

impl KeyFile {
    /// Whether a private key is to be read from a file.
    pub(crate) fn names_a_file(&self) -> bool {
        let pems = self.versions.iter().map(|version| &version.pem).chain([&self.pem]);
        pems.flatten().any(|pem| !pem.contains(PEM_BEGINS))
    }

    fn into_key(mut self, base: &Path, now: i64) -> Result<Key, Problem> {
        let imported = self.material(self.pem.as_deref(), self.jwk.as_ref(), base)?;
        let mut kind = self.kty.kind(self.key_size).ok_or(Problem::Size)?;
        let versions = std::mem::take(&mut self.versions);
        let mut made = Vec::new();
        if versions.is_empty() {
            let first = VersionFile::default();
            made.push(self.version(first, imported, kind, now)?);
        }
        for file in versions {
            let material = self.material(file.pem.as_deref(), file.jwk.as_ref(), base)?;
            let version = self.version(file, material, kind, now)?;
            if made.iter().any(|other: &Version| other.id == version.id) {
                return Err(Problem::Duplicate);
            }
            made.push(version);
        }
        if let Some(newest) = made.last() {
            kind = newest.material.kind();
        }
        let policy = self.rotation_policy.map(|policy| policy.checked(now)).transpose()?;
        Ok(Key {
            name: self.name,
            key_type: self.kty,
            kind,
            versions: made,
            policy,
            deleted_at: self.deleted_at,
        })
    }

    fn material(
        &self,
        pem: Option<&str>,
        jwk: Option<&PrivateJwk>,
        base: &Path,
    ) -> Result<Option<Material>, Problem> {
        let material = match (pem, jwk) {
            (Some(pem), _) => Material::from_pem(&text_or_file(pem, base)?)?,
            (None, Some(jwk)) => Material::from_jwk(jwk)?,
            (None, None) => return Ok(None),
        };
        let is_aes = self.kty == KeyType::OctHsm;
        let size_differs = match (material.kind(), self.key_size) {
            (Kind::Rsa(bits), Some(size)) => bits != size,
            (Kind::Rsa(_) | Kind::Aes, _) => false,
        };
        if size_differs || is_aes != (material.kind() == Kind::Aes) {
            return Err(Problem::OtherMaterial);
        }
        Ok(Some(material))
    }

    fn version(
        &self,
        file: VersionFile,
        material: Option<Material>,
        kind: Kind,
        now: i64,
    ) -> Result<Version, Problem> {
        let id = file.version.unwrap_or_else(random_version).to_ascii_lowercase();
        if !is_version(&id) {
            return Err(Problem::Version);
        }
        let uses = file.key_ops.or_else(|| self.key_ops.clone());
        let created = file.created.unwrap_or(now);
        Ok(Version {
            id,
            material: Arc::new(material.unwrap_or_else(|| Material::later(kind))),
            enabled: file.enabled.or(self.enabled).unwrap_or(true),
            exp: file.exp.or(self.exp),
            nbf: file.nbf.or(self.nbf),
            created,
            updated: file.updated.unwrap_or(created),
            uses: uses.unwrap_or_else(|| self.kty.every_use()),
            tags: file.tags.unwrap_or_else(|| self.tags.clone()),
        })
    }
}

const PEM_BEGINS: &str = "-----BEGIN";

fn text_or_file(text: &str, base: &Path) -> Result<String, Problem> {
    if text.contains(PEM_BEGINS) {
        return Ok(text.to_owned());
    }
    let path = base.join(text);
    std::fs::read_to_string(&path).map_err(|error| Problem::Unreadable(path, error))
}

impl Misfit {
    /// Whether something has its name already.
    pub(crate) fn is_duplicate(&self) -> bool {
        matches!(self.problem, Problem::Duplicate)
    }
}
