//! `sys/audit`: shown, and never changed, or a client could switch off its own record.

use std::collections::BTreeMap;

use selkie_access::Capability;
use selkie_config::{AuditDevice, AuditKind, AuditTarget};
use serde::Serialize;

use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::api::route::Operation;

/// A device as Vault tells it.
#[derive(Serialize)]
struct ListedDevice<'a> {
    description: &'a str,
    local: bool,
    options: BTreeMap<&'static str, String>,
    path: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// `sys/audit`, which in Vault takes sudo.
pub(super) fn list(call: &Call<'_>, fields: Fields<'_>) -> Result<Reply, Refusal> {
    for capability in [Capability::Read, Capability::Sudo] {
        let _permit = call.acl(&fields).check("sys/audit", capability).map_err(denied)?;
    }
    let devices = call.node.audit().devices();
    let devices = devices.iter().map(|(device, _)| device);
    let told: Vec<_> = devices.map(|device| (format!("{}/", device.path), told(device))).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(call.frame(&warnings).data_twice(&told))
}

/// Nothing that a client sends switches the record of what clients do off.
pub(super) fn change(
    call: &Call<'_>,
    path: &str,
    operation: Operation,
    fields: &Fields<'_>,
) -> Result<Reply, Refusal> {
    let path = format!("sys/audit/{path}");
    for capability in [operation.capability(), Capability::Sudo] {
        let _permit = call.acl(fields).check(&path, capability).map_err(denied)?;
    }
    Err(ApiError::AuditDeclared.into())
}

/// What stands in the log for a value that the client knows.
pub(super) fn hash(call: &Call<'_>, path: &str, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    #[derive(Serialize)]
    struct Hash {
        hash: String,
    }
    let asked = format!("sys/audit-hash/{path}");
    let _permit = call.acl(&fields).check(&asked, Capability::Update).map_err(denied)?;
    let input = fields.secret("input").map_err(ApiError::from)?.filter(|input| !input.is_empty());
    let input = input.ok_or(ApiError::MissingAuditInput)?;
    let name = path.trim_end_matches('/');
    let audit = call.node.audit();
    let is_known = audit.devices().iter().any(|(device, _)| device.path == name);
    let hash = audit.hash(input.expose_to_decode().as_bytes()).filter(|_| is_known);
    let hash = hash.ok_or(ApiError::UnknownAuditDevice)?;
    let warnings = fields.into_warnings(&["path"]);
    Ok(call.frame(&warnings).data(&Hash { hash }))
}

fn told(device: &AuditDevice) -> ListedDevice<'_> {
    let options = match &device.kind {
        AuditKind::File(file) => vec![
            ("file_path", file.path.display().to_string()),
            ("mode", format!("{:04o}", file.mode)),
            ("fsync", file.fsync.to_string()),
        ],
        AuditKind::Syslog(syslog) => {
            vec![("address", syslog.socket.display().to_string()), ("tag", syslog.tag.clone())]
        }
        AuditKind::Socket(socket) => {
            let (kind, address) = match &socket.target {
                AuditTarget::Tcp(address) => ("tcp", address.to_string()),
                AuditTarget::Udp(address) => ("udp", address.to_string()),
                AuditTarget::Unix(path) => ("unix", path.display().to_string()),
            };
            vec![("address", address), ("socket_type", kind.to_owned())]
        }
    };
    ListedDevice {
        description: &device.description,
        local: false,
        options: options.into_iter().collect(),
        path: format!("{}/", device.path),
        kind: device.kind.label(),
    }
}
