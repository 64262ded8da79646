//! Nobody reads the same alert twice in an hour, nor a hundred of one kind: they are counted.

use std::collections::HashMap;

use super::alert::Detail;
use super::{Alert, AlertKind};

/// Within which so many of a kind are told.
pub(super) const HOUR: u64 = 3_600;
/// How many different ones of a kind are told within an hour; this also bounds what is remembered.
pub(super) const MOST_OF_A_KIND: u64 = 100;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Quiet {
    said: HashMap<(AlertKind, String), Said>,
    told: HashMap<AlertKind, ToldOfKind>,
}

#[derive(Debug)]
struct Said {
    at: u64,
    /// The last one that was held since, and how many were.
    held: Option<(Box<Alert>, u64)>,
}

#[derive(Debug, Default)]
struct ToldOfKind {
    since: u64,
    alerts: u64,
    held: u64,
}

impl Quiet {
    /// Whether to tell `alert` now, which stands for so many events; then it counts as told. What
    /// merely lasts is none: it is told again when its hour is over, and nothing was repeated.
    pub(super) fn admits(&mut self, alert: &Alert, events: u64) -> bool {
        let name = (alert.kind, alert.subject.clone());
        let quiet = alert.kind.quiet_seconds();
        let said = self.said.get_mut(&name);
        if let Some(said) = said.filter(|said| !is_over(said.at, alert.time, quiet)) {
            match &mut said.held {
                _ if events == 0 => {}
                Some((last, count)) => {
                    **last = alert.clone();
                    *count = count.saturating_add(events);
                }
                None => said.held = Some((Box::new(alert.clone()), events)),
            }
            return false;
        }
        let told = self.told.entry(alert.kind).or_default();
        if is_over(told.since, alert.time, HOUR) && told.held == 0 {
            *told = ToldOfKind { since: alert.time, ..ToldOfKind::default() };
        }
        if told.alerts >= MOST_OF_A_KIND {
            told.held = told.held.saturating_add(events);
            return false;
        }
        told.alerts += 1;
        self.said.insert(name, Said { at: alert.time, held: None });
        true
    }

    /// What is told at `now` because its hour is over: the last of each that was repeated, with how
    /// often it was, and how many of a kind were too many.
    pub(super) fn due(&mut self, now: u64) -> Vec<(Alert, u64)> {
        let mut due = Vec::new();
        self.said.retain(|(kind, _), said| {
            if !is_over(said.at, now, kind.quiet_seconds()) {
                return true;
            }
            let Some((last, count)) = said.held.take() else { return false };
            due.push((*last, count));
            said.at = now;
            true
        });
        for (&kind, told) in &mut self.told {
            if is_over(told.since, now, HOUR) && told.held > 0 {
                let detail = Detail::HeldBack { kind, alerts: told.held };
                let alert = Alert { detail, ..Alert::new(AlertKind::HeldBack, now, kind.as_str()) };
                due.push((alert, 0));
                *told = ToldOfKind { since: now, ..ToldOfKind::default() };
            }
        }
        due
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.said.len()
    }
}

/// Whether the time that began at `since` is over, or the clock was set.
const fn is_over(since: u64, now: u64, seconds: u64) -> bool {
    now.abs_diff(since) >= seconds
}
