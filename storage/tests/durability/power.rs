//! What needs a disk of its own: a full one, and one whose power is cut.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{newest, open, put, write_until};

const PLAIN: &str = "power::child_plain_sled";
const ROUNDS: u64 = 20;

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

    fn restart(&self) {
        assert!(run("umount", &[self.at.to_str().unwrap()]), "cannot unmount");
        self.mount();
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
    fs::remove_file(&ballast).unwrap();
    put(&store, number).await.unwrap();
    drop(store);
    assert_eq!(newest(&open(&path).await.unwrap()).await, number);
    println!("full disk: refused commit {number}, took it once there was space, 0 lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn power_cut_loses_no_acknowledged_commit() {
    if !may_mount("power_cut_loses_no_acknowledged_commit", "/dev/loop-control") {
        return;
    }
    let disk = Disk::ext4();
    let store = disk.at.join("store");
    let (mut last, mut acks) = (0, 0);
    for round in 0..ROUNDS {
        let acked = write_until("child_writer", &store, 50 + round * 61 % 400, || disk.cut());
        disk.restart();
        acks += acked - last;
        last = newest(&open(&store).await.unwrap()).await;
        assert!(last >= acked, "round {round}: {acked} was acknowledged, {last} found");
    }
    println!("power cut: {ROUNDS} rounds, {acks} acknowledged, 0 lost");
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
    let (disk, mut lost, mut acks) = (Disk::ext4(), 0, 0);
    for round in 0..ROUNDS {
        let path = disk.at.join(format!("plain-{round}"));
        let acked = write_until(PLAIN, &path, 50 + round * 61 % 400, || disk.cut());
        disk.restart();
        acks += acked;
        let found = std::panic::catch_unwind(|| sled::open(&path).ok()?.get(b"newest").ok()?);
        let found = found.ok().flatten().and_then(|bytes| bytes.as_ref().try_into().ok());
        lost += u64::from(found.map_or(0, u64::from_be_bytes) < acked);
    }
    println!(
        "power cut, plain sled: {ROUNDS} rounds, {acks} acknowledged, {lost} rounds lost some"
    );
    assert!(lost > 0, "the power cut took nothing: it proves nothing");
}
