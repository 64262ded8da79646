//! Soft delete, recovery, purge, backup and restore.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;
use super::objects;
use super::{Call, Plan, keys};
use crate::reply::Reply;
use crate::world::file::{KeyFile, Problem, add_key};
use crate::world::key::Key;
use crate::world::vault::Vault;

pub(super) fn delete(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    keys::find(vault, call)?.deleted_at = Some(call.now);
    get(vault, call)
}

pub(super) fn get(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let key = find_deleted(vault, call)?.clone();
    objects::deleted_bundle(vault, call, &key)
}

pub(super) fn recover(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    find_deleted(vault, call)?.deleted_at = None;
    keys::get(vault, call)
}

pub(super) fn purge(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    find_deleted(vault, call)?;
    if vault.settings.purge_protection {
        let message = "Operation \"purge\" is not allowed because purge protection is enabled for this vault. \
                       Key Vault service will automatically purge it after the retention period has passed.";
        return Err(Failure::forbidden("ForbiddenByPurgeProtection", message));
    }
    vault.keys.remove(&objects::name(call).to_ascii_lowercase());
    Ok(Plan::Done(Reply::empty(StatusCode::NO_CONTENT)))
}

fn find_deleted<'a>(vault: &'a mut Vault, call: &Call<'_>) -> Result<&'a mut Key, Failure> {
    let name = objects::name(call);
    vault.deleted_key(name, call.now).ok_or_else(|| Failure::deleted_key_not_found(name))
}

/// A backup is the key in the form of the vaults file; keys are made first, which may take long.
pub(super) fn backup(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let key = keys::find(vault, call)?.clone();
    Ok(Plan::Slow(Box::new(move || {
        for version in &key.versions {
            version.material.get().ok_or_else(Failure::internal)?;
        }
        let text = serde_json::to_vec(&key.to_file(true)).map_err(|_e| Failure::internal())?;
        Ok(Reply::ok(json!({ "value": URL_SAFE_NO_PAD.encode(text) })))
    })))
}

#[derive(Deserialize)]
struct RestoreBody {
    value: String,
}

pub(super) fn restore(vault: &mut Vault, call: &Call<'_>) -> Result<Plan, Failure> {
    let body: RestoreBody = objects::body(call)?;
    let damaged = || Failure::bad("Backup blob is corrupted or invalid.\r\n");
    let text = URL_SAFE_NO_PAD.decode(body.value).map_err(|_e| damaged())?;
    let file: KeyFile = serde_json::from_slice(&text).map_err(|_e| damaged())?;
    if file.names_a_file() {
        return Err(damaged());
    }
    let name = file.name.clone();
    if vault.deleted_key(&name, call.now).is_some() {
        return Err(Failure::name_is_deleted(&name));
    }
    add_key(vault, file, std::path::Path::new(""), call.now).map_err(|problem| match problem {
        Problem::Duplicate => Failure::name_is_taken(&name),
        _ => damaged(),
    })?;
    let key = vault.keys.get(&name.to_ascii_lowercase()).ok_or_else(damaged)?;
    let newest = key.version(None).ok_or_else(damaged)?;
    Ok(objects::bundle(vault, call, key, newest))
}
