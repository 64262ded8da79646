//! `sys/health`: which status a load balancer sees, by the node's state and the options in the
//! URL.

use http::StatusCode;
use serde::Serialize;

use super::{ApiError, VERSION, fields::go_bool, query::Query};

/// What a node can be, as Vault sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Never set up.
    Uninitialized,
    /// No key at all can be served.
    Sealed,
    /// Answers.
    Active,
    /// Another node answers.
    Standby,
    /// Another node answers writes.
    PerformanceStandby,
    /// Another cluster answers.
    DrSecondary,
}

/// The body, in the order of Vault's struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the wire's, not ours")]
pub struct HealthBody<'a> {
    initialized: bool,
    sealed: bool,
    standby: bool,
    performance_standby: bool,
    replication_performance_mode: &'static str,
    replication_dr_mode: &'static str,
    server_time_utc: i64,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<&'a str>,
    /// How many scripted faults have happened, on a test bench: not Vault's.
    #[serde(skip_serializing_if = "Option::is_none")]
    faults_happened: Option<u64>,
    /// Why nothing is served that is not for want of a key: not Vault's.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<&'static str>,
}

/// The cluster, which Vault names only when unsealed.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// For people.
    pub name: &'a str,
    /// A UUID.
    pub id: &'a str,
}

impl<'a> HealthBody<'a> {
    /// What a node in `state` says at `unix_time`.
    #[must_use]
    pub fn new(state: NodeState, unix_time: i64, cluster: Cluster<'a>) -> Self {
        let is_open = !matches!(state, NodeState::Uninitialized | NodeState::Sealed);
        Self {
            initialized: state != NodeState::Uninitialized,
            sealed: !is_open,
            standby: matches!(state, NodeState::Standby | NodeState::PerformanceStandby),
            performance_standby: state == NodeState::PerformanceStandby,
            replication_performance_mode: "disabled",
            replication_dr_mode: match state {
                NodeState::DrSecondary => "secondary",
                _ => "disabled",
            },
            server_time_utc: unix_time,
            version: VERSION,
            cluster_name: is_open.then_some(cluster.name),
            cluster_id: is_open.then_some(cluster.id),
            faults_happened: None,
            warning: None,
        }
    }

    /// The same with a word for whoever reads it.
    #[must_use]
    pub fn warned(self, warning: Option<&'static str>) -> Self {
        Self { warning, ..self }
    }

    /// The same of a test bench.
    #[must_use]
    pub fn of_bench(self, faults_happened: Option<u64>) -> Self {
        Self { faults_happened, ..self }
    }
}

/// The status for `state`: Vault's default, or what the client wants to see instead.
///
/// # Errors
///
/// [`ApiError::BadHealthParameter`]: as in Vault every parameter must be well formed, also those
/// for states that the node is not in.
pub fn status(state: NodeState, query: &Query<'_>) -> Result<StatusCode, ApiError> {
    let standby_ok = flag(query, "standbyok")?;
    let performance_standby_ok = flag(query, "perfstandbyok")?;
    let uninitialized = code(query, "uninitcode", 501)?;
    let sealed = code(query, "sealedcode", 503)?;
    let standby = code(query, "standbycode", 429)?;
    let active = code(query, "activecode", 200)?;
    let dr_secondary = code(query, "drsecondarycode", 472)?;
    let performance_standby = code(query, "performancestandbycode", 473)?;
    let code = match state {
        NodeState::Uninitialized => uninitialized,
        NodeState::Sealed => sealed,
        NodeState::DrSecondary => dr_secondary,
        NodeState::PerformanceStandby if !performance_standby_ok => performance_standby,
        NodeState::Standby if !standby_ok => standby,
        NodeState::Active | NodeState::PerformanceStandby | NodeState::Standby => active,
    };
    StatusCode::from_u16(code).or(Err(ApiError::BadHealthParameter))
}

/// Whether an answer with this status, which the client may have chosen, must have no body (RFC
/// 9110 §15.3.5, §15.3.6 and §15.4.5).
#[must_use]
pub const fn forbids_body(status: StatusCode) -> bool {
    matches!(status.as_u16(), 204 | 205 | 304)
}

/// A flag with nothing after it is false in Vault 1.14, against its own documentation.
fn flag(query: &Query<'_>, name: &str) -> Result<bool, ApiError> {
    match query.first(name) {
        None => Ok(false),
        Some(text) => go_bool(text).ok_or(ApiError::BadHealthParameter),
    }
}

/// Vault takes any number and breaks the connection over one that is no status; an interim status
/// would leave the client waiting for another. Both are refused here.
fn code(query: &Query<'_>, name: &str, default: u16) -> Result<u16, ApiError> {
    match query.first(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|code| (200..1000).contains(code))
            .ok_or(ApiError::BadHealthParameter),
    }
}

#[cfg(test)]
mod tests;
