//! Figures of the audit devices, read when somebody asks.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::audit::Audit;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDevice {
    device: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Lines {
    device: String,
    outcome: &'static str,
}

/// How each audit device does, as of now.
pub(super) fn register(registry: &mut Registry, audit: &Audit) {
    let (lines, up) = (Family::<Lines, Counter>::default(), Family::<OfDevice, Gauge>::default());
    for (device, figures) in audit.devices() {
        let device = device.path.clone();
        for (outcome, count) in [("written", &figures.written), ("failed", &figures.failed)] {
            let lines = lines.get_or_create(&Lines { device: device.clone(), outcome });
            lines.inc_by(count.load(Ordering::Relaxed));
        }
        let is_up = !figures.is_failing.load(Ordering::Relaxed);
        up.get_or_create(&OfDevice { device }).set(i64::from(is_up));
    }
    registry.register("audit_lines", "Lines of each audit device, by outcome", lines);
    registry.register("audit_device_up", "1 if the last attempt to write to it succeeded", up);
    let missed = Counter::<u64>::default();
    missed.inc_by(audit.events().missed());
    registry.register("key_events_missed", "Events that a watcher was too slow for", missed);
}
