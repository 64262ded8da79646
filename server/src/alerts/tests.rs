use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use selkie_crypto::{KeyVersion, PinKey};
use selkie_storage::{MemoryStore, Store};
use tempfile::TempDir;
use tokio::sync::mpsc::{self, Receiver};

use super::memory::MOST;
use super::quiet::{HOUR, MOST_OF_A_KIND};
use super::watcher::TICK;
use super::*;
use crate::audit::{Events, KeyEvent, KeyUse};

const DAY: u64 = 86_400;
const START: u64 = 1_764_000_000;

#[derive(Debug)]
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What outlives the watchers that are started on it.
struct World {
    clock: Arc<TestClock>,
    events: Events,
    store: Option<Arc<dyn Store>>,
    dir: Option<TempDir>,
}

/// A watcher that is driven by hand, and what it tells.
struct Stage {
    watcher: Watcher,
    told: Receiver<ToldAlert>,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(START)));
        Self { clock, events: Events::default(), store: None, dir: None }
    }

    fn now(&self) -> u64 {
        self.clock.unix_seconds()
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    /// A server that starts; its storage is not open yet.
    fn start(&self, learning_period: u64) -> Stage {
        let random = Arc::new(selkie_crypto::os_random);
        let auth = Auth::new(self.store.is_some(), Arc::clone(&self.clock) as _, random);
        let (records, history) = (Arc::clone(auth.records()), Arc::clone(auth.history()));
        let key = PinKey::init_with(|page| page.fill(1)).unwrap();
        let keeping = Keeping {
            data_dir: self.dir.as_ref().map(|dir| dir.path().to_owned()),
            local_key: Some(Arc::new(key)),
        };
        let (sender, told) = mpsc::channel(webhook::QUEUE);
        let figures = Arc::<AlertFigures>::default();
        let queued = Arc::new(Queued { sender });
        let webhook = ArcSwapOption::new(Some(queued));
        let alerts = Alerts { quiet: Mutex::default(), figures, webhook };
        let burst =
            selkie_config::Burst { decrypts: 50, window: std::time::Duration::from_secs(60) };
        let watcher = Watcher {
            alerts: Arc::new(alerts),
            watch: self.events.watch(),
            clock: Arc::clone(&self.clock) as _,
            shelf: Arc::new(Shelf::new(records, history, &keeping)),
            auth: Arc::new(auth),
            learning_period,
            prefixes: (24, 64),
            bursts: Bursts::new(burst),
            devices: Box::new(Vec::new),
            failed_lines: Vec::new(),
            memory: Memory::default(),
            learning: None,
            kept_learning: None,
            postponed: HashMap::new(),
            missed: 0,
            is_keeping_told: false,
        };
        Stage { watcher, told }
    }

    /// The same with its storage open.
    async fn start_open(&self, learning_period: u64) -> Stage {
        let stage = self.start(learning_period);
        stage.open(self).await;
        stage
    }

    fn decrypt(&self, client: &str, key: &str, address: impl Into<IpAddr>) -> Arc<KeyEvent> {
        let used = KeyUse {
            key: format!("transit/{key}"),
            versions: [KeyVersion::FIRST].into(),
            decrypted: 1,
            ..KeyUse::default()
        };
        Arc::new(KeyEvent {
            time: self.now(),
            request_id: "r-1".to_owned(),
            operation: "decrypt",
            client: client.into(),
            identity: client.into(),
            accessor: "acc".into(),
            address: address.into(),
            used,
            status: 200,
        })
    }
}

impl Stage {
    async fn open(&self, world: &World) {
        if let Some(store) = &world.store {
            self.watcher.auth.records().attach(Arc::clone(store)).await.unwrap();
        }
    }

    /// What the run of a watcher does on each tick, until nothing is left to be kept.
    async fn tick(&mut self) {
        self.watcher.tick();
        while let Some(work) = self.watcher.work() {
            let done = Arc::clone(&self.watcher.shelf).keep(work).await;
            let is_failed = done.is_failed;
            self.watcher.note_kept(done);
            if is_failed {
                return;
            }
        }
    }

    fn take(&mut self, event: &Arc<KeyEvent>) -> Vec<AlertKind> {
        self.watcher.take(event);
        self.told()
    }

    fn told(&mut self) -> Vec<AlertKind> {
        std::iter::from_fn(|| self.told.try_recv().ok()).map(|told| told.alert.kind).collect()
    }
}

fn address(network: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, network, host)
}

#[test]
fn each_sort_of_new_has_a_kind_and_is_told_once() {
    let world = World::new();
    let mut stage = world.start(0);
    let mut take = |client, key, address: IpAddr| stage.take(&world.decrypt(client, key, address));
    assert_eq!(take("a", "k1", address(1, 1).into()), [AlertKind::NewClient]);
    assert_eq!(take("a", "k1", address(1, 200).into()), []);
    assert_eq!(take("a", "k2", address(1, 1).into()), [AlertKind::NewKey]);
    assert_eq!(take("b", "k1", address(1, 1).into()), [AlertKind::NewClient]);
    assert_eq!(take("b", "k2", address(1, 1).into()), [AlertKind::NewPair]);
    assert_eq!(take("b", "k2", address(2, 1).into()), [AlertKind::NewNetwork]);
    let mapped = address(2, 9).to_ipv6_mapped();
    assert_eq!(take("b", "k2", mapped.into()), [], "the same network, written otherwise");
    let kinds = take("b", "k3", "2001:db8::1".parse().unwrap());
    assert_eq!(kinds, [AlertKind::NewKey, AlertKind::NewNetwork]);
    assert_eq!(take("b", "k3", "2001:db8::ffff:1".parse().unwrap()), []);
    assert_eq!(take("b", "k3", "2001:db8:0:1::1".parse().unwrap()), [AlertKind::NewNetwork]);
}

#[test]
fn what_decrypts_nothing_is_not_seen() {
    let world = World::new();
    let mut stage = world.start(0);
    let mut event = (*world.decrypt("a", "k", address(1, 1))).clone();
    (event.used.decrypted, event.used.failed, event.used.encrypted) = (0, 1, 5);
    assert_eq!(stage.take(&Arc::new(event)), []);
    assert_eq!(stage.take(&world.decrypt("a", "k", address(1, 1))), [AlertKind::NewClient]);
}

#[test]
fn bursts_are_told_even_while_everything_new_is_learned() {
    let world = World::new();
    let mut stage = world.start(DAY);
    let mut event = (*world.decrypt("a", "k", address(1, 1))).clone();
    event.used.decrypted = 51;
    let kinds = stage.take(&Arc::new(event));
    assert_eq!(kinds, [AlertKind::ClientBurst, AlertKind::KeyBurst]);
}

#[tokio::test]
async fn a_learning_period_is_silent_and_ends_with_what_was_learned() {
    let world = World::new();
    let mut stage = world.start(DAY);
    for number in 0..200 {
        let event = world.decrypt(&format!("vault-{number}"), "k", address(1, 1));
        assert!(!stage.take(&event).contains(&AlertKind::NewClient));
    }
    stage.tick().await;
    world.pass(DAY);
    stage.told();
    stage.tick().await;
    // That of the burst with the key, whose hour is over, comes as well.
    let all: Vec<_> = std::iter::from_fn(|| stage.told.try_recv().ok()).collect();
    let learned: Vec<_> = all.iter().filter(|told| told.alert.kind == AlertKind::Learned).collect();
    let [learned] = &*learned else { panic!("{all:?}") };
    let detail = Detail::Learned { clients: 200, keys: 1, networks: 200 };
    assert_eq!(learned.alert.detail, detail);
    assert_eq!(stage.take(&world.decrypt("vault-7", "k", address(1, 1))), []);
    assert_eq!(stage.take(&world.decrypt("thief", "k", address(1, 1))), [AlertKind::NewClient]);
    stage.tick().await;
    assert_eq!(stage.told(), [], "it is told once");
}

#[tokio::test]
async fn without_a_place_each_start_learns_anew_and_with_a_file_none_does() {
    for has_dir in [false, true] {
        let dir = has_dir.then(|| tempfile::tempdir().unwrap());
        let world = World { dir, ..World::new() };
        let mut first = world.start(DAY);
        first.take(&world.decrypt("a", "k", address(1, 1)));
        first.tick().await;
        world.pass(DAY);
        first.tick().await;
        assert_eq!(first.told(), [AlertKind::Learned]);
        let mut second = world.start(DAY);
        assert_eq!(second.take(&world.decrypt("a", "k", address(1, 1))), []);
        let expected: &[_] = if has_dir { &[AlertKind::NewClient] } else { &[] };
        assert_eq!(second.take(&world.decrypt("b", "k", address(1, 1))), expected);
    }
}

#[tokio::test]
async fn a_restart_within_the_learning_period_does_not_prolong_it() {
    let world = World { dir: Some(tempfile::tempdir().unwrap()), ..World::new() };
    world.start(DAY).tick().await;
    world.pass(DAY - 1);
    let mut second = world.start(DAY);
    assert_eq!(second.take(&world.decrypt("a", "k", address(1, 1))), []);
    world.pass(1);
    assert_eq!(second.take(&world.decrypt("b", "k", address(1, 1))), [AlertKind::NewClient]);
}

#[tokio::test]
async fn a_forged_file_is_set_aside_and_nothing_in_it_counts_as_seen() {
    let world = World { dir: Some(tempfile::tempdir().unwrap()), ..World::new() };
    let mut first = world.start(0);
    first.take(&world.decrypt("a", "k", address(1, 1)));
    first.tick().await;
    let path = world.dir.as_ref().unwrap().path().join("alerts-seen.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("\\\"a\\\"", "\\\"thief\\\"")).unwrap();
    let mut second = world.start(0);
    assert_eq!(second.take(&world.decrypt("thief", "k", address(1, 1))), [AlertKind::NewClient]);
    assert!(path.with_extension("json.refused").exists());
}

fn on_store() -> World {
    World { store: Some(Arc::new(MemoryStore::new())), ..World::new() }
}

#[tokio::test]
async fn replicas_share_what_they_saw_and_a_restart_forgets_nothing() {
    let world = on_store();
    let (mut a, mut b) = (world.start_open(0).await, world.start_open(0).await);
    let event = world.decrypt("vault", "k", address(1, 1));
    assert_eq!(a.take(&event), [AlertKind::NewClient]);
    a.tick().await;
    b.tick().await;
    b.watcher.auth.records().reload(&**world.store.as_ref().unwrap()).await.unwrap();
    assert_eq!(b.take(&event), []);
    b.tick().await;
    assert_eq!(b.take(&world.decrypt("vault", "k2", address(1, 1))), [AlertKind::NewKey]);
    let mut restarted = world.start_open(0).await;
    assert_eq!(restarted.take(&event), []);
}

#[tokio::test]
async fn of_replicas_that_saw_the_same_at_once_both_go_on_and_one_ends_the_learning() {
    let world = on_store();
    let (mut a, mut b) = (world.start_open(DAY).await, world.start_open(DAY).await);
    let event = world.decrypt("vault", "k", address(1, 1));
    a.take(&event);
    b.take(&event);
    a.tick().await;
    // The mirror of `b` has not heard of what `a` has written.
    b.tick().await;
    assert!(b.watcher.memory.unkept(10).is_empty());
    world.pass(DAY);
    a.tick().await;
    b.tick().await;
    assert_eq!([a.told(), b.told()].concat(), [AlertKind::Learned]);
}

#[tokio::test]
async fn decrypts_before_the_state_opens_are_judged_when_it_does() {
    let world = on_store();
    let mut first = world.start_open(0).await;
    first.take(&world.decrypt("vault", "k", address(1, 1)));
    first.tick().await;
    let mut second = world.start(0);
    assert_eq!(second.take(&world.decrypt("vault", "k", address(1, 1))), []);
    assert_eq!(second.take(&world.decrypt("thief", "k", address(1, 1))), []);
    for number in 0..3_000_u32 {
        second.watcher.take(&world.decrypt("late", "k", Ipv4Addr::from_bits(number << 8)));
    }
    assert_eq!(second.watcher.postponed.len(), 1_024);
    assert!(second.watcher.alerts.figures.losses(Loss::Postponed) > 1_900);
    second.told();
    second.open(&world).await;
    second.tick().await;
    let told: Vec<_> = std::iter::from_fn(|| second.told.try_recv().ok()).collect();
    let of = |client: &str| {
        let alerts = told.iter().map(|told| &told.alert).filter(|alert| alert.client == client);
        alerts.filter(|alert| alert.kind == AlertKind::NewClient).count()
    };
    assert_eq!((of("vault"), of("thief"), of("late")), (0, 1, 1));
}

#[tokio::test]
async fn a_full_memory_in_the_store_loses_its_oldest_as_fast_as_it_grows() {
    let world = on_store();
    let filling = world.start_open(0).await;
    let network = |number: u32| format!("10.{}.{}.0/24", number >> 8, number & 255);
    let all = 2 * u32::try_from(MOST).unwrap();
    for numbers in (0..all).collect::<Vec<_>>().chunks(64) {
        let mut batch = crate::state::records::Batch::default();
        for number in numbers {
            let what = What::Network(network(*number).parse().unwrap());
            let subject = Subject { client: "vault".into(), what };
            let record = Remembered::Seen(subject, START + u64::from(*number));
            batch.put(&record.name(), &record, None).unwrap();
        }
        filling.watcher.auth.records().commit(&batch).await.unwrap();
    }
    let mut stage = world.start_open(0).await;
    world.pass(DAY);
    for number in 0..100 {
        stage.watcher.take(&world.decrypt("vault", "k", Ipv4Addr::new(11, 0, number, 1)));
    }
    stage.tick().await;
    let kept = stage.watcher.shelf.load().1;
    assert!(kept.len() <= usize::try_from(all).unwrap() + 32, "{}", kept.len());
    let has = |network: &str| {
        let what = What::Network(network.parse().unwrap());
        kept.iter().any(|(subject, _)| subject.what == what)
    };
    assert!(has("11.0.99.0/24") && has(&network(all - 1)) && !has(&network(0)));
}

#[test]
fn a_flood_keeps_memory_bounded_and_what_is_not_told_is_counted() {
    let world = World::new();
    let mut stage = world.start(0);
    for number in 0..100_000_u32 {
        let (client, key) = (format!("c{}", number % 7_000), format!("k{number}"));
        stage.watcher.take(&world.decrypt(&client, &key, Ipv4Addr::from_bits(number << 8)));
    }
    assert!(stage.watcher.memory.len() <= 2 * MOST);
    assert!(stage.watcher.alerts.quiet().len() <= 11 * usize::try_from(MOST_OF_A_KIND).unwrap());
    let figures = stage.watcher.alerts.figures();
    let kinds = [AlertKind::NewClient, AlertKind::NewKey, AlertKind::NewPair];
    let counts = kinds.map(|kind| figures.counts(kind));
    assert!(counts.iter().all(|(told, _)| *told <= MOST_OF_A_KIND), "{counts:?}");
    assert_eq!(counts.iter().map(|(told, held)| told + held).sum::<u64>(), 100_000);
    stage.told();
    world.pass(HOUR);
    stage.watcher.tick();
    assert!(stage.told().contains(&AlertKind::HeldBack));
}

#[tokio::test(start_paused = true)]
async fn what_the_watcher_is_too_slow_for_is_counted_and_the_teller_never_waits() {
    let world = World::new();
    let stage = world.start(0);
    let (alerts, event) =
        (Arc::clone(&stage.watcher.alerts), world.decrypt("a", "k", address(1, 1)));
    for _ in 0..100_000 {
        world.events.tell((*event).clone());
    }
    let running = tokio::spawn(stage.watcher.run());
    tokio::time::sleep(2 * TICK).await;
    let (told, _) = alerts.figures.counts(AlertKind::NewClient);
    assert_eq!((told, alerts.figures.losses(Loss::Missed)), (1, 100_000 - 1_024));
    drop(world);
    running.await.unwrap();
}

#[test]
fn a_full_queue_drops_and_counts_and_nobody_waits() {
    let world = World::new();
    let stage = world.start(0);
    let alerts = &stage.watcher.alerts;
    for kind in AlertKind::ALL {
        for number in 0..MOST_OF_A_KIND {
            alerts.raise(Alert::new(kind, START, number.to_string()));
        }
    }
    let all = 11 * MOST_OF_A_KIND;
    assert_eq!(alerts.figures.losses(Loss::QueueFull), all - 1_024);
}

#[test]
fn a_failing_audit_device_is_told_once_an_hour_while_it_fails() {
    let world = World::new();
    let mut stage = world.start(0);
    let figures = Arc::<crate::audit::Figures>::default();
    let watched = Arc::clone(&figures);
    stage.watcher.devices = Box::new(move || vec![("file".to_owned(), Arc::clone(&watched))]);
    stage.watcher.tick();
    assert_eq!(stage.told(), []);
    figures.failed.fetch_add(1, Ordering::Relaxed);
    stage.watcher.tick();
    assert_eq!(stage.told(), [AlertKind::AuditFails]);
    figures.is_failing.store(true, Ordering::Relaxed);
    world.pass(HOUR / 2);
    stage.watcher.tick();
    assert_eq!(stage.told(), []);
    world.pass(HOUR / 2);
    stage.watcher.tick();
    let told = stage.told.try_recv().unwrap();
    assert_eq!((told.alert.kind, told.alert.subject.as_str()), (AlertKind::AuditFails, "file"));
}

#[test]
fn a_device_of_the_name_of_another_is_judged_by_its_own_failures() {
    let world = World::new();
    let mut stage = world.start(0);
    let devices = [10, 3].map(|failed| {
        let figures = Arc::<crate::audit::Figures>::default();
        figures.failed.store(failed, Ordering::Relaxed);
        figures
    });
    let expected = [AlertKind::AuditFails];
    for figures in devices {
        stage.watcher.devices = Box::new(move || vec![("file".to_owned(), Arc::clone(&figures))]);
        stage.watcher.tick();
        assert_eq!(stage.told(), expected, "three are fewer than ten, and three all the same");
        stage.watcher.tick();
        world.pass(HOUR);
        stage.watcher.tick();
        assert_eq!(stage.told(), [], "it does not go on");
    }
}

#[tokio::test]
async fn a_token_that_a_seal_uses_and_that_runs_out_is_told_of() {
    let world = on_store();
    let mut stage = world.start(0);
    let key = selkie_crypto::StateKey::init_with(|key| key.fill(9)).unwrap();
    let auth = Arc::clone(&stage.watcher.auth);
    auth.attach(Arc::clone(world.store.as_ref().unwrap()), Arc::new(key)).await.unwrap();
    let wanted = crate::auth::tokens::NewToken {
        display_name: "vault-eu".to_owned(),
        policies: Vec::new().into(),
        meta: std::collections::BTreeMap::new(),
        path: "auth/token/create".to_owned(),
        kind: crate::auth::tokens::TokenKind::Service,
        parent: None,
        ttl: None,
        explicit_max_ttl: None,
        period: Some(std::time::Duration::from_secs(60)),
        renewable: true,
        num_uses: 0,
        bound_cidrs: Vec::new(),
        role: None,
        bound_certificate: None,
        login: None,
    };
    let issued = auth.issue(wanted).await.unwrap();
    auth.tokens().note_key_use(&issued.token);
    stage.watcher.tick();
    assert_eq!(stage.told(), []);
    world.pass(50);
    stage.watcher.tick();
    let alert = stage.told.try_recv().unwrap().alert;
    let accessor = &issued.token.accessor;
    assert_eq!(alert, Alert::token_expires(world.now(), accessor, "vault-eu", 10));
}

fn expiring(time: u64) -> Alert {
    Alert::token_expires(time, "acc", "vault-eu", 60)
}

#[test]
fn what_is_repeated_within_an_hour_is_told_after_it_with_its_count() {
    let world = World::new();
    let mut stage = world.start(0);
    for _ in 0..5 {
        stage.watcher.alerts.raise(expiring(START));
    }
    assert_eq!(stage.told(), [AlertKind::TokenExpires]);
    stage.watcher.alerts.tell_due(START + HOUR - 1);
    assert_eq!(stage.told(), []);
    stage.watcher.alerts.tell_due(START + HOUR);
    let told = stage.told.try_recv().unwrap();
    assert_eq!((told.alert, told.repeated), (expiring(START), 4));
    stage.watcher.alerts.tell_due(START + 2 * HOUR);
    assert_eq!(stage.told(), []);
    assert_eq!(stage.watcher.alerts.quiet().len(), 0);
}

#[test]
fn what_merely_lasts_is_told_once_an_hour_and_what_was_found_counts_its_events() {
    let world = World::new();
    let mut stage = world.start(0);
    for look in 0..3 {
        stage.watcher.alerts.raise_events(expiring(START + look * 10), 0);
    }
    assert_eq!(stage.told(), [AlertKind::TokenExpires]);
    stage.watcher.alerts.tell_due(START + HOUR);
    assert_eq!(stage.told(), []);
    stage.watcher.alerts.raise_events(expiring(START + HOUR), 0);
    let told = stage.told.try_recv().unwrap();
    assert_eq!((told.alert, told.repeated), (expiring(START + HOUR), 0));
    let failing = |at| Alert::new(AlertKind::AuditFails, at, "file/");
    for lines in [7, 5] {
        stage.watcher.alerts.raise_events(failing(START), lines);
    }
    assert_eq!(stage.told.try_recv().unwrap().repeated, 6);
    stage.watcher.alerts.tell_due(START + HOUR);
    assert_eq!(stage.told.try_recv().unwrap().repeated, 5);
}

proptest! {
    #[test]
    fn nothing_is_told_twice_within_its_hour_and_nothing_is_lost_from_the_counts(
        steps in proptest::collection::vec((0_u64..900, 0_usize..4, 0_usize..11), 1..200),
    ) {
        let mut quiet = Quiet::default();
        let (mut now, mut raised, mut told, mut repeated) = (START, 0, 0, 0);
        let mut last = HashMap::new();
        for (step, subject, kind) in steps {
            now += step;
            for (alert, count) in quiet.due(now) {
                let quiet = alert.kind.quiet_seconds();
                let before = last.insert((alert.kind, alert.subject), now);
                prop_assert!(before.is_some_and(|before| now - before >= quiet));
                repeated += count;
            }
            let alert = Alert::new(AlertKind::ALL[kind], now, subject.to_string());
            raised += 1;
            let name = (alert.kind, alert.subject.clone());
            let quiet_seconds = alert.kind.quiet_seconds();
            let is_due = last.get(&name).is_none_or(|before| now - before >= quiet_seconds);
            let admitted = quiet.admits(&alert, 1);
            prop_assert_eq!(admitted, is_due);
            if admitted {
                told += 1;
                last.insert(name, now);
            }
        }
        repeated += quiet.due(now + DAY).into_iter().map(|(_, count)| count).sum::<u64>();
        prop_assert_eq!(raised, told + repeated);
    }

    #[test]
    fn whatever_is_new_alerts_once_unless_it_is_learned_and_nothing_else_does(
        learning in prop_oneof![Just(0), Just(5_000_u64)],
        steps in proptest::collection::vec((0_u64..400, 0_u8..4, 0_u8..4, 0_u8..4), 1..80),
    ) {
        let world = World::new();
        let mut stage = world.start(learning);
        stage.watcher.tick();
        let (mut pairs, mut networks) = (HashSet::new(), HashSet::new());
        for (step, client, key, network) in steps {
            world.pass(step);
            let event = world.decrypt(&client.to_string(), &key.to_string(), address(network, 1));
            let is_first = !pairs.iter().any(|(known, _)| *known == client);
            let is_key_new = !pairs.iter().any(|(_, known)| *known == key);
            let is_pair_new = pairs.insert((client, key));
            let is_network_new = networks.insert((client, network));
            let mut expected = Vec::new();
            if is_pair_new {
                expected.push(match (is_first, is_key_new) {
                    (true, _) => AlertKind::NewClient,
                    (false, true) => AlertKind::NewKey,
                    (false, false) => AlertKind::NewPair,
                });
            }
            if is_network_new && !is_first {
                expected.push(AlertKind::NewNetwork);
            }
            if learning > 0 && world.now() < START + learning {
                expected.clear();
            }
            let told = stage.take(&event);
            prop_assert_eq!(told, expected);
        }
    }
}
