//! Small KMSs that misbehave on request, several to a node.

use selkie_crypto::{Kek, os_random};
use selkie_kms::{Governor, GovernorSettings, Kms, StaticKms};

use super::*;

/// A master key that its KMS alone wraps with, behind a fault injector.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) faults: Arc<Faulty>,
    pub(super) is_governed: bool,
}

impl Peer {
    pub(super) fn new(name: &'static str) -> Self {
        let fill = name.as_bytes()[0];
        let key = Kek::init_with(|page| page.fill(fill)).unwrap();
        let id = KekId::new(name).unwrap();
        let kms = StaticKms::new(vec![(id.clone(), key)], &id).unwrap();
        Self { name, faults: Arc::new(Faulty::new(Arc::new(kms))), is_governed: false }
    }

    pub(super) fn governed(name: &'static str) -> Self {
        Self { is_governed: true, ..Self::new(name) }
    }

    pub(super) async fn seal(&self) -> Seal {
        let keks = self.faults.describe().await.unwrap();
        let governor = || {
            let (inner, limits) = (Arc::clone(&self.faults) as _, GovernorSettings::default());
            Arc::new(Governor::new(inner, limits, Arc::new(os_random)))
        };
        let governor = self.is_governed.then(governor);
        let setup = Setup {
            name: SealName::new(self.name).unwrap(),
            kind: "peer",
            kms: match &governor {
                Some(governor) => Arc::clone(governor) as _,
                None => Arc::clone(&self.faults) as _,
            },
            governor,
            target: self.name.into(),
            settings: [0; 32],
            fingerprints: Vec::new(),
            poll_interval: POLL,
            pin: None,
            examiner: None,
        };
        Seal::new(false, Connection::fixed(setup, Known::configured(keks)))
    }

    pub(super) fn unwraps(&self) -> u64 {
        self.faults.on_unwrap().calls()
    }

    pub(super) fn fails(&self, error: KmsError) {
        self.faults.on_unwrap().always(Fault::fail(error));
    }

    pub(super) fn hangs(&self) {
        self.faults.on_unwrap().always(Fault::hang());
    }

    pub(super) fn takes(&self, millis: u64) {
        self.faults.on_unwrap().always(Fault::delay(Duration::from_millis(millis)));
    }
}

pub(super) fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(1_000_000)))
}

/// A node with these seals in this order, and a ciphertext for all of them.
pub(super) async fn node_of(peers: &[Peer]) -> (Node, String) {
    let mut seals = Vec::new();
    for peer in peers {
        seals.push(peer.seal().await);
    }
    let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
    let config = config_of(&[("unseal", COUNTED)], &names);
    let deployment = Deployment::assemble(config, Seals::new(seals)).unwrap();
    let node = Node::begin(deployment, Keys::without_store(), clock() as _).await;
    let made = encrypt(&node).await.unwrap();
    (node, made.ciphertext)
}
