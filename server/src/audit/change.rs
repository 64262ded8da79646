//! Other devices by a reload. Each request finds some at every moment (I8): new ones are opened before
//! any is given up, and all change at once, between two batches.

use std::io;
use std::sync::Arc;

use selkie_config::{AuditDevice, AuditKind};
use selkie_crypto::AuditKey;

use super::device::Device;
use super::lock::HeldElsewhere;
use super::{Audit, AuditError, Means, Opening, refusal, start};

/// Devices that are ready to take the place of those in use; they leave nothing behind if they do not.
#[derive(Debug)]
pub(crate) struct Change {
    /// Those that are in use and stay, with their chains.
    kept: Vec<Arc<Device>>,
    new: Vec<Arc<Device>>,
    /// What their lines are chained under.
    key: Option<Arc<AuditKey>>,
}

/// Devices that are in use no more.
#[derive(Debug)]
#[must_use]
pub(crate) struct Gone(Vec<Arc<Device>>);

impl Audit {
    /// Opens the devices of `declared` that are not in use, on threads that may wait for a disk or a
    /// collector.
    ///
    /// # Errors
    ///
    /// [`AuditError`], also where a start would go on without a device: whoever reloads is there to
    /// mend it, and what works goes on working. Nothing has changed then.
    pub(crate) async fn prepare(
        &self,
        declared: selkie_config::Audit,
    ) -> Result<Change, AuditError> {
        let (mut change, wanted) = self.compare(declared)?;
        let Some(means) = self.means(&change) else { return Ok(change) };
        for device in wanted {
            let (means, name) = (means.clone(), device.path.clone());
            let place = device.kind.to_string();
            // What comes too late lets go of what it has opened.
            let opening = tokio::task::spawn_blocking(move || start(device, means, Opening::Must));
            let opened = opening.await.unwrap_or_else(|panicked| {
                Err(AuditError::Unopened {
                    device: name,
                    place,
                    source: io::Error::other(panicked),
                })
            });
            change.new.push(Arc::new(opened?.device));
        }
        Ok(change)
    }

    /// What of `declared` is in use already, and what is to be opened.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub(super) fn compare(
        &self,
        declared: selkie_config::Audit,
    ) -> Result<(Change, Vec<AuditDevice>), AuditError> {
        let current = self.gathering.devices();
        if declared.devices.is_empty() && !current.is_empty() {
            return Err(AuditError::Off);
        }
        let key = match (self.key.get(), declared.key) {
            (Some(used), Some(other)) if used.id() != other.id() => {
                return Err(AuditError::OtherKey);
            }
            (Some(used), _) => Some(Arc::clone(used)),
            (None, declared) => declared.map(Arc::new),
        };
        let (mut kept, mut wanted) = (Vec::new(), Vec::<AuditDevice>::new());
        for device in declared.devices {
            if let Some(same) = current.iter().find(|one| *one.settings == device) {
                kept.push(Arc::clone(same));
                continue;
            }
            let mut others = current.iter().map(|one| &*one.settings).chain(&wanted);
            if others.any(|one| are_one(one, &device)) {
                return Err(AuditError::InUse { device: device.path });
            }
            wanted.push(device);
        }
        Ok((Change { kept, new: Vec::new(), key }, wanted))
    }

    /// Opens what a start needs.
    ///
    /// # Errors
    ///
    /// [`AuditError`].
    pub(super) fn open(
        &self,
        change: &mut Change,
        wanted: Vec<AuditDevice>,
    ) -> Result<(), AuditError> {
        let Some(means) = self.means(change) else { return Ok(()) };
        let mut unopened = Vec::new();
        for device in wanted {
            let started = start(device, means.clone(), Opening::May)?;
            let device = Arc::new(started.device);
            unopened.extend(started.unopened.map(|error| (Arc::clone(&device), error)));
            change.new.push(device);
        }
        judge(&change.new, unopened)
    }

    fn means(&self, change: &Change) -> Option<Means> {
        let key = Arc::clone(change.key.as_ref()?);
        Some(Means { key, clock: Arc::clone(&self.clock), claims: Arc::clone(&self.claims) })
    }

    /// Has the devices of `change` record from now on.
    pub(crate) fn put_to_use(&self, Change { kept, new, key }: Change) -> Gone {
        if let Some(key) = key {
            // The same where there is one.
            let _is_first = self.key.set(key);
        }
        new.iter().for_each(|device| device.begin());
        let before = self.gathering.replace(kept.iter().cloned().chain(new).collect());
        let is_kept = |one: &&Arc<Device>| kept.iter().any(|other| Arc::ptr_eq(one, other));
        Gone(before.iter().filter(|one| !is_kept(one)).map(Arc::clone).collect())
    }
}

impl Gone {
    /// Has them write their last line; that is waited for, a few seconds at most for each.
    pub(crate) async fn stop(self) {
        if !self.0.is_empty() {
            let stop = move || self.0.iter().for_each(|device| device.stop());
            let _ended = tokio::task::spawn_blocking(stop).await;
        }
    }
}

/// Whether a start goes on with `devices`, of which some were `unopened` at first: without a file that
/// another process has only where any works by now. A second server by mistake is to notice.
///
/// # Errors
///
/// [`AuditError::File`].
pub(super) fn judge(
    devices: &[Arc<Device>],
    unopened: Vec<(Arc<Device>, io::Error)>,
) -> Result<(), AuditError> {
    // Their threads have tried them again, while the others were opened.
    let works = devices.iter().any(|device| !device.is_failing());
    for (device, source) in unopened {
        if !works && HeldElsewhere::is_in(&source) {
            return Err(refusal(&device.settings, source));
        }
        if device.is_failing() {
            tracing::error!(
                device = device.settings.path,
                place = %device.settings.kind,
                reason = %source,
                advice = remedy(&device.settings.kind),
                meanwhile = if works { "the others take the lines" } else { REFUSING },
                "an audit device is not open; it is used as soon as it opens"
            );
        }
    }
    Ok(())
}

const REFUSING: &str = "no device is open: every request is refused until one is";

/// What mends a device that does not open.
pub(crate) const fn remedy(kind: &AuditKind) -> &'static str {
    match kind {
        AuditKind::File(_) => {
            "see whether its disk is full, mounted read-only or hangs, and whether this user may write \
             there"
        }
        AuditKind::Syslog(_) => "see whether the syslog daemon runs and has this socket",
        AuditKind::Socket(_) => {
            "see whether the collector runs, listens there and can be reached from this machine"
        }
    }
}

/// Whether `new` would be what `current` is, or is told to write where that does; under whatever name
/// that is, [`super::claims`] tells.
fn are_one(current: &AuditDevice, new: &AuditDevice) -> bool {
    let file = |device: &AuditDevice| match &device.kind {
        AuditKind::File(file) => Some(file.path.clone()),
        AuditKind::Syslog(_) | AuditKind::Socket(_) => None,
    };
    current.path == new.path || (file(new).is_some() && file(current) == file(new))
}
