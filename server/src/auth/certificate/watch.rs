//! The end of certificates and of revocation lists, told before it comes.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::auth::{Client, Origin};

/// How often one thing is told, in seconds.
const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;

/// Before the name of a client that has lists of its own; no listener's begins so.
pub const OF_CLIENT: &str = "client ";

/// When the certificates that clients come with run out, and the lists that revoke them.
#[derive(Debug, Default)]
pub struct CertificateWatch(Mutex<LastSeen>);

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub struct LastSeen {
    /// By client.
    pub certificates: BTreeMap<String, End>,
    /// The first of its lists that runs out, by listener, or by client with [`OF_CLIENT`].
    pub lists: BTreeMap<String, End>,
}

/// When something ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct End {
    /// In seconds since 1970.
    pub at: u64,
    /// When it was told last, in seconds since 1970.
    told: u64,
}

impl CertificateWatch {
    /// A client has come with its certificate alone.
    pub fn note(&self, client: &Client, now: u64) {
        let Origin::Certificate { warn_from, not_after, fingerprint, .. } = &client.origin else {
            return;
        };
        let is_due = end(&mut self.lock().certificates, client.name(), *not_after)
            .take_turn(*warn_from, DAY, now);
        if is_due {
            let hours_left = not_after.saturating_sub(now) / HOUR;
            tracing::warn!(
                client = client.name(),
                %fingerprint,
                hours_left,
                "the certificate of a client runs out soon: after that it cannot unseal with it; \
                 renew it now"
            );
        }
    }

    /// There are lists of this listener, or of a client ([`OF_CLIENT`]), whose first runs out at
    /// `until`.
    pub fn note_lists(&self, listener: &str, until: Option<u64>, now: u64) {
        let Some(until) = until else { return };
        if end(&mut self.lock().lists, listener, until).take_turn(until, HOUR, now) {
            tracing::error!(
                listener,
                hours_overdue = now.saturating_sub(until) / HOUR,
                "a certificate revocation list is out of date: what was revoked since is not known; \
                 fetch a new one and reload (SIGHUP)"
            );
        }
    }

    /// What there is after a start or a reload: lists of this listener, and those of clients
    /// ([`OF_CLIENT`]). Those that are gone are forgotten, or their alarm would not end.
    pub fn follow_lists<'c>(
        &self,
        (listener, until): (&str, Option<u64>),
        clients: impl Iterator<Item = (&'c str, u64)>,
        now: u64,
    ) {
        let clients: BTreeMap<_, _> = clients.collect();
        self.lock().lists.retain(|whose, _| match whose.starts_with(OF_CLIENT) {
            true => clients.contains_key(whose.as_str()),
            false => whose != listener || until.is_some(),
        });
        self.note_lists(listener, until, now);
        for (whose, until) in clients {
            self.note_lists(whose, Some(until), now);
        }
    }

    /// All that was seen.
    #[must_use]
    pub fn seen(&self) -> LastSeen {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, LastSeen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn end<'e>(all: &'e mut BTreeMap<String, End>, name: &str, at: u64) -> &'e mut End {
    let end = all.entry(name.to_owned()).or_default();
    if end.at != at {
        *end = End::new(at);
    }
    end
}

impl End {
    /// One that was never told.
    #[must_use]
    pub const fn new(at: u64) -> Self {
        Self { at, told: 0 }
    }

    /// Whether it was near, or past, when it was last looked at.
    pub(crate) const fn is_told(&self) -> bool {
        self.told > 0
    }

    /// Whether to tell it now, from `from` on and once in `every` seconds; then it counts as told.
    fn take_turn(&mut self, from: u64, every: u64, now: u64) -> bool {
        let is_due = now >= from && now.saturating_sub(self.told) >= every;
        if is_due {
            self.told = now;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_its_time_on_once_in_a_while() {
        let mut all = BTreeMap::new();
        let mut due = |at, now| end(&mut all, "a", at).take_turn(at - 100, 50, now);
        assert!(!due(1_000, 899));
        assert!(due(1_000, 900));
        assert!(!due(1_000, 949));
        assert!(due(1_000, 950));
        assert!(!due(2_000, 951), "renewed");
        assert!(due(2_000, 1_900));
    }

    #[test]
    fn lists_that_are_gone_after_a_reload_are_forgotten_and_those_of_others_are_not() {
        let watch = CertificateWatch::default();
        let seen = |listener, clients: &[&'static str]| {
            watch.follow_lists(listener, clients.iter().map(|whose| (*whose, 1_000)), 2_000);
            watch.seen().lists.into_keys().collect::<Vec<_>>()
        };
        let clients = ["client a", "client b"];
        assert_eq!(seen(("x:1", Some(1_000)), &clients), ["client a", "client b", "x:1"]);
        assert_eq!(seen(("y:1", Some(1_000)), &clients), ["client a", "client b", "x:1", "y:1"]);
        assert_eq!(seen(("x:1", Some(1_000)), &["client b"]), ["client b", "x:1", "y:1"]);
        assert_eq!(seen(("x:1", None), &[]), ["y:1"]);
    }
}
