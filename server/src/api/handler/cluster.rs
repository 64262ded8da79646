//! `sys/leader` and `sys/ha-status`, for clients that look for the active node: all are.

use selkie_access::Capability;
use serde_json::json;

use super::transit::denied;
use crate::api::VERSION;
use crate::api::call::{Call, Refusal};
use crate::api::data::{HaNode, Leader};
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::clock::rfc3339;
use crate::deployment::Deployment;
use crate::node::Node;

/// Replicas on one store have no leader: each says that it is the active one, as it answers
/// everything itself.
pub(super) fn leader(node: &Node, deployment: &Deployment) -> Reply {
    let address = deployment.cluster.api_addr.as_deref().unwrap_or("");
    let started = node.has_shared_store().then(|| rfc3339(node.started())).flatten();
    Reply::bare(&told(address, started.as_deref()))
}

/// What a server says that is one of several since `active_since`, or stands alone.
fn told<'a>(address: &'a str, active_since: Option<&'a str>) -> Leader<'a> {
    let alone = Leader { leader_address: address, ..Leader::ALONE };
    match active_since {
        None => alone,
        Some(active_time) => Leader { ha_enabled: true, is_self: true, active_time, ..alone },
    }
}

/// The one node that is known here: replicas know nothing of each other.
pub(super) fn ha_status(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/ha-status", Capability::Read).map_err(denied)?;
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
    Ok(call.frame(&warnings).data_twice(&[("nodes", json!([node]))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_of_several_replicas_is_the_active_one() {
        let since = "2026-11-27T03:00:00Z";
        let body = json!(told("https://one:8200", Some(since)));
        assert_eq!((&body["ha_enabled"], &body["is_self"]), (&json!(true), &json!(true)));
        assert_eq!(body["leader_address"], "https://one:8200");
        assert_eq!(
            (&body["active_time"], &body["performance_standby"]),
            (&json!(since), &json!(false))
        );
        assert_eq!(json!(told("", None))["ha_enabled"], false);
    }
}
