//! What must hold when the process is killed, the power is cut, or the files are damaged.
#![expect(clippy::disallowed_methods, reason = "a child learns from the environment what it is")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "what fails here fails the test")]
#![expect(
    clippy::print_stdout,
    reason = "a child acknowledges on stdout; a test says why it skips"
)]

mod injected;
mod power;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use selkie_storage::{Page, RecordValue, SledError, SledSettings, SledStore, Store as _, Write};
use tempfile::TempDir;

const DIR: &str = "SELKIE_CHILD_DIR";
/// Generous: it bounds a failing test.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the process is killed.
const ROUNDS: &str = "SELKIE_ROUNDS";

async fn open(path: &Path) -> Result<SledStore, SledError> {
    SledStore::open(SledSettings { journal_bytes: 8000, ..SledSettings::new(path) }).await
}

/// Each commit puts its number under two keys.
async fn put(store: &SledStore, number: u64) -> Result<(), selkie_storage::StoreError> {
    let value = || RecordValue::new(number.to_string().into_bytes()).unwrap();
    let keys = ["newest".to_owned(), format!("k/{}", number % 20)];
    let writes = keys.map(|key| Write::Put(key.parse().unwrap(), value()));
    store.commit(&[], &writes).await.map(|_| ())
}

/// The newest number, once every record has been found to be what it has to be.
async fn newest(store: &SledStore) -> u64 {
    let records = store.list(&Page::all()).await.unwrap().records;
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().parse::<u64>().unwrap();
    let all = records.iter().map(|r| (r.key.to_string(), number(r.value.as_bytes())));
    let all: std::collections::BTreeMap<String, u64> = all.collect();
    let newest = all.get("newest").copied().unwrap_or(0);
    for number in newest.saturating_sub(19).max(1)..=newest {
        assert_eq!(all.get(&format!("k/{}", number % 20)), Some(&number), "half or lost");
    }
    newest
}

#[tokio::test]
async fn child_writer() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let store = open(Path::new(&dir)).await.unwrap();
    for number in newest(&store).await + 1.. {
        put(&store, number).await.unwrap();
        println!("\nack {number}");
    }
}

/// A child that ends with the test, however that ends.
struct Writer(Child);

impl Writer {
    fn start(writer: &str, dir: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", writer, "--nocapture"]).env(DIR, dir);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Lets a child write for a while, does `stop`, kills it; the last number acknowledged before.
fn write_until(writer: &str, dir: &Path, millis: u64, stop: impl FnOnce()) -> u64 {
    let mut child = Writer::start(writer, dir);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let (sender, acks) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("ack ").and_then(|n| n.parse::<u64>().ok()) {
                sender.send(number).unwrap_or(());
            }
        }
    });
    let first = acks.recv_timeout(PATIENCE).unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    let last = acks.try_iter().last().unwrap_or(first);
    stop();
    drop(child);
    reader.join().unwrap();
    last
}

/// Whether all is tried that there is time for (`make proof`), instead of some of it.
fn is_proof() -> bool {
    std::env::var_os(ROUNDS).is_some()
}

fn rounds(default: u64) -> u64 {
    match std::env::var(ROUNDS) {
        Ok(rounds) => rounds.parse().unwrap(),
        Err(_) => default,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_no_acknowledged_commit() {
    let dir = TempDir::new().unwrap();
    let (rounds, mut total) = (rounds(100), 0);
    for round in 0..rounds {
        let acked = write_until("child_writer", dir.path(), round * 37 % 120, || ());
        let store = open(dir.path()).await.unwrap();
        let found = newest(&store).await;
        assert!(found >= acked, "round {round}: {acked} was acknowledged, {found} found");
        total = found;
        if round % 100 == 99 {
            println!("kill -9: {} of {rounds} rounds, {total} commits", round + 1);
        }
    }
    println!(
        "evidence: kill -9 loses nothing that sled acknowledged | make proof | {rounds} kills, \
         {total} commits, 0 lost | the power cut of plain sled, below"
    );
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A closed store of `commits` commits.
async fn made(commits: u64) -> TempDir {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await.unwrap();
    for number in 1..=commits {
        put(&store, number).await.unwrap();
    }
    dir
}

#[tokio::test]
async fn journal_cut_or_flipped_at_every_byte_loses_nothing_while_sled_is_whole() {
    let made = made(3).await;
    let whole = fs::read(made.path().join("journal")).unwrap();
    for at in (0..whole.len()).step_by(5) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        for journal in [&flipped[..], &whole[..at]] {
            let dir = TempDir::new().unwrap();
            copy(made.path(), dir.path());
            fs::write(dir.path().join("journal"), journal).unwrap();
            let store = open(dir.path()).await.unwrap();
            assert_eq!(newest(&store).await, 3, "at {at}");
        }
    }
}

#[tokio::test]
async fn sled_flipped_or_cut_anywhere_is_made_from_the_journal_or_refused() {
    let made = made(30).await;
    let db = fs::read(made.path().join("sled/db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    for at in (0..used).step_by((used / 40).max(1)) {
        let mut flipped = db.clone();
        flipped[at] ^= 0x10;
        let damage = [&flipped[..], &db[..at]];
        for (both, bytes) in damage.iter().flat_map(|d| [(false, d), (true, d)]) {
            let dir = TempDir::new().unwrap();
            copy(made.path(), dir.path());
            fs::write(dir.path().join("sled/db"), bytes).unwrap();
            if both {
                fs::write(dir.path().join("journal"), b"nothing").unwrap();
            }
            match open(dir.path()).await {
                Ok(store) => {
                    assert_eq!(newest(&store).await, 30, "at {at}, without journal: {both}");
                }
                Err(SledError::Damaged) if both => {}
                Err(error) => panic!("at {at}: {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn without_a_whole_journal_sled_is_believed_only_if_the_witness_vouches_for_it() {
    let (made, older) = (made(30).await, made(12).await);
    let journal = fs::read(made.path().join("journal")).unwrap();
    for torn in [&b"nothing"[..], &journal[..journal.len() - 3]] {
        for behind in ["sled", "newest", "neither"] {
            let dir = TempDir::new().unwrap();
            copy(made.path(), dir.path());
            fs::write(dir.path().join("journal"), torn).unwrap();
            match behind {
                "sled" => {
                    fs::remove_dir_all(dir.path().join("sled")).unwrap();
                    copy(&older.path().join("sled"), &dir.path().join("sled"));
                }
                "newest" => fs::remove_file(dir.path().join("newest")).unwrap(),
                _ => {}
            }
            match open(dir.path()).await {
                Ok(store) => assert_eq!((newest(&store).await, behind), (30, "neither")),
                Err(error) => assert!(matches!(error, SledError::Damaged), "{behind}: {error:?}"),
            }
        }
    }
}

#[tokio::test]
async fn store_of_which_any_part_is_left_is_never_made_anew() {
    let made = made(3).await;
    for left in ["newest", "selkie-store", "sled", "journal"] {
        let dir = TempDir::new().unwrap();
        copy(made.path(), dir.path());
        for part in ["newest", "selkie-store", "journal"].iter().filter(|part| **part != left) {
            fs::remove_file(dir.path().join(part)).unwrap();
        }
        if left != "sled" {
            fs::remove_dir_all(dir.path().join("sled")).unwrap();
        }
        match open(dir.path()).await {
            Ok(store) => assert_eq!((newest(&store).await, left), (3, "journal")),
            Err(error) => assert!(matches!(error, SledError::Damaged), "{left}: {error:?}"),
        }
    }
}

#[tokio::test]
async fn snapshots_of_sled_are_not_missed() {
    let made = made(30).await;
    let mut gone = 0;
    for entry in fs::read_dir(made.path().join("sled")).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            fs::remove_file(entry.path()).unwrap();
            gone += 1;
        }
    }
    assert!(gone > 0, "sled made no snapshot");
    // Without the journal, so that sled itself has to have everything.
    fs::remove_file(made.path().join("journal")).unwrap();
    assert_eq!(newest(&open(made.path()).await.unwrap()).await, 30);
}

/// The parts stand as after each sync of a commit, and with each piece of its frame.
#[tokio::test]
async fn stop_after_any_sync_of_a_commit_is_as_before_or_after_it() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path()).await.unwrap();
    for number in 1..=12 {
        let (before, after) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        copy(dir.path(), before.path());
        put(&store, number).await.unwrap();
        copy(dir.path(), after.path());
        let journal = fs::read(after.path().join("journal")).unwrap();
        let start = fs::read(before.path().join("journal")).unwrap().len();
        for cut in (start..journal.len()).step_by(9).chain([journal.len()]) {
            let stopped = TempDir::new().unwrap();
            copy(before.path(), stopped.path());
            fs::write(stopped.path().join("journal"), &journal[..cut]).unwrap();
            let want = if cut == journal.len() { number } else { number - 1 };
            let found = newest(&open(stopped.path()).await.unwrap()).await;
            assert_eq!(found, want, "commit {number}, journal cut at {cut}");
        }
        fs::copy(before.path().join("newest"), after.path().join("newest")).unwrap();
        assert_eq!(newest(&open(after.path()).await.unwrap()).await, number);
    }
}
