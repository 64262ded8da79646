//! `sys/seal-backend-status`: what an operator, and `selkie status`, learn of the seals.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use jiff::Timestamp;
use selkie_access::Capability;
use selkie_crypto::{KekId, SealName};
use selkie_kms::pkcs11::has_launch_process_ended;
use selkie_kms::transit::TokenStanding;
use selkie_kms::{GovernorFigures, KekState, KekVersion};
use serde_json::{Value, json};

use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::availability::{decrypts, is_trusted, is_wrapping};
use crate::clock::rfc3339;
use crate::drill::DrillPlan;
use crate::listener_certificates::Notice;
use crate::metrics::{CONTENT_TYPE, LastAgedDecrypt, by_outcome};
use crate::promises;
use crate::seal::{Seal, SealFault, days_left};
use crate::state::{Behind, StateStatus};
use crate::telemetry::WithCauses;
use crate::transit::LeftOut;

/// The seals' state: Vault Enterprise's members, and ours beside them.
pub(super) fn seal_backend_status(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let path = "sys/seal-backend-status";
    let _permit = call.acl(&fields).check(path, Capability::Read).map_err(denied)?;
    let now = call.node.clock().unix_seconds();
    let seals = || call.deployment.seals.iter();
    let is_healthy = seals().all(is_healthy);
    let since = seals().filter(|seal| !self::is_healthy(seal)).map(since).min();
    let since = since.filter(|since| *since > 0);
    let left_out = call.node.keys().left_out();
    let backends: Vec<_> = seals().map(|seal| backend(seal, &left_out, now)).collect();
    let is_trusted = call.deployment.seals.enabled().all(|seal| is_trusted(seal, now));
    let is_wrapping = is_trusted && left_out.is_empty();
    let mut data = vec![("healthy", Value::Bool(is_healthy))];
    data.extend(since.map(|since| ("unhealthy_since", time(since))));
    data.extend([
        ("backends", Value::Array(backends)),
        ("aged_decrypts", aged_decrypts(call)),
        ("fully_wrapped", Value::Bool(is_wrapping)),
        ("revoked_seals", revoked(call)),
        ("lost_versions", lost(call)),
        ("broken_promises", broken_promises(call)),
        ("drill", drill(call)),
        ("tokens_in_use", super::token::told_in_use(call)),
        ("state", state(call)),
        ("listener_certificates", listener_certificates(call, now)),
        ("store", store(call, now)),
        ("last_reload", last_reload(call)),
        ("audit", audit(call)),
        ("time", time(now)),
    ]);
    if has_launch_process_ended() {
        data.push(("hsm_launches", json!({
            "reason": "the process that starts HSM processes has ended: what runs goes on, and is not \
                       started anew",
            "advice": "restart Selkie, and find out who killed that process",
        })));
    }
    data.extend(crate::hardening::in_force().map(|now| ("hardening", now.to_json())));
    data.extend(
        call.node.bench().map(|bench| {
            ("faults", json!({ "rules": bench.rules(), "happened": bench.happened() }))
        }),
    );
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data_twice(&data))
}

/// Until when the listeners' own certificates are good, and what is worth telling of them.
fn listener_certificates(call: &Call<'_>, now: u64) -> Value {
    let all = call.node.listener_certificates().all().into_iter();
    let told = all.map(|(listener, validity)| {
        let notice = Notice::of(validity, now);
        json!({
            "listener": listener,
            "not_before": time(validity.from),
            "not_after": time(validity.end()),
            "notice": notice.map(|notice| notice.to_string()),
            "advice": notice.as_ref().map(Notice::advice),
        })
    });
    told.collect()
}

fn revoked(call: &Call<'_>) -> Value {
    let revoked = call.deployment.seals.revoked().iter();
    revoked.map(|seal| json!({ "name": seal.name.as_str(), "type": seal.kind })).collect()
}

/// Versions that no seal opens any more, with the last use of their key that is known of.
fn lost(call: &Call<'_>) -> Value {
    let lost = call.node.keys().lost_versions(&call.deployment.seals);
    let decrypts = call.node.metrics().last_aged_decrypts(&call.deployment).unwrap_or_default();
    let told = lost.into_iter().map(|lost| {
        let uses = decrypts.iter().filter(|one| one.key == lost.key).map(|one| one.last);
        json!({
            "key": lost.key, "versions": lost.versions, "seals": lost.seals,
            "last_use": uses.max().map(time), "advice": lost.advice(),
        })
    });
    told.collect()
}

/// What of earlier configurations' promises to ciphertexts this one does not keep.
fn broken_promises(call: &Call<'_>) -> Value {
    let losses = call.deployment.memory.losses().into_iter();
    let told =
        losses.map(|loss| json!({ "loss": loss.to_string(), "advice": promises::advice(&loss) }));
    told.collect()
}

/// How it stands with the state in storage; without one nothing is missing.
fn state(call: &Call<'_>) -> Value {
    let status = call.node.state_status();
    let status = status.as_ref();
    let names = |seals: &[SealName]| seals.iter().map(|name| json!(name.as_str())).collect();
    let told = |behind: &Behind| {
        let (lacking, waits_for): (Value, Value) =
            (names(&behind.lacking), names(&behind.waits_for));
        json!({ "lacking": lacking, "waits_for": waits_for, "advice": Behind::advice() })
    };
    let sequence = match status {
        Some(StateStatus::Open { sequence }) => Some(sequence),
        _ => None,
    };
    json!({
        "status": status.map_or("none", StateStatus::as_str),
        "sequence": sequence,
        "reason": status.and_then(StateStatus::reason),
        "advice": status.and_then(StateStatus::advice),
        "key_behind": call.node.state_key_behind().as_deref().map(told),
    })
}

/// How the storage does; null without one.
fn store(call: &Call<'_>, now: u64) -> Value {
    json!(call.node.store_figures().map(|figures| {
        let writes = figures.writes;
        let failed = writes.since_failed.map(|since| time(now.saturating_sub(since.as_secs())));
        json!({
            "up": figures.is_up,
            "lag_seconds": figures.lag.map(|lag| lag.as_secs()),
            "advice": call.node.keys().lost().and_then(|lost| lost.advice),
            "writes_made": writes.made,
            "writes_failed": writes.failed,
            "writes_failing": writes.are_failing(),
            "last_write_failed": failed,
        })
    }))
}

/// Whether the server runs what its file says.
fn last_reload(call: &Call<'_>) -> Value {
    let standing = call.node.last_reload().standing();
    let refused = standing.refused;
    json!({
        "successful": refused.is_none(),
        "last_success": time(standing.succeeded),
        "refused": refused.as_ref().map(|refused| time(refused.at)),
        "advice": refused.as_ref().map(|refused| refused.remedy.advice()),
        "reason": refused.map(|refused| refused.reason),
    })
}

/// How the audit devices do.
fn audit(call: &Call<'_>) -> Value {
    let devices = call.node.audit().devices().into_iter().map(|(device, figures)| {
        let [written, failed] =
            [&figures.written, &figures.failed].map(|count| count.load(Ordering::Relaxed));
        let is_up = !figures.is_failing.load(Ordering::Relaxed);
        json!({ "device": device.path, "up": is_up, "written": written, "failed": failed })
    });
    devices.collect()
}

/// What the last whole drill came to; null if there was none since the start.
fn drill(call: &Call<'_>) -> Value {
    let plan = DrillPlan::of(call.node, &call.transit());
    let drilled = call.node.drills().whole(&plan);
    json!(drilled.map(|drilled| {
        let failed: Vec<_> = drilled.failed.iter().map(SealName::as_str).collect();
        json!({ "ok": drilled.is_ok, "time": time(drilled.at), "failed_seals": failed })
    }))
}

/// Which old versions of keys were in use (invariant I7); null without an origin key.
fn aged_decrypts(call: &Call<'_>) -> Value {
    let decrypts = call.node.metrics().last_aged_decrypts(&call.deployment);
    let told = |one: LastAgedDecrypt| {
        json!({
            "client": one.client, "key": one.key, "version": one.version, "last": time(one.last),
        })
    };
    json!(decrypts.map(|all| all.into_iter().map(told).collect::<Vec<_>>()))
}

fn is_healthy(seal: &Seal) -> bool {
    seal.known.is_some() && seal.connection.health().fault.is_none()
}

fn since(seal: &Seal) -> u64 {
    seal.connection.health().since
}

fn backend(seal: &Seal, left_out: &[LeftOut], now: u64) -> Value {
    let health = seal.connection.health();
    let left_out: Vec<_> = left_out.iter().filter(|one| one.seal == *seal.name()).collect();
    let keys: Vec<_> = left_out.iter().map(|one| one.key.as_str()).collect();
    let mut backend = json!({
        "name": seal.name().as_str(),
        "type": seal.connection.kind(),
        "healthy": is_healthy(seal),
        "configured": seal.known.is_some(),
        "offline": seal.connection.is_offline(),
        "disabled": seal.disabled,
        "encrypts": is_wrapping(seal, now),
        "decrypts": !seal.connection.is_offline() && decrypts(seal),
        "described_by": seal.known.as_ref().map_or("nothing", |known| known.source.as_str()),
        "last_described": health.described.map(time),
        "last_fault": health.fault.as_ref().map(|fault| fault.outcome()),
        "last_fault_reason": health.fault.as_ref().map(|fault| WithCauses(fault).to_string()),
        "advice": (!is_healthy(seal)).then(|| advice(seal)),
        "kms_calls": seal.connection.governor_figures().map(|figures| kms_calls(&figures)),
        "asked_last": seal.connection.is_silenced(),
        "left_out_of": keys,
        "left_out_since": left_out.iter().map(|one| one.since).min().map(time),
        "trust_after_restart": seal.connection.lasting_trust(),
    });
    if let Some(standing) = seal.connection.upstream_token() {
        backend["upstream_token"] = upstream_token(&standing, now);
    }
    if !is_healthy(seal) && health.since > 0 {
        backend["unhealthy_since"] = time(health.since);
    }
    if let Some(known) = &seal.known {
        let current = known.keks.current();
        let created = current.created.and_then(|time| Timestamp::try_from(time).ok());
        let age = created
            .map(|created| now.saturating_sub(u64::try_from(created.as_second()).unwrap_or(0)));
        backend["current_version"] = json!(current.id.as_str());
        backend["current_version_age_seconds"] = json!(age);
        backend["versions"] = json!(known.keks.versions().len());
        let retired = seal.connection.retired();
        let opens_nothing =
            |one: &&KekVersion| one.state == KekState::Disabled || retired.contains(&one.id);
        let disabled = known.keks.versions().iter().filter(opens_nothing).count();
        backend["versions_disabled"] = json!(disabled);
        backend["staged_version"] = json!(known.staged().map(KekId::as_str));
        backend["all_versions_listed"] = json!(known.keks.is_complete());
        backend["trusted_by"] = json!(known.current_trust().map(|trust| trust.as_str()));
        backend["days_to_expiry"] = json!(days_left(current, now).map(f64::floor));
        backend["purgeable"] = json!(known.keks.is_purgeable());
    }
    backend
}

fn advice(seal: &Seal) -> &'static str {
    seal.connection.fault_or(SealFault::Undescribed).advice()
}

/// How it stands with the seal's token at another server.
fn upstream_token(standing: &TokenStanding, now: u64) -> Value {
    let trouble = standing.trouble.as_ref();
    json!({
        "expires": standing.expires_in.map(|left| time(now.saturating_add(left.as_secs()))),
        "renewed": standing.is_renewed,
        "trouble": trouble.map(|trouble| trouble.outcome.name()),
        "advice": trouble.map(|trouble| trouble.remedy()),
    })
}

/// How the use of the KMS is governed.
fn kms_calls(figures: &GovernorFigures) -> Value {
    json!({
        "in_flight": figures.in_flight,
        "waiting": figures.waiting,
        "limit": figures.limit,
        "held_back": figures.is_closed,
        "ended": by_outcome(&figures.calls_total).into_iter().collect::<BTreeMap<_, _>>(),
        "shared": figures.shared_flights_total,
        "refused": figures.refused_total,
        "overdue": figures.overdue_total,
    })
}

pub(super) fn time(seconds: u64) -> Value {
    json!(rfc3339(seconds))
}

/// What was counted, for Prometheus.
pub(super) fn metrics(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/metrics", Capability::Read).map_err(denied)?;
    let format = fields.text("format").map_err(ApiError::from)?;
    if !matches!(format.as_deref(), None | Some("" | "prometheus")) {
        return Err(ApiError::UnknownMetricsFormat.into());
    }
    let text = call.node.metrics_text(&call.deployment);
    Ok(Reply::text(CONTENT_TYPE, text.map_err(|_unprintable| ApiError::Internal)?))
}
