//! Histories of a master key drawn at random, against two replicas: what was encrypted decrypts
//! while the KMS is there, a version never goes back, and other recipients have another version.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use selkie_storage::Store;

use super::rsa_kms::Tells;
use super::*;

#[derive(Clone, Debug)]
enum Step {
    Rotate,
    /// Of the current version.
    Enable(bool),
    AllowList(bool),
    Away(bool),
    /// One replica, and whether its pin file survives.
    Restart(usize, bool),
    /// One replica, to a stanza whose settings are others.
    Reload(usize, u8),
    /// Both, to one seal or two, by a new generation.
    Seals(bool),
    Wait,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Rotate),
        2 => any::<bool>().prop_map(Step::Enable),
        1 => any::<bool>().prop_map(Step::AllowList),
        2 => any::<bool>().prop_map(Step::Away),
        2 => (0..2_usize, any::<bool>()).prop_map(|(one, keeps)| Step::Restart(one, keeps)),
        1 => (0..2_usize, 0..3_u8).prop_map(|(one, settings)| Step::Reload(one, settings)),
        1 => any::<bool>().prop_map(Step::Seals),
        3 => Just(Step::Wait),
    ]
}

struct World {
    sites: [Site; 2],
    /// Another master key, which joins and leaves.
    second: Site,
    /// Those through which it was reached, with a data directory each.
    pinned: RefCell<Vec<Site>>,
    nodes: Vec<Node>,
    versions: Vec<Version>,
    generation: u32,
    has_two_seals: bool,
    is_away: bool,
    /// The highest version that a replica has encrypted with since its start, by its generation.
    seen: [u32; 2],
    made: Vec<Encrypted>,
    recipients: BTreeMap<u32, BTreeSet<String>>,
}

impl World {
    async fn new() -> Self {
        let one = Site::with_local_key();
        let two = Site { kms: Arc::clone(&one.kms), ..Site::with_local_key() };
        let two = Site { faults: Arc::clone(&one.faults), ..two };
        one.kms.tells(Tells::TheCurrentOne);
        let mut world = Self {
            sites: [one, two],
            second: Site::new(),
            pinned: RefCell::default(),
            nodes: Vec::new(),
            versions: vec![Version::enabled(1)],
            generation: 0,
            has_two_seals: false,
            is_away: false,
            seen: [0; 2],
            made: Vec::new(),
            recipients: BTreeMap::new(),
        };
        for replica in 0..2 {
            let node = world.start(replica).await;
            world.nodes.push(node);
        }
        sleep(2 * POLL).await;
        world
    }

    fn deployment(&self, replica: usize, before: Option<&Deployment>) -> Deployment {
        let site = &self.sites[replica];
        let (mut seals, mut names) = (vec![site.seal("weu")], vec!["weu"]);
        if self.has_two_seals {
            let pinned = Site { faults: Arc::clone(&self.second.faults), ..Site::new() };
            seals.push(pinned.seal("neu"));
            names.push("neu");
            self.pinned.borrow_mut().push(pinned);
        }
        let seals = Seals::new(seals).resumed(before.map(|before| &before.seals));
        let rule = VersionRule::Counted { generation: self.generation };
        Deployment::assemble(config_of(&[("unseal", rule)], &names), seals).unwrap()
    }

    async fn start(&self, replica: usize) -> Node {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let clock = Arc::clone(&self.sites[replica].clock) as _;
        Node::begin(self.deployment(replica, None), ManagedKeys::load(store).await.unwrap(), clock)
            .await
    }

    async fn reload(&self, replica: usize) {
        let node = &self.nodes[replica];
        let before = node.deployment();
        node.replace(&before, self.deployment(replica, Some(&before))).await.unwrap();
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Rotate if self.versions.len() < 4 => {
                let next = u32::try_from(self.versions.len()).unwrap() + 1;
                self.versions.push(Version::enabled(next));
            }
            Step::Rotate => {}
            Step::Enable(is) => {
                let state = if is { KekState::Enabled } else { KekState::Disabled };
                self.versions.last_mut().unwrap().state = state;
            }
            Step::AllowList(may) => self.sites[0].kms.may_list(may),
            Step::Away(is) => {
                self.is_away = is;
                let site = &self.sites[0];
                if is { site.away() } else { site.back() }
            }
            Step::Restart(replica, keeps_pin) => {
                if !keeps_pin {
                    let _ = fs::remove_file(self.sites[replica].pin());
                }
                self.nodes[replica] = self.start(replica).await;
                self.seen[replica] = 0;
            }
            Step::Reload(replica, settings) => {
                self.sites[replica].settings = [settings; 32];
                self.reload(replica).await;
            }
            Step::Seals(two) => {
                self.generation += 1;
                self.has_two_seals = two;
                for replica in 0..2 {
                    self.reload(replica).await;
                }
            }
            Step::Wait => sleep(2 * POLL).await,
        }
        self.sites[0].kms.lists(&self.versions);
        sleep(Duration::from_millis(300)).await;
    }

    async fn check(&mut self) {
        for replica in 0..2 {
            if let Ok(made) = encrypt(&self.nodes[replica]).await {
                let version = made.version.get();
                assert!(version >= self.seen[replica], "it went back");
                self.seen[replica] = version;
                let deployment = self.nodes[replica].deployment();
                let (_, key) = deployment.declared_keys().next().unwrap();
                let names = |kek: &KekRef| format!("{} {}", kek.seal, kek.kek);
                let recipients: BTreeSet<_> = key.keks(key.latest).iter().map(names).collect();
                let before = self.recipients.entry(version).or_insert_with(|| recipients.clone());
                assert_eq!(*before, recipients, "version {version} has other recipients");
                self.made.push(made);
            }
        }
        if !self.is_away {
            for made in self.made.iter().rev().take(6) {
                for node in &self.nodes {
                    assert_eq!(decrypt(node, &made.ciphertext).await.unwrap(), b"x");
                }
            }
        }
    }
}

#[test]
fn whatever_happens_versions_rise_with_recipients_and_ciphertexts_open() {
    let config = Config { cases: 40, failure_persistence: None, ..Config::default() };
    let history = proptest::collection::vec(step(), 1..12);
    let ran = TestRunner::new(config).run(&history, |steps| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
                world.check().await;
            }
            assert!(!world.made.is_empty());
        });
        Ok(())
    });
    ran.unwrap();
}
