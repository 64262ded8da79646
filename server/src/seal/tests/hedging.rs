//! Claims about decrypts with several seals, of which some misbehave, in paused time.

use proptest::prelude::*;
use selkie_crypto::RecipientSecret;
use selkie_kms::Kms;

use super::peer::{
    AT_ONCE, ONE_HEDGE, Peer, Script, node_of, opened_within, script, throttled, timed,
};
use super::*;
use crate::seal::decrypting::{HEDGE_AFTER, UNWRAP_PATIENCE};

fn metric(node: &Node, line: &str) -> bool {
    let text = node.metrics_text(&node.deployment()).unwrap();
    text.lines().any(|other| other == line)
}

#[tokio::test(start_paused = true)]
async fn decrypt_never_waits_for_a_dead_seal_twice_in_a_row() {
    for is_governed in [false, true] {
        let peers = ["a", "b", "c"].map(|name| Peer { is_governed, ..Peer::new(name) });
        let (node, ciphertext) = node_of(&peers).await;
        peers[0].hangs();
        opened_within(&node, &ciphertext, ONE_HEDGE).await;
        for _ in 0..100 {
            opened_within(&node, &ciphertext, AT_ONCE).await;
            sleep(Duration::from_millis(700)).await;
        }
        for line in [
            r#"selkie_seal_hedges_total{seal="b"} 1"#,
            r#"selkie_seal_overtaken_total{seal="a"} 1"#,
            r#"selkie_seal_silent{seal="a"} 1"#,
            r#"selkie_seal_silent{seal="b"} 0"#,
        ] {
            assert!(metric(&node, line), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_is_back_is_asked_first_again_after_one_probe() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].hangs();
    opened_within(&node, &ciphertext, ONE_HEDGE).await;
    peers[0].faults.on_unwrap().clear();
    sleep(Duration::from_secs(1)).await;
    let (dead, alive) = (peers[0].unwraps(), peers[1].unwraps());
    for _ in 0..3 {
        opened_within(&node, &ciphertext, AT_ONCE).await;
    }
    tokio::task::yield_now().await;
    sleep(AT_ONCE).await;
    assert_eq!(peers[0].unwraps(), dead + 1, "one probe, however many decrypts");
    assert_eq!(peers[1].unwraps(), alive + 3);
    opened_within(&node, &ciphertext, AT_ONCE).await;
    assert_eq!((peers[0].unwraps(), peers[1].unwraps()), (dead + 2, alive + 3));
}

/// A probe that answers late would have every other decrypt wait for nothing.
#[tokio::test(start_paused = true)]
async fn a_seal_that_is_only_slow_stays_behind_the_quick_one() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].takes(700);
    opened_within(&node, &ciphertext, ONE_HEDGE).await;
    for _ in 0..50 {
        sleep(Duration::from_secs(2)).await;
        opened_within(&node, &ciphertext, AT_ONCE).await;
    }
    assert!(peers[0].unwraps() < 12, "{}", peers[0].unwraps());
    peers[1].fails(KmsError::Unavailable(None));
    opened_within(&node, &ciphertext, Duration::from_millis(705)).await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_starts_the_next_seal_at_once() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].fails(KmsError::Denied(None));
    peers[1].faults.on_unwrap().always(Fault::other_secret());
    opened_within(&node, &ciphertext, AT_ONCE).await;
    assert!(metric(&node, r#"selkie_seal_silent{seal="a"} 0"#), "one that refuses is there");
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_answers_in_time_is_not_doubled() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].takes(290);
    opened_within(&node, &ciphertext, HEDGE_AFTER).await;
    assert_eq!(peers[1].unwraps(), 0);
}

/// Lets a governed seal find its KMS throttled.
async fn hold_back(node: &Node, peer: &Peer) {
    peer.fails(throttled());
    let name = SealName::new(peer.name).unwrap();
    let seal = node.deployment().seals.find(&name).unwrap().clone();
    let call = selkie_kms::Call {
        client: ClientTag::SELKIE,
        deadline: Instant::now() + Duration::from_secs(2),
    };
    let dek = RecipientSecret::init_with(|bytes| bytes.fill(1));
    let kek = seal.current_kek().unwrap().kek;
    let wrapped = peer.faults.wrap_dek(&kek, &dek, call).await.unwrap();
    let algorithm = selkie_crypto::WrapAlgorithm::A256Kw;
    drop(seal.connection.kms().unwrap_dek(&kek, algorithm, &wrapped, call).await);
    assert_eq!(seal.connection.standing(), Standing::HeldBack);
}

/// Two governed seals, of which the second throttles and is held back.
async fn with_second_held_back() -> ([Peer; 2], Node, String) {
    let peers = ["a", "b"].map(Peer::governed);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].hangs();
    peers[1].faults.on_unwrap().next(1, Fault::fail(throttled()));
    let (outcome, took) = timed(&node, &ciphertext).await;
    assert_eq!(outcome.unwrap(), b"x");
    assert!(took > Duration::from_secs(1), "it has throttled: {took:?}");
    peers[0].faults.on_unwrap().clear();
    sleep(Duration::from_secs(60)).await;
    opened_within(&node, &ciphertext, AT_ONCE).await;
    sleep(Duration::from_secs(60)).await;
    hold_back(&node, &peers[1]).await;
    (peers, node, ciphertext)
}

#[tokio::test(start_paused = true)]
async fn hedge_is_not_sent_to_a_throttled_seal() {
    let (peers, node, ciphertext) = with_second_held_back().await;
    peers[0].takes(2_000);
    let before = peers[1].unwraps();
    let began = Instant::now();
    let opening = decrypt(&node, &ciphertext);
    assert_eq!(opening.await.unwrap(), b"x");
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(peers[1].unwraps() <= before + 3, "its governor's probes alone");
    assert!(!metric(&node, r#"selkie_seal_hedges_total{seal="b"} 2"#));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_begins_to_throttle_lets_the_next_go_first() {
    let peers = ["a", "b", "c"].map(Peer::governed);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].hangs();
    let throttling = async {
        sleep(HEDGE_AFTER / 3).await;
        hold_back(&node, &peers[1]).await;
    };
    let ((), ()) = tokio::join!(throttling, opened_within(&node, &ciphertext, ONE_HEDGE));
    assert_eq!(peers[2].unwraps(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_seal_is_the_last_resort() {
    let (peers, node, ciphertext) = with_second_held_back().await;
    peers[0].hangs();
    peers[1].faults.on_unwrap().clear();
    opened_within(&node, &ciphertext, UNWRAP_PATIENCE).await;
}

#[tokio::test(start_paused = true)]
async fn all_seals_together_have_the_patience_of_one_client() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers.iter().for_each(Peer::hangs);
    let (outcome, took) = timed(&node, &ciphertext).await;
    assert!(fault(outcome).is_transient());
    assert!(took <= UNWRAP_PATIENCE + AT_ONCE, "{took:?}");
}

/// Every seal of a batch's items is asked once at most per item, and the second item finds the
/// breaker open.
#[tokio::test(start_paused = true)]
async fn a_batch_waits_for_a_dead_seal_once() {
    let peers = ["a", "b"].map(Peer::new);
    let (node, ciphertext) = node_of(&peers).await;
    peers[0].hangs();
    let batch = engine(&node).for_batch();
    let decryption = batch.decryption(&permit(operation::Decrypt, "unseal")).await.unwrap();
    let began = Instant::now();
    for _ in 0..20 {
        let item = DecryptionItem {
            ciphertext: &ciphertext,
            associated_data: Vec::new(),
            context: Vec::new(),
        };
        decryption.decrypt(&item).await.unwrap();
    }
    assert!(began.elapsed() <= ONE_HEDGE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn remote_wraps_are_made_at_the_same_time() {
    let peers = ["a", "b", "c"].map(Peer::new);
    let (node, _) = node_of(&peers).await;
    for peer in &peers {
        peer.faults.on_wrap().always(Fault::delay(Duration::from_millis(700)));
    }
    let began = Instant::now();
    encrypt(&node).await.unwrap();
    assert!(began.elapsed() <= Duration::from_millis(705), "{:?}", began.elapsed());
}

/// Rounds of scripts for three seals, governed or not.
fn rounds() -> impl Strategy<Value = (Vec<bool>, Vec<[Script; 3]>)> {
    let three = [script(), script(), script()];
    (prop::collection::vec(any::<bool>(), 3), prop::collection::vec(three, 1..6))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whenever_one_seal_answers_well_within_patience_the_decrypt_succeeds(
        (governed, rounds) in rounds(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut peers = ["a", "b", "c"].map(Peer::new);
            for (peer, is_governed) in peers.iter_mut().zip(&governed) {
                peer.is_governed = *is_governed;
            }
            let (node, ciphertext) = node_of(&peers).await;
            for scripts in rounds {
                for (script, peer) in scripts.iter().zip(&peers) {
                    script.play(peer);
                }
                let (outcome, took) = timed(&node, &ciphertext).await;
                prop_assert!(took <= UNWRAP_PATIENCE + AT_ONCE, "{:?} {:?}", scripts, took);
                if scripts.iter().any(|script| script.is_good()) {
                    prop_assert_eq!(outcome.map_err(|e| e.to_string()), Ok(b"x".to_vec()), "{:?}", scripts);
                }
                sleep(Duration::from_millis(500)).await;
            }
            Ok(())
        })?;
    }
}
