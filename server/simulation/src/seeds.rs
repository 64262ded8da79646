//! Seeds, run and judged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::ask::{Ask, By};
use crate::kms::Mood;
use crate::pages;
use crate::planted::Planted;
use crate::world::{QUIET, World};

/// So many seeds are run if nobody says how many.
const SEEDS: u64 = 1_000;
/// After so many broken ones nobody needs more: a wrong rule of the judge breaks thousands.
const BROKEN: usize = 5;
/// Every kind of trouble that a run of many seeds must have met.
const KINDS: [&str; 40] = [
    "asked for what is below the minimum",
    "clock back",
    "clock forward",
    "commit made, answer lost",
    "commit not made, answer lost",
    "encrypted without its kms",
    "cut off for more than an hour",
    "kek disabled",
    "kek enabled",
    "kek rotated",
    "kill under way",
    "kms away",
    "kms call denied",
    "kms call hung",
    "kms call refused",
    "kms call slow",
    "kms call throttled",
    "kms denies",
    "kms hanging",
    "kms lied",
    "kms lies",
    "kms slow",
    "kms throttles",
    "kms version disabled",
    "restart",
    "seal disabled",
    "seal enabled",
    "record changed",
    "record dropped",
    "record moved",
    "record put back",
    "store away",
    "store call hung",
    "store call refused",
    "store call slow",
    "store loses answers",
    "store partitioned",
    "store slow",
    "watch late",
    "watch refused",
];

/// What a seed came to.
struct Outcome {
    violation: Option<String>,
    trace: String,
    met: BTreeMap<&'static str, u64>,
    steps: u64,
    blobs: u64,
}

fn run(seed: u64, planted: Option<Planted>) -> Outcome {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(seed, planted).await;
        world.run().await;
        let met = world.met();
        let (trace, steps) = (std::mem::take(&mut world.trace), world.steps);
        let blobs = world.facts.blobs.len() as u64;
        Outcome { violation: world.violation.take(), trace, met, steps, blobs }
    })
}

#[expect(clippy::disallowed_methods, reason = "a test is told how much to do by its environment")]
pub(crate) fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The history in which a promise was broken, and which.
fn violation(seed: u64, outcome: &Outcome) -> Option<String> {
    let violation = outcome.violation.as_ref()?;
    Some(format!(
        "{}seed {seed}: {violation}\nto replay: SELKIE_SEED={seed} cargo test -p \
         selkie-simulation what_is_promised -- --nocapture\n",
        outcome.trace
    ))
}

/// Invariants I1, I2, I7, I9 and I10, whatever happens to replicas, store, master keys and clocks;
/// of I5, that what others did to a record of the store is found and nothing is made in its place.
#[test]
fn what_is_promised_is_kept_whatever_the_seed() {
    if let Some(seed) = told("SELKIE_SEED") {
        return a_seed_told(seed);
    }
    let (began, first) = (Instant::now(), told("SELKIE_FIRST_SEED").unwrap_or(0));
    let count = told("SELKIE_SEEDS").unwrap_or(SEEDS);
    let (next, total) = (AtomicU64::new(first), Mutex::new((BTreeMap::new(), 0, 0)));
    let broken = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = told("SELKIE_THREADS").map_or(threads, |count| usize::try_from(count).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                pages::are_not_hidden();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || broken.lock().unwrap().len() >= BROKEN {
                        return;
                    }
                    let outcome = run(seed, None);
                    if let Some(violation) = violation(seed, &outcome) {
                        broken.lock().unwrap().push(violation);
                    }
                    let mut total = total.lock().unwrap();
                    for (kind, times) in outcome.met {
                        *total.0.entry(kind).or_insert(0_u64) += times;
                    }
                    total.1 += outcome.steps;
                    total.2 += outcome.blobs;
                }
            });
        }
    });
    let broken = broken.into_inner().unwrap();
    assert!(broken.is_empty(), "{}{} seeds broken", broken.concat(), broken.len());
    let (met, steps, blobs) = total.into_inner().unwrap();
    report(first, count, (steps, blobs), &met, began.elapsed().as_secs_f64());
    if count >= 1_000 {
        let missing = KINDS.iter().filter(|kind| met.get(*kind).is_none_or(|times| *times == 0));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&&str>::new(), "never happened");
    }
}

#[expect(clippy::print_stdout, reason = "the trace of the seed is what was asked for")]
fn a_seed_told(seed: u64) {
    let outcome = run(seed, None);
    println!("{}", outcome.trace);
    assert_eq!(outcome.violation, None, "seed {seed}");
}

/// What the run of so many `seeds` from `first` on came to.
fn report(
    first: u64,
    seeds: u64,
    (steps, blobs): (u64, u64),
    met: &BTreeMap<&'static str, u64>,
    seconds: f64,
) {
    let from = if first == 0 { String::new() } else { format!("SELKIE_FIRST_SEED={first} ") };
    let faults: u64 = met.values().sum();
    let kinds: Vec<_> = met.iter().map(|(kind, times)| format!("{kind} {times}")).collect();
    note(&format!("{seeds} seeds in {seconds:.0} s; {}", kinds.join(", ")));
    note(&format!(
        "evidence: replicas keep their promises whatever happens to store, master keys and clocks | \
         {from}SELKIE_SEEDS={seeds} cargo test -p selkie-simulation -- --nocapture | {seeds} seeds, \
         {steps} steps, {blobs} ciphertexts, {faults} troubles of {} kinds, nothing broken | a lost \
         write, a deaf replica, a decrypt without a permit, a destroyed key, a minimum not heard of, a \
         server that never wraps by itself, a refused rewrap and a record not tampered with, each found",
        met.len()
    ));
}

/// Tells it, or writes it to where `tests/run` collects it.
#[expect(clippy::print_stdout, reason = "what was asked for")]
pub(crate) fn note(line: &str) {
    match std::env::var_os("SELKIE_EVIDENCE") {
        Some(path) => {
            let mut file = File::options().create(true).append(true).open(path).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        None => println!("{line}"),
    }
}

#[test]
fn the_same_seed_makes_the_same_history_to_the_byte() {
    for seed in 0..20 {
        let (one, other) = (run(seed, None).trace, run(seed, None).trace);
        let differs = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
}

/// How many seeds it takes until something is found.
fn found_after(planted: Planted, broken: &[&str]) -> u64 {
    for seed in 0..200 {
        if let Some(violation) = run(seed, Some(planted)).violation {
            assert!(broken.iter().any(|one| violation.contains(one)), "seed {seed}: {violation}");
            return seed + 1;
        }
    }
    panic!("{planted:?} was not found within 200 seeds");
}

#[test]
fn a_store_that_loses_a_committed_write_is_found() {
    found_after(Planted::LostWrite, &["I7", "I1", "I9", "although it is"]);
}

#[test]
fn a_replica_that_never_hears_of_the_others_is_found() {
    found_after(Planted::DeafWatch, &["I7", "I9", "I1", "although it is"]);
}

#[test]
fn a_decrypt_without_a_permit_is_found() {
    found_after(Planted::NoPermit, &["I9"]);
}

#[test]
fn a_master_key_version_that_is_destroyed_is_found() {
    found_after(Planted::PurgedKek, &["I1", "does not encrypt"]);
}

#[test]
fn a_minimum_that_is_not_heard_of_is_found() {
    found_after(Planted::MinimumLost, &["min_decryption_version"]);
}

#[test]
fn a_server_that_encrypts_only_with_its_kms_is_found() {
    found_after(Planted::WrapsRemotely, &["does not encrypt"]);
}

#[test]
fn a_rewrap_that_is_refused_although_all_is_well_is_found() {
    found_after(Planted::NoRewrap, &["does not encrypt"]);
}

#[test]
fn a_store_that_serves_what_was_tampered_with_is_found() {
    found_after(Planted::Untouched, &["I5"]);
}

/// What is broken when a seal was the only one in use, has been joined by the other again, and then is
/// away from replicas that start.
async fn after_a_seal_is_enabled_again(planted: Option<Planted>) -> Option<String> {
    let (mut world, key) = (World::new(0, planted).await, "one".to_owned());
    world.pass(2 * QUIET).await;
    for ask in [
        Ask::CreateKey { key: key.clone() },
        Ask::WritePolicy { key: key.clone() },
        Ask::CreateToken { key: key.clone(), is_periodic: true },
        Ask::Encrypt { by: By::Token(0), key, plaintext: "YQ==".to_owned() },
    ] {
        world.ask_all(vec![(0, ask)], None).await;
    }
    for disabled in [[false, true], [false, false]] {
        world.disable(disabled).await;
        world.pass(2 * QUIET).await;
    }
    for replica in 0..world.replicas.len() {
        world.set_kms(replica, 0, Mood::Away);
        world.kill(replica);
        world.start(replica).await;
    }
    world.pass(2 * QUIET).await;
    world.ask_all(vec![(0, Ask::Decrypt { by: By::Token(0), blob: 0 })], None).await;
    assert_eq!(world.facts.blobs.len(), 1, "{}", world.trace);
    world.violation
}

#[tokio::test(start_paused = true)]
async fn a_state_key_that_does_not_follow_a_seal_that_is_enabled_again_is_found() {
    assert_eq!(after_a_seal_is_enabled_again(None).await, None);
    let broken = after_a_seal_is_enabled_again(Some(Planted::StateStays)).await;
    assert!(broken.is_some_and(|broken| broken.contains("I1: 503")));
}
