//! What must hold when the process is killed, the power is cut, or the files are damaged.
#![expect(clippy::disallowed_methods, reason = "a child learns from the environment what it is")]
#![expect(
    clippy::print_stdout,
    reason = "a child acknowledges on stdout; a test says why it skips"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use selkie_storage::{Page, RecordValue, SledError, SledSettings, SledStore, Store as _, Write};
use tempfile::TempDir;

const DIR: &str = "SELKIE_CHILD_DIR";

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

fn child(dir: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child_writer", "--nocapture"]).env(DIR, dir);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Lets a child write for a while, does `stop`, kills it; the last number acknowledged before.
fn write_until(dir: &Path, millis: u64, stop: impl FnOnce()) -> u64 {
    let mut child = child(dir);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (sender, acks) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            if let Some(number) = line.strip_prefix("ack ").and_then(|n| n.parse::<u64>().ok()) {
                sender.send(number).unwrap_or(());
            }
        }
    });
    let first = acks.recv_timeout(Duration::from_secs(20)).unwrap();
    std::thread::sleep(Duration::from_millis(millis));
    let last = acks.try_iter().last().unwrap_or(first);
    stop();
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap();
    last
}

fn rounds(default: u64) -> u64 {
    std::env::var("SELKIE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_at_any_moment_loses_no_acknowledged_commit() {
    let dir = TempDir::new().unwrap();
    let mut total = 0;
    for round in 0..rounds(100) {
        let acked = write_until(dir.path(), round * 37 % 120, || ());
        let store = open(dir.path()).await.unwrap();
        let found = newest(&store).await;
        assert!(found >= acked, "round {round}: {acked} was acknowledged, {found} found");
        total = found;
    }
    println!("killed {} times, {total} commits, none lost", rounds(100));
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
        for (both, bytes) in [(false, &flipped[..]), (false, &db[..at]), (true, &flipped[..])] {
            let dir = TempDir::new().unwrap();
            copy(made.path(), dir.path());
            fs::write(dir.path().join("sled/db"), bytes).unwrap();
            if both {
                fs::write(dir.path().join("journal"), b"nothing").unwrap();
            }
            match open(dir.path()).await {
                Ok(store) => assert_eq!(newest(&store).await, 30, "at {at}"),
                Err(SledError::Damaged) if both => {}
                Err(error) => panic!("at {at}: {error:?}"),
            }
        }
    }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_loses_nothing_and_recovers_by_itself() {
    let dir = TempDir::new().unwrap();
    let mount = dir.path().to_str().unwrap();
    if !run("mount", &["-t", "tmpfs", "-o", "size=4m", "tmpfs", mount]) {
        println!("SKIPPED for want of the right to mount: full disk");
        return;
    }
    let store = open(&dir.path().join("store")).await.unwrap();
    put(&store, 1).await.unwrap();
    let ballast = dir.path().join("ballast");
    drop(fs::write(&ballast, vec![1; 8 << 20]));
    let mut number = 2;
    while put(&store, number).await.is_ok() {
        number += 1;
    }
    assert_eq!(newest(&store).await, number - 1);
    fs::remove_file(&ballast).unwrap();
    put(&store, number).await.unwrap();
    drop(store);
    let found = newest(&open(&dir.path().join("store")).await.unwrap()).await;
    assert_eq!(found, number);
    run("umount", &["-l", mount]);
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_loses_no_acknowledged_commit() {
    let dir = TempDir::new().unwrap();
    let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
    fs::create_dir(&mount).unwrap();
    fs::File::create(&image).unwrap().set_len(48 << 20).unwrap();
    let (image, at) = (image.to_str().unwrap(), mount.to_str().unwrap());
    let cut = format!(
        "import fcntl,os;fcntl.ioctl(os.open('{at}',os.O_RDONLY),0x8004587d,(2).to_bytes(4,'little'))"
    );
    if !run("mkfs.ext4", &["-qF", image]) || !run("mount", &["-o", "loop", image, at]) {
        println!("SKIPPED for want of the right to mount: power cut");
        return;
    }
    let mut last = 0;
    for round in 0..20 {
        let store = mount.join("store");
        let acked = write_until(&store, 50 + round * 61 % 400, || {
            assert!(run("python3", &["-c", &cut]), "no power cut");
        });
        assert!(run("umount", &[at]) && run("mount", &["-o", "loop", image, at]));
        last = newest(&open(&store).await.unwrap()).await;
        assert!(last >= acked, "round {round}: {acked} was acknowledged, {last} found");
    }
    println!("power cut 20 times, {last} commits, none lost");
    run("umount", &["-l", at]);
}
