//! Drills over the API. A step asks the KMSs for much, so it takes `sudo`.

use selkie_access::{Capability, PathPermit};
use selkie_crypto::SealName;
use serde_json::{Value, json};

use super::transit::denied;
use crate::api::advice::advice;
use crate::api::call::{Call, Refusal};
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::drill::{DrillPlan, DrillStep, Drilled};
use crate::transit::{DrillFault, SealDrill, TransitError};

/// The steps of a drill, as any list of Vault's.
pub(super) fn plan(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/drill/", Capability::List).map_err(denied)?;
    let plan = DrillPlan::of(call.node, &call.transit());
    let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    let untried: Vec<_> = plan.untried_seals.iter().map(SealName::as_str).collect();
    let warnings = fields.into_warnings(&["list"]);
    Ok(call.frame(&warnings).data(&json!({
        "keys": steps,
        "keys_left_out": plan.keys_left_out,
        "untried_seals": untried,
    })))
}

/// Takes one step. Whoever may asks the KMSs for much: it needs `sudo` beside `update`.
pub(super) async fn take(
    call: &Call<'_>,
    step: DrillStep,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let path = format!("sys/drill/{step}");
    let permit = call.acl(&fields).check(&path, Capability::Update).map_err(denied)?;
    let _reserved = call.acl(&fields).check(&path, Capability::Sudo).map_err(denied)?;
    let done = outcome(call, &permit, &step).await;
    if matches!(&done, Err(TransitError::KeyNotFound)) {
        return Err(ApiError::UnsupportedPath.into());
    }
    let now = call.node.clock().unix_seconds();
    call.node.drills().note(step.clone(), done.as_deref().ok(), now);
    let plan = DrillPlan::of(call.node, &call.transit());
    if let Some(Drilled { at, is_ok, failed }) = call.node.drills().whole(&plan) {
        call.node.metrics().drill(at, is_ok);
        if !is_ok {
            let seals: Vec<_> = failed.iter().map(SealName::as_str).collect();
            tracing::error!(seals = seals.join(", "), "a drill failed: not every seal opens alone");
        }
    }
    let done = done.map_err(|cause| Refusal::of_item(cause, &step.to_string()))?;
    let results: Vec<_> = done.iter().map(|one| result(&step, one)).collect();
    let is_ok = !done.is_empty() && done.iter().all(|one| one.outcome.is_ok());
    let warnings = fields.into_warnings(&[]);
    let step = step.to_string();
    Ok(call.frame(&warnings).data(&json!({ "step": step, "ok": is_ok, "results": results })))
}

async fn outcome(
    call: &Call<'_>,
    permit: &PathPermit,
    step: &DrillStep,
) -> Result<Vec<SealDrill>, TransitError> {
    match step {
        DrillStep::Key(mount, name) => call.transit().drill(permit, mount, name).await,
        DrillStep::State => {
            call.node.state_status().ok_or(TransitError::KeyNotFound)?;
            let source = call.node.backup_source().ok_or(TransitError::StateSealed)?;
            call.transit().drill_state(permit, source).await
        }
    }
}

fn result(step: &DrillStep, one: &SealDrill) -> Value {
    let key = match step {
        DrillStep::Key(mount, name) => Some(format!("{mount}/{name}")),
        DrillStep::State => None,
    };
    let fault = one.outcome.as_ref().err();
    json!({
        "seal": one.seal.as_str(),
        "key": key,
        "outcome": fault.map_or("ok", DrillFault::outcome),
        "milliseconds": u64::try_from(one.time.as_millis()).unwrap_or(u64::MAX),
        "reason": fault.map(ToString::to_string),
        "advice": fault.and_then(what_to_do),
    })
}

fn what_to_do(fault: &DrillFault) -> Option<&'static str> {
    match fault {
        DrillFault::Wrap(fault) => Some(fault.advice()),
        DrillFault::Open(error) => advice(error),
        DrillFault::OtherPlaintext => {
            Some("check that the KMS, and nothing in its place, answers at the seal's address")
        }
        DrillFault::QuorumNotMet => Some("see why the other seals wrap nothing"),
        DrillFault::NotARecipient => {
            Some("wait for the state key to be wrapped anew, or restart when all seals are there")
        }
    }
}
