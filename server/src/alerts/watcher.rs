//! Judges each decrypt that the audit log tells of: whether all of it was seen before, and whether
//! it is not too much.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ipnet::IpNet;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::alert::Detail;
use super::burst::{Bursts, Counted};
use super::figures::Loss;
use super::memory::{Memory, Subject, What};
use super::record::Learning;
use super::shelf::{Done, RECORDS_AT_ONCE, Shelf, Work};
use super::{Alert, AlertKind, Alerts};
use crate::audit::{Figures, KeyEvent, Watch};
use crate::auth::{Auth, OF_CLIENT};
use crate::clock::{Clock, rfc3339};

/// How often is looked at what is due.
pub(super) const TICK: Duration = Duration::from_secs(10);
/// How many decrypts wait to be judged until the state opens.
const MOST_POSTPONED: usize = 1_024;
/// How many of the clients that were learned are told of.
const MOST_TOLD: usize = 100;

/// Watches until the server ends.
pub(super) struct Watcher {
    pub(super) alerts: Arc<Alerts>,
    pub(super) watch: Watch,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shelf: Arc<Shelf>,
    pub(super) auth: Arc<Auth>,
    /// In seconds.
    pub(super) learning_period: u64,
    /// Bits of an IPv4 and of an IPv6 address that make its network.
    pub(super) prefixes: (u8, u8),
    pub(super) bursts: Bursts,
    /// Tells the audit devices of the moment by name.
    pub(super) devices: Box<dyn Fn() -> Vec<(String, Arc<Figures>)> + Send>,
    /// How many lines each device had not taken when it was last looked at. Of the device itself: another
    /// of its name has other figures.
    pub(super) failed_lines: Vec<(Arc<Figures>, u64)>,
    pub(super) memory: Memory,
    /// `None` until what is kept was read.
    pub(super) learning: Option<Learning>,
    /// As it is known to be kept.
    pub(super) kept_learning: Option<Learning>,
    /// One decrypt for each pair that nobody could look up yet.
    pub(super) postponed: HashMap<Subject, Arc<KeyEvent>>,
    pub(super) missed: u64,
    pub(super) is_keeping_told: bool,
}

impl Watcher {
    pub(super) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Beside the watching, as a store may take its time.
        let mut keeping = JoinSet::new();
        loop {
            tokio::select! {
                event = self.watch.next() => match event {
                    Some(event) => self.take(&event),
                    None => return,
                },
                Some(done) = keeping.join_next(), if !keeping.is_empty() => {
                    if let Ok(done) = done {
                        self.note_kept(done);
                    }
                }
                _ = tick.tick() => {
                    self.tick();
                    if keeping.is_empty() && let Some(work) = self.work() {
                        keeping.spawn(Arc::clone(&self.shelf).keep(work));
                    }
                }
            }
        }
    }

    pub(super) fn take(&mut self, event: &Arc<KeyEvent>) {
        if event.used.decrypted == 0 {
            return;
        }
        self.count(event);
        if self.learning.is_none() {
            self.open();
        }
        match self.learning {
            Some(learning) => self.judge(event, learning),
            None => self.postpone(event),
        }
    }

    /// What is due, whatever was decrypted.
    pub(super) fn tick(&mut self) {
        if self.learning.is_none() {
            self.open();
        }
        let now = self.clock.unix_seconds();
        self.look_at_devices(now);
        self.look_at_tokens(now);
        self.look_at_certificates(now);
        self.alerts.tell_due(now);
        let missed = self.watch.missed();
        if missed > self.missed {
            self.alerts.figures().lost(Loss::Missed, missed - self.missed);
            tracing::warn!(
                decrypts = missed - self.missed,
                "alerts were too slow for some decrypts"
            );
            self.missed = missed;
        }
        if let Some(learning) = self.learning {
            self.alerts.figures().learning(self.is_learning(learning, now));
        }
    }

    /// Reads what is kept, once it can be read, and judges what waited for that.
    fn open(&mut self) {
        if !self.shelf.is_open() {
            return;
        }
        let (found, pairs) = self.shelf.load();
        let since = self.clock.unix_seconds();
        let is_over = self.learning_period == 0;
        let learning = found.unwrap_or(Learning { since, is_over });
        let known = pairs.len();
        pairs.into_iter().for_each(|(subject, last)| self.memory.learn(subject, last, true));
        (self.learning, self.kept_learning) = (Some(learning), found);
        let is_learning = self.is_learning(learning, since);
        self.alerts.figures().learning(is_learning);
        let end = learning.since.saturating_add(self.learning_period);
        let learning_until = if is_learning { rfc3339(end) } else { None };
        let survives_restart = !matches!(*self.shelf, Shelf::Nowhere);
        tracing::info!(known, learning_until, survives_restart, "alerts watch decrypts");
        for (_, event) in std::mem::take(&mut self.postponed) {
            self.judge(&event, learning);
        }
    }

    const fn is_learning(&self, learning: Learning, now: u64) -> bool {
        // A clock that is set back does not learn for longer.
        !learning.is_over && now.abs_diff(learning.since) < self.learning_period
    }

    fn postpone(&mut self, event: &Arc<KeyEvent>) {
        for subject in self.subjects(event) {
            let has_room = self.postponed.len() < MOST_POSTPONED;
            match self.postponed.entry(subject) {
                Entry::Vacant(place) if has_room => {
                    place.insert(Arc::clone(event));
                }
                Entry::Vacant(_) => self.alerts.figures().lost(Loss::Postponed, 1),
                Entry::Occupied(_) => {}
            }
        }
    }

    fn subjects(&self, event: &KeyEvent) -> [Subject; 2] {
        let client = &event.identity;
        let key = What::Key(event.used.key.clone());
        let network = What::Network(self.network(event));
        [key, network].map(|what| Subject { client: Arc::clone(client), what })
    }

    fn network(&self, event: &KeyEvent) -> IpNet {
        let address = event.address.to_canonical();
        let prefix = if address.is_ipv4() { self.prefixes.0 } else { self.prefixes.1 };
        // Prefixes come checked; a host is its own network.
        IpNet::new(address, prefix).unwrap_or_else(|_never| address.into()).trunc()
    }

    fn judge(&mut self, event: &Arc<KeyEvent>, learning: Learning) {
        let [pair, network] = self.subjects(event);
        let (is_pair_known, is_network_known) = (self.saw(&pair, event), self.saw(&network, event));
        if is_pair_known && is_network_known {
            return;
        }
        let kind = if is_pair_known { None } else { Some(self.kind_of_new(event)) };
        let is_silent = self.is_learning(learning, event.time);
        if let Some(kind) = kind {
            self.memory.learn(pair, event.time, false);
            if !is_silent {
                let subject = format!("{} {}", event.identity, event.used.key);
                self.alerts.raise(self.of(kind, event, subject));
            }
        }
        if is_network_known {
            return;
        }
        // Of a client that was never seen, its network is no second alert.
        let is_told = kind == Some(AlertKind::NewClient);
        let subject = format!("{} {}", event.identity, self.network(event));
        self.memory.learn(network, event.time, false);
        if !is_silent && !is_told {
            self.alerts.raise(self.of(AlertKind::NewNetwork, event, subject));
        }
    }

    /// Whether it was seen before, be it by another replica.
    fn saw(&mut self, subject: &Subject, event: &KeyEvent) -> bool {
        if self.memory.saw(subject, event.time) {
            return true;
        }
        let Some(last) = self.shelf.find(subject) else { return false };
        self.memory.learn(subject.clone(), last, true);
        self.memory.saw(subject, event.time)
    }

    fn kind_of_new(&self, event: &KeyEvent) -> AlertKind {
        match () {
            () if !self.memory.knows_client(&event.identity) => AlertKind::NewClient,
            () if !self.memory.knows_key(&event.used.key) => AlertKind::NewKey,
            () => AlertKind::NewPair,
        }
    }

    fn of(&self, kind: AlertKind, event: &Arc<KeyEvent>, subject: String) -> Alert {
        Alert { network: Some(self.network(event)), ..Alert::of(kind, event, subject) }
    }

    fn count(&mut self, event: &Arc<KeyEvent>) {
        let window = self.bursts.seconds();
        let client = (Counted::Client(Arc::clone(&event.identity)), AlertKind::ClientBurst);
        let key = (Counted::Key(event.used.key.clone()), AlertKind::KeyBurst);
        for (whose, kind) in [client, key] {
            let subject = match &whose {
                Counted::Client(client) => client.to_string(),
                Counted::Key(key) => key.clone(),
            };
            let count = self.bursts.note(whose, event.used.decrypted, event.time);
            if let Some(decrypts) = count {
                let detail = Detail::Burst { decrypts, window };
                self.alerts.raise(Alert { detail, ..self.of(kind, event, subject) });
            }
        }
    }

    fn look_at_devices(&mut self, now: u64) {
        let before = std::mem::take(&mut self.failed_lines);
        for (name, figures) in (self.devices)() {
            let failed = figures.failed.load(Ordering::Relaxed);
            let last = before.iter().find(|(one, _)| Arc::ptr_eq(one, &figures));
            let new = failed.saturating_sub(last.map_or(0, |(_, failed)| *failed));
            if new > 0 || figures.is_failing.load(Ordering::Relaxed) {
                let alert = Alert::new(AlertKind::AuditFails, now, name.as_str());
                self.alerts.raise_events(alert, new);
            }
            self.failed_lines.push((figures, failed));
        }
    }

    fn look_at_tokens(&self, now: u64) {
        for one in self.auth.tokens().expiring() {
            let (accessor, client) = (&one.accessor, &one.display_name);
            let alert = Alert::token_expires(now, accessor, client, one.seconds_left);
            self.alerts.raise_events(alert, 0);
        }
    }

    fn look_at_certificates(&self, now: u64) {
        let seen = self.auth.certificates().seen();
        for (client, end) in seen.certificates.iter().filter(|(_, end)| end.is_told()) {
            let left = end.at.saturating_sub(now);
            self.alerts.raise_events(Alert::certificate_expires(now, client, client, left), 0);
        }
        for (whose, end) in seen.lists.iter().filter(|(_, end)| end.is_told()) {
            let of = if whose.starts_with(OF_CLIENT) { "" } else { "listener " };
            let subject = format!("revocation list of {of}{whose}");
            let left = end.at.saturating_sub(now);
            self.alerts.raise_events(Alert::certificate_expires(now, &subject, "", left), 0);
        }
    }

    /// What is to be kept now, if there is anything.
    pub(super) fn work(&mut self) -> Option<Work> {
        let learning = self.learning?;
        if self.memory.has_room() {
            let memory = &mut self.memory;
            self.shelf.each_of_others(|subject, last| memory.learn_of_others(subject, last));
        }
        let now = self.clock.unix_seconds();
        let ends = !learning.is_over && !self.is_learning(learning, now);
        let unkept = match &*self.shelf {
            Shelf::Store { .. } => self.memory.unkept(RECORDS_AT_ONCE),
            Shelf::File(_) => self.memory.unkept(usize::MAX),
            Shelf::Nowhere => Vec::new(),
        };
        let all = match &*self.shelf {
            Shelf::File(_) => self.memory.all(),
            Shelf::Store { .. } | Shelf::Nowhere => Vec::new(),
        };
        let learning = Learning { is_over: learning.is_over || ends, ..learning };
        let is_idle = unkept.is_empty() && self.kept_learning == Some(learning);
        (!is_idle).then_some(Work { learning, ends, unkept, all })
    }

    pub(super) fn note_kept(&mut self, done: Done) {
        self.memory.note_kept(done.kept);
        if let Some(learning) = done.learning {
            (self.learning, self.kept_learning) = (Some(learning), Some(learning));
        }
        if done.has_ended {
            self.tell_learned();
        }
        if done.is_failed && !self.is_keeping_told {
            tracing::warn!(
                advice = "it is tried again; after a restart meanwhile old things may look new",
                "what alerts remember cannot be written"
            );
        }
        self.is_keeping_told = done.is_failed;
    }

    fn tell_learned(&self) {
        let mut clients = HashMap::<Arc<str>, (Vec<String>, Vec<String>)>::new();
        for (subject, _) in self.memory.all() {
            let (keys, networks) = clients.entry(subject.client).or_default();
            match subject.what {
                What::Key(key) => keys.push(key),
                What::Network(network) => networks.push(network.to_string()),
            }
        }
        for (client, (keys, networks)) in clients.iter().take(MOST_TOLD) {
            let (keys, networks) = (keys.join(" "), networks.join(" "));
            tracing::info!(client = &**client, keys, networks, "alerts have learned a client");
        }
        let keys: std::collections::HashSet<_> =
            clients.values().flat_map(|(keys, _)| keys).collect();
        let networks = clients.values().map(|(_, networks)| networks.len()).sum();
        let (keys, clients) = (keys.len(), clients.len());
        let detail = Detail::Learned { clients, keys, networks };
        let now = self.clock.unix_seconds();
        self.alerts.raise(Alert { detail, ..Alert::new(AlertKind::Learned, now, "") });
    }
}
