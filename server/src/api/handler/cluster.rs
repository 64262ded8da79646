use jiff::Timestamp;
use selkie_access::Capability;
use serde_json::json;

use super::transit::denied;
use crate::api::VERSION;
use crate::api::call::{Call, Refusal};
use crate::api::data::{HaNode, Leader};
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::deployment::Deployment;
use crate::node::Node;

/// Replicas on one store have no leader: each says that it is the active one, as it answers
/// everything itself.
pub(super) fn leader(node: &Node, deployment: &Deployment) -> Reply {
    let address = deployment.cluster.api_addr.as_deref().unwrap_or("");
    let alone = Leader { leader_address: address, ..Leader::ALONE };
    if !node.has_shared_store() {
        return Reply::bare(&alone);
    }
    let started = i64::try_from(node.started()).ok();
    let started = started.and_then(|second| Timestamp::from_second(second).ok());
    let started = started.map_or_else(|| alone.active_time.to_owned(), |time| time.to_string());
    Reply::bare(&Leader { ha_enabled: true, is_self: true, active_time: &started, ..alone })
}

/// The one node that is known here: replicas know nothing of each other.
pub(super) fn ha_status(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.client.acl.check("sys/ha-status", Capability::Read).map_err(denied)?;
    let system = rustix::system::uname();
    let hostname = system.nodename().to_string_lossy();
    let node = HaNode {
        hostname: &hostname,
        api_address: call.deployment.cluster.api_addr.as_deref().unwrap_or(""),
        cluster_address: "",
        active_node: true,
        last_echo: None,
        echo_duration_ms: 0,
        clock_skew_ms: 0,
        version: VERSION,
    };
    let warnings = fields.into_warnings(&[]);
    Ok(call.envelope(&warnings).data_twice(&[("nodes", json!([node]))]))
}
