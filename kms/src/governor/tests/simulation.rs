//! Many Vaults restart at once, before a vault with Key Vault's limit.

#![expect(clippy::print_stdout, reason = "the ratios are worth seeing with --nocapture")]

use std::sync::Mutex;
use std::time::Duration;

use tokio::task::JoinSet;

use super::super::*;
use super::world::*;

const VAULTS: u64 = 10_000;
const WINDOW: u64 = 10_000;
const WORST_RATIO: f64 = 1.2;
/// Those that came off worst among 200.
const SEEDS: [u64; 6] = [0, 14, 56, 92, 93, 184];

/// What one vault says and does, drawn by seed. Times in milliseconds.
struct Limiter {
    start: Instant,
    phase: u64,
    limit: u64,
    retry_after: Option<RetryAfter>,
    state: Mutex<(Dice, u64, u64)>,
}

#[derive(Clone, Copy, Debug)]
enum RetryAfter {
    True,
    Always(u64),
}

impl Limiter {
    fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let retry_after = match dice.between(0, 5) {
            0 | 1 => None,
            2 => Some(RetryAfter::True),
            3 => Some(RetryAfter::Always(1)),
            _ => Some(RetryAfter::Always(10)),
        };
        Self {
            start: Instant::now(),
            phase: dice.between(0, WINDOW),
            limit: 2_000 * dice.between(50, 200) / 100,
            retry_after,
            state: Mutex::new((dice, 0, 0)),
        }
    }

    fn call(&self) -> (Duration, Result<(), KmsError>) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap() + self.phase;
        let mut state = self.state.lock().unwrap();
        let (dice, window, used) = &mut *state;
        if now / WINDOW != *window {
            (*window, *used) = (now / WINDOW, 0);
        }
        let latency = dice.millis(5, 50);
        if *used < self.limit {
            *used += 1;
            return (latency, Ok(()));
        }
        let retry_after = self.retry_after.map(|kind| match kind {
            RetryAfter::True => Duration::from_secs((WINDOW - now % WINDOW).div_ceil(1000)),
            RetryAfter::Always(seconds) => Duration::from_secs(seconds),
        });
        (latency, Err(KmsError::Throttled { retry_after, cause: None }))
    }

    /// The time that the limit needs, and so many calls at once.
    fn own_time(&self, concurrency: u64) -> f64 {
        let per_milli = concurrency * 2;
        let (mut left, mut now) = (VAULTS, self.phase);
        loop {
            let end = (now / WINDOW + 1) * WINDOW;
            // Half of the mean latency of 27.5 ms doubles the calls per millisecond: 2/55.
            let spent = self.limit.min((end - now) * per_milli / 55);
            if spent >= left {
                let last = left * 55 / per_milli;
                return f64::from(u32::try_from(now - self.phase + last).unwrap()) / 1000.0;
            }
            left -= spent;
            now = end;
        }
    }
}

/// A Vault that unseals: three tries for each request, then a pause.
async fn unseal(governor: Arc<Governor>, vault: u64, mut dice: Dice) {
    let (kek, wrapped) = (kek(), vault.to_le_bytes());
    loop {
        for attempt in 1..=3 {
            let deadline = Instant::now() + 15 * SECOND;
            let call = Call { client: ClientTag::new(vault + 1), deadline };
            let answer = governor.unwrap_dek(&kek, WrapAlgorithm::RsaOaep256, &wrapped, call);
            if answer.await.is_ok() {
                return;
            }
            if attempt < 3 {
                sleep(attempt * dice.millis(1_000, 1_500)).await;
            }
        }
        sleep(5 * SECOND).await;
    }
}

struct Run {
    took: f64,
    own_time: f64,
    throttled: u64,
}

async fn restart_of_all(seed: u64, replicas: u64) -> Run {
    let limiter = Arc::new(Limiter::draw(seed));
    let governors: Vec<_> = (0..replicas)
        .map(|replica| {
            let limiter = Arc::clone(&limiter);
            let kms = Scripted(move |_, _| {
                let (latency, answer) = limiter.call();
                async move {
                    sleep(latency).await;
                    answer
                }
            });
            Arc::new(Governor::new(
                Arc::new(kms),
                GovernorSettings::default(),
                random(seed ^ (replica << 32)),
            ))
        })
        .collect();
    let mut vaults = JoinSet::new();
    for (vault, governor) in (0..VAULTS).zip(governors.iter().cycle()) {
        vaults.spawn(unseal(Arc::clone(governor), vault, Dice::new(seed ^ (vault << 20))));
    }
    vaults.join_all().await;
    Run {
        took: limiter.start.elapsed().as_secs_f64(),
        own_time: limiter.own_time(replicas * 64),
        throttled: governors.iter().map(|governor| governor.figures().calls_total.throttled).sum(),
    }
}

async fn worst_ratio(replicas: u64) {
    let mut worst = (0.0, 0);
    for seed in SEEDS {
        let run = restart_of_all(seed, replicas).await;
        let ratio = run.took / run.own_time;
        println!(
            "seed {seed}, {replicas} replicas: {:.1} s, own time {:.1} s, ratio {ratio:.3}, {} x 429",
            run.took, run.own_time, run.throttled,
        );
        if ratio > worst.0 {
            worst = (ratio, seed);
        }
    }
    println!("{replicas} replicas: worst ratio {:.3} by seed {}", worst.0, worst.1);
    assert!(worst.0 <= WORST_RATIO, "seed {}: {:.3}", worst.1, worst.0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_vaults_drain_within_the_limits_own_time_and_a_fifth() {
    worst_ratio(1).await;
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_vaults_of_three_replicas_do_too() {
    worst_ratio(3).await;
}
