//! The other programs that a server needs before it does anything: who takes its audit lines, and the
//! cluster that keeps its state.

use selkie_config::{AuditDevice, AuditKind, AuditTarget, EtcdStorage, Storage};

use crate::audit::{reach, remedy};
use crate::seal::{Finding, Step};
use crate::state::backend::{self, BackendError};
use crate::state::{layout, others};
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

/// Whether etcd can be read; `None` of another storage.
pub(super) async fn etcd(storage: &Storage) -> Option<(String, Step)> {
    let Storage::Etcd(EtcdStorage { endpoints, prefix, .. }) = storage else { return None };
    let finding = match holds_state(storage).await {
        Ok(true) => Finding::Passed("it can be read, and holds a state".to_owned()),
        Ok(false) => Finding::Passed(format!("it can be read; no state is below {prefix:?} yet")),
        Err(error) => {
            Finding::Failed { what: WithCauses(&error).to_string(), advice: advice(&error) }
        }
    };
    let place = format!("storage \"etcd\" ({})", endpoints.join(", "));
    Some((place, Step { hop: "read".to_owned(), finding }))
}

async fn holds_state(storage: &Storage) -> Result<bool, BackendError> {
    let store = backend::open(storage).await?;
    let Ok(format) = layout::reserved("format") else { return Ok(false) };
    Ok(store.get(&format).await?.is_some())
}

fn advice(error: &BackendError) -> String {
    let known = match error {
        BackendError::Nested(nested) => Some(nested.advice()),
        BackendError::Store(error) => others::advice(error),
        BackendError::Etcd(_) | BackendError::File { .. } => None,
    };
    known.unwrap_or_else(|| {
        "see whether etcd runs at this address and can be reached from here, and check certificates, \
         user and password"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use selkie_storage::{EtcdDamage, StoreError};

    use super::*;
    use crate::state::others::Nested;

    #[test]
    fn what_is_wrong_in_etcd_is_not_sought_on_the_way_there() {
        let nested = Nested { outer: "s/".into(), inner: "s/in/".into() };
        assert!(advice(&nested.into()).contains("does not begin with"));
        let pair = EtcdDamage::NoRecord { key: "s/format".into(), source: "x".into() };
        let corrupt = StoreError::Corrupt { key: None, source: Box::new(pair) };
        assert!(advice(&corrupt.into()).contains("s/format"));
        let away = StoreError::Unavailable { source: "away".into() };
        assert!(advice(&away.into()).contains("can be reached"));
    }
}
