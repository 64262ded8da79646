//! Other devices by a reload. Each request finds some at every moment (I8): new ones are opened before
//! any is given up, and all change at once, between two batches.

use std::sync::Arc;

use selkie_config::{AuditDevice, AuditKind};
use selkie_crypto::AuditKey;

use super::device::Device;
use super::{Audit, AuditError, start};

/// Devices that are ready to take the place of those in use.
#[derive(Debug)]
pub(crate) struct Change {
    /// Those that are in use and stay, with their chains.
    kept: Vec<Arc<Device>>,
    new: Vec<Arc<Device>>,
    /// What their lines are chained under.
    key: Option<Arc<AuditKey>>,
}

/// What is not put to use leaves no line behind.
impl Drop for Change {
    fn drop(&mut self) {
        self.new.iter().for_each(|device| device.abandon());
    }
}

impl Audit {
    /// Opens the devices of `declared` that are not in use.
    ///
    /// # Errors
    ///
    /// [`AuditError`]; nothing has changed then.
    pub(crate) fn prepare(&self, declared: selkie_config::Audit) -> Result<Change, AuditError> {
        let current = self.gathering.devices();
        if declared.devices.is_empty() && !current.is_empty() {
            return Err(AuditError::Off);
        }
        let key = self.key.get().cloned().or_else(|| declared.key.map(Arc::new));
        let mut change = Change { kept: Vec::new(), new: Vec::new(), key };
        let Some(key) = change.key.clone() else { return Ok(change) };
        for device in declared.devices {
            if let Some(same) = current.iter().find(|one| *one.settings == device) {
                change.kept.push(Arc::clone(same));
            } else if current.iter().any(|one| are_one(&one.settings, &device)) {
                return Err(AuditError::InUse { device: device.path });
            } else {
                let started = start(device, Arc::clone(&key), Arc::clone(&self.clock))?;
                change.new.push(Arc::new(started));
            }
        }
        Ok(change)
    }

    /// Has the devices of `change` record from now on. The others write their last line; that is
    /// waited for, a few seconds at most.
    pub(crate) async fn apply(&self, mut change: Change) {
        let gone = self.put_to_use(&mut change);
        if !gone.is_empty() {
            let stop = move || gone.iter().for_each(|device| device.stop());
            let _ended = tokio::task::spawn_blocking(stop).await;
        }
    }

    /// The devices that are in use no more.
    pub(super) fn put_to_use(&self, change: &mut Change) -> Vec<Arc<Device>> {
        if let Some(key) = change.key.take() {
            // The same where there is one.
            let _is_first = self.key.set(key);
        }
        let new = std::mem::take(&mut change.new);
        let devices: Vec<_> = change.kept.iter().cloned().chain(new).collect();
        let before = self.gathering.replace(devices);
        let is_kept = |one: &&Arc<Device>| change.kept.iter().any(|other| Arc::ptr_eq(one, other));
        before.iter().filter(|one| !is_kept(one)).map(Arc::clone).collect()
    }
}

/// Whether `new` would be, or write to, what `current` is.
fn are_one(current: &AuditDevice, new: &AuditDevice) -> bool {
    let file = |device: &AuditDevice| match &device.kind {
        AuditKind::File(file) => Some(file.path.clone()),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    };
    current.path == new.path || (file(new).is_some() && file(current) == file(new))
}
