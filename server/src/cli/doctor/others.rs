//! The other programs that a server needs before it does anything: who takes its audit lines, and the
//! cluster that keeps its state.

use selkie_config::{AuditDevice, AuditKind, AuditTarget, EtcdStorage, Storage};

use crate::audit::{reach, remedy};
use crate::seal::{Finding, Step};
use crate::state::backend::{self, BackendError};
use crate::state::layout;
use crate::telemetry::WithCauses;

/// Whether the daemon or the collector of `device` is there; `None` of a file.
pub(super) fn audit(device: &AuditDevice) -> Option<(String, Step)> {
    let reached = reach(&device.kind)?;
    let is_udp = matches!(&device.kind, AuditKind::Socket(socket)
        if matches!(socket.target, AuditTarget::Udp(_)));
    let finding = match reached {
        Ok(()) if is_udp => {
            Finding::Passed("UDP does not tell whether anybody listens there".to_owned())
        }
        Ok(()) => Finding::Passed("it is there".to_owned()),
        Err(error) => {
            let what = format!("a server could not record anything there: {error}");
            Finding::Failed { what, advice: remedy(&device.kind).to_owned() }
        }
    };
    let place = format!("audit {:?} ({})", device.path, device.kind);
    Some((place, Step { hop: "connect".to_owned(), finding }))
}

/// Whether etcd answers; `None` of another storage.
pub(super) async fn etcd(storage: &Storage) -> Option<(String, Step)> {
    let Storage::Etcd(EtcdStorage { endpoints, prefix, .. }) = storage else { return None };
    let finding = match holds_state(storage).await {
        Ok(true) => Finding::Passed("it answers, and holds a state".to_owned()),
        Ok(false) => Finding::Passed(format!("it answers; nothing is below {prefix:?} yet")),
        Err(error) => Finding::Failed {
            what: WithCauses(&error).to_string(),
            advice:
                "see whether etcd runs at this address and can be reached from here, and check \
                     certificates, user and password"
                    .to_owned(),
        },
    };
    let place = format!("storage \"etcd\" ({})", endpoints.join(", "));
    Some((place, Step { hop: "read".to_owned(), finding }))
}

async fn holds_state(storage: &Storage) -> Result<bool, BackendError> {
    let store = backend::open(storage).await?;
    let Ok(format) = layout::reserved("format") else { return Ok(false) };
    Ok(store.get(&format).await?.is_some())
}
