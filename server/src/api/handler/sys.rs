//! What `sys` answers without a token: health above all, which says 503 only while no key can be
//! served (invariant I10).

use selkie_access::{Capability, MountPath};

use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::data::{self, Mount, MountConfig};
use crate::api::error::ApiError;
use crate::api::fields::{Fields, Warnings};
use crate::api::health::{self, Cluster, HealthBody, NodeState};
use crate::api::reply::{Reply, ReplyFrame};
use crate::api::route::{Endpoint, Operation, Route};
use crate::api::{RUNNING_PLUGIN_VERSION, VERSION};
use crate::availability::is_anything_served;
use crate::deployment::Deployment;
use crate::node::Node;
use crate::stable_uuid::stable_uuid;
use crate::state::StateStatus;

/// Answers what Vault answers without a token.
pub(in crate::api) fn open(
    node: &Node,
    deployment: &Deployment,
    endpoint: &Endpoint,
    route: &Route<'_>,
) -> Result<Reply, Refusal> {
    let identity = ClusterIdentity::of(deployment);
    match endpoint {
        Endpoint::Health => {
            let state = state(node, deployment);
            let status = health::status(state, &route.query)?;
            let now = i64::try_from(node.clock().unix_seconds()).unwrap_or(i64::MAX);
            let cluster = Cluster { name: &identity.name, id: &identity.id };
            let faults = node.bench().map(|bench| bench.happened());
            let body = HealthBody::new(state, now, cluster).of_bench(faults);
            let body = body.warned(node.audit().refuses_all().then_some(NO_AUDIT));
            let reply = Reply::bare_with_status(status, &body);
            let is_empty = route.operation == Operation::Header || health::forbids_body(status);
            Ok(if is_empty { reply.into_head() } else { reply })
        }
        Endpoint::SealStatus => Ok(Reply::bare(&seal_status(node, deployment, &identity))),
        Endpoint::Leader => Ok(super::cluster::leader(node, deployment)),
        Endpoint::Init => Ok(Reply::bare(&data::Init { initialized: true })),
        _ => Err(ApiError::Internal.into()),
    }
}

/// Vault's health says nothing of it. Ours does: only an open endpoint can, where no other answers.
const NO_AUDIT: &str = "no audit device can be written: every request is refused, as in Vault; see to \
                        the audit devices, which are tried again by themselves";

/// Sealed while no key at all can be served (I10), for want of an audit device too (I8), so that a
/// load balancer takes another replica. One whose state is sealed, but which serves declared keys,
/// stays; never standby, for every replica answers everything.
fn state(node: &Node, deployment: &Deployment) -> NodeState {
    let has_managed_keys = node.has_managed_keys();
    let now = node.clock().unix_seconds();
    let is_served = is_anything_served(deployment, has_managed_keys, now);
    match is_served && !node.audit().refuses_all() {
        true => NodeState::Active,
        false => NodeState::Sealed,
    }
}

/// How the deployment names itself; the same on every replica.
struct ClusterIdentity {
    name: String,
    id: String,
}

impl ClusterIdentity {
    fn of(deployment: &Deployment) -> Self {
        let name = deployment.cluster.name.clone();
        let name = name.unwrap_or_else(|| format!("selkie-{}", deployment.realm()));
        Self { name, id: stable_uuid("cluster", deployment.realm()).to_string() }
    }
}

fn seal_status<'a>(
    node: &Node,
    deployment: &Deployment,
    identity: &'a ClusterIdentity,
) -> data::SealStatus<'a> {
    let sealed = state(node, deployment) == NodeState::Sealed;
    data::SealStatus {
        seal_type: deployment.seals.kind(),
        initialized: true,
        sealed,
        t: 1,
        n: 1,
        progress: 0,
        nonce: "",
        version: VERSION,
        build_date: "",
        migration: false,
        cluster_name: (!sealed).then_some(&*identity.name),
        cluster_id: (!sealed).then_some(&*identity.id),
        recovery_seal: true,
        storage_type: node.storage_type(),
        warnings: Some(warnings(node)).filter(|warnings| !warnings.is_empty()),
    }
}

fn warnings(node: &Node) -> Vec<String> {
    let audit = node.audit().refuses_all().then(|| NO_AUDIT.to_owned());
    let state = node.state_status().as_ref().and_then(StateStatus::reason).map(|reason| {
        let what = if node.has_managed_keys() { "changed" } else { "served" };
        format!("keys that were made through the API are not {what}: {reason}")
    });
    state.into_iter().chain(audit).collect()
}

pub(super) fn mounts(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit = call.acl(&fields).check("sys/mounts", Capability::Read).map_err(denied)?;
    let described = Described::all(&call.deployment);
    let mounts: Vec<_> = described.iter().map(|one| (&one.path, one.wire(None))).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data_twice(&mounts))
}

/// What a client may see, which is all below which it may do anything.
pub(super) fn ui_mounts(call: &Call<'_>, fields: Fields<'_>) -> Reply {
    let described = Described::all(&call.deployment);
    let visible = described.iter().filter(|one| one.is_visible_to(call));
    let secret = visible.map(|one| (&one.path[..], one.wire(None))).collect();
    let warnings = fields.into_warnings(&[]);
    let methods = super::auth_mounts::Shown::all(call);
    let visible = methods.iter().filter(|one| one.is_visible_to(call));
    let auth = visible.map(|one| (&one.path[..], one.wire(None))).collect();
    call.frame(&warnings).data(&data::UiMounts { auth, secret })
}

/// Without a token there is nothing to see, and no error.
pub(in crate::api) fn ui_mounts_for_nobody(id: &str) -> Reply {
    let warnings = Warnings::default();
    ReplyFrame { request_id: id, warnings: &warnings }.data(&data::UiMounts::default())
}

pub(super) fn ui_mount(call: &Call<'_>, path: &str, fields: Fields<'_>) -> Result<Reply, Refusal> {
    let asked = format!("{}/", path.trim_end_matches('/'));
    let described = Described::all(&call.deployment);
    let found = described.iter().find(|one| asked.starts_with(&one.path));
    let found = found.filter(|one| one.is_visible_to(call));
    let refused = || ApiError::PreflightDenied { path: asked.clone().into() };
    let found = found.ok_or_else(refused)?;
    let warnings = fields.into_warnings(&["path"]);
    Ok(call.frame(&warnings).data(&found.wire(Some(&found.path))))
}

/// A mount as the wire describes it.
struct Described {
    mount: Option<MountPath>,
    path: String,
    mount_type: &'static str,
    description: &'static str,
    accessor: String,
    uuid: String,
}

impl Described {
    fn all(deployment: &Deployment) -> Vec<Self> {
        let mut all = vec![Self::new("sys", "system", "system endpoints used for control")];
        for mount in deployment.mounts.iter() {
            let described = Self::new(mount.path.as_str(), "transit", "");
            all.push(Self { mount: Some(mount.path.clone()), ..described });
        }
        all.sort_by(|one, other| one.path.cmp(&other.path));
        all
    }

    fn new(path: &str, mount_type: &'static str, description: &'static str) -> Self {
        let uuid = stable_uuid("mount", path);
        let short = uuid.simple().to_string();
        Self {
            mount: None,
            path: format!("{path}/"),
            mount_type,
            description,
            accessor: format!("{mount_type}_{}", short.get(..8).unwrap_or_default()),
            uuid: uuid.to_string(),
        }
    }

    fn is_visible_to(&self, call: &Call<'_>) -> bool {
        self.mount.as_ref().is_some_and(|mount| call.client.acl.reaches_mount(mount))
    }

    fn wire<'a>(&'a self, path: Option<&'a str>) -> Mount<'a> {
        Mount {
            accessor: &self.accessor,
            config: MountConfig::default(),
            description: self.description,
            external_entropy_access: false,
            local: false,
            options: None,
            path,
            plugin_version: "",
            running_plugin_version: RUNNING_PLUGIN_VERSION,
            running_sha256: "",
            seal_wrap: false,
            mount_type: self.mount_type,
            uuid: &self.uuid,
        }
    }
}
