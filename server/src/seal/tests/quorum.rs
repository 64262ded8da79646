//! Claims about envelopes that several seals open together, in paused time.

use proptest::prelude::*;

use super::peer::{AT_ONCE, ONE_HEDGE, Peer, Script, node_of_quorum, opened_within, script, timed};
use super::*;
use crate::seal::decrypting::UNWRAP_PATIENCE;

/// Which of `peers` answer, by the bits of `set`.
fn only(peers: &[Peer], set: usize) {
    for (at, peer) in peers.iter().enumerate() {
        match set >> at & 1 {
            1 => peer.faults.on_unwrap().clear(),
            _ => peer.fails(KmsError::Unavailable(None)),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_quorum_of_seals_opens_and_fewer_open_nothing() {
    for needed in 1..=4_u8 {
        let peers = ["a", "b", "c", "d"].map(Peer::new);
        let (node, ciphertext) = node_of_quorum(&peers, needed).await;
        for set in 0..16_usize {
            only(&peers, set);
            let (outcome, took) = timed(&node, &ciphertext).await;
            assert!(took <= AT_ONCE, "{took:?}");
            if set.count_ones() >= needed.into() {
                assert_eq!(outcome.unwrap(), b"x", "{needed} {set:b}");
            } else {
                assert!(fault(outcome).is_transient(), "{needed} {set:b}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn as_many_seals_as_are_needed_are_asked_at_once_and_no_more() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of_quorum(&peers, 2).await;
    peers[0].takes(200);
    peers[1].takes(200);
    opened_within(&node, &ciphertext, Duration::from_millis(205)).await;
    assert_eq!([0, 1, 2].map(|at: usize| peers[at].unwraps()), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_seal_of_a_quorum_is_hedged_once_and_then_passed_over() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of_quorum(&peers, 2).await;
    peers[0].hangs();
    opened_within(&node, &ciphertext, ONE_HEDGE).await;
    for _ in 0..20 {
        sleep(Duration::from_millis(700)).await;
        opened_within(&node, &ciphertext, AT_ONCE).await;
    }
}

/// A wrong share is known by itself, and costs no more than the next seal.
#[tokio::test(start_paused = true)]
async fn a_seal_that_gives_another_share_is_passed_over() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of_quorum(&peers, 2).await;
    peers[1].faults.on_unwrap().always(Fault::other_secret());
    opened_within(&node, &ciphertext, AT_ONCE).await;
    peers[2].faults.on_unwrap().always(Fault::other_secret());
    let refused = decrypt(&node, &ciphertext).await;
    assert!(matches!(refused, Err(TransitError::Refused(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_quorum_that_the_configured_seals_cannot_meet_asks_nobody() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (_, ciphertext) = node_of_quorum(&peers, 2).await;
    let (one_left, _) = node_of_quorum(&peers[..1], 1).await;
    let before = peers[0].unwraps();
    let refused = decrypt(&one_left, &ciphertext).await;
    assert!(matches!(
        refused,
        Err(TransitError::NoUsableRecipient | TransitError::NewerVersion(_))
    ));
    assert_eq!(peers[0].unwraps(), before);
}

/// Old envelopes keep the quorum that they were made with.
#[tokio::test(start_paused = true)]
async fn what_any_seal_opened_before_the_quorum_still_opens() {
    let peers = ["a", "b"].map(Peer::new);
    let (_, before) = node_of_quorum(&peers, 1).await;
    let (node, _) = node_of_quorum(&peers, 2).await;
    peers[0].fails(KmsError::Unavailable(None));
    assert_eq!(decrypt(&node, &before).await.unwrap(), b"x");
}

#[tokio::test(start_paused = true)]
async fn an_item_of_a_batch_shares_the_unwraps_of_its_quorum() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of_quorum(&peers, 2).await;
    let batch = engine(&node).for_batch();
    let decryption = batch.decryption(&permit(operation::Decrypt, "unseal")).await.unwrap();
    for _ in 0..5 {
        let item = DecryptionItem {
            ciphertext: &ciphertext,
            associated_data: Vec::new(),
            context: Vec::new(),
        };
        decryption.decrypt(&item).await.unwrap();
    }
    assert_eq!([0, 1, 2].map(|at: usize| peers[at].unwraps()), [1, 1, 0]);
}

/// Changing how many seals are needed is a change of what envelopes are for (invariant I7).
#[tokio::test(start_paused = true)]
async fn another_quorum_needs_another_version() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, _) = node_of_quorum(&peers, 1).await;
    let before = node.deployment();
    let next = async |quorum, generation| {
        let rule = VersionRule::Counted { generation };
        let mut config = config_of(&[("unseal", rule)], &["a", "b"]);
        config.keys[0].quorum = quorum;
        let seals = Seals::new(vec![peers[0].seal().await, peers[1].seal().await]);
        Deployment::assemble(config, seals).unwrap()
    };
    assert!(node.replace(&before, next(1, 0).await).await.is_ok());
    assert!(node.replace(&before, next(2, 0).await).await.is_err());
    assert!(node.replace(&before, next(2, 1).await).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_key_with_fewer_seals_than_its_quorum_is_told_as_lost() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (all, _) = node_of_quorum(&peers, 2).await;
    let (two, _) = node_of_quorum(&peers[..2], 2).await;
    let (one, _) = node_of_quorum(&peers[..1], 1).await;
    assert!(two.deployment().lost_since(&all.deployment()).is_empty());
    let lost = one.deployment().lost_since(&all.deployment());
    assert_eq!(lost.len(), 1);
    assert_eq!((&*lost[0].key, &*lost[0].versions), ("transit/unseal", "up to 3"));
}

fn scripts() -> impl Strategy<Value = (u8, Vec<[Script; 4]>)> {
    let four = [script(), script(), script(), script()];
    (2..=4_u8, prop::collection::vec(four, 1..5))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whenever_a_quorum_answers_well_within_patience_the_decrypt_succeeds(
        (needed, rounds) in scripts(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let peers = ["a", "b", "c", "d"].map(Peer::new);
            let (node, ciphertext) = node_of_quorum(&peers, needed).await;
            for scripts in rounds {
                for (script, peer) in scripts.iter().zip(&peers) {
                    script.play(peer);
                }
                let (outcome, took) = timed(&node, &ciphertext).await;
                prop_assert!(took <= UNWRAP_PATIENCE + AT_ONCE, "{:?} {:?}", scripts, took);
                let good = scripts.iter().filter(|script| script.is_good()).count();
                if good >= needed.into() {
                    let outcome = outcome.map_err(|error| error.to_string());
                    prop_assert_eq!(outcome, Ok(b"x".to_vec()), "{} {:?}", needed, scripts);
                }
                sleep(Duration::from_millis(500)).await;
            }
            Ok(())
        })?;
    }
}
