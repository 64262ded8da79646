//! The KMS is away for a minute, while two thousand want it.

use std::sync::Mutex;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::*;
use super::world::*;
use crate::azure::{Diagnosis, Hop, Outcome};
use crate::pkcs11::{self, Class, Stage};

const VAULTS: u64 = 2_000;
const OUTAGE: Duration = Duration::from_secs(60);

/// What a call meets while the KMS is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    Refuses,
    Hangs,
}

struct Outage {
    calls: Vec<Duration>,
    first_success: Duration,
    all_done: Duration,
}

async fn outage(away: Away, patience: Duration) -> Outage {
    let start = Instant::now();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&calls);
    let kms = Scripted(move |_, _| {
        let now = start.elapsed();
        log.lock().unwrap().push(now);
        async move {
            match away {
                _ if now >= OUTAGE => sleep(ms(20)).await,
                Away::Hangs => std::future::pending().await,
                Away::Refuses => return Err(KmsError::Unavailable(None)),
            }
            Ok(())
        }
    });
    let governor = Arc::new(Governor::new(Arc::new(kms), GovernorSettings::default(), random(7)));
    let mut vaults = JoinSet::new();
    for vault in 0..VAULTS {
        let (governor, wrapped, kek) = (Arc::clone(&governor), vault.to_le_bytes(), kek());
        vaults.spawn(async move {
            loop {
                let client = ClientTag::new(vault + 1);
                let call = Call { client, deadline: Instant::now() + patience };
                let algorithm = WrapAlgorithm::RsaOaep256;
                if governor.unwrap_dek(&kek, algorithm, &wrapped, call).await.is_ok() {
                    return start.elapsed();
                }
                sleep(SECOND).await;
            }
        });
    }
    let done = vaults.join_all().await;
    let calls = calls.lock().unwrap().clone();
    Outage {
        calls,
        first_success: *done.iter().min().unwrap(),
        all_done: *done.iter().max().unwrap(),
    }
}

impl Outage {
    fn calls_between(&self, from: Duration, to: Duration) -> usize {
        self.calls.iter().filter(|at| (from..to).contains(*at)).count()
    }

    fn most_in_a_second(&self, from: Duration) -> usize {
        let seconds = (0..60).map(|n| from + SECOND * n).take_while(|at| *at + SECOND <= OUTAGE);
        seconds.map(|at| self.calls_between(at, at + SECOND)).max().unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn kms_that_refuses_gets_few_calls_and_is_back_within_a_second_or_two() {
    for patience in [15 * SECOND, ms(1_500)] {
        let outage = outage(Away::Refuses, patience).await;
        // Three failures close the gate; what was let through with them is the concurrency at most.
        let at_once = outage.calls_between(Duration::ZERO, ms(1));
        assert!(at_once <= 64, "{at_once}");
        assert!(outage.calls_between(ms(1), SECOND) <= 20);
        assert!(outage.most_in_a_second(2 * SECOND) <= 2);
        assert!(outage.first_success <= OUTAGE + ms(1_100), "{:?}", outage.first_success);
        assert!(outage.all_done <= OUTAGE + 4 * SECOND, "{:?}", outage.all_done);
    }
}

#[tokio::test(start_paused = true)]
async fn kms_that_hangs_gets_few_calls_and_is_back_within_the_time_of_one() {
    for patience in [15 * SECOND, ms(1_500)] {
        let outage = outage(Away::Hangs, patience).await;
        assert!(outage.calls_between(Duration::ZERO, ms(1)) <= 64);
        assert!(outage.most_in_a_second(ms(1)) <= 2);
        assert!(outage.first_success <= OUTAGE + ms(6_100), "{:?}", outage.first_success);
        assert!(outage.all_done <= OUTAGE + 9 * SECOND, "{:?}", outage.all_done);
    }
}

/// Whether the valve is closed after four unwraps that Key Vault answers with 400 and this code.
async fn is_closed_by_bad_requests(code: Option<&str>) -> bool {
    let world = World::new(|_| {});
    let diagnosis = Diagnosis {
        hop: Hop::Unwrap,
        outcome: Outcome::AnswerWrong,
        host: "kv1".to_owned(),
        status: Some(400),
        code: code.map(str::to_owned),
        request_id: None,
    };
    world.fail(KmsError::Misbehaved(Some(Arc::new(diagnosis))));
    for byte in 0..4 {
        // Time for one call and no other try.
        let outcome = world.unwrap(1, byte, ms(400)).end().await;
        assert!(matches!(outcome, Err(KmsError::Misbehaved(_))), "{outcome:?}");
    }
    world.governor.figures().is_closed
}

#[tokio::test(start_paused = true)]
async fn forged_ciphertexts_close_the_gate_for_nobody() {
    assert!(!is_closed_by_bad_requests(Some("Other")).await);
    assert!(is_closed_by_bad_requests(None).await);
}

/// A stored verdict on one previous key of an HSM.
#[tokio::test(start_paused = true)]
async fn a_previous_key_that_opens_nothing_closes_the_gate_for_nobody() {
    let is_closed = async |is_of_previous| {
        let world = World::new(|_| {});
        let failure = pkcs11::Diagnosis {
            stage: Stage::Key,
            fault: pkcs11::Fault::Token(Class::Failed),
            said: None,
            is_of_previous,
        };
        world.fail(KmsError::Misbehaved(Some(Arc::new(failure))));
        for byte in 0..4 {
            let outcome = world.unwrap(1, byte, ms(400)).end().await;
            assert!(matches!(outcome, Err(KmsError::Misbehaved(_))), "{outcome:?}");
        }
        world.governor.figures().is_closed
    };
    assert!(!is_closed(true).await);
    assert!(is_closed(false).await);
}
