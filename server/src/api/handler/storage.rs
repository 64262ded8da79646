//! A backup of all state over the API, for whoever may use `sudo`.

use std::sync::Arc;

use selkie_access::Capability;
use selkie_listener::Overloaded;

use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::backup::{self, MAX_SNAPSHOT_BYTES};
use crate::telemetry::WithCauses;

const PATH: &str = "sys/storage/selkie/snapshot";
/// The records, and the file made of them.
const COPIES: usize = 2;

/// A backup of all state, as `sys/storage/raft/snapshot` gives it in Vault: only with sudo.
pub(super) async fn snapshot(call: &Call<'_>, fields: &Fields<'_>) -> Result<Reply, Refusal> {
    for capability in [Capability::Read, Capability::Sudo] {
        let _permit = call.acl(fields).check(PATH, capability).map_err(denied)?;
    }
    let source = call.node.backup_source().ok_or(ApiError::StorageUnavailable)?;
    let room = call.node.bytes().take(COPIES * MAX_SNAPSHOT_BYTES).await;
    let room = Arc::new(room.map_err(|Overloaded| ApiError::Overloaded)?);
    let snapshot = backup::take_in(&room, &source.store, &source.state_key).await;
    let snapshot = snapshot.map_err(|error| failed(&error, ApiError::StorageUnavailable))?;
    let key = backup::new_key(&call.transit()).await;
    let (key, envelope) = key.map_err(|error| failed(&error, ApiError::StorageUnavailable))?;
    let file = room.hold_for(move || backup::write(&snapshot, key, &envelope)).await;
    let file = file.map_err(|error| failed(&error, ApiError::Internal))?;
    Ok(Reply::octets(file.map_err(|error| failed(&error, ApiError::Internal))?))
}

fn failed(error: &dyn std::error::Error, told: ApiError) -> Refusal {
    tracing::error!(error = %WithCauses(error), "no backup was made");
    told.into()
}
