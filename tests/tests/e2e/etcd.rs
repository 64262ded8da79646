//! The etcd of the tests itself: what the tests of shared storage stand on.

use anyhow::Result;
use selkie_tests::{Client, Etcd, EtcdCluster, Request};
use serde_json::json;

/// What etcd's own JSON gateway answers; keys and values are base64.
fn ask(etcd: &Etcd, what: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
    let request = Request::absolute("POST", &format!("/v3/kv/{what}")).json(body);
    Ok(Client::plain(etcd.address).send(request)?.json())
}

#[test]
fn a_member_alone_keeps_its_data_over_a_kill() -> Result<()> {
    let Some(mut etcd) = Etcd::start()? else { return Ok(()) };
    ask(&etcd, "put", &json!({ "key": "YQ==", "value": "Yg==" }))?;
    etcd.kill()?;
    etcd.restart()?;
    assert_eq!(ask(&etcd, "range", &json!({ "key": "YQ==" }))?["kvs"][0]["value"], "Yg==");
    Ok(())
}

#[test]
fn a_cluster_elects_another_leader_when_its_own_is_killed_or_frozen() -> Result<()> {
    let Some(mut cluster) = EtcdCluster::start(3)? else { return Ok(()) };
    let first = cluster.leader()?;
    cluster.members[first].kill()?;
    let second = cluster.leader_after(first)?;
    ask(&cluster.members[second], "put", &json!({ "key": "YQ==", "value": "Yg==" }))?;
    cluster.members[first].restart()?;
    cluster.members[second].freeze()?;
    cluster.leader_after(second)?;
    cluster.members[second].thaw()?;
    cluster.members[second].ready()?;
    let found = ask(&cluster.members[second], "range", &json!({ "key": "YQ==" }))?;
    assert_eq!(found["kvs"][0]["value"], "Yg==");
    Ok(())
}
