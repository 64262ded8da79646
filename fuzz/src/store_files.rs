use std::collections::BTreeMap;

use selkie_storage::fuzzing::{Journal, framed, journal, journal_of, unframed};
use selkie_storage::{Commit, Record, RecordKey, RecordValue, Revision, Write};

/// Feeds the bytes to the readers of a journal and of a value in etcd, and makes commits of them that
/// a journal then holds.
///
/// A journal of any commits reads as what they come to; cut anywhere it reads as the first of them,
/// never as anything else; with one byte changed it is never read as whole and something else.
pub fn store_files(data: &[u8]) -> bool {
    let is_read = as_it_is(data);
    in_etcd(data);
    let Some(([cut_high, cut_low, by], rest)) = data.split_first_chunk() else { return is_read };
    let commits = commits(rest);
    let whole = journal_of(Revision::ORIGIN, &[], &commits);
    let at = usize::from(u16::from_be_bytes([*cut_high, *cut_low])) % whole.len();
    holds(&whole, &commits, at, *by, journal);
    is_read || !commits.is_empty()
}

/// What is read of any bytes is read again of what is written of it.
fn as_it_is(data: &[u8]) -> bool {
    let Journal::Read { newest, records, .. } = journal(data) else { return false };
    assert!(records.is_sorted_by_key(|record| record.key.clone()));
    let again = journal(&journal_of(newest, &records, &[]));
    assert_eq!(again, Journal::Read { is_whole: true, newest, records });
    true
}

pub(crate) fn holds(
    whole: &[u8],
    commits: &[Commit],
    at: usize,
    by: u8,
    read: impl Fn(&[u8]) -> Journal,
) {
    let states = states(commits);
    let last = states.len() - 1;
    assert_eq!(read(whole), state(&states, last, true));
    let state_of = |seen: &Journal| match seen {
        Journal::Unreadable => None,
        Journal::Read { newest, .. } => usize::try_from(newest.number()).ok(),
    };
    let is_one_of_them = |seen: &Journal, is_whole| {
        state_of(seen).is_some_and(|at| at < states.len() && *seen == state(&states, at, is_whole))
    };
    let cut = read(&whole[..at]);
    let is_cut = |whole| is_one_of_them(&cut, whole);
    // Between two commits, and nowhere else, it is a whole journal of the first ones.
    let ends_here = |first: usize| {
        let shorter = journal_of(Revision::ORIGIN, &[], &commits[..first]);
        whole[..at] == shorter
    };
    assert!(
        cut == Journal::Unreadable
            || (is_cut(false) && !state_of(&cut).is_some_and(ends_here))
            || (is_cut(true) && state_of(&cut).is_some_and(ends_here)),
        "cut to {at}: {cut:?}"
    );
    if by != 0 {
        let mut changed = whole.to_vec();
        changed[at] ^= by;
        let seen = read(&changed);
        assert!(
            seen == Journal::Unreadable || is_one_of_them(&seen, false),
            "changed by {by} at {at}: {seen:?}"
        );
    }
}

type State = BTreeMap<RecordKey, Record>;

/// What the records are before the first commit and after each.
fn states(commits: &[Commit]) -> Vec<State> {
    let mut states = vec![State::new()];
    for commit in commits {
        let mut next = states.last().expect("the first").clone();
        for write in &commit.writes {
            match write {
                Write::Put(key, value) => {
                    let (key, value, revision) = (key.clone(), value.clone(), commit.revision);
                    next.insert(key.clone(), Record { key, value, revision });
                }
                Write::Delete(key) => drop(next.remove(key)),
            }
        }
        states.push(next);
    }
    states
}

fn state(states: &[State], at: usize, is_whole: bool) -> Journal {
    let records = states[at].values().cloned().collect();
    Journal::Read { is_whole, newest: Revision::new(at as u64), records }
}

/// Each byte is a write: of one of four keys, removed or put with what follows as its value; each
/// third begins a new commit.
pub(crate) fn commits(data: &[u8]) -> Vec<Commit> {
    let mut commits: Vec<Commit> = Vec::new();
    for (number, byte) in data.iter().take(48).enumerate() {
        if number % 3 == 0 {
            let revision = Revision::new(commits.len() as u64 + 1);
            commits.push(Commit { revision, writes: Vec::new() });
        }
        let key: RecordKey =
            ["a", "a/b", "c", "transit/t/k"][usize::from(byte % 4)].parse().expect("a key");
        let value = RecordValue::new(data[..usize::from(byte >> 3).min(data.len())].to_vec());
        let write = match byte & 4 {
            0 => Write::Put(key, value.expect("short")),
            _ => Write::Delete(key),
        };
        commits.last_mut().expect("just made").writes.push(write);
    }
    commits
}

/// A value lies in etcd under its own key alone, and no other bytes are read as it.
fn in_etcd(data: &[u8]) {
    let (key, other): (RecordKey, RecordKey) =
        ("transit/t/k".parse().expect("a key"), "transit/t/l".parse().expect("a key"));
    if let Some(value) = unframed(&key, data) {
        assert_eq!(framed(&key, &value), data, "another spelling of a frame");
    }
    let Ok(value) = RecordValue::new(data.to_vec()) else { return };
    let frame = framed(&key, &value);
    assert_eq!(unframed(&key, &frame), Some(value));
    assert_eq!(unframed(&other, &frame), None, "a value under another key");
    assert_eq!(unframed(&key, &frame[..frame.len() - 1]), None, "cut");
}
