//! Histories drawn at random against several replicas: of a shared-nothing deployment with a
//! declared key, and of a managed key on one store (invariants I1 and I7).

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use selkie_storage::Store;

use super::rsa_kms::Tells;
use super::*;

const NAMES: [&str; 2] = ["weu", "neu"];

#[derive(Clone, Copy, Debug)]
enum Step {
    RotateKek(usize),
    /// A version of a master key, from the newest.
    Enable(usize, usize, bool),
    /// A master key, for one replica or for all of them.
    Away(usize, Option<usize>, bool),
    /// All replicas, those that do not run later on, by a new generation.
    Seals(&'static [usize]),
    Stop(usize),
    /// It stops if it runs, and starts; and whether its pin files survive.
    Start(usize, bool),
    RotateKey(usize),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0..2_usize;
    let seals = prop_oneof![Just(&[0][..]), Just(&[0, 1][..]), Just(&[1, 0][..]), Just(&[1][..])];
    prop_oneof![
        5 => one.clone().prop_map(Step::RotateKek),
        3 => (one.clone(), 0..3_usize, any::<bool>()).prop_map(|(k, v, is)| Step::Enable(k, v, is)),
        4 => (one, proptest::option::weighted(0.8, 0..3_usize), any::<bool>())
            .prop_map(|(kms, replica, is)| Step::Away(kms, replica, is)),
        2 => seals.prop_map(Step::Seals),
        1 => (0..3_usize).prop_map(Step::Stop),
        3 => (0..3_usize, any::<bool>()).prop_map(|(one, keeps)| Step::Start(one, keeps)),
        3 => (0..3_usize).prop_map(Step::RotateKey),
        4 => Just(Step::Poll),
    ]
}

struct Replica {
    /// For each master key: a pin file of its own, and a way to it of its own.
    sites: [Site; 2],
    is_away: [bool; 2],
    node: Option<Node>,
    /// The highest version that a client has seen of it, over all its lives.
    seen: u32,
}

struct Made {
    ciphertext: String,
    seals: BTreeSet<usize>,
}

struct World {
    replicas: Vec<Replica>,
    /// For a managed key.
    store: Option<Arc<MemoryStore>>,
    versions: [Vec<Version>; 2],
    seals: &'static [usize],
    generation: u32,
    made: Vec<Made>,
    recipients: BTreeMap<u32, BTreeSet<String>>,
}

impl World {
    async fn new(replicas: usize, is_managed: bool) -> Self {
        let [first, second] = [Site::with_local_key(), Site::with_local_key()];
        for site in [&first, &second] {
            site.kms.tells(Tells::TheCurrentOne);
        }
        let share = |site: &Site| Site {
            kms: Arc::clone(&site.kms),
            faults: Arc::new(Faulty::new(Arc::clone(&site.kms) as _)),
            clock: Arc::clone(&first.clock),
            ..Site::with_local_key()
        };
        let replica = |_| {
            let sites = [share(&first), share(&second)];
            Replica { sites, is_away: [false; 2], node: None, seen: 0 }
        };
        let mut world = Self {
            replicas: (0..replicas).map(replica).collect(),
            store: is_managed.then(|| Arc::new(MemoryStore::new())),
            versions: [vec![Version::enabled(1)], vec![Version::enabled(1)]],
            seals: &[0],
            generation: 0,
            made: Vec::new(),
            recipients: BTreeMap::new(),
        };
        for replica in 0..replicas {
            world.start(replica).await;
        }
        world.pass(Duration::from_secs(1)).await;
        if let (true, Some(node)) = (is_managed, &world.replicas[0].node) {
            let create = permit(operation::CreateKey, "unseal");
            engine(node).create_key(create, NewKey::default()).await.unwrap();
        }
        world.pass(2 * POLL).await;
        world
    }

    async fn pass(&self, time: Duration) {
        self.replicas[0].sites[0].clock.0.fetch_add(time.as_secs(), Ordering::Relaxed);
        sleep(time).await;
    }

    fn deployment(&self, replica: usize, before: Option<&Deployment>) -> Deployment {
        let sites = &self.replicas[replica].sites;
        let names: Vec<_> = self.seals.iter().map(|kms| NAMES[*kms]).collect();
        let seals = self.seals.iter().map(|kms| sites[*kms].seal(NAMES[*kms])).collect();
        let seals = Seals::new(seals).resumed(before.map(|before| &before.seals));
        let rule = VersionRule::Counted { generation: self.generation };
        let declared = if self.store.is_some() { &[][..] } else { &[("unseal", rule)][..] };
        Deployment::assemble(config_of(declared, &names), seals).unwrap()
    }

    async fn start(&mut self, replica: usize) {
        let keys = match &self.store {
            Some(store) => ManagedKeys::load(Arc::clone(store) as Arc<dyn Store>).await.unwrap(),
            None => ManagedKeys::without_store(),
        };
        let clock = Arc::clone(&self.replicas[replica].sites[0].clock) as _;
        let node = Node::begin(self.deployment(replica, None), keys, clock).await;
        self.replicas[replica].node = Some(node);
    }

    /// A master key can no longer be reached, or again, by one replica or by all.
    fn set_away(&mut self, kms: usize, whose: Option<usize>, is: bool) {
        let concerned = self.replicas.iter_mut().enumerate();
        for (_, replica) in concerned.filter(|(n, _)| whose.is_none_or(|one| one == *n)) {
            replica.is_away[kms] = is;
            let site = &replica.sites[kms];
            if is { site.away() } else { site.back() }
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::RotateKek(kms) if self.versions[kms].len() < 4 => {
                let next = u32::try_from(self.versions[kms].len()).unwrap() + 1;
                self.versions[kms].push(Version::enabled(next));
            }
            Step::RotateKek(_) => {}
            Step::Enable(kms, version, is) => {
                let state = if is { KekState::Enabled } else { KekState::Disabled };
                if let Some(one) = self.versions[kms].iter_mut().rev().nth(version) {
                    one.state = state;
                }
            }
            Step::Away(kms, whose, is) => self.set_away(kms, whose, is),
            Step::Seals(seals) => {
                self.generation += 1;
                self.seals = seals;
                for replica in 0..self.replicas.len() {
                    if let Some(node) = &self.replicas[replica].node {
                        let before = node.deployment();
                        let next = self.deployment(replica, Some(&before));
                        node.replace(&before, next).await.unwrap();
                    }
                }
            }
            Step::Stop(replica) => {
                if let Some(replica) = self.replicas.get_mut(replica) {
                    replica.node = None;
                }
            }
            Step::Start(replica, keeps_pins) if replica < self.replicas.len() => {
                self.replicas[replica].node = None;
                if !keeps_pins {
                    for site in &self.replicas[replica].sites {
                        let _ = fs::remove_dir_all(site.dir.path().join("pins"));
                    }
                }
                self.start(replica).await;
            }
            Step::RotateKey(replica) if self.store.is_some() => {
                let node = self.replicas.get(replica).and_then(|replica| replica.node.as_ref());
                if let Some(node) = node {
                    let rotate = permit(operation::RotateKey, "unseal");
                    let _sealed_off = engine(node).rotate_key(rotate).await;
                }
            }
            Step::Start(..) | Step::RotateKey(_) => {}
            Step::Poll => self.pass(2 * POLL).await,
        }
        for (kms, versions) in self.versions.iter().enumerate() {
            self.replicas[0].sites[kms].kms.lists(versions);
        }
        sleep(Duration::from_millis(300)).await;
    }

    /// No version wraps for an older version of a master key than one before it.
    fn require_no_older_kek(&self, version: u32, recipients: &BTreeSet<String>) {
        for name in NAMES {
            let is = kek_of(name, recipients);
            for (earlier, was) in self.recipients.range(..version) {
                let was = kek_of(name, was);
                let is_older = is.is_some_and(|is| was.is_some_and(|was| is < was));
                assert!(
                    !is_older,
                    "version {version} went back from {was:?} of {earlier} to {is:?}"
                );
            }
        }
    }

    async fn check(&mut self, is_polled: bool) {
        let mut now = BTreeSet::new();
        for replica in 0..self.replicas.len() {
            let Replica { node, seen, .. } = &mut self.replicas[replica];
            let Some(Ok(made)) = (match node {
                Some(node) => Some(encrypt(node).await),
                None => None,
            }) else {
                continue;
            };
            let version = made.version.get();
            assert!(version >= *seen, "replica {replica} went back from {seen} to {version}");
            *seen = version;
            now.insert(version);
            let recipients = recipients(&made.ciphertext);
            let of = |kms: &usize| recipients.iter().any(|one| one.contains(NAMES[*kms]));
            let seals = (0..2).filter(of).collect();
            let before = self.recipients.entry(version).or_insert_with(|| recipients.clone());
            assert_eq!(*before, recipients, "version {version} has other recipients");
            // Replicas that share nothing each wrap for the newest version that they know.
            if self.store.is_some() {
                self.require_no_older_kek(version, &recipients);
            }
            self.made.push(Made { ciphertext: made.ciphertext, seals });
        }
        let away = self
            .replicas
            .iter()
            .flat_map(|replica| self.seals.iter().map(|kms| replica.is_away[*kms]));
        let is_reached = !away.into_iter().any(|is| is);
        if is_polled && is_reached {
            assert!(now.len() <= 1, "replicas that have polled encrypt for versions {now:?}");
        }
        let some = self.made.iter().take(2).chain(self.made.iter().skip(2).rev().take(4));
        for made in some {
            for Replica { node, is_away, .. } in &self.replicas {
                let opens = |kms: &usize| made.seals.contains(kms) && !is_away[*kms];
                if let (Some(node), true) = (node, self.seals.iter().any(opens)) {
                    assert_eq!(decrypt(node, &made.ciphertext).await.unwrap(), b"x");
                }
            }
        }
    }
}

/// The number of the version of `kms` that `recipients` wrap for.
fn kek_of(kms: &str, recipients: &BTreeSet<String>) -> Option<u32> {
    let of_seal = recipients.iter().find(|one| one.contains(kms))?;
    let header: serde_json::Value = serde_json::from_str(of_seal).unwrap();
    let kid = header["kid"].as_str().unwrap();
    (1..10).find(|number| id(*number).as_str() == kid)
}

/// The header of each, which names the seal and the version of its master key.
fn recipients(ciphertext: &str) -> BTreeSet<String> {
    let json = selkie_crypto::Ciphertext::parse(ciphertext).unwrap().into_envelope_bytes().unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let recipients = envelope["recipients"].as_array().unwrap();
    recipients.iter().map(|one| one["header"].to_string()).collect()
}

fn run(is_managed: bool) {
    // A replica that is behind must meet a rotation: that is rarer.
    let cases = if is_managed { 80 } else { 32 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let history = (2..4_usize, proptest::collection::vec(step(), 1..14));
    let ran = TestRunner::new(config).run(&history, |(replicas, steps)| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(replicas, is_managed).await;
            world.check(true).await;
            for step in steps {
                world.take(step).await;
                world.check(matches!(step, Step::Poll)).await;
            }
            assert!(!world.made.is_empty());
        });
        Ok(())
    });
    ran.unwrap();
}

/// Invariants I1 and I7.
#[test]
fn declared_versions_of_replicas_only_grow_and_what_was_encrypted_opens() {
    run(false);
}

/// Invariants I1 and I7.
#[test]
fn managed_versions_of_replicas_only_grow_and_what_was_encrypted_opens() {
    run(true);
}

async fn managed(site: &Site, store: &Arc<MemoryStore>) -> Node {
    let keys = ManagedKeys::load(Arc::clone(store) as Arc<dyn Store>).await.unwrap();
    let seals = site.seals().resumed(None);
    let deployment = Deployment::assemble(config_of(&[], &["weu"]), seals).unwrap();
    let node = Node::begin(deployment, keys, Arc::clone(&site.clock) as _).await;
    sleep(Duration::from_secs(1)).await;
    node
}

fn other_replica(site: &Site) -> Site {
    let (kms, clock) = (Arc::clone(&site.kms), Arc::clone(&site.clock));
    let faults = Arc::new(Faulty::new(Arc::clone(&kms) as _));
    Site { kms, faults, clock, ..Site::with_local_key() }
}

/// A replica that has followed version 2 with the key, and the site of one that stopped before.
async fn one_ahead_of_other(store: &Arc<MemoryStore>, site: &Site) -> (Node, Site) {
    let other = other_replica(site);
    let one = managed(site, store).await;
    let create = permit(operation::CreateKey, "unseal");
    engine(&one).create_key(create, NewKey::default()).await.unwrap();
    drop(managed(&other, store).await);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&one).await.unwrap().version.get(), 2);
    (one, other)
}

/// Invariant I7: its pin says what was, and it cannot ask.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_behind_does_not_turn_a_key_back() {
    let (store, site) = (Arc::new(MemoryStore::new()), Site::with_local_key());
    let (one, other) = one_ahead_of_other(&store, &site).await;
    other.away();
    let behind = managed(&other, &store).await;
    sleep(10 * POLL).await;
    assert_eq!(encrypt(&one).await.unwrap().version.get(), 2, "nobody turned it back");
    let rotated = engine(&behind).rotate_key(permit(operation::RotateKey, "unseal")).await.unwrap();
    assert_eq!((rotated.latest.get(), &rotated.keks(rotated.latest)[0].kek), (3, &id(2)));
    assert!(fault(encrypt(&behind).await).is_transient());
    other.back();
    let began = Instant::now();
    assert_eq!(encrypt(&behind).await.unwrap().version.get(), 3, "it asks at once");
    assert!(began.elapsed() <= Duration::from_millis(1501));
    sleep(10 * POLL).await;
    assert_eq!(encrypt(&one).await.unwrap().version.get(), 3);
}

/// Invariant I7: it has not followed that version, and another replica has.
#[tokio::test(start_paused = true)]
async fn a_replica_that_passes_over_a_disabled_version_does_not_turn_a_key_back_from_it() {
    for keeps_pins in [true, false] {
        let (store, site) = (Arc::new(MemoryStore::new()), Site::with_local_key());
        let (_one, other) = one_ahead_of_other(&store, &site).await;
        let disabled = Version { state: KekState::Disabled, ..Version::enabled(2) };
        site.kms.lists(&[Version::enabled(1), disabled]);
        // A description that is much younger than the key's version.
        let pass = Duration::from_secs(600);
        site.clock.0.fetch_add(pass.as_secs(), Ordering::Relaxed);
        sleep(pass).await;
        if !keeps_pins {
            fs::remove_dir_all(other.dir.path().join("pins")).unwrap();
        }
        let behind = managed(&other, &store).await;
        sleep(2 * POLL).await;
        let key = engine(&behind).read_key(permit(operation::ReadKey, "unseal")).await;
        assert_eq!(key.unwrap().unwrap().latest.get(), 2, "with pins: {keeps_pins}");
        fault(encrypt(&behind).await);
        site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
        sleep(2 * POLL).await;
        assert_eq!(encrypt(&behind).await.unwrap().version.get(), 2);
    }
}

/// Invariant I2: an unsigned pin is no reason to wrap for anything.
#[tokio::test(start_paused = true)]
async fn a_key_follows_only_a_version_that_is_trusted() {
    let (store, site) = (Arc::new(MemoryStore::new()), Site::new());
    let node = managed(&site, &store).await;
    let create = permit(operation::CreateKey, "unseal");
    engine(&node).create_key(create, NewKey::default()).await.unwrap();
    drop(node);
    site.kms.lists(&[Version::enabled(1), Version::enabled(2)]);
    site.faults.on_unwrap().always(Fault::other_secret());
    let other = Site { dir: tempfile::tempdir().unwrap(), ..site };
    let node = managed(&other, &store).await;
    sleep(2 * POLL).await;
    let key = engine(&node).read_key(permit(operation::ReadKey, "unseal")).await.unwrap().unwrap();
    assert_eq!(key.latest.get(), 1, "the KMS has not confirmed version 2");
    other.back();
    sleep(2 * POLL).await;
    assert_eq!(encrypt(&node).await.unwrap().version.get(), 2);
}
