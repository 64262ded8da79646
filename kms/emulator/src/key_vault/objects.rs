//! Key Vault's JSON: bundles, attributes, ids, bodies.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Call, Plan};
use crate::reply::Reply;
use crate::world::key::{Key, KeyType, Version, VersionChange};
use crate::world::material::{Made, Material};
use crate::world::vault::Vault;

/// A date in a body; null is like absence here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Attributes {
    pub(super) enabled: Option<bool>,
    pub(super) exp: Option<i64>,
    pub(super) nbf: Option<i64>,
}

impl Attributes {
    /// The change that they ask for.
    pub(super) fn change(&self) -> VersionChange {
        VersionChange {
            enabled: self.enabled,
            exp: self.exp.map(Some),
            nbf: self.nbf.map(Some),
            ..VersionChange::default()
        }
    }
}

/// The request's body.
pub(super) fn body<T: DeserializeOwned>(call: &Call<'_>) -> Result<T, Failure> {
    if call.request.body.is_empty() {
        return Err(Failure::bad("The request body is empty.\r\n"));
    }
    serde_json::from_slice(&call.request.body).map_err(|error| {
        Failure::bad(format!("The request body is not what is expected: {error}\r\n"))
    })
}

/// The name in the path.
pub(super) fn name<'a>(call: &Call<'a>) -> &'a str {
    call.route.key.as_deref().unwrap_or_default()
}

/// The version in the path, if there is one.
pub(super) fn version<'a>(call: &Call<'a>) -> Option<&'a str> {
    call.route.version.as_deref().filter(|version| !version.is_empty())
}

/// `https://` and the host under which ids are given.
pub(super) fn base(vault: &Vault, call: &Call<'_>) -> String {
    format!("https://{}", vault.settings.id_host.as_deref().unwrap_or(&call.request.host))
}

/// The id of a key version.
pub(super) fn key_id(vault: &Vault, call: &Call<'_>, key: &Key, version: &Version) -> String {
    format!("{}/keys/{}/{}", base(vault, call), key.name, version.id)
}

/// The attributes of a version.
pub(super) fn attributes(vault: &Vault, key: &Key, version: &Version) -> Value {
    let purgeable = if vault.settings.purge_protection { "" } else { "+Purgeable" };
    let mut attributes = json!({
        "enabled": version.enabled,
        "created": version.created,
        "updated": version.updated,
        "recoveryLevel": format!("Recoverable{purgeable}"),
        "recoverableDays": vault.settings.retention_days,
        "exportable": false,
        "hsmPlatform": key.key_type.hsm_platform(),
    });
    if let Some(map) = attributes.as_object_mut() {
        version.exp.map(|exp| map.insert("exp".into(), exp.into()));
        version.nbf.map(|nbf| map.insert("nbf".into(), nbf.into()));
    }
    attributes
}

/// A version as lists show it; without its id where lists are of keys.
pub(super) fn item(
    vault: &Vault,
    call: &Call<'_>,
    key: &Key,
    version: &Version,
    ids: bool,
) -> Value {
    let id = if ids {
        key_id(vault, call, key, version)
    } else {
        format!("{}/keys/{}", base(vault, call), key.name)
    };
    let mut item = json!({ "kid": id, "attributes": attributes(vault, key, version) });
    with_tags(&mut item, version);
    item
}

/// A version with its public key.
pub(super) fn bundle(vault: &Vault, call: &Call<'_>, key: &Key, version: &Version) -> Plan {
    let mut value = json!({
        "key": {
            "kid": key_id(vault, call, key, version),
            "kty": key.key_type.name(),
            "key_ops": version.uses,
        },
        "attributes": attributes(vault, key, version),
    });
    with_tags(&mut value, version);
    with_public_key(value, &version.material)
}

/// A deleted key with its public key.
pub(super) fn deleted_bundle(vault: &Vault, call: &Call<'_>, key: &Key) -> Result<Plan, Failure> {
    let newest = key.version(None).ok_or_else(Failure::internal)?;
    let mut value = json!({
        "key": {
            "kid": key_id(vault, call, key, newest),
            "kty": key.key_type.name(),
            "key_ops": newest.uses,
        },
        "attributes": attributes(vault, key, newest),
    });
    with_tags(&mut value, newest);
    with_deletion(&mut value, vault, call, key);
    Ok(with_public_key(value, &newest.material))
}

/// Adds what a deleted key has more.
pub(super) fn with_deletion(value: &mut Value, vault: &Vault, call: &Call<'_>, key: &Key) {
    let (Some(map), Some(at)) = (value.as_object_mut(), key.deleted_at) else { return };
    let recovery = format!("{}/deletedkeys/{}", base(vault, call), key.name);
    map.insert("recoveryId".into(), recovery.into());
    map.insert("deletedDate".into(), at.into());
    map.insert("scheduledPurgeDate".into(), vault.purges_at(at).into());
}

fn with_tags(value: &mut Value, version: &Version) {
    if let Some(map) = value.as_object_mut()
        && !version.tags.is_empty()
    {
        map.insert("tags".into(), json!(version.tags));
    }
}

/// Adds modulus and exponent, for which the key has to be made.
fn with_public_key(mut value: Value, material: &Arc<Material>) -> Plan {
    let made = material.is_made();
    let material = Arc::clone(material);
    let work = Box::new(move || {
        let public = material.get().ok_or_else(Failure::internal)?;
        if let (Made::Rsa(rsa), Some(key)) = (public, value.get_mut("key")) {
            let key = key.as_object_mut().ok_or_else(Failure::internal)?;
            key.insert("n".into(), rsa.n.as_str().into());
            key.insert("e".into(), rsa.e.as_str().into());
        }
        Ok(Reply::ok(value))
    });
    if made { Plan::Quick(work) } else { Plan::Slow(work) }
}

/// What making a key costs the limiter: hardware keys twice as much.
pub(super) fn cost_of_new(body: &[u8]) -> u32 {
    #[derive(Deserialize)]
    struct Type {
        kty: KeyType,
    }
    match serde_json::from_slice::<Type>(body) {
        Ok(Type { kty: KeyType::RsaHsm | KeyType::OctHsm }) => 400,
        _ => 200,
    }
}
