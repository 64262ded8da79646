//! `sys/…`.

use anyhow::{Context, Result};
use selkie_tests::Request;
use serde_json::{Map, Value, json};

use super::dev;
use crate::answer::{assert_envelope, assert_headers, assert_refused};

fn has_fields(body: &Value, fields: &[&str]) -> Result<()> {
    let object: &Map<String, Value> = body.as_object().context("no object")?;
    for field in fields {
        assert!(object.contains_key(*field), "no {field}: {body}");
    }
    Ok(())
}

#[test]
fn health_answers_anybody_in_vaults_words() -> Result<()> {
    let (_selkie, root) = dev()?;
    let nobody = root.without_token();
    let answer = nobody.get("sys/health")?;
    assert_eq!(answer.status, 200);
    assert_headers(&answer);
    let body = answer.json();
    has_fields(
        &body,
        &[
            "initialized",
            "sealed",
            "standby",
            "performance_standby",
            "replication_performance_mode",
            "replication_dr_mode",
            "server_time_utc",
            "version",
        ],
    )?;
    assert_eq!((&body["initialized"], &body["sealed"]), (&json!(true), &json!(false)));
    assert_eq!((&body["standby"], body.get("request_id")), (&json!(false), None));
    let version = body["version"].as_str().context("no version")?;
    assert!(version.starts_with("1.14.0"), "Terraform reads it as semver: {version}");
    Ok(())
}

#[test]
fn health_has_its_query_options() -> Result<()> {
    let (_selkie, root) = dev()?;
    for (query, status) in [
        ("activecode=299", 299),
        ("standbyok=true&sealedcode=299&uninitcode=299&standbycode=299", 200),
        ("drsecondarycode=299&performancestandbycode=299", 200),
        ("perfstandbyok", 200),
    ] {
        assert_eq!(root.get(&format!("sys/health?{query}"))?.status, status, "{query}");
    }
    assert_eq!(root.get("sys/health?activecode=nonsense")?.status, 400);
    let head = root.send(Request::new("HEAD", "sys/health?activecode=299"))?;
    assert_eq!((head.status, head.body.len()), (299, 0));
    Ok(())
}

#[test]
fn seal_status_leader_and_init_answer_anybody() -> Result<()> {
    let (_selkie, root) = dev()?;
    let nobody = root.without_token();
    let status = nobody.get("sys/seal-status")?;
    assert_eq!(status.status, 200);
    has_fields(
        &status.json(),
        &[
            "type",
            "initialized",
            "sealed",
            "t",
            "n",
            "progress",
            "nonce",
            "version",
            "migration",
            "recovery_seal",
        ],
    )?;
    assert_eq!(status.json()["sealed"], false);
    let leader = nobody.get("sys/leader")?;
    has_fields(
        &leader.json(),
        &[
            "ha_enabled",
            "is_self",
            "leader_address",
            "leader_cluster_address",
            "performance_standby",
        ],
    )?;
    assert_eq!(leader.json()["ha_enabled"], false);
    let init = nobody.get("sys/init")?;
    assert_eq!((init.status, init.text().as_str()), (200, "{\"initialized\":true}\n"));
    Ok(())
}

#[test]
fn mounts_name_the_transit_engine_twice() -> Result<()> {
    let (_selkie, root) = dev()?;
    let answer = root.get("sys/mounts")?;
    let data = assert_envelope(&answer)?;
    assert_eq!(data["transit/"]["type"], "transit");
    assert_eq!(answer.json()["transit/"], data["transit/"]);
    has_fields(&data["transit/"], &["accessor", "config", "description", "options", "uuid"])?;
    Ok(())
}

#[test]
fn the_clis_preflight_finds_a_mount_or_says_why_not() -> Result<()> {
    let (_selkie, root) = dev()?;
    let data = assert_envelope(&root.get("sys/internal/ui/mounts/transit/keys/x")?)?;
    assert_eq!((&data["type"], &data["path"]), (&json!("transit"), &json!("transit/")));
    let text = "preflight capability check returned 403, please ensure client's policies grant \
                access to path \"nope/foo/\"";
    assert_refused(&root.get("sys/internal/ui/mounts/nope/foo")?, 403, text);
    let all = assert_envelope(&root.get("sys/internal/ui/mounts")?)?;
    assert_eq!(all["secret"]["transit/"]["type"], "transit");
    assert!(all["auth"].is_object(), "{all}");
    Ok(())
}

#[test]
fn capabilities_self_of_root_is_root() -> Result<()> {
    let (_selkie, root) = dev()?;
    let path = "transit/encrypt/autounseal";
    for body in [json!({ "paths": [path] }), json!({ "path": path }), json!({ "paths": path })] {
        let answer = root.put("sys/capabilities-self", &body)?;
        let data = assert_envelope(&answer)?;
        assert_eq!(data, json!({ path: ["root"], "capabilities": ["root"] }), "{body}");
        assert_eq!(answer.json()[path], json!(["root"]));
    }
    let answer = root.put("sys/capabilities-self", &json!({}))?;
    assert_refused(&answer, 400, "paths must be supplied");
    Ok(())
}
