//! How far the takeover of another server's keys has come.

use std::collections::BTreeMap;

use selkie_access::Capability;
use selkie_crypto::KeyVersion;
use serde_json::{Value, json};

use super::seal_status::time;
use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::seal::SealFault;
use crate::takeover::{OldKey, Opened, Pair, Usage};

/// What is known of each key that is taken over, and who has opened what with it.
pub(super) fn status(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/takeover", Capability::Read).map_err(denied)?;
    let evidence = call.node.evidence();
    let all = evidence.all();
    let takeovers = call.deployment.takeovers.iter().map(|old| takeover(call, old, &all));
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data(&json!({
        "takeovers": takeovers.collect::<Vec<_>>(),
        "kept_in": evidence.kept_in(),
        "is_age_proven": call.deployment.origin_key.is_some(),
        "started": time(call.node.started()),
        "time": time(call.node.clock().unix_seconds()),
    })))
}

fn takeover(call: &Call<'_>, old: &OldKey, all: &BTreeMap<Pair, Usage>) -> Value {
    let path = format!("{}/{}", old.mount, old.name);
    let ours = call.deployment.declared_key(&old.mount, old.name.as_str());
    let ours = ours.filter(|key| key.uncounted.is_empty()).map(|key| key.latest.get());
    let (newest, health) = (old.newest(), old.health());
    let fault = health.fault.clone().map(SealFault::Kms);
    let clients = all.iter().filter(|(pair, _)| *pair.key == *path);
    json!({
        "key": path,
        "old_server": old.address,
        "name": old.label.as_str(),
        "version": ours,
        "old_version": newest.map(|newest| newest.version.get()),
        "old_version_source": newest.map(|newest| newest.source.as_str()),
        "refuses_above": old.limit().map(KeyVersion::get),
        "reencrypts": ours.map(|_| old.conflict(&call.deployment).is_none()),
        "last_answered": (health.answered > 0).then(|| time(health.answered)),
        "fault": fault.as_ref().map(SealFault::outcome),
        "advice": fault.as_ref().map(SealFault::advice),
        "reads_version": health.read_fault.is_none(),
        "clients": clients.map(|(pair, usage)| client(pair, *usage)).collect::<Vec<_>>(),
    })
}

fn client(pair: &Pair, usage: Usage) -> Value {
    let told = |opened: Option<Opened>| {
        opened.map(|one| json!({ "time": time(one.time), "version": one.version }))
    };
    json!({
        "client": &*pair.client,
        "foreign": usage.foreign,
        "own": usage.own,
        "last_foreign": told(usage.last_foreign),
        "last_own": told(usage.last_own),
        "last_own_stored": told(usage.last_stored),
        "speaks_for_us": usage.speaks_for_us(),
    })
}
