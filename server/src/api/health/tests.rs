use super::*;

const STATES: [(NodeState, u16); 6] = [
    (NodeState::Uninitialized, 501),
    (NodeState::Sealed, 503),
    (NodeState::Active, 200),
    (NodeState::Standby, 429),
    (NodeState::PerformanceStandby, 473),
    (NodeState::DrSecondary, 472),
];

fn answer(state: NodeState, query: &str) -> Result<u16, ApiError> {
    status(state, &Query::parse(Some(query))).map(|status| status.as_u16())
}

#[test]
fn every_state_has_vaults_default_status() {
    for (state, code) in STATES {
        assert_eq!(answer(state, ""), Ok(code), "{state:?}");
    }
}

#[test]
fn every_status_can_be_overridden() {
    // What Go's client always asks with, and one that it does not know.
    let query = "uninitcode=299&sealedcode=298&activecode=297&standbycode=296\
                 &performancestandbycode=295&drsecondarycode=294&removedcode=1";
    let expected = [299, 298, 297, 296, 295, 294];
    for ((state, _), code) in STATES.into_iter().zip(expected) {
        assert_eq!(answer(state, query), Ok(code), "{state:?}");
    }
}

#[test]
fn a_standby_can_count_as_active() {
    assert_eq!(answer(NodeState::Standby, "standbyok=true&activecode=210"), Ok(210));
    assert_eq!(answer(NodeState::PerformanceStandby, "perfstandbyok=1"), Ok(200));
    assert_eq!(answer(NodeState::PerformanceStandby, "standbyok=true"), Ok(473));
    assert_eq!(answer(NodeState::Standby, "standbyok"), Ok(429));
    assert_eq!(answer(NodeState::Sealed, "standbyok=true"), Ok(503));
}

#[test]
fn any_malformed_parameter_is_refused_in_every_state() {
    for query in [
        "activecode=abc",
        "sealedcode=",
        "standbyok=x",
        "perfstandbyok=2",
        "uninitcode=99",
        "standbycode=1000",
        "drsecondarycode=-1",
        "activecode=101",
    ] {
        assert_eq!(answer(NodeState::Active, query), Err(ApiError::BadHealthParameter), "{query}");
    }
}

#[test]
fn the_body_is_vaults() {
    let cluster = Cluster { name: "selkie", id: "c0" };
    let body =
        |state| serde_json::to_string(&HealthBody::new(state, 1_795_420_430, cluster)).unwrap();
    assert_eq!(
        body(NodeState::Active),
        format!(
            "{{\"initialized\":true,\"sealed\":false,\"standby\":false,\
             \"performance_standby\":false,\"replication_performance_mode\":\"disabled\",\
             \"replication_dr_mode\":\"disabled\",\"server_time_utc\":1795420430,\
             \"version\":\"{VERSION}\",\"cluster_name\":\"selkie\",\"cluster_id\":\"c0\"}}"
        )
    );
    assert!(body(NodeState::Sealed).contains("\"sealed\":true"));
    assert!(!body(NodeState::Sealed).contains("cluster"));
    assert!(body(NodeState::Uninitialized).starts_with("{\"initialized\":false"));
}
