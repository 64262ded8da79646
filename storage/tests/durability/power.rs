//! What needs a disk of its own: a full one, one that dies or turns read-only, and one whose power
//! is cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use selkie_storage::{SledError, StoreError};
use tempfile::TempDir;

use super::{PATIENCE, newest, open, put, write_until};

const PLAIN: &str = "power::child_plain_sled";

fn rounds() -> u64 {
    if super::is_proof() { 200 } else { 20 }
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let done = Command::new(program).args(arguments).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

/// A file system of its own; unmounted with the test, however that ends.
struct Disk {
    image: PathBuf,
    at: PathBuf,
    _dir: TempDir,
}

impl Disk {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("mount"));
        fs::create_dir(&at).unwrap();
        Self { image, at, _dir: dir }
    }

    fn tmpfs(size: &str) -> Self {
        let disk = Self::new();
        let size = format!("size={size}");
        assert!(run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", disk.at.to_str().unwrap()]));
        disk
    }

    fn ext4() -> Self {
        let disk = Self::new();
        fs::File::create(&disk.image).unwrap().set_len(48 << 20).unwrap();
        assert!(run("mkfs.ext4", &["-qF", disk.image.to_str().unwrap()]), "no mkfs.ext4");
        disk.mount();
        disk
    }

    fn mount(&self) {
        let (image, at) = (self.image.to_str().unwrap(), self.at.to_str().unwrap());
        assert!(run("mount", &["-o", "loop", image, at]), "cannot mount");
    }

    /// The page cache and what ext4 has not put into its journal are lost.
    fn cut(&self) {
        let at = self.at.display();
        let cut = format!(
            "import fcntl,os;fcntl.ioctl(os.open('{at}',os.O_RDONLY),0x8004587d,(2).to_bytes(4,'little'))"
        );
        assert!(run("python3", &["-c", &cut]), "no power cut");
    }

    /// What an administrator does: nothing is written any more, and what is there can be read.
    fn remount(&self, mode: &str) -> bool {
        run("mount", &["-o", &format!("remount,{mode}"), self.at.to_str().unwrap()])
    }

    /// What the kernel does when it meets an error of the file system (`errors=remount-ro`), though
    /// files are open; whether it let itself be asked to.
    fn turn_read_only(&self) -> bool {
        assert!(self.remount("errors=remount-ro"), "cannot remount");
        let at = self.at.to_str().unwrap();
        let source = Command::new("findmnt").args(["-no", "SOURCE", at]).output().unwrap().stdout;
        let device = String::from_utf8(source).unwrap();
        let name = device.trim().trim_start_matches("/dev/");
        fs::write(format!("/sys/fs/ext4/{name}/trigger_fs_error"), b"1").is_ok()
    }

    fn restart(&self) {
        self.once_it_is_let_go(|| run("umount", &[self.at.to_str().unwrap()]));
        self.mount();
    }

    /// The threads of the engine may hold its files for a moment.
    fn once_it_is_let_go(&self, done: impl Fn() -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < end, "{} is held for ever", self.at.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run("umount", &["-l", self.at.to_str().unwrap()]);
    }
}

/// Whether a file system can be mounted at all; anything else that fails is a failure.
fn may_mount(test: &str, device: &str) -> bool {
    let succeeds = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let done = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        done.status().is_ok_and(|status| status.success())
    };
    let at = tempfile::tempdir().unwrap();
    let path = at.path().to_str().unwrap();
    // Being root is not enough in a container: it may lack the right to mount, or loop devices.
    let mounts = succeeds("mount", &["-t", "tmpfs", "tmpfs", path]) && succeeds("umount", &[path]);
    let is_allowed = mounts && (!device.contains("loop") || succeeds("losetup", &["-f"]));
    if !is_allowed {
        println!("SKIPPED {test}: no right to mount, or no {device}");
    }
    is_allowed
}

/// Whether it names the directory whose disk is full.
fn is_full(error: &SledError, at: &Path) -> bool {
    matches!(error, SledError::Full { dir, .. } if dir == at)
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_loses_nothing_and_recovers_by_itself() {
    if !may_mount("full_disk_loses_nothing_and_recovers_by_itself", "/") {
        return;
    }
    let disk = Disk::tmpfs("4m");
    let path = disk.at.join("store");
    let store = open(&path).await.unwrap();
    put(&store, 1).await.unwrap();
    let ballast = disk.at.join("ballast");
    fs::write(&ballast, vec![1; 8 << 20]).unwrap_err();
    let mut number = 2;
    while put(&store, number).await.is_ok() {
        number += 1;
    }
    assert_eq!(newest(&store).await, number - 1);
    let Err(StoreError::Unavailable { source }) = put(&store, number).await else { panic!() };
    assert!(is_full(source.downcast_ref().unwrap(), &path), "{source:?}");
    let nowhere = disk.at.join("nowhere");
    let refused = open(&nowhere).await.unwrap_err();
    assert!(is_full(&refused, &nowhere), "{refused:?}");
    fs::remove_file(&ballast).unwrap();
    put(&store, number).await.unwrap();
    drop(store);
    assert_eq!(newest(&open(&path).await.unwrap()).await, number);
    println!("full disk: refused commit {number}, took it once there was space, 0 lost");
}

/// A server tries again and again to open such a store.
#[tokio::test(flavor = "multi_thread")]
async fn full_disk_with_a_damaged_journal_is_not_filled_with_parts_of_copies() {
    if !may_mount("full_disk_with_a_damaged_journal_is_not_filled_with_parts_of_copies", "/") {
        return;
    }
    let disk = Disk::tmpfs("12m");
    let path = disk.at.join("store");
    let store = open(&path).await.unwrap();
    put(&store, 1).await.unwrap();
    drop(store);
    let ballast = disk.at.join("ballast");
    fs::write(path.join("journal"), vec![7; 4 << 20]).unwrap();
    fs::write(&ballast, vec![1; 16 << 20]).unwrap_err();
    let copies = || {
        let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
        let is_copy =
            |path: &PathBuf| path.file_name().unwrap().as_encoded_bytes().starts_with(b"damaged-");
        let (journals, others): (Vec<_>, Vec<_>) =
            entries.filter(is_copy).partition(|path| path.join("journal").exists());
        (journals.len(), others.len())
    };
    for _ in 0..8 {
        let refused = open(&path).await.unwrap_err();
        assert!(is_full(&refused, &path), "{refused:?}");
    }
    // What sled could not finish is moved, which takes no space.
    assert!(copies().0 == 0 && copies().1 <= 4, "{:?}", copies());
    fs::remove_file(&ballast).unwrap();
    assert_eq!(newest(&open(&path).await.unwrap()).await, 1);
    assert_eq!(copies().0, 1);
}

/// Whichever write meets the end of the space first.
#[tokio::test(flavor = "multi_thread")]
async fn disk_that_fills_up_at_any_write_loses_nothing() {
    if !may_mount("disk_that_fills_up_at_any_write_loses_nothing", "/") {
        return;
    }
    let mut refused = 0;
    for pages in 0..24 {
        let disk = Disk::tmpfs("3m");
        let path = disk.at.join("store");
        let store = open(&path).await.unwrap();
        put(&store, 1).await.unwrap();
        let ballast = disk.at.join("ballast");
        fs::write(&ballast, vec![1; 4 << 20]).unwrap_err();
        let length = fs::metadata(&ballast).unwrap().len() - pages * 4096;
        fs::File::options().write(true).open(&ballast).unwrap().set_len(length).unwrap();
        let mut number = 2;
        while put(&store, number).await.is_ok() {
            number += 1;
        }
        refused += number;
        assert_eq!(newest(&store).await, number - 1, "{pages} pages");
        drop(store);
        // Full as it is, it is refused or whole, and never made anew.
        match open(&path).await {
            Ok(store) => assert_eq!(newest(&store).await, number - 1, "{pages} pages, full"),
            Err(error) => assert!(!matches!(error, SledError::Damaged), "{pages}: {error:?}"),
        }
        fs::remove_file(&ballast).unwrap();
        let store = open(&path).await.unwrap();
        assert_eq!(newest(&store).await, number - 1, "{pages} pages, space again");
        put(&store, number).await.unwrap();
    }
    println!("full disk: 24 amounts of space left, on average commit {} refused", refused / 24);
}

#[tokio::test(flavor = "multi_thread")]
async fn disk_that_turns_read_only_refuses_commits_and_keeps_what_it_has() {
    let test = "disk_that_turns_read_only_refuses_commits_and_keeps_what_it_has";
    if !may_mount(test, "/dev/loop-control") {
        return;
    }
    let disk = Disk::ext4();
    let path = disk.at.join("store");
    let store = open(&path).await.unwrap();
    for number in 1..=5 {
        put(&store, number).await.unwrap();
    }
    if !disk.turn_read_only() {
        println!("SKIPPED {test}: no right to trigger an error of the file system");
        return;
    }
    for _ in 0..3 {
        let refused = put(&store, 6).await.unwrap_err();
        let expected =
            matches!(refused, StoreError::Unavailable { .. } | StoreError::Undecided { .. });
        assert!(expected, "{refused:?}");
        assert_eq!(newest(&store).await, 5);
    }
    drop(store);
    let refused = open(&path).await.unwrap_err();
    assert!(matches!(refused, SledError::Io(_) | SledError::Engine(_)), "{refused:?}");
    disk.restart();
    let store = open(&path).await.unwrap();
    assert!((5..=6).contains(&newest(&store).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn store_on_a_read_only_mount_is_refused_and_left_as_it_is() {
    let test = "store_on_a_read_only_mount_is_refused_and_left_as_it_is";
    if !may_mount(test, "/") {
        return;
    }
    let disk = Disk::tmpfs("4m");
    let (path, nowhere) = (disk.at.join("store"), disk.at.join("nowhere"));
    let store = open(&path).await.unwrap();
    put(&store, 1).await.unwrap();
    drop(store);
    disk.once_it_is_let_go(|| disk.remount("ro"));
    for at in [&path, &nowhere] {
        let refused = open(at).await.unwrap_err();
        assert!(matches!(refused, SledError::Io(_)), "{refused:?}");
    }
    assert!(disk.remount("rw"));
    let store = open(&path).await.unwrap();
    assert_eq!(newest(&store).await, 1);
    assert!(!nowhere.exists());
}

/// Every call answers EIO from one moment on, while the store is open.
#[tokio::test(flavor = "multi_thread")]
async fn disk_that_dies_refuses_commits_and_reads_go_on() {
    let test = "disk_that_dies_refuses_commits_and_reads_go_on";
    if !may_mount(test, "/dev/loop-control") {
        return;
    }
    let disk = Disk::ext4();
    let path = disk.at.join("store");
    let mut last = 0;
    for round in 0..10 {
        let store = open(&path).await.unwrap();
        let start = newest(&store).await;
        assert!((last..=last + 1).contains(&start), "round {round}: {start} instead of {last}");
        for number in start + 1..=start + 1 + round {
            put(&store, number).await.unwrap();
            last = number;
        }
        disk.cut();
        for _ in 0..2 {
            put(&store, last + 1).await.unwrap_err();
            assert_eq!(newest(&store).await, last);
        }
        drop(store);
        open(&path).await.unwrap_err();
        disk.restart();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_loses_no_acknowledged_commit() {
    if !may_mount("power_cut_loses_no_acknowledged_commit", "/dev/loop-control") {
        return;
    }
    let (disk, rounds) = (Disk::ext4(), rounds());
    let store = disk.at.join("store");
    let (mut last, mut acks) = (0, 0);
    for round in 0..rounds {
        let acked = write_until("child_writer", &store, 50 + round * 61 % 400, || disk.cut());
        disk.restart();
        acks += acked - last;
        last = newest(&open(&store).await.unwrap()).await;
        assert!(last >= acked, "round {round}: {acked} was acknowledged, {last} found");
        if round % 20 == 19 {
            println!("power cut: {} of {rounds} rounds", round + 1);
        }
    }
    println!(
        "evidence: a power cut loses nothing that was acknowledged | make proof | {rounds} cuts, \
         {acks} commits, 0 lost | sled's own flush alone: next row"
    );
}

#[test]
fn child_plain_sled() {
    let Ok(dir) = std::env::var(super::DIR) else { return };
    let db = sled::open(dir).unwrap();
    for number in 1_u64.. {
        db.insert(b"newest", &number.to_be_bytes()).unwrap();
        db.flush().unwrap();
        println!("\nack {number}");
    }
}

/// What the power cut is worth: it must take something from who trusts sled's own flush.
#[test]
fn power_cut_takes_acknowledged_commits_from_plain_sled() {
    if !may_mount("power_cut_takes_acknowledged_commits_from_plain_sled", "/dev/loop-control") {
        return;
    }
    let (disk, rounds) = (Disk::ext4(), rounds());
    let (mut lost, mut acks) = (0, 0);
    for round in 0..rounds {
        let path = disk.at.join(format!("plain-{round}"));
        let acked = write_until(PLAIN, &path, 50 + round * 61 % 400, || disk.cut());
        disk.restart();
        acks += acked;
        let found = std::panic::catch_unwind(|| sled::open(&path).ok()?.get(b"newest").ok()?);
        let found = found.ok().flatten().and_then(|bytes| bytes.as_ref().try_into().ok());
        lost += u64::from(found.map_or(0, u64::from_be_bytes) < acked);
        // Many rounds would fill the disk.
        fs::remove_dir_all(&path).unwrap();
    }
    println!(
        "evidence: ... and without our journal it would | make proof | {rounds} cuts, {acks} \
         commits, some lost in {lost} of them | this row is the control"
    );
    assert!(lost > 0, "the power cut took nothing: it proves nothing");
}
