//! Claims about seals that have, or had, several names.

use selkie_config::RevokedSeal;

use super::peer::{Peer, clock, node_of, node_of_quorum};
use super::*;

/// The seal of `peer` under another name.
async fn named(peer: &Peer, name: &'static str, aliases: &[&str]) -> Seal {
    let (faults, is_governed) = (Arc::clone(&peer.faults), peer.is_governed);
    aliased(Peer { name, faults, is_governed }.seal().await, aliases)
}

fn aliased(seal: Seal, aliases: &[&str]) -> Seal {
    seal.known_as(aliases.iter().map(|alias| SealName::new(alias).unwrap()).collect())
}

/// A node with this seal alone.
async fn alone(seal: Seal) -> Node {
    let name = seal.name().as_str().to_owned();
    let rule = VersionRule::Counted { generation: 1 };
    let config = config_of(&[("unseal", rule)], &[&name]);
    let deployment = Deployment::assemble(config, Seals::new(vec![seal])).unwrap();
    Node::begin(deployment, ManagedKeys::without_store(), clock() as _).await
}

/// A seal was removed, and its name made an alias of another, as the advice may be understood.
#[tokio::test(start_paused = true)]
async fn an_alias_hides_no_recipient_that_opens() {
    let peers = ["a", "b"].map(Peer::new);
    let (_, for_both) = node_of(&peers).await;
    let node = alone(named(&peers[1], "b", &["a"]).await).await;
    let before = peers[1].unwraps();
    assert_eq!(decrypt(&node, &for_both).await.unwrap(), b"x");
    assert_eq!(peers[1].unwraps(), before + 1, "by the part of its own name, and by no other");
    // The name went to the other one's master key.
    let node = alone(named(&peers[0], "b", &["a"]).await).await;
    assert_eq!(decrypt(&node, &for_both).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn a_seal_is_examined_by_each_of_its_recipients() {
    let peers = ["a", "b"].map(Peer::new);
    let (_, made) = node_of(&peers).await;
    let node = alone(named(&peers[0], "b", &["a"]).await).await;
    let deployment = node.deployment();
    let seal = deployment.seals.iter().next().unwrap();
    let ciphertext = selkie_crypto::Ciphertext::parse(&made).unwrap();
    let json = ciphertext.into_envelope_bytes().unwrap();
    let envelope = selkie_crypto::Envelope::inspect(&json).unwrap();
    let opened = seal.opens(&envelope, Default::default(), &engine(&node)).await;
    assert!(opened.is_ok(), "{opened:?}");
}

/// Two shares are two recipients, whoever unwraps them.
#[tokio::test(start_paused = true)]
async fn a_seal_that_has_the_keys_of_two_gives_both_shares() {
    use selkie_crypto::Kek;
    use selkie_kms::{Kms, StaticKms};
    let peers = ["a", "b"].map(Peer::new);
    let (_, made) = node_of_quorum(&peers, 2).await;
    let key = |name: &str| {
        let fill = name.as_bytes()[0];
        (KekId::new(name).unwrap(), Kek::init_with(|page| page.fill(fill)).unwrap())
    };
    let kms = StaticKms::new(vec![key("a"), key("b")], &KekId::new("b").unwrap()).unwrap();
    assert!(kms.describe().await.is_ok());
    let both = Peer { faults: Arc::new(Faulty::new(Arc::new(kms))), ..Peer::new("b") };
    let node = alone(named(&both, "b", &["a"]).await).await;
    assert_eq!(decrypt(&node, &made).await.unwrap(), b"x");
}

fn revoked(name: &str, alias: &str) -> RevokedSeal {
    let [name, alias] = [name, alias].map(|text| SealName::new(text).unwrap());
    RevokedSeal { name, aliases: vec![alias], kind: "peer".into() }
}

#[tokio::test(start_paused = true)]
async fn what_was_made_under_an_alias_of_a_revoked_seal_is_told_as_revoked() {
    let peers = ["a", "b"].map(Peer::new);
    let (_, for_b) = node_of(&peers[1..]).await;
    let rule = VersionRule::Counted { generation: 1 };
    let seals = Seals::new(vec![peers[0].seal().await]).beside_revoked(vec![revoked("c", "b")]);
    let next = Deployment::assemble(config_of(&[("unseal", rule)], &["a"]), seals).unwrap();
    let node = Node::begin(next, ManagedKeys::without_store(), clock() as _).await;
    let refused = decrypt(&node, &for_b).await;
    assert!(matches!(refused, Err(TransitError::SealRevoked(_))), "{refused:?}");
}

/// A namesake comes before whoever has the name as an alias.
#[tokio::test(start_paused = true)]
async fn a_seal_goes_on_from_its_namesake_and_from_no_other() {
    let [weu, neu] = [Site::new(), Site { target: "https://kms/keys/other", ..Site::new() }];
    let two = || Seals::new(vec![weu.seal("weu"), neu.seal("neu")]);
    let merged = || Seals::new(vec![aliased(neu.seal("neu"), &["weu"])]);
    let in_common = |now: &Seals, before: &Seals| {
        let both = now.in_common_with(before);
        both.map(|(is, was)| format!("{} {}", is.name(), was.name())).collect::<Vec<_>>()
    };
    assert_eq!(in_common(&merged(), &two()), ["neu neu"]);
    assert_eq!(in_common(&two(), &merged()), ["neu neu"]);
    let renamed = Seals::new(vec![aliased(weu.seal("north"), &["weu"]), neu.seal("neu")]);
    assert_eq!(in_common(&renamed, &two()), ["north weu", "neu neu"]);
    assert_eq!(in_common(&two(), &renamed), ["weu north", "neu neu"]);
    let before = two();
    let after = merged().resumed(Some(&before));
    let connection = |seals: &Seals| {
        let name = SealName::new("neu").unwrap();
        Arc::clone(&seals.find(&name).unwrap().connection)
    };
    assert!(Arc::ptr_eq(&connection(&after), &connection(&before)));
}

/// Replicas with one store and one master key, each with a way to that of its own.
struct Replicas {
    sites: [Site; 2],
    nodes: Vec<Node>,
}

impl Replicas {
    /// Both call their seal `old`, and have a managed key `m`.
    async fn new() -> Self {
        let first = Site::with_local_key();
        let second = Site {
            kms: Arc::clone(&first.kms),
            faults: Arc::new(Faulty::new(Arc::clone(&first.kms) as _)),
            clock: Arc::clone(&first.clock),
            ..Site::with_local_key()
        };
        let store = Arc::new(MemoryStore::new());
        let mut nodes = Vec::new();
        for site in [&first, &second] {
            let keys = ManagedKeys::load(Arc::clone(&store) as _).await.unwrap();
            let deployment = Self::deployment(site, ("old", &[]), None);
            nodes.push(Node::begin(deployment, keys, Arc::clone(&site.clock) as _).await);
        }
        let replicas = Self { sites: [first, second], nodes };
        sleep(Duration::from_secs(1)).await;
        let create = permit(operation::CreateKey, "m");
        engine(&replicas.nodes[0]).create_key(create, NewKey::default()).await.unwrap();
        replicas.pass().await;
        replicas
    }

    fn deployment(
        site: &Site,
        (name, aliases): (&str, &[&str]),
        before: Option<&Deployment>,
    ) -> Deployment {
        let seals = Seals::new(vec![aliased(site.seal(name), aliases)]);
        let seals = seals.resumed(before.map(|before| &before.seals));
        Deployment::assemble(config_of(&[("unseal", site.rule)], &[name]), seals).unwrap()
    }

    async fn reload(&self, at: usize, names: (&str, &[&str])) {
        let before = self.nodes[at].deployment();
        let after = Self::deployment(&self.sites[at], names, Some(&before));
        self.nodes[at].replace(&before, after).await.unwrap();
        self.pass().await;
    }

    async fn pass(&self) {
        for _ in 0..4 {
            self.sites[0].clock.0.fetch_add(POLL.as_secs(), Ordering::Relaxed);
            sleep(POLL).await;
        }
    }

    /// Whether each opens what the other makes, under declared and managed keys, and encrypts.
    async fn agree(&self) -> bool {
        let mut agrees = true;
        for key in ["unseal", "m"] {
            for (one, other) in [(0, 1), (1, 0)] {
                let made = encrypt_under(&self.nodes[one], key).await;
                let Ok(made) = made else { return false };
                let permit = permit(operation::Decrypt, key);
                let decryption = engine(&self.nodes[other]);
                let decryption = decryption.decryption(&permit).await.unwrap();
                let item = DecryptionItem {
                    ciphertext: &made.ciphertext,
                    associated_data: Vec::new(),
                    context: Vec::new(),
                };
                agrees &= decryption.decrypt(&item).await.is_ok();
            }
        }
        agrees
    }

    async fn version_of_m(&self) -> u32 {
        encrypt_under(&self.nodes[0], "m").await.unwrap().version.get()
    }
}

/// `docs/master-keys.md`, "Rename a realm, a mount or a seal".
#[tokio::test(start_paused = true)]
async fn a_seal_is_renamed_on_one_replica_after_the_other_in_two_steps() {
    let replicas = Replicas::new().await;
    for (name, aliases) in [("old", ["new"]), ("new", ["old"])] {
        for at in [0, 1] {
            replicas.reload(at, (name, &aliases)).await;
            assert!(replicas.agree().await, "{name} on {at}");
        }
    }
    assert_eq!(replicas.version_of_m().await, 2, "the new name moves it once");
    let in_one_step = Replicas::new().await;
    in_one_step.reload(0, ("new", &["old"])).await;
    assert!(!in_one_step.agree().await, "who does not know the new name opens nothing under it");
}
