//! Keys: get, create, import, update, rotate, rotation policy.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::objects::{self, Attributes};
use super::{Call, Plan};
use crate::reply::Reply;
use crate::world::key::{Key, KeyType, KeyUse, Version, VersionChange};
use crate::world::material::{Kind, Material, PrivateJwk};
use crate::world::rotation::RotationPolicy;
use crate::world::vault::Vault;

/// The key in the path.
pub(super) fn find<'a>(vault: &'a mut Vault, call: &Call<'_>) -> Result<&'a mut Key, Failure> {
    let name = objects::name(call);
    vault
        .live_key(name, call.now)
        .ok_or_else(|| Failure::key_not_found(name, objects::version(call)))
}

fn show(vault: &Vault, call: &Call<'_>, version: Option<&str>) -> Result<Plan, Failure> {
    let name = objects::name(call);
    let missing = || Failure::key_not_found(name, version);
    let key = vault.keys.get(&name.to_ascii_lowercase()).ok_or_else(missing)?;
    let version = key.version(version).ok_or_else(missing)?;
    Ok(objects::bundle(vault, call, key, version))
}

pub(super) fn get(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    find(vault, call)?;
    show(vault, call, objects::version(call))
}

#[derive(Deserialize)]
struct CreateBody {
    kty: String,
    key_size: Option<u16>,
    key_ops: Option<Vec<KeyUse>>,
    attributes: Option<Attributes>,
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn create(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let body: CreateBody = objects::body(call)?;
    let key_type = key_type(vault, &body.kty)?;
    let kind = key_type
        .kind(body.key_size)
        .ok_or_else(|| Failure::bad("Property key_size has invalid value\r\n"))?;
    let uses = body.key_ops.unwrap_or_else(|| key_type.every_use());
    let mut version = Version::new(Material::later(kind), uses, call.now);
    decorate(&mut version, body.attributes.as_ref(), body.tags);
    add_version(vault, call, key_type, kind, version)
}

#[derive(Deserialize)]
struct ImportBody {
    key: PrivateJwk,
    #[serde(default, alias = "Hsm")]
    hsm: bool,
    attributes: Option<Attributes>,
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn import(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let body: ImportBody = objects::body(call)?;
    let mut kty = body.key.kty.clone().unwrap_or_else(|| "RSA".into());
    if kty == "RSA" && (body.hsm || vault.is_hsm()) {
        kty = "RSA-HSM".into();
    } else if kty == "oct" {
        kty = "oct-HSM".into();
    }
    let key_type = key_type(vault, &kty)?;
    let material = Material::from_jwk(&body.key)
        .map_err(|error| Failure::bad(format!("The key {error}.\r\n")))?;
    let kind = material.kind();
    if (kind == Kind::Aes) != (key_type == KeyType::OctHsm) {
        return Err(Failure::bad("Property kty has invalid value\r\n"));
    }
    let uses = match &body.key.key_ops {
        None => key_type.every_use(),
        Some(names) => serde_json::from_value(json!(names))
            .map_err(|_e| Failure::bad("Property key_ops has invalid value\r\n"))?,
    };
    let mut version = Version::new(material, uses, call.now);
    decorate(&mut version, body.attributes.as_ref(), body.tags);
    add_version(vault, call, key_type, kind, version)
}

fn key_type(vault: &Vault, kty: &str) -> Result<KeyType, Failure> {
    match (kty, vault.is_hsm()) {
        ("RSA", false) => Ok(KeyType::Rsa),
        ("RSA-HSM", _) => Ok(KeyType::RsaHsm),
        ("oct-HSM", true) => Ok(KeyType::OctHsm),
        ("RSA", true) => {
            Err(Failure::bad("A managed HSM has no software keys: kty is RSA-HSM.\r\n"))
        }
        ("oct-HSM" | "oct", false) => {
            Err(Failure::bad("Symmetric keys aren't supported in Key Vault.\r\n"))
        }
        _ => Err(Failure::bad(format!("Property kty has invalid value: {kty}\r\n"))),
    }
}

fn decorate(
    version: &mut Version,
    attributes: Option<&Attributes>,
    tags: Option<BTreeMap<String, String>>,
) {
    let change = attributes.map(Attributes::change).unwrap_or_default();
    let now = version.created;
    VersionChange { tags, ..change }.apply(version, now);
}

/// A new key, or a new version of the one that there is.
fn add_version(
    vault: &mut Vault,
    call: &Call<'_>,
    key_type: KeyType,
    kind: Kind,
    version: Version,
) -> Result<Plan, Failure> {
    let name = objects::name(call);
    if vault.deleted_key(name, call.now).is_some() {
        return Err(Failure::name_is_deleted(name));
    }
    let key = vault.keys.entry(name.to_ascii_lowercase()).or_insert_with(|| Key {
        name: name.to_owned(),
        key_type,
        kind,
        versions: Vec::new(),
        policy: None,
        deleted_at: None,
    });
    if key.key_type != key_type {
        return Err(Failure::bad(format!(
            "The key has type {}, so it cannot have a version of another.\r\n",
            key.key_type.name()
        )));
    }
    key.kind = kind;
    key.versions.push(version);
    show(vault, call, None)
}

#[derive(Deserialize)]
struct UpdateBody {
    key_ops: Option<Vec<KeyUse>>,
    attributes: Option<Attributes>,
    tags: Option<BTreeMap<String, String>>,
}

pub(super) fn update(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let body: UpdateBody = objects::body(call)?;
    let id = objects::version(call);
    let missing = || Failure::key_not_found(objects::name(call), id);
    let version = find(vault, call)?.version_mut(id).ok_or_else(missing)?;
    let change = body.attributes.as_ref().map(Attributes::change).unwrap_or_default();
    VersionChange { key_ops: body.key_ops, tags: body.tags, ..change }.apply(version, call.now);
    show(vault, call, id)
}

pub(super) fn rotate(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    find(vault, call)?.rotate(call.now);
    show(vault, call, None)
}

pub(super) fn read_policy(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    refuse_in_hsm(vault)?;
    let policy = find(vault, call)?.policy.clone();
    Ok(policy_reply(vault, call, policy))
}

pub(super) fn write_policy(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    refuse_in_hsm(vault)?;
    let policy: RotationPolicy = objects::body(call)?;
    let policy = policy
        .checked(call.now)
        .map_err(|error| Failure::bad(format!("The rotation policy is invalid: {error}.\r\n")))?;
    find(vault, call)?.policy = Some(policy.clone());
    Ok(policy_reply(vault, call, Some(policy)))
}

fn refuse_in_hsm(vault: &Vault) -> Result<(), Failure> {
    if vault.is_hsm() {
        return Err(Failure::bad("A managed HSM has no rotation policies.\r\n"));
    }
    Ok(())
}

/// A key without a policy has Azure's: a notice 30 days before expiry.
fn policy_reply(vault: &Vault, call: &Call<'_>, policy: Option<RotationPolicy>) -> Plan {
    let mut value = match policy {
        Some(policy) => serde_json::to_value(policy).unwrap_or_default(),
        None => json!({
            "lifetimeActions": [
                { "trigger": { "timeBeforeExpiry": "P30D" }, "action": { "type": "Notify" } }
            ],
            "attributes": {},
        }),
    };
    let id = format!("{}/keys/{}/rotationpolicy", objects::base(vault, call), objects::name(call));
    if let Some(map) = value.as_object_mut() {
        map.insert("id".into(), Value::String(id));
    }
    Plan::Done(Reply::ok(value))
}
