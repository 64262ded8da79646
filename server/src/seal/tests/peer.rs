//! Small KMSs that misbehave on request, several to a node.

use proptest::prelude::*;
use selkie_crypto::{Kek, os_random};
use selkie_kms::{Governor, GovernorSettings, Kms, StaticKms};

use super::*;

/// The longest that a decrypt may take which a healthy seal serves as the second: the delay, and
/// what the paused clock rounds up.
pub(super) const ONE_HEDGE: Duration = Duration::from_millis(305);
pub(super) const AT_ONCE: Duration = Duration::from_millis(1);

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
            former_targets: Vec::new(),
            settings: [0; 32],
            fingerprints: Vec::new(),
            poll_interval: POLL,
            pin: None,
            examiner: None,
            upstream: None,
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
    node_of_quorum(peers, 1).await
}

/// The same, where so many of them open it together.
pub(super) async fn node_of_quorum(peers: &[Peer], quorum: u8) -> (Node, String) {
    let mut seals = Vec::new();
    for peer in peers {
        seals.push(peer.seal().await);
    }
    let names: Vec<_> = peers.iter().map(|peer| peer.name).collect();
    let mut config = config_of(&[("unseal", COUNTED)], &names);
    config.keys[0].quorum = quorum;
    let deployment = Deployment::assemble(config, Seals::new(seals)).unwrap();
    let node = Node::begin(deployment, ManagedKeys::without_store(), clock() as _).await;
    let made = encrypt(&node).await.unwrap();
    (node, made.ciphertext)
}

/// What a decrypt came to, and how long it took.
pub(super) async fn timed(
    node: &Node,
    ciphertext: &str,
) -> (Result<Vec<u8>, TransitError>, Duration) {
    let began = Instant::now();
    let outcome = decrypt(node, ciphertext).await;
    (outcome, began.elapsed())
}

pub(super) async fn opened_within(node: &Node, ciphertext: &str, most: Duration) {
    let (outcome, took) = timed(node, ciphertext).await;
    assert_eq!(outcome.unwrap(), b"x");
    assert!(took <= most, "{took:?}");
}

pub(super) fn throttled() -> KmsError {
    KmsError::Throttled { retry_after: Some(Duration::from_secs(3)), cause: None }
}

/// What one seal does with every unwrap.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    Answers(u64),
    Fails,
    Denies,
    Throttles,
    OtherSecret(u64),
    Hangs,
}

impl Script {
    pub(super) fn play(self, peer: &Peer) {
        match self {
            Self::Answers(millis) => peer.takes(millis),
            Self::Fails => peer.fails(KmsError::Unavailable(None)),
            Self::Denies => peer.fails(KmsError::Denied(None)),
            Self::Throttles => peer.fails(throttled()),
            Self::OtherSecret(millis) => {
                let fault = Fault::other_secret().after(Duration::from_millis(millis));
                peer.faults.on_unwrap().always(fault);
            }
            Self::Hangs => peer.hangs(),
        }
    }

    /// Whether it answers well within patience, wherever in the order it comes.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Answers(millis) if millis <= 4_000)
    }
}

pub(super) fn script() -> impl Strategy<Value = Script> {
    prop_oneof![
        3 => (0_u64..8_000).prop_map(Script::Answers),
        2 => Just(Script::Fails),
        1 => Just(Script::Denies),
        1 => Just(Script::Throttles),
        1 => (0_u64..4_000).prop_map(Script::OtherSecret),
        3 => Just(Script::Hangs),
    ]
}
