//! Control of vaults, identities and apps.

use serde_json::{Map, Value};

use super::{Answer, Refusal, body, done, here, no_route, wrong_method};
use crate::emulator::Emulator;
use crate::reply::{Reply, Request};
use crate::world::principal::{App, Identity};
use crate::world::vault::VaultFile;

/// What cannot be changed of a vault.
const FIXED: [&str; 3] = ["name", "kind", "keys"];

pub(super) fn answer(emulator: &Emulator, request: &Request, rest: &[&str]) -> Answer {
    let mut world = emulator.world();
    match (request.method.as_str(), rest) {
        ("GET", []) => {
            let names: Vec<&str> = world.vaults.iter().map(|vault| vault.name()).collect();
            Ok(Reply::of(&names))
        }
        ("POST", []) => {
            let file: VaultFile = body(request)?;
            world.add_vault(file, here(), emulator.clock.now_ms(), "the vault")?;
            Ok(done())
        }
        ("GET", [name]) => {
            let vault = world.vault(name).ok_or_else(no_vault)?;
            Ok(Reply::of(&vault.to_file(false)))
        }
        ("PATCH", [name]) => {
            let patch: Value = body(request)?;
            drop(world);
            change(emulator, name, patch)
        }
        ("DELETE", [name]) => {
            let before = world.vaults.len();
            world.vaults.retain(|vault| !vault.name().eq_ignore_ascii_case(name));
            if world.vaults.len() < before { Ok(done()) } else { Err(no_vault()) }
        }
        (_, [] | [_]) => Err(wrong_method(request)),
        _ => Err(no_route(request)),
    }
}

pub(super) fn no_vault() -> Refusal {
    Refusal::missing("such vault")
}

fn change(emulator: &Emulator, name: &str, patch: Value) -> Answer {
    let mut world = emulator.world();
    let vault = world.vault(name).ok_or_else(no_vault)?;
    if let Some(fixed) = FIXED.iter().find(|field| patch.get(**field).is_some()) {
        return Err(Refusal::bad(format!("{fixed} cannot be changed")));
    }
    let gives_roles = patch.get("roles").is_some();
    let mut all = serde_json::to_value(&vault.settings).unwrap_or_default();
    merge(&mut all, patch)?;
    let settings: VaultFile =
        serde_json::from_value(all).map_err(|error| Refusal::bad(error.to_string()))?;
    world.check_vault(&settings)?;
    let vault = world.vault_mut(name).ok_or_else(no_vault)?;
    vault.settings = settings;
    if gives_roles {
        vault.roles_since_ms = emulator.clock.now_ms();
    }
    Ok(Reply::of(&vault.settings))
}

/// Puts the fields of a patch in place of the old ones; null goes back to the default.
pub(super) fn merge(all: &mut Value, patch: Value) -> Result<(), Refusal> {
    let (Some(all), Value::Object(patch)) = (all.as_object_mut(), patch) else {
        return Err(Refusal::bad("the body is not a JSON object"));
    };
    for (field, value) in patch {
        match value {
            Value::Null => {
                all.remove(&field);
            }
            Value::Object(part) if field == "throttle" => {
                let old = all.entry(field).or_insert_with(|| Value::Object(Map::new()));
                if old.is_null() {
                    *old = Value::Object(Map::new());
                }
                merge(old, Value::Object(part))?;
            }
            value => {
                all.insert(field, value);
            }
        }
    }
    Ok(())
}

pub(super) fn identities(emulator: &Emulator, request: &Request, rest: &[&str]) -> Answer {
    let mut world = emulator.world();
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::of(&world.identities)),
        ("POST", []) => {
            let identity: Identity = body(request)?;
            world.put_identity(identity, true)?;
            Ok(Reply::of(&world.identities))
        }
        ("DELETE", [name]) => {
            let before = world.identities.len();
            world.identities.retain(|identity| identity.name != *name);
            let gone = world.identities.len() < before;
            if gone { Ok(done()) } else { Err(Refusal::missing("such identity")) }
        }
        (_, [] | [_]) => Err(wrong_method(request)),
        _ => Err(no_route(request)),
    }
}

pub(super) fn apps(emulator: &Emulator, request: &Request, rest: &[&str]) -> Answer {
    let mut world = emulator.world();
    match (request.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::of(&world.apps)),
        ("POST", []) => {
            let app: App = body(request)?;
            world.put_app(app, here(), true)?;
            Ok(Reply::of(&world.apps))
        }
        ("DELETE", [name]) => {
            let before = world.apps.len();
            world.apps.retain(|app| app.name != *name);
            let gone = world.apps.len() < before;
            if gone { Ok(done()) } else { Err(Refusal::missing("such app")) }
        }
        (_, [] | [_]) => Err(wrong_method(request)),
        _ => Err(no_route(request)),
    }
}
