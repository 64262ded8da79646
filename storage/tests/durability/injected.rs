//! A fault at every single call into the kernel that a scripted history makes on the store's files:
//! strace lets the n-th one fail, or kills the process there, for every n (every fifth, unless
//! `SELKIE_ROUNDS` asks for the whole proof).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use selkie_storage::{SledError, SledSettings, SledStore, StoreError};
use tempfile::TempDir;

use super::{DIR, newest, open, put};

/// Enough for the journal to be compacted twice, and for each record to be written.
const COMMITS: u64 = 16;
const TRIES: u32 = 4;
/// A child that takes longer is stuck, in seconds.
const PATIENCE: &str = "180";

/// The files of one part, and the calls that reach them.
struct Part {
    files: &'static [&'static str],
    calls: &'static [&'static str],
}

const JOURNAL: Part = Part {
    files: &["journal", "journal.tmp", "damaged-1/journal"],
    calls: &["openat", "write", "fsync", "fdatasync", "rename", "unlink"],
};
const WITNESS: Part = Part {
    files: &["newest", "newest.tmp", "selkie-store", "selkie-store.tmp"],
    calls: &["openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "unlink"],
};
const SLED: Part = Part {
    files: &["sled/db", "sled/conf", "sled.new/db", "sled.new/conf"],
    calls: &[
        "openat",
        "read",
        "pread64",
        "write",
        "pwrite64",
        "ftruncate",
        "sync_file_range",
        "fsync",
        "fdatasync",
    ],
};
const DIRECTORIES: Part = Part {
    files: &["", "sled", "sled/blobs", "sled.new", "sled.new/blobs", "damaged-1", "damaged-1/sled"],
    calls: &["openat", "mkdir", "fsync", "rename"],
};
const PARTS: [Part; 4] = [JOURNAL, WITNESS, SLED, DIRECTORIES];

/// Puts numbers, each again while it is refused, and tells of each what came of it.
#[test]
fn child_script() {
    let Ok(dir) = std::env::var(DIR) else { return };
    // strace counts for each thread, so that one must do all of the store's own calls.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.max_blocking_threads(1).build().unwrap().block_on(script(Path::new(&dir)));
}

async fn script(dir: &Path) {
    let settings = SledSettings { journal_bytes: 600, ..SledSettings::new(dir) };
    let Ok(store) = SledStore::open(settings).await else {
        println!("\nnot open");
        return;
    };
    for number in newest(&store).await + 1..=COMMITS {
        for tries in 1.. {
            match put(&store, number).await {
                Ok(()) => {
                    println!("\nack {number}");
                    break;
                }
                Err(StoreError::Unavailable { .. } | StoreError::Undecided { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
            // Whatever the disk does, what was answered can still be read.
            assert_eq!(newest(&store).await, number - 1);
            println!("\nrefused {number}");
            if tries == TRIES {
                return;
            }
        }
    }
    println!("\nall done");
}

/// What a child told before it ended.
#[derive(Debug, Default)]
struct Told {
    acknowledged: u64,
    refused: u64,
    is_done: bool,
    is_open: bool,
    /// Whether there was a call to inject the fault into.
    is_hit: bool,
}

fn may_inject(test: &str) -> bool {
    let mut command = Command::new("strace");
    command.args(["-f", "-o", "/dev/null", "true"]).stdout(Stdio::null()).stderr(Stdio::null());
    let may = command.status().is_ok_and(|status| status.success());
    if !may {
        println!("SKIPPED {test}: no strace, or no right to trace");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "strace must be there");
    }
    may
}

/// Runs the script in `dir`, with `fault` at the `at`-th `call` that reaches the `files`, of each
/// thread.
fn run(dir: &Path, files: &[&str], call: &str, fault: &str, at: &str) -> Told {
    let log = TempDir::new().unwrap();
    let log = log.path().join("log");
    let mut command = Command::new("strace");
    command.args(["-f", "-q", "-o"]).arg(&log);
    for file in files {
        command.arg("-P").arg(dir.join(file));
    }
    command.args(["-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:{fault}:when={at}")]);
    command.args(["timeout", "-s", "KILL", PATIENCE]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "injected::child_script", "--nocapture"]).env(DIR, dir);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let log = fs::read_to_string(log).unwrap();
    let mut told = Told { is_open: true, ..Told::default() };
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        match line.split_once(' ') {
            Some(("ack", number)) => told.acknowledged = number.parse().unwrap(),
            Some(("refused", _)) => told.refused += 1,
            Some(("all", "done")) => told.is_done = true,
            Some(("not", "open")) => told.is_open = false,
            _ => {}
        }
    }
    told.is_hit = log.contains("INJECTED") || log.contains("killed by SIGKILL");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!stderr.contains("panicked at storage/tests"), "{at} {fault}: {stderr}");
    told
}

/// Takes `fault` to every call to every part; what is there afterwards is what was answered.
async fn at_every_call(test: &str, fault: &str, goes_on: &str, heals: bool) {
    if !may_inject(test) {
        return;
    }
    let stride = if super::is_proof() { 1 } else { 5 };
    let (mut points, mut refused, mut not_open) = (0, 0, 0);
    let calls = PARTS.iter().flat_map(|part| part.calls.iter().map(|call| (part.files, *call)));
    for (files, call) in calls {
        for at in (1..).step_by(stride) {
            let dir = TempDir::new().unwrap();
            let path = dir.path().join("store");
            let told = run(&path, files, call, fault, &format!("{at}{goes_on}"));
            let place = format!("{fault} at {call} {at}{goes_on} of {files:?}: {told:?}");
            if !told.is_hit {
                assert!(told.is_done, "{place}");
                break;
            }
            // sled writes in threads, and each of those has the fault, and so have those after them.
            let heals = heals && files != SLED.files;
            assert!(!heals || told.is_done || !told.is_open, "it does not recover: {place}");
            let store = open(&path).await.unwrap_or_else(|error| panic!("{place}: {error:?}"));
            let found = newest(&store).await;
            let may_be = told.acknowledged..=told.acknowledged + 1;
            assert!(may_be.contains(&found), "{found} found, {place}");
            (points, refused) = (points + 1, refused + told.refused);
            not_open += u64::from(!told.is_open);
        }
    }
    println!(
        "evidence: a disk that fails at any call loses nothing | make proof | {fault}{goes_on}: \
         {points} points, {refused} commits refused, {not_open} starts refused, 0 lost, 0 made anew \
         | commits refused by the fault"
    );
    assert!(points * stride > 100, "hardly a call was reached");
}

/// What is whole is served, and what the disk did not give back is made anew from it.
#[tokio::test]
async fn a_file_that_cannot_be_read_is_made_from_the_others_and_two_are_waited_for() {
    let test = "a_file_that_cannot_be_read_is_made_from_the_others_and_two_are_waited_for";
    if !may_inject(test) {
        return;
    }
    let made = super::made(COMMITS - 2).await;
    for (unreadable, opens) in
        [(&["journal"][..], true), (&["newest"], true), (&["journal", "newest"], false)]
    {
        let dir = TempDir::new().unwrap();
        super::copy(made.path(), dir.path());
        let told = run(dir.path(), unreadable, "read", "error=EIO", "1+");
        assert!(told.is_hit, "{unreadable:?}: {told:?}");
        assert_eq!((told.is_open, told.is_done), (opens, opens), "{unreadable:?}: {told:?}");
        let kept = dir.path().join("damaged-1/journal");
        assert_eq!(kept.exists(), unreadable == ["journal"], "{unreadable:?}");
        // Nothing was made anew of what two were needed for: it is there once it can be read.
        let found = newest(&open(dir.path()).await.unwrap()).await;
        assert_eq!(found, if opens { COMMITS } else { COMMITS - 2 }, "{unreadable:?}");
    }
}

/// A sector of the database is gone: the journal has all, and where that is gone too the disk is waited
/// for, since nothing of the database is lost yet.
#[tokio::test]
async fn a_database_that_cannot_be_read_is_made_from_the_journal() {
    let test = "a_database_that_cannot_be_read_is_made_from_the_journal";
    if !may_inject(test) {
        return;
    }
    let made = super::made(COMMITS - 2).await;
    let names = fs::read_dir(made.path().join("sled")).unwrap();
    let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let snapshot = format!("sled/{}", names.find(|name| name.starts_with("snap.")).unwrap());
    let files = [("sled/conf", "read"), (&*snapshot, "read"), ("sled/db", "pread64")];
    for (file, call) in files {
        for has_journal in [true, false] {
            let place = format!("{file}, journal: {has_journal}");
            let dir = TempDir::new().unwrap();
            let (store, bad) = (dir.path().join("store"), dir.path().join("bad"));
            super::copy(made.path(), &store);
            // Faults go by path, and the file that is made in its place is a good one.
            fs::rename(store.join(file), &bad).unwrap();
            std::os::unix::fs::symlink(&bad, store.join(file)).unwrap();
            if !has_journal {
                fs::write(store.join("journal"), b"nothing").unwrap();
            }
            let told = run(&store, &["../bad"], call, "error=EIO", "1+");
            assert!(told.is_hit, "{place}: {told:?}");
            assert_eq!((told.is_open, told.is_done), (has_journal, has_journal), "{place}");
            assert_eq!(store.join("damaged-1").join(file).exists(), has_journal, "{place}");
            // Without either, what is there once it can be read is as it was.
            let found = newest(&open(&store).await.unwrap()).await;
            assert_eq!(found, if has_journal { COMMITS } else { COMMITS - 2 }, "{place}");
        }
    }
}

/// A disk that dies: the journal was cut where a record ends, and what would tell of it is not given
/// back today.
#[tokio::test]
async fn a_witness_that_cannot_be_read_is_not_taken_for_none() {
    let test = "a_witness_that_cannot_be_read_is_not_taken_for_none";
    if !may_inject(test) {
        return;
    }
    let made = super::made(COMMITS - 2).await;
    let (cut, behind) = (super::made(COMMITS - 6).await, super::made(COMMITS - 8).await);
    for is_cut in [false, true] {
        let dir = TempDir::new().unwrap();
        super::copy(made.path(), dir.path());
        let sled = dir.path().join("sled");
        fs::remove_dir_all(&sled).unwrap();
        super::copy(&behind.path().join("sled"), &sled);
        if is_cut {
            fs::copy(cut.path().join("journal"), dir.path().join("journal")).unwrap();
        }
        let told = run(dir.path(), &["newest"], "read", "error=EIO", "1+");
        assert!(told.is_hit && !told.is_open, "{is_cut}: {told:?}");
        match open(dir.path()).await {
            Ok(store) => assert_eq!((newest(&store).await, is_cut), (COMMITS - 2, false)),
            Err(error) => assert!(matches!(error, SledError::Damaged) && is_cut, "{error:?}"),
        }
    }
}

#[tokio::test]
async fn stop_at_every_call_leaves_what_was_answered() {
    at_every_call("stop_at_every_call_leaves_what_was_answered", "signal=KILL", "", false).await;
}

#[tokio::test]
async fn one_input_output_error_at_any_call_loses_nothing_and_passes() {
    let test = "one_input_output_error_at_any_call_loses_nothing_and_passes";
    at_every_call(test, "error=EIO", "", true).await;
}

#[tokio::test]
async fn disk_that_fails_from_any_call_on_loses_nothing() {
    let test = "disk_that_fails_from_any_call_on_loses_nothing";
    at_every_call(test, "error=EIO", "+", false).await;
}

#[tokio::test]
async fn disk_full_at_any_call_loses_nothing_and_passes() {
    let test = "disk_full_at_any_call_loses_nothing_and_passes";
    at_every_call(test, "error=ENOSPC", "", true).await;
}

#[tokio::test]
async fn disk_full_from_any_call_on_loses_nothing() {
    at_every_call("disk_full_from_any_call_on_loses_nothing", "error=ENOSPC", "+", false).await;
}

#[tokio::test]
async fn disk_that_turns_read_only_at_any_call_loses_nothing() {
    let test = "disk_that_turns_read_only_at_any_call_loses_nothing";
    at_every_call(test, "error=EROFS", "+", false).await;
}
