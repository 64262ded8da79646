//! One short function an endpoint: extract, permit, operate, reply.

mod audit;
mod auth_mounts;
mod capabilities;
mod cluster;
mod drill;
mod keys;
mod methods;
mod policy;
mod seal_status;
mod storage;
mod sys;
mod takeover;
mod token;
mod transit;
mod wrapping;

pub(super) use methods::{login, told as told_of_method};
pub(super) use sys::{open, ui_mounts_for_nobody};
pub(super) use wrapping::{room_to_wrap, take, wrap, wrap_ttl};

use super::call::{Call, Refusal};
use super::fields::Fields;
use super::reply::Reply;
use super::route::Endpoint;

/// Answers a request of a known client.
pub(super) async fn answer(
    call: &Call<'_>,
    endpoint: &Endpoint,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    match endpoint {
        Endpoint::Encrypt(at) => transit::encrypt(call, at, fields).await,
        Endpoint::Decrypt(at) => transit::decrypt(call, at, fields).await,
        // In a box of their own: these two need not be as large as the largest of the others.
        others => Box::pin(answer_others(call, others.clone(), fields)).await,
    }
}

async fn answer_others(
    call: &Call<'_>,
    endpoint: Endpoint,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    match endpoint {
        Endpoint::Rewrap(at) => transit::rewrap(call, at, fields).await,
        Endpoint::CreateKey(at) => keys::create(call, at, fields).await,
        Endpoint::ReadKey(at) => keys::read(call, at, fields).await,
        Endpoint::DeleteKey(at) => keys::delete(call, at, &fields).await,
        Endpoint::ConfigureKey(at) => keys::configure(call, at, fields).await,
        Endpoint::RotateKey(at) => keys::rotate(call, at, fields).await,
        Endpoint::TrimKey(at) => keys::trim(call, at, fields).await,
        Endpoint::ListKeys(mount) => keys::list(call, mount, fields),
        Endpoint::RenewSelf => token::renew_self(call, fields).await,
        Endpoint::LookupSelf(operation) => token::lookup_self(call, operation, fields),
        Endpoint::Method(at) => methods::answer(call, at, fields).await,
        Endpoint::AuthMounts => auth_mounts::list(call, fields),
        Endpoint::AuthMount(at) => auth_mounts::answer(call, at, fields).await,
        Endpoint::Token(endpoint) => token::answer(call, endpoint, fields).await,
        Endpoint::Wrapping(step) => wrapping::answer(call, step, fields).await,
        Endpoint::Capabilities(of) => capabilities::answer(call, of, fields).await,
        Endpoint::ListPolicies(path, operation) => policy::list(call, path, operation, fields),
        Endpoint::Policy(path, name, operation) => {
            policy::answer(call, path, &name, operation, fields).await
        }
        Endpoint::SealBackendStatus => seal_status::seal_backend_status(call, fields),
        Endpoint::HaStatus => cluster::ha_status(call, fields),
        Endpoint::ListDrill => drill::plan(call, fields),
        Endpoint::Drill(step) => drill::take(call, step, fields).await,
        Endpoint::Metrics => seal_status::metrics(call, fields),
        Endpoint::Takeover => takeover::status(call, fields),
        Endpoint::Snapshot => storage::snapshot(call, &fields).await,
        Endpoint::ListAudit => audit::list(call, fields),
        Endpoint::ChangeAudit(path, operation) => audit::change(call, &path, operation, &fields),
        Endpoint::AuditHash(path) => audit::hash(call, &path, fields),
        Endpoint::Mounts => sys::mounts(call, fields),
        Endpoint::UiMounts => Ok(sys::ui_mounts(call, fields)),
        Endpoint::UiMount(path) => sys::ui_mount(call, &path, fields),
        Endpoint::Encrypt(_)
        | Endpoint::Decrypt(_)
        | Endpoint::Login(_)
        | Endpoint::Health
        | Endpoint::SealStatus
        | Endpoint::Leader
        | Endpoint::Init => {
            // Invariant: what needs no token is answered before a client is looked for, and the first
            // two in `answer`.
            Err(super::ApiError::Internal.into())
        }
    }
}
