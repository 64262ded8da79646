//! The published test kit of the envelope, `crypto/testkit/envelopes.json`: it is what its generator
//! makes, and every case opens, or is refused for the very reason that it states.
//!
//! `SELKIE_WRITE_TESTKIT=1 cargo test -p selkie-crypto --test testkit` writes it anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]

mod cases;
mod check;
mod invalid;
mod valid;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use self::check::outcome;

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testkit/envelopes.json")
}

fn generated() -> Value {
    let cases: Vec<Value> = valid::cases().into_iter().chain(invalid::cases()).collect();
    json!({
        "about": "Envelopes of Selkie, valid and not; see README.md",
        "format": 1,
        "keys": cases::keys(),
        "cases": cases,
    })
}

fn committed() -> Value {
    serde_json::from_slice(&fs::read(path()).unwrap()).unwrap()
}

#[test]
fn the_kit_is_what_its_generator_makes() {
    let generated = generated();
    if std::env::var_os("SELKIE_WRITE_TESTKIT").is_some() {
        fs::write(path(), serde_json::to_string_pretty(&generated).unwrap() + "\n").unwrap();
    }
    assert_eq!(committed(), generated);
}

#[test]
fn every_case_opens_or_is_refused_for_its_reason() {
    let kit = committed();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in kit["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        assert_eq!(outcome(&kit["keys"], case), case["expected"], "{name}: {}", case["comment"]);
        let reason = case["expected"]["refused"].as_str().unwrap_or("opens");
        *counts.entry(reason.to_owned()).or_default() += 1;
    }
    for reason in check::REASONS.iter().chain(&["opens"]) {
        assert!(counts.contains_key(*reason), "no case for {reason}");
    }
    let (opens, all) = (counts["opens"], counts.values().sum::<usize>());
    assert_eq!((opens, all - opens), COUNTS, "valid, invalid: {counts:?}");
}

/// As docs/vectors.md says.
const COUNTS: (usize, usize) = (22, 83);

#[test]
fn a_case_that_states_another_reason_is_found() {
    let kit = committed();
    for case in kit["cases"].as_array().unwrap() {
        for wrong in check::REASONS.map(|reason| json!({ "refused": reason })) {
            if wrong != case["expected"] {
                assert_ne!(outcome(&kit["keys"], case), wrong);
            }
        }
    }
}

#[test]
fn names_are_distinct() {
    let kit = committed();
    let cases = kit["cases"].as_array().unwrap();
    let names: std::collections::BTreeSet<_> =
        cases.iter().map(|case| case["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), cases.len());
}
