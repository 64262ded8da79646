//! Control of keys and their versions.

use serde::Deserialize;
use serde_json::json;

use super::vaults::no_vault;
use super::{Answer, Refusal, body, done, here, no_route, wrong_method};
use crate::emulator::Emulator;
use crate::reply::{Reply, Request};
use crate::world::file::{KeyFile, Problem, add_key};
use crate::world::key::{Key, VersionChange};
use crate::world::rotation::RotationPolicy;
use crate::world::vault::Vault;

pub(super) fn answer(emulator: &Emulator, request: &Request, vault: &str, rest: &[&str]) -> Answer {
    let now = emulator.clock.now();
    let mut world = emulator.world();
    let vault = world.vault_mut(vault).ok_or_else(no_vault)?;
    match (request.method.as_str(), rest) {
        ("POST", []) => {
            let file: KeyFile = body(request)?;
            let name = file.name.clone();
            add_key(vault, file, here(), now)?;
            show(vault, &name, now)
        }
        ("GET", [name]) => show(vault, name, now),
        ("DELETE", [name]) => {
            let removed = vault.keys.remove(&name.to_ascii_lowercase());
            removed.map(|_| done()).ok_or_else(no_key)
        }
        ("PATCH", [name]) => set_policy(vault, request, name, now),
        ("POST", [name, verb @ ("rotate" | "delete" | "recover" | "purge")]) => {
            act(vault, name, verb, now)
        }
        ("PATCH", [name, "versions", version]) => {
            change(vault, request, name, version, now)?;
            show(vault, name, now)
        }
        (_, [] | [_] | [_, "rotate" | "delete" | "recover" | "purge"] | [_, "versions", _]) => {
            Err(wrong_method(request))
        }
        _ => Err(no_route(request)),
    }
}

fn no_key() -> Refusal {
    Refusal::missing("such key")
}

/// The key, deleted or not.
fn find<'a>(vault: &'a mut Vault, name: &str, now: i64) -> Result<&'a mut Key, Refusal> {
    vault.live_key(name, now);
    vault.keys.get_mut(&name.to_ascii_lowercase()).ok_or_else(no_key)
}

fn show(vault: &mut Vault, name: &str, now: i64) -> Answer {
    Ok(Reply::of(&find(vault, name, now)?.to_file(false)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyChange {
    rotation_policy: Option<RotationPolicy>,
}

fn set_policy(vault: &mut Vault, request: &Request, name: &str, now: i64) -> Answer {
    let change: KeyChange = body(request)?;
    let policy = change.rotation_policy.map(|policy| policy.checked(now)).transpose();
    find(vault, name, now)?.policy = policy.map_err(Problem::Policy)?;
    show(vault, name, now)
}

fn act(vault: &mut Vault, name: &str, verb: &str, now: i64) -> Answer {
    let key = find(vault, name, now)?;
    match (verb, key.deleted_at) {
        ("rotate", None) => {
            key.rotate(now);
            let version = key.version(None).map(|version| version.id.clone());
            return Ok(Reply::ok(json!({ "version": version })));
        }
        ("delete", None) => key.deleted_at = Some(now),
        ("recover", Some(_)) => key.deleted_at = None,
        ("purge", Some(_)) => {
            vault.keys.remove(&name.to_ascii_lowercase());
        }
        (_, None) => return Err(Refusal::conflict("The key is not deleted.")),
        (_, Some(_)) => return Err(Refusal::conflict("The key is deleted.")),
    }
    Ok(done())
}

fn change(
    vault: &mut Vault,
    request: &Request,
    name: &str,
    version: &str,
    now: i64,
) -> Result<(), Refusal> {
    let change: VersionChange = body(request)?;
    let key = find(vault, name, now)?;
    if version == "all" {
        key.versions.iter_mut().for_each(|version| change.apply(version, now));
        return Ok(());
    }
    let id = if version == "latest" { None } else { Some(version) };
    let version = key.version_mut(id).ok_or_else(|| Refusal::missing("such version"))?;
    change.apply(version, now);
    Ok(())
}
