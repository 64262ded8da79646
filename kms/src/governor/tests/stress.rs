//! Real threads and real time: callers that come and go at random.

use std::time::Duration;

use tokio::task::JoinSet;

use super::super::*;
use super::world::*;

const TASKS: u64 = 64;
const ROUNDS: u64 = 100;

/// Answers, fails, throttles or dawdles.
async fn moody(mut dice: Dice) -> Result<(), KmsError> {
    tokio::task::yield_now().await;
    match dice.between(0, 20) {
        0 => Err(KmsError::Unavailable(None)),
        1 => Err(KmsError::Throttled { retry_after: Some(ms(1)), cause: None }),
        2 => Err(KmsError::Denied(None)),
        3..8 => {
            sleep(dice.millis(0, 3)).await;
            Ok(())
        }
        _ => Ok(()),
    }
}

async fn come_and_go(governor: Arc<Governor>, mut dice: Dice) {
    for _ in 0..ROUNDS {
        // So few that callers share, and so many that some are alone when they leave.
        let wrapped = dice.between(0, 64).to_le_bytes();
        let client = ClientTag::new(dice.between(0, 4));
        let call = Call { client, deadline: Instant::now() + dice.millis(0, 200) };
        let kek = kek();
        let answer = governor.unwrap_dek(&kek, WrapAlgorithm::A256Kw, &wrapped, call);
        let patience = Duration::from_micros(dice.between(0, 3_000));
        drop(tokio::time::timeout(patience, answer).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_that_come_and_go_leave_nothing_behind() {
    let seeds = std::sync::Mutex::new(Dice::new(1));
    let kms = Scripted(move |_, _| moody(Dice::new(seeds.lock().unwrap().roll())));
    let settings = GovernorSettings {
        concurrency: NonZeroUsize::new(4).unwrap(),
        probe: Backoff { first: ms(1), last: ms(2) },
        ..GovernorSettings::default()
    };
    let governor = Arc::new(Governor::new(Arc::new(kms), settings, random(1)));
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn(come_and_go(Arc::clone(&governor), Dice::new(task << 32)));
    }
    tasks.join_all().await;
    let figures = governor.figures();
    assert_eq!((figures.in_flight, figures.waiting, figures.callers), (0, 0, 0));
    assert!(figures.calls_total.ok > 0 && figures.calls_total.abandoned > 0, "{figures:?}");
    assert!(figures.shared_flights_total > 0, "{figures:?}");
    // And it still works.
    loop {
        let answer = unwrap(&*governor, 1, 1, 5 * SECOND).await;
        match answer {
            Ok(_) => break,
            Err(KmsError::Denied(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
