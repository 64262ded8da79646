//! The fault matrix: what is wrong, what a client gets, what the log says, and that nothing is lost
//! afterwards. The table in docs/troubleshooting.md is made from it.

mod case;
mod proof;
mod rows;
mod table;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context, Result, ensure};

use case::{Case, Seen};
use rows::rows;

/// What goes wrong, and what must come of it.
struct Row {
    /// What is wrong, in the document's words.
    wrong: &'static str,
    /// Sets it up: the server runs and has encrypted something.
    set: fn(&mut Case) -> Result<()>,
    /// What the client gets.
    answers: Answers,
    /// The hop and the outcome that the log names for it; none if nothing fails.
    log: &'static [&'static str],
}

/// What a client gets, at the end of its patience or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answers {
    encrypt: u16,
    decrypt: u16,
}

/// Most of a row's time is the patience of its decrypt, so many run at a time.
const AT_A_TIME: usize = 12;

#[test]
fn every_fault_has_a_name_an_answer_and_an_end() -> Result<()> {
    let rows = rows();
    assert!(rows.len() >= 25, "{} rows", rows.len());
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let seen = tried(row).with_context(|| format!("row: {}", row.wrong));
                    outcomes.lock().unwrap().push((row.wrong, seen));
                }
            });
        }
    });
    let mut seen = Vec::new();
    let mut failed = Vec::new();
    for (wrong, outcome) in outcomes.into_inner()? {
        match outcome {
            Ok(outcome) => seen.push((wrong, outcome)),
            Err(error) => failed.push(format!("{error:#}")),
        }
    }
    assert!(failed.is_empty(), "{} rows failed:\n{}", failed.len(), failed.join("\n"));
    table::check(&rows, &seen)
}

fn tried(row: &Row) -> Result<Seen> {
    let mut case = Case::new()?;
    (row.set)(&mut case)?;
    let seen = case.look(row.answers)?;
    ensure!(seen.says(row.log), "the log says {seen:?}, not {:?}\n{}", row.log, case.last_words());
    case.prove(&seen)?;
    case.heal()?;
    Ok(seen)
}
