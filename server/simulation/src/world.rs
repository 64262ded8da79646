//! The world of one seed: replicas, their store, master keys and clocks, and what happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{MemoryStore, Record};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::facts::Facts;
use crate::kms::{self, Cloud, Kind, SimKms};
use crate::life::Life;
use crate::planted::{LyingStore, Planted};
use crate::server::{Server, Site};
use crate::store::{self, SimStore};

/// The names of the master keys, the first one first.
pub(crate) const SEALS: [&str; 2] = ["alpha", "beta"];
/// For how long nothing must have gone wrong for a replica to know all that it can know: a poll and
/// what it is jittered by, or the longest pause after failures, and the calls themselves.
pub(crate) const QUIET: Duration = Duration::from_secs(110);

/// For how long a replica that hears nothing of the store believes a token without a period.
pub(crate) const BELIEVED: Duration = Duration::from_secs(3_600);

/// One replica over all its lives.
pub(crate) struct Replica {
    pub(crate) server: Option<Server>,
    life: Life,
    lives: u64,
    pub(crate) store: Arc<store::Road>,
    pub(crate) kms: [Arc<kms::Road>; 2],
    pub(crate) clock: Arc<SimClock>,
    /// Since when nothing is wrong with its way to the store, and to each master key.
    pub(crate) store_well: Option<Instant>,
    pub(crate) kms_well: [Option<Instant>; 2],
    /// When it certainly knew each master key in this life of it, the last time that it did.
    pub(crate) kms_confirmed: [Option<Instant>; 2],
    pub(crate) started: Instant,
    pub(crate) clock_set: Instant,
}

/// Everything that one seed comes to.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) chance: Chance,
    pub(crate) began: Instant,
    pub(crate) memory: Arc<MemoryStore>,
    pub(crate) clouds: [Arc<Cloud>; 2],
    /// When the states of a master key's versions last changed.
    pub(crate) keks_changed: Instant,
    /// Until when a current version was disabled last.
    pub(crate) passed_over: Option<Instant>,
    /// By how many seconds a replica's clock was ahead at most.
    pub(crate) clock_ahead: u64,
    pub(crate) disabled: [bool; 2],
    /// Which have been the only one in use since the state was last certainly wrapped for both: the
    /// state may be for one of these alone.
    pub(crate) was_alone: [bool; 2],
    /// How often that has changed.
    pub(crate) generation: u32,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) facts: Facts,
    pub(crate) planted: Option<Planted>,
    /// One line for each thing that happened.
    pub(crate) trace: String,
    /// How often each kind of fault befell the world.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    /// The first promise that was broken.
    pub(crate) violation: Option<String>,
    pub(crate) steps: u64,
    /// What the store held halfway.
    pub(crate) remembered: Vec<Record>,
}

impl World {
    pub(crate) async fn new(seed: u64, planted: Option<Planted>) -> Self {
        let began = Instant::now();
        let chance = Chance::new(seed, "history");
        let memory = Arc::new(MemoryStore::new());
        let kinds = kinds(seed, planted);
        let clouds = [Cloud::new(SEALS[0], kinds[0]), Cloud::new(SEALS[1], kinds[1])];
        let mut world = Self {
            seed,
            began,
            memory,
            clouds,
            keks_changed: began,
            passed_over: None,
            clock_ahead: 0,
            disabled: [false; 2],
            was_alone: [false; 2],
            generation: 0,
            replicas: Vec::new(),
            facts: Facts::default(),
            planted,
            trace: String::new(),
            faults: BTreeMap::new(),
            violation: None,
            steps: 0,
            remembered: Vec::new(),
            chance,
        };
        for number in 0..2 + world.chance.index(2) {
            let replica = world.replica(number);
            world.replicas.push(replica);
            world.start(number).await;
        }
        world
    }

    fn replica(&self, number: usize) -> Replica {
        let chance = |purpose: &str| Chance::new(self.seed, &format!("{purpose} {number}"));
        let road = |kms: usize| kms::Road::new(&self.clouds[kms], chance(SEALS[kms]));
        let drift = i64::try_from(self.chance.below(401)).unwrap() - 200;
        let now = Instant::now();
        Replica {
            server: None,
            life: Life::new(),
            lives: 0,
            store: store::Road::new(Arc::clone(&self.memory), self.seed, number),
            kms: [road(0), road(1)],
            clock: Arc::new(SimClock::new(self.began, drift)),
            store_well: Some(now),
            kms_well: [Some(now); 2],
            kms_confirmed: [None; 2],
            started: now,
            clock_set: now,
        }
    }

    /// Starts the replica, which must not run.
    pub(crate) async fn start(&mut self, number: usize) {
        let planted = self.planted;
        let (disabled, generation) = (self.disabled, self.generation);
        let replica = &mut self.replicas[number];
        let life = Life::new();
        replica.lives += 1;
        replica.life = life.clone();
        let seal = |kms: usize| {
            let sim = SimKms::new(&replica.kms[kms], &life);
            (SEALS[kms], sim as Arc<dyn selkie_kms::Kms>, disabled[kms])
        };
        let store = SimStore::new(&replica.store, &life);
        let lie = planted.and_then(|planted| planted.lie_to(number));
        let site = Site {
            seals: vec![seal(0), seal(1)],
            generation,
            store: match lie {
                Some(lie) => Arc::new(LyingStore { inner: store, lie }),
                None => store,
            },
            clock: Arc::clone(&replica.clock) as _,
            chance: Chance::new(self.seed, &format!("server {number} {}", replica.lives)),
            life,
        };
        let server = Server::start(site).await;
        let replica = &mut self.replicas[number];
        replica.started = Instant::now();
        replica.kms_confirmed = [None; 2];
        replica.server = Some(server);
        self.note(format_args!("r{number} runs"));
    }

    /// Kills the replica wherever it stands.
    pub(crate) fn kill(&mut self, number: usize) {
        let replica = &mut self.replicas[number];
        replica.life.end();
        replica.server = None;
        self.note(format_args!("r{number} is dead"));
    }

    pub(crate) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let at = self.began.elapsed();
        let _ = writeln!(self.trace, "{:>10.3} {what}", at.as_secs_f64());
    }

    pub(crate) fn befell(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn broken(&mut self, promise: std::fmt::Arguments<'_>) {
        self.note(format_args!("BROKEN {promise}"));
        self.violation.get_or_insert_with(|| promise.to_string());
    }

    pub(crate) async fn pass(&mut self, time: Duration) {
        sleep(time).await;
        // Here, since time passes whether anything is asked or not.
        self.note_state_followed();
    }

    /// Who is in touch with everything for a while with both master keys in use has wrapped the state
    /// for both.
    fn note_state_followed(&mut self) {
        let (now, changed) = (Instant::now(), self.keks_changed);
        let follows = |replica: &Replica| {
            replica.server.is_some()
                && replica.knows_keks_of(changed, now)
                && replica.knows_store_of(changed, now)
                && replica.is_clock_right(now)
        };
        let can_be_wrapped = self.disabled == [false; 2]
            && self.clouds.iter().all(|cloud| cloud.is_current_enabled());
        // Who started without what opens the state has nothing to wrap.
        let mut alone = self.clouds.iter().zip(self.was_alone);
        let can_be_opened = alone.all(|(cloud, was_alone)| !was_alone || cloud.opens_all());
        if can_be_wrapped && can_be_opened && self.replicas.iter().any(follows) {
            self.was_alone = [false; 2];
        }
    }

    pub(crate) fn set_store(&mut self, number: usize, mood: store::Mood) {
        let replica = &mut self.replicas[number];
        replica.store.is(mood);
        replica.store_well = match mood {
            store::Mood::Well => Some(replica.store_well.unwrap_or_else(Instant::now)),
            _ => None,
        };
        self.note(format_args!("r{number} store {mood:?}"));
    }

    /// Whether no master key that is wrapped for has a current version that is disabled.
    pub(crate) fn are_current_enabled(&self) -> bool {
        let mut all = self.clouds.iter().zip(self.disabled);
        all.all(|(cloud, is_disabled)| is_disabled || cloud.is_current_enabled())
    }

    /// To be called before that changes.
    pub(crate) fn note_passed_over(&mut self) {
        if !self.are_current_enabled() {
            self.passed_over = Some(Instant::now());
        }
    }

    pub(crate) fn set_kms(&mut self, number: usize, kms: usize, mood: kms::Mood) {
        let replica = &mut self.replicas[number];
        if replica.reaches(kms, Instant::now()) {
            replica.kms_confirmed[kms] = Some(Instant::now());
        }
        // Who sees it give another secret wraps for its key no more, until it confirms it again.
        if mood == kms::Mood::Lying {
            replica.kms_confirmed[kms] = None;
        }
        replica.kms[kms].is(mood);
        replica.kms_well[kms] = match mood {
            kms::Mood::Well => Some(replica.kms_well[kms].unwrap_or_else(Instant::now)),
            _ => None,
        };
        self.note(format_args!("r{number} {} {mood:?}", SEALS[kms]));
    }

    /// Nothing is wrong with anything any more.
    pub(crate) async fn heal(&mut self) {
        for number in 0..self.replicas.len() {
            self.set_store(number, store::Mood::Well);
            for kms in 0..SEALS.len() {
                self.set_kms(number, kms, kms::Mood::Well);
            }
            self.replicas[number].clock.is_off_by(0);
            self.replicas[number].clock_set = Instant::now();
        }
        self.note_passed_over();
        for cloud in &self.clouds {
            cloud.enable_all();
        }
        self.keks_changed = Instant::now();
        for number in 0..self.replicas.len() {
            if self.replicas[number].server.is_none() {
                self.start(number).await;
            }
        }
        self.note(format_args!("all is well"));
    }

    /// How often each kind of trouble was met, as the ways of the replicas counted it.
    pub(crate) fn met(&self) -> BTreeMap<&'static str, u64> {
        let mut met = self.faults.clone();
        for replica in &self.replicas {
            let store = *replica.store.counts.lock().unwrap();
            let mut add = |what, times| *met.entry(what).or_default() += times;
            add("store call slow", store.slow);
            add("store call refused", store.refused);
            add("store call hung", store.hung);
            add("commit made, answer lost", store.made_and_lost);
            add("commit not made, answer lost", store.not_made_and_lost);
            add("watch late", store.late_news);
            add("watch refused", store.unwatched);
            for road in &replica.kms {
                let kms = *road.counts.lock().unwrap();
                add("kms call slow", kms.slow);
                add("kms call refused", kms.away);
                add("kms call hung", kms.hung);
                add("kms call throttled", kms.throttled);
                add("kms call denied", kms.denied);
                add("kms lied", kms.lies);
                add("kms version disabled", kms.disabled);
            }
        }
        met
    }
}

/// What the master keys of a seed are.
fn kinds(seed: u64, planted: Option<Planted>) -> [Kind; 2] {
    if planted == Some(Planted::WrapsRemotely) {
        return [Kind::LocalUntold; 2];
    }
    match seed % 3 {
        0 => [Kind::Remote; 2],
        1 => [Kind::Local, Kind::Remote],
        _ => [Kind::Local; 2],
    }
}

impl Replica {
    /// Whether it can wrap for a master key that has not changed since `time`: it reaches the KMS, or
    /// it knows the public key for certain (invariant I2).
    pub(crate) fn wraps_for(
        &self,
        kms: usize,
        is_local: bool,
        time: Instant,
        now: Instant,
    ) -> bool {
        let has_heard = self.kms_well[kms]
            .is_some_and(|since| now >= since.max(self.started).max(time) + QUIET);
        has_heard || (is_local && self.has_confirmed(kms, time))
    }

    pub(crate) fn has_confirmed(&self, kms: usize, time: Instant) -> bool {
        self.kms_confirmed[kms].is_some_and(|at| at >= time + QUIET)
    }

    /// Whether it has been in touch with the store for long enough to know what happened at `time`.
    pub(crate) fn knows_store_of(&self, time: Instant, now: Instant) -> bool {
        self.store_well.is_some_and(|since| now >= since.max(self.started).max(time) + QUIET)
    }

    /// The same of all master keys.
    pub(crate) fn knows_keks_of(&self, time: Instant, now: Instant) -> bool {
        self.kms_well.iter().all(|since| {
            since.is_some_and(|since| now >= since.max(self.started).max(time) + QUIET)
        })
    }

    pub(crate) fn is_clock_right(&self, now: Instant) -> bool {
        now >= self.clock_set + QUIET && self.clock.off_by() == 0
    }

    /// Whether this one way to a master key has been well for long enough to be asked first.
    pub(crate) fn reaches(&self, kms: usize, now: Instant) -> bool {
        self.kms_well[kms].is_some_and(|since| now >= since.max(self.started) + QUIET)
    }
}
