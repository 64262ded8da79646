//! Kills of a member under load: no acknowledged commit is lost, and each record's history is that
//! of one record.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use selkie_storage::{EtcdSettings, EtcdStore, Guard, Page, Revision, Store, StoreError};
use tokio::task::JoinSet;

use super::history::{Operation, Value, What, is_linearizable};
use super::server::{Etcd, etcd_is_here};
use super::{PATIENCE, answered, key, put, settings, store};

pub(crate) const CLIENTS: usize = 3;
const TURNS: usize = 6;

/// Fifty, or what `SELKIE_ROUNDS` says.
fn rounds() -> usize {
    match std::env::var("SELKIE_ROUNDS") {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => 50,
    }
}

pub(crate) fn tell(text: &str) {
    // Past the capture of tests' output.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

#[derive(Default)]
pub(crate) struct Seen {
    /// Acknowledged creations, with their revisions.
    pub(crate) acknowledged: BTreeMap<String, Revision>,
    pub(crate) history: Vec<Operation>,
    pub(crate) undecided: usize,
    pub(crate) unavailable: usize,
}

impl Seen {
    pub(crate) fn add(&mut self, mut other: Self) {
        self.acknowledged.append(&mut other.acknowledged);
        self.history.append(&mut other.history);
        self.undecided += other.undecided;
        self.unavailable += other.unavailable;
    }

    /// Takes out of the acknowledged creations those that `store` has, as they were acknowledged.
    pub(crate) async fn forget_what_is_in(&mut self, store: &EtcdStore) {
        let mut page = Some(Page::under(key("own")));
        while let Some(listed) = page {
            let listing = store.list(&listed).await.unwrap();
            for record in listing.records {
                if let Some(revision) = self.acknowledged.remove(record.key.as_str()) {
                    assert_eq!(record.revision, revision);
                }
            }
            page = listing.next;
        }
    }
}

/// Two stores in one cluster.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Soon calls a commit undecided, and so leaves more of them that did happen.
    impatient: Arc<EtcdStore>,
    patient: Arc<EtcdStore>,
}

impl Stores {
    pub(crate) fn connect(endpoints: Vec<String>) -> Self {
        let request_timeout = Duration::from_millis(1200);
        let brief = EtcdSettings { request_timeout, ..settings(endpoints.clone(), "selkie/") };
        let impatient = Arc::new(EtcdStore::connect(brief).unwrap());
        Self { impatient, patient: store(endpoints) }
    }
}

/// Makes the record that all clients of a round share. An attempt that is late finds it there.
pub(crate) async fn share(stores: &Stores, round: usize) {
    let at = format!("shared/{round}");
    answered(async || {
        let guards = [Guard::Absent(key(&at))];
        match stores.patient.commit(&guards, &[put(&at, &[0; 8])]).await {
            Ok(_) | Err(StoreError::GuardFailed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    })
    .await;
}

/// Creates records of its own, and rotates the one that all share, by reading and replacing it.
pub(crate) async fn client(stores: Stores, round: usize, client: usize) -> Seen {
    let mut seen = Seen::default();
    for turn in 0..TURNS {
        create(&stores.impatient, format!("own/{round}/{client}/{turn}"), &mut seen).await;
        let number = u64::try_from(1 + client * TURNS + turn).unwrap();
        rotate(&stores.impatient, &format!("shared/{round}"), number, &mut seen).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

/// Each client gets a creation through in its patience, with the members that are left.
pub(crate) async fn get_through(stores: &[Stores], round: usize, seen: &mut Seen) {
    for (client, stores) in stores.iter().enumerate() {
        let (before, end) = (seen.acknowledged.len(), Instant::now() + PATIENCE);
        for turn in TURNS.. {
            create(&stores.patient, format!("own/{round}/{client}/{turn}"), seen).await;
            if seen.acknowledged.len() > before {
                break;
            }
            assert!(Instant::now() < end, "round {round}: nothing is acknowledged");
        }
    }
}

async fn create(store: &EtcdStore, own: String, seen: &mut Seen) {
    match store.commit(&[Guard::Absent(key(&own))], &[put(&own, b"x")]).await {
        Ok(revision) => drop(seen.acknowledged.insert(own, revision)),
        Err(StoreError::Undecided { .. }) => seen.undecided += 1,
        Err(StoreError::Unavailable { .. }) => seen.unavailable += 1,
        Err(error) => panic!("{error:?}"),
    }
}

async fn rotate(store: &EtcdStore, at: &str, to: Value, seen: &mut Seen) {
    let called = Instant::now();
    let Ok(record) = store.get(&key(at)).await else {
        seen.unavailable += 1;
        return;
    };
    let record = record.unwrap();
    let from = Value::from_be_bytes(record.value.as_bytes().try_into().unwrap());
    let answered = Some(Instant::now());
    seen.history.push(Operation { what: What::Read(from), called, answered });
    let called = Instant::now();
    let guards = [Guard::At(record.key, record.revision)];
    let outcome = store.commit(&guards, &[put(at, &to.to_be_bytes())]).await;
    let answered = Some(Instant::now());
    let (what, answered) = match outcome {
        Ok(_) => (What::Replaced(from, to), answered),
        Err(StoreError::GuardFailed { .. }) => (What::Kept(from), answered),
        Err(StoreError::Undecided { .. }) => {
            seen.undecided += 1;
            (What::Perhaps(from, to), None)
        }
        Err(StoreError::Unavailable { .. }) => {
            seen.unavailable += 1;
            return;
        }
        Err(error) => panic!("{error:?}"),
    };
    seen.history.push(Operation { what, called, answered });
}

/// One round: the clients work, and meanwhile one member is killed, each fifth time the leader.
async fn round(etcd: &mut Etcd, stores: &[Stores], round: usize) -> Seen {
    share(&stores[0], round).await;
    let victim = if round.is_multiple_of(5) { etcd.leader().await } else { round % etcd.count() };
    let mut clients = JoinSet::new();
    for (n, stores) in stores.iter().enumerate() {
        clients.spawn(client(stores.clone(), round, n));
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    etcd.kill(victim);
    let mut all = Seen::default();
    clients.join_all().await.into_iter().for_each(|seen| all.add(seen));
    get_through(stores, round, &mut all).await;
    etcd.launch(victim);
    assert!(is_linearizable(&all.history), "round {round}: {:#?}", all.history);
    etcd.wait_for(victim).await;
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_lose_no_acknowledged_commit_and_no_order() {
    if !etcd_is_here() {
        return;
    }
    let mut etcd = Etcd::start(3).await;
    let stores: Vec<_> = (0..CLIENTS).map(|n| Stores::connect(etcd.urls_from(n))).collect();
    let (rounds, mut all, mut operations) = (rounds(), Seen::default(), 0);
    for n in 0..rounds {
        all.add(round(&mut etcd, &stores, n).await);
        operations += std::mem::take(&mut all.history).len();
        if n % 100 == 99 {
            tell(&format!("etcd: {} of {rounds} kills\n", n + 1));
        }
    }
    let total = all.acknowledged.len();
    all.forget_what_is_in(&stores[0].patient).await;
    tell(&format!(
        "evidence: etcd's members may be killed at any time | make proof | {rounds} kills, {total} \
         creations acknowledged, {} lost, {operations} operations linearizable, {} undecided, {} \
         unavailable | the checker of order refuses wrong histories\n",
        all.acknowledged.len(),
        all.undecided,
        all.unavailable
    ));
    assert_eq!(all.acknowledged, BTreeMap::new(), "acknowledged commits are lost");
}
