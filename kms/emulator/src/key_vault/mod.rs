//! Key Vault's and Managed HSM's data plane, as far as it is about keys.

mod crypto;
mod deletion;
mod failure;
mod gate;
mod keys;
mod listing;
mod objects;
mod route;

use std::sync::Arc;

use http::Method;

pub(crate) use failure::Failure;
pub(crate) use route::{Action, Route};

use crate::emulator::Emulator;
use crate::operation::Operation;
use crate::reply::{Reply, Request};
use crate::world::World;
use crate::world::vault::Vault;

/// What remains to be done once the world has been asked.
pub(crate) enum Plan {
    Done(Reply),
    /// Work that takes less time than handing it over would.
    Quick(Work),
    /// Work for a thread that may block.
    Slow(Work),
}

/// Work that needs nothing of the world any more.
pub(crate) type Work = Box<dyn FnOnce() -> Result<Reply, Failure> + Send>;

/// A request to one vault.
pub(crate) struct Call<'a> {
    pub(crate) request: &'a Request,
    pub(crate) route: &'a Route,
    /// The vault's name.
    pub(crate) vault: Result<String, NoSuchVault>,
    pub(crate) now: i64,
    pub(crate) now_ms: i64,
}

/// A host names a vault that does not exist: this one.
#[derive(Clone, Debug)]
pub(crate) struct NoSuchVault(String);

/// The vault that a host name means: the default one for names that mean none.
pub(crate) fn vault_of(world: &World, host: &str) -> Result<String, NoSuchVault> {
    let host = gate::without_port(host);
    let label = host.split('.').next().unwrap_or_default();
    if let Some(vault) = world.vault(label) {
        return Ok(vault.name().to_owned());
    }
    let claims_a_vault =
        host.ends_with(".vault.emulator.test") || host.ends_with(".managedhsm.emulator.test");
    match world.vaults.first() {
        Some(first) if !claims_a_vault => Ok(first.name().to_owned()),
        _ => Err(NoSuchVault(label.to_owned())),
    }
}

/// Answers a request to a vault.
pub(crate) async fn answer(emulator: &Arc<Emulator>, call: &Call<'_>) -> Reply {
    let plan = {
        let mut world = emulator.world();
        plan(emulator, &mut world, call)
    };
    let outcome = match plan {
        Ok(Plan::Done(reply)) => Ok(reply),
        Ok(Plan::Quick(work)) => work(),
        Ok(Plan::Slow(work)) => emulator.workers.run(work).await,
        Err(failure) => Err(failure),
    };
    outcome.unwrap_or_else(|failure| failure.into_reply(&call.request.method))
}

fn plan(emulator: &Emulator, world: &mut World, call: &Call<'_>) -> Result<Plan, Failure> {
    let name = call.vault.as_ref().map_err(|missing| Failure::vault_not_found(&missing.0))?;
    let claims = gate::admit(emulator, world, call, name)?;
    let action = call.route.action.ok_or_else(|| Failure::no_such_route(call.request))?;
    gate::check_api_version(call.request)?;
    gate::check_names(call.route)?;
    gate::authorize(world, call, name, action, &claims)?;
    let vault = world.vault_mut(name).ok_or_else(|| Failure::vault_not_found(name))?;
    act(vault, call, action)
}

fn act(vault: &mut Vault, call: &Call<'_>, action: Action) -> Result<Plan, Failure> {
    match action {
        Action::Get => keys::get(vault, call),
        Action::Create => keys::create(vault, call),
        Action::Import => keys::import(vault, call),
        Action::Update => keys::update(vault, call),
        Action::Rotate => keys::rotate(vault, call),
        Action::ReadPolicy => keys::read_policy(vault, call),
        Action::WritePolicy => keys::write_policy(vault, call),
        Action::List => listing::keys(vault, call),
        Action::Versions => listing::versions(vault, call),
        Action::ListDeleted => listing::deleted(vault, call),
        Action::Delete => deletion::delete(vault, call),
        Action::GetDeleted => deletion::get(vault, call),
        Action::Recover => deletion::recover(vault, call),
        Action::Purge => deletion::purge(vault, call),
        Action::Backup => deletion::backup(vault, call),
        Action::Restore => deletion::restore(vault, call),
        Action::Crypto(operation) => crypto::plan(vault, call, operation),
    }
}

/// What a request is for, before anything is known about it.
pub(crate) fn route(method: &Method, path: &str) -> Route {
    Route::of(method, path)
}

/// The operation's name in rules and counts.
pub(crate) fn operation(route: &Route) -> Operation {
    route.action.map_or(Operation::Other, Action::operation)
}

/// The challenge of a vault for a host; `None` without the vault.
pub(crate) fn challenge_of(
    emulator: &Emulator,
    vault: &Result<String, NoSuchVault>,
    host: &str,
) -> Option<String> {
    let world = emulator.world();
    let vault = world.vault(vault.as_ref().ok()?)?;
    Some(gate::challenge(vault, &world.settings.tenant, host))
}
