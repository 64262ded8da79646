mod held;
mod opening;
mod partial;
mod verifying;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use selkie_config::{AuditFile, AuditSocket, AuditSyslog, AuditTarget};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::clock::SystemClock;

fn key() -> AuditKey {
    AuditKey::init_with(|page| page.fill(5)).unwrap()
}

fn file(path: &Path) -> AuditKind {
    AuditKind::File(AuditFile { path: path.to_owned(), mode: 0o600, fsync: false })
}

fn device(path: &str, kind: AuditKind) -> AuditDevice {
    let checkpoint_interval = Duration::from_secs(60);
    AuditDevice { path: path.to_owned(), description: String::new(), checkpoint_interval, kind }
}

fn start(devices: Vec<AuditDevice>) -> Result<Audit, AuditError> {
    Audit::start(selkie_config::Audit { key: Some(key()), devices }, Arc::new(SystemClock))
}

fn on(path: &Path) -> Audit {
    start(vec![device("file", file(path))]).unwrap()
}

async fn record(audit: &Audit, number: usize) -> Result<(), NotRecorded> {
    let line = format!(
        "{{\"time\":\"2026-11-27T09:00:00.{number:09}Z\",\"type\":\"request\",\"n\":{number}"
    );
    audit.record(line.into_bytes()).await
}

/// A log of one run with `lines` lines between its first and its last.
async fn run(path: &Path, lines: usize) {
    let audit = on(path);
    for number in 0..lines {
        record(&audit, number).await.unwrap();
    }
}

fn types(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let kind = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["type"].as_str().unwrap().to_owned()
    };
    text.lines().map(kind).collect()
}

fn log() -> (TempDir, PathBuf) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("audit.log");
    (directory, path)
}

#[tokio::test]
async fn a_run_begins_and_ends_with_lines_of_its_own_in_a_file_for_its_owner_alone() {
    let (_directory, path) = log();
    run(&path, 2).await;
    assert_eq!(types(&path), ["selkie_start", "request", "request", "selkie_stop"]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_file_that_others_could_read_is_closed_to_them() {
    let (_directory, path) = log();
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    run(&path, 1).await;
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn a_link_is_not_followed_at_the_start_nor_when_it_is_put_there_later() {
    let (directory, path) = log();
    let elsewhere = directory.path().join("elsewhere");
    symlink(&elsewhere, &path).unwrap();
    assert!(matches!(start(vec![device("file", file(&path))]), Err(AuditError::File { .. })));
    fs::remove_file(&path).unwrap();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    fs::rename(&path, directory.path().join("audit.log.1")).unwrap();
    symlink(&elsewhere, &path).unwrap();
    audit.reopen();
    assert_eq!(record(&audit, 1).await, Err(NotRecorded));
    fs::remove_file(&path).unwrap();
    record(&audit, 2).await.unwrap();
    assert!(!elsewhere.exists());
    assert_eq!(types(&path)[..2], ["selkie_file", "request"]);
}

#[tokio::test]
async fn what_cannot_be_opened_for_good_is_told_at_the_start() {
    let (directory, path) = log();
    for path in [path.join("below"), directory.path().to_owned()] {
        assert!(matches!(start(vec![device("file", file(&path))]), Err(AuditError::File { .. })));
    }
}

#[tokio::test]
async fn a_full_disk_takes_no_line_and_one_device_is_enough() {
    let (_directory, path) = log();
    let full = || device("full", file(Path::new("/dev/full")));
    let alone = start(vec![full()]).unwrap();
    assert_eq!(record(&alone, 0).await, Err(NotRecorded));
    assert!(alone.devices().iter().all(|(_, figures)| figures.is_failing.load(Ordering::Relaxed)));
    let both = start(vec![full(), device("file", file(&path))]).unwrap();
    assert_eq!(record(&both, 0).await, Ok(()));
    drop(both);
    assert_eq!(types(&path), ["selkie_start", "request", "selkie_stop"]);
}

/// What a reload with these devices does.
async fn reload(audit: &Audit, devices: Vec<AuditDevice>) -> Result<(), AuditError> {
    let change = audit.prepare(selkie_config::Audit { key: Some(key()), devices }).await?;
    audit.put_to_use(change).stop().await;
    Ok(())
}

#[tokio::test]
async fn a_reload_takes_no_device_that_does_not_work_and_those_in_use_stay() {
    let (directory, path) = log();
    let stays = || device("file", file(&path));
    let audit = start(vec![stays()]).unwrap();
    let target = AuditTarget::Unix(directory.path().join("nobody"));
    let write_timeout = Duration::from_secs(1);
    let away = AuditKind::Socket(AuditSocket { target, write_timeout });
    for devices in [vec![device("away", away.clone())], vec![stays(), device("away", away)]] {
        let refused = reload(&audit, devices).await;
        assert!(matches!(refused, Err(AuditError::Unopened { device, .. }) if device == "away"));
    }
    record(&audit, 0).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_start", "request", "selkie_stop"]);
}

#[tokio::test]
async fn a_reload_with_another_audit_key_or_two_devices_on_one_file_is_refused() {
    let (directory, path) = log();
    let other = directory.path().join("other");
    let audit = Audit::none(Arc::new(SystemClock));
    let twice = vec![device("one", file(&other)), device("two", file(&other))];
    assert!(
        matches!(reload(&audit, twice).await, Err(AuditError::InUse { device }) if device == "two")
    );
    reload(&audit, vec![device("file", file(&path))]).await.unwrap();
    let devices = vec![device("file", file(&path)), device("other", file(&other))];
    let another = AuditKey::init_with(|key| key.fill(99)).unwrap();
    let changed = selkie_config::Audit { key: Some(another), devices };
    assert!(matches!(audit.prepare(changed).await, Err(AuditError::OtherKey)));
}

#[tokio::test]
async fn a_reload_takes_devices_in_and_out_and_one_that_stays_goes_on_with_its_chain() {
    let (directory, path) = log();
    let [second, third] = ["second", "third"].map(|name| directory.path().join(name));
    let stays = || device("file", file(&path));
    let audit = start(vec![stays(), device("second", file(&second))]).unwrap();
    record(&audit, 0).await.unwrap();
    reload(&audit, vec![stays(), device("third", file(&third))]).await.unwrap();
    assert_eq!(types(&second), ["selkie_start", "request", "selkie_stop"], "it has ended");
    record(&audit, 1).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_start", "request", "request", "selkie_stop"]);
    assert_eq!(types(&third), ["selkie_start", "request", "selkie_stop"]);
}

#[tokio::test]
async fn the_first_device_may_come_by_a_reload_and_the_last_one_does_not_go() {
    let (_directory, path) = log();
    let audit = start(Vec::new()).unwrap();
    assert!(audit.key().is_none());
    reload(&audit, vec![device("file", file(&path))]).await.unwrap();
    assert!(audit.key().is_some());
    record(&audit, 0).await.unwrap();
    assert!(matches!(reload(&audit, Vec::new()).await, Err(AuditError::Off)));
    record(&audit, 1).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_start", "request", "request", "selkie_stop"]);
}

#[tokio::test]
async fn a_refused_reload_leaves_the_devices_and_no_line() {
    let (directory, path) = log();
    let new = directory.path().join("new");
    let audit = on(&path);
    let otherwise = AuditFile { path: path.clone(), mode: 0o640, fsync: false };
    let stays = || device("file", file(&path));
    for wrong in [
        device("file", AuditKind::File(otherwise)),
        device("file", file(&directory.path().join("other"))),
        device("another", file(&path)),
    ] {
        let devices = vec![stays(), device("new", file(&new)), wrong];
        let refused = reload(&audit, devices).await;
        assert!(matches!(refused, Err(AuditError::InUse { .. })), "{refused:?}");
    }
    let broken = device("broken", file(directory.path()));
    let refused = reload(&audit, vec![device("new", file(&new)), broken]).await;
    assert!(matches!(refused, Err(AuditError::File { .. })), "{refused:?}");
    record(&audit, 0).await.unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_start", "request", "selkie_stop"]);
    until(|| !new.exists()).await;
}

async fn until(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it never came");
}

#[tokio::test]
async fn a_device_that_is_not_taken_in_leaves_its_file_as_it_was() {
    let (directory, path) = log();
    let found = directory.path().join("found");
    let torn = b"{\"n\":1}\n{\"n\":";
    fs::write(&found, torn).unwrap();
    fs::set_permissions(&found, fs::Permissions::from_mode(0o644)).unwrap();
    let audit = on(&path);
    let devices = || vec![device("file", file(&path)), device("new", file(&found))];
    let declared = || selkie_config::Audit { key: Some(key()), devices: devices() };
    drop(audit.prepare(declared()).await.unwrap());
    until(|| Arc::strong_count(&audit.claims) == 2 + 1).await;
    assert_eq!(fs::read(&found).unwrap(), torn);
    assert_eq!(fs::metadata(&found).unwrap().permissions().mode() & 0o777, 0o644);
    reload(&audit, devices()).await.unwrap();
    record(&audit, 0).await.unwrap();
    drop(audit);
    let text = fs::read_to_string(&found).unwrap();
    assert!(text.starts_with("{\"n\":1}\n{\"n\":\n{"), "its torn line is ended once it is in use");
    assert_eq!(fs::metadata(&found).unwrap().permissions().mode() & 0o777, 0o600);
}

/// What a file is that somebody has written to meanwhile, or put another one in its place.
#[tokio::test]
async fn only_a_file_that_is_still_empty_and_ours_is_removed_again() {
    let (directory, path) = log();
    let new = directory.path().join("new");
    let audit = on(&path);
    let declared = || selkie_config::Audit {
        key: Some(key()),
        devices: vec![device("file", file(&path)), device("new", file(&new))],
    };
    for (meanwhile, left) in [("nothing", None), ("written", Some("x")), ("replaced", Some(""))] {
        let change = audit.prepare(declared()).await.unwrap();
        assert!(new.exists());
        match meanwhile {
            "written" => fs::write(&new, "x").unwrap(),
            "replaced" => {
                let other = directory.path().join("other");
                fs::write(&other, "").unwrap();
                fs::rename(&other, &new).unwrap();
            }
            _ => {}
        }
        drop(change);
        until(|| Arc::strong_count(&audit.claims) == 2 + 1).await;
        assert_eq!(fs::read_to_string(&new).ok().as_deref(), left, "{meanwhile}");
        let _gone = fs::remove_file(&new);
    }
}

#[tokio::test]
async fn two_devices_on_one_file_are_refused_whatever_they_call_it() {
    let (directory, path) = log();
    let up = format!("../{}/audit.log", directory.path().file_name().unwrap().display());
    let (dotted, linked) = (directory.path().join(up), directory.path().join("linked"));
    let through = directory.path().join("through");
    symlink(directory.path(), &through).unwrap();
    let through = through.join("audit.log");
    fs::write(&path, "").unwrap();
    fs::hard_link(&path, &linked).unwrap();
    for other in [dotted, linked, through] {
        let both = || vec![device("one", file(&path)), device("two", file(&other))];
        let refused = start(both()).unwrap_err();
        let AuditError::File { device: two, source, .. } = refused else { panic!("{refused:?}") };
        assert!(two == "two" && source.to_string().contains("audit device \"one\""), "{source}");
        let audit = start(both()[..1].to_vec()).unwrap();
        let refused = reload(&audit, both()).await;
        assert!(matches!(refused, Err(AuditError::File { device, .. }) if device == "two"));
    }
}

/// Whether a second server is refused the file, and told why.
fn is_refused_elsewhere(path: &Path) -> bool {
    match start(vec![device("file", file(path))]) {
        Ok(_second) => false,
        Err(AuditError::File { source, .. }) => source.to_string().contains("another Selkie"),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_second_server_is_refused_the_file_of_the_first_and_has_it_once_that_stops() {
    let (_directory, path) = log();
    let first = on(&path);
    assert!(is_refused_elsewhere(&path));
    record(&first, 0).await.unwrap();
    assert!(is_refused_elsewhere(&path));
    drop(first);
    assert_eq!(types(&path), ["selkie_start", "request", "selkie_stop"]);
    assert!(!is_refused_elsewhere(&path));
}

#[tokio::test]
async fn a_file_that_another_process_has_counts_as_a_device_that_fails_until_it_is_free() {
    let (directory, held) = log();
    let works = directory.path().join("works.log");
    let hung = on(&held);
    let devices = vec![device("held", file(&held)), device("works", file(&works))];
    let audit = start(devices.clone()).unwrap();
    let failing = || {
        let failing = audit.devices();
        let failing = failing.iter().filter(|(_, one)| one.is_failing.load(Ordering::Relaxed));
        failing.map(|(device, _)| device.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(failing(), ["held"], "it is told before the first line");
    assert!(!audit.refuses_all());
    record(&audit, 0).await.unwrap();
    drop(hung);
    until(|| failing().is_empty()).await;
    record(&audit, 1).await.unwrap();
    drop(audit);
    assert_eq!(types(&works), ["selkie_start", "request", "request", "selkie_stop"]);
    let taken = types(&held);
    assert_eq!(
        taken[..3],
        ["selkie_start", "selkie_stop", "selkie_start"],
        "it is taken when free"
    );
    assert_eq!(taken[taken.len() - 2..], ["request", "selkie_stop"], "{taken:?}");

    let _hung = (on(&held), on(&works));
    let refused = start(devices).unwrap_err();
    assert!(matches!(refused, AuditError::File { .. }), "no device works: {refused:?}");
}

#[tokio::test]
async fn a_reload_never_lets_go_of_the_file_and_a_rotation_of_the_old_one_alone() {
    let (directory, path) = log();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    audit.reopen();
    assert!(is_refused_elsewhere(&path), "before the next line opens it anew");
    record(&audit, 1).await.unwrap();
    assert!(is_refused_elsewhere(&path), "nor after it");
    let rotated = directory.path().join("audit.log.1");
    fs::rename(&path, &rotated).unwrap();
    audit.reopen();
    record(&audit, 2).await.unwrap();
    assert!(is_refused_elsewhere(&path));
    fs::File::open(&rotated).unwrap().try_lock().unwrap();
    drop(audit);
    assert_eq!(types(&path), ["selkie_file", "request", "selkie_stop"]);
    assert!(verifying::check(&[&rotated, &path], &[]).is_whole());
}

#[tokio::test(start_paused = true)]
async fn a_start_waits_for_a_server_that_drains_and_not_for_ever() {
    let (_directory, path) = log();
    let devices = [device("file", file(&path))];
    await_others(&devices).await;
    let draining = on(&path);
    let begun = tokio::time::Instant::now();
    let (waited, ()) = tokio::join!(
        async {
            await_others(&devices).await;
            begun.elapsed()
        },
        async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            drop(draining);
        }
    );
    assert!((9..10).contains(&waited.as_secs()), "{waited:?}");
    let _stays = on(&path);
    await_others(&devices).await;
    assert!((24..26).contains(&begun.elapsed().as_secs()));
    assert!(is_refused_elsewhere(&path));
}

#[tokio::test]
async fn a_device_that_failed_is_tried_again_although_nobody_asks_for_a_line() {
    let (_directory, path) = log();
    symlink("/dev/full", &path).unwrap();
    let full = start(vec![device("full", file(Path::new("/dev/full")))]).unwrap();
    assert!(!full.refuses_all(), "nothing is known yet");
    assert_eq!(record(&full, 0).await, Err(NotRecorded));
    assert!(full.refuses_all());
    fs::remove_file(&path).unwrap();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    fs::rename(&path, path.with_extension("1")).unwrap();
    symlink("/dev/full", &path).unwrap();
    audit.reopen();
    assert_eq!(record(&audit, 1).await, Err(NotRecorded));
    assert!(audit.refuses_all());
    fs::remove_file(&path).unwrap();
    until(|| !audit.refuses_all()).await;
    assert_eq!(types(&path), ["selkie_file", "selkie_checkpoint"]);
}

/// A file on a disk that hangs at each write until it is let go.
struct Hanging {
    file: FileSink,
    let_go: std::sync::mpsc::Receiver<()>,
}

impl Sink for Hanging {
    fn probe(&mut self) -> io::Result<()> {
        self.file.probe()
    }

    fn ready(&mut self) -> io::Result<sink::Ready> {
        self.file.ready()
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), sink::Failed> {
        let _let_go = self.let_go.recv();
        self.file.write(lines)
    }

    fn reopen(&mut self) {
        self.file.reopen();
    }
}

#[tokio::test]
async fn a_file_whose_old_device_hangs_is_not_declared_again_and_gets_no_late_line() {
    let (directory, path) = log();
    let audit = on(&path);
    let hung = directory.path().join("hung");
    let settings = AuditFile { path: hung.clone(), mode: 0o600, fsync: false };
    let (go, let_go) = std::sync::mpsc::channel();
    let mut hanging = Hanging { file: FileSink::new(settings, "old", &audit.claims), let_go };
    hanging.probe().unwrap();
    let old = partial::on_sink("old", Box::new(hanging));
    let begun = old.record(b"{\"type\":\"request\"".to_vec());
    assert_eq!(begun.await, Err(NotRecorded), "it hangs");
    let devices = old.devices().clone();
    tokio::task::spawn_blocking(move || devices[0].stop()).await.unwrap();
    let again = || vec![device("file", file(&path)), device("new", file(&hung))];
    let refused = reload(&audit, again()).await.unwrap_err();
    let AuditError::File { source, .. } = refused else { panic!("{refused:?}") };
    assert!(source.to_string().contains("audit device \"old\""), "{source}");
    go.send(()).unwrap();
    until(|| Arc::strong_count(&audit.claims) == 2 + 1).await;
    assert_eq!(types(&hung), ["selkie_start", "request"], "what hung, and nothing after it");
    reload(&audit, again()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_line_is_lost_while_devices_change() {
    const LINES: usize = 400;
    let (directory, path) = log();
    let other = directory.path().join("other");
    let [one, two] = [("one", &path), ("two", &other)]
        .map(|(name, path)| move || vec![device(name, file(path))]);
    let audit = Arc::new(start(one()).unwrap());
    let changes = Arc::new(AtomicUsize::new(0));
    let recorder = {
        let (audit, changes) = (Arc::clone(&audit), Arc::clone(&changes));
        tokio::spawn(async move {
            let mut recorded = 0;
            while recorded < LINES || changes.load(Ordering::Relaxed) < 2 {
                record(&audit, recorded).await.unwrap();
                recorded += 1;
            }
            recorded
        })
    };
    while !recorder.is_finished() {
        let next = if changes.load(Ordering::Relaxed).is_multiple_of(2) { two() } else { one() };
        reload(&audit, next).await.unwrap();
        changes.fetch_add(1, Ordering::Relaxed);
    }
    let recorded = recorder.await.unwrap();
    drop(audit);
    let all = [types(&path), types(&other)].concat();
    assert_eq!(all.iter().filter(|kind| *kind == "request").count(), recorded);
}

#[tokio::test]
async fn a_collector_gets_json_lines_and_is_found_again_when_it_comes_back() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = AuditTarget::Tcp(collector.local_addr().unwrap());
    let settings = AuditSocket { target, write_timeout: Duration::from_secs(1) };
    let audit = start(vec![device("socket", AuditKind::Socket(settings))]).unwrap();
    record(&audit, 7).await.unwrap();
    let mut lines = BufReader::new(collector.accept().unwrap().0).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(next()["type"], "selkie_start");
    assert_eq!(next()["n"], 7);
    drop(lines);
    drop(collector);
    let mut outcomes = Vec::new();
    for number in 0..50 {
        outcomes.push(record(&audit, number).await);
    }
    assert!(outcomes.contains(&Err(NotRecorded)), "a closed socket is noticed");
}

#[tokio::test]
async fn a_collector_that_is_away_at_the_start_stops_no_server() {
    let (directory, path) = log();
    let missing = directory.path().join("nobody");
    let write_timeout = Duration::from_secs(1);
    let socket = |target| AuditKind::Socket(AuditSocket { target, write_timeout });
    let syslog = AuditSyslog { facility: 4, tag: "selkie".to_owned(), socket: missing.clone() };
    for kind in [
        socket(AuditTarget::Tcp((Ipv4Addr::LOCALHOST, 1).into())),
        socket(AuditTarget::Unix(missing)),
        AuditKind::Syslog(syslog),
    ] {
        let away = || device("away", kind.clone());
        let alone = start(vec![away()]).unwrap();
        assert!(alone.refuses_all(), "and health says so before the first request");
        assert_eq!(record(&alone, 0).await, Err(NotRecorded));
        let both = start(vec![away(), device("file", file(&path))]).unwrap();
        assert_eq!(record(&both, 0).await, Ok(()));
    }
}

#[tokio::test]
async fn syslog_gets_a_datagram_for_each_line_with_its_priority() {
    let (directory, _path) = log();
    let socket = directory.path().join("log");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    let settings = AuditSyslog { facility: 4, tag: "selkie".to_owned(), socket };
    let audit = start(vec![device("syslog", AuditKind::Syslog(settings))]).unwrap();
    record(&audit, 7).await.unwrap();
    let mut buffer = [0; 4096];
    let mut next = || {
        let length = daemon.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let head = format!("<38>selkie[{}]: {{", std::process::id());
    let (first, second) = (next(), next());
    assert!(first.starts_with(&head) && first.contains("selkie_start"), "{first}");
    assert!(second.starts_with(&head) && second.ends_with("\"}}"), "{second}");
}

#[tokio::test]
async fn a_device_that_blocks_holds_nobody_up_for_long_and_further_lines_fail_at_once() {
    let (directory, _path) = log();
    let socket = directory.path().join("log");
    // Nobody reads: the kernel takes a few datagrams and then blocks.
    let _daemon = UnixDatagram::bind(&socket).unwrap();
    let settings = AuditSyslog { facility: 4, tag: "selkie".to_owned(), socket };
    let audit = start(vec![device("syslog", AuditKind::Syslog(settings))]).unwrap();
    let mut number = 0;
    while record(&audit, number).await.is_ok() {
        number += 1;
    }
    until(|| audit.refuses_all()).await;
    // From here on only waiting for the device takes time.
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    for number in 0..100 {
        assert_eq!(record(&audit, number).await, Err(NotRecorded));
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn lines_that_wait_are_written_in_order() {
    let (_directory, path) = log();
    let audit = Arc::new(on(&path));
    let lines: Vec<_> = (0..500).map(|number| record(&audit, number)).collect();
    for outcome in futures_util::future::join_all(lines).await {
        outcome.unwrap();
    }
    drop(audit);
    let text = fs::read_to_string(&path).unwrap();
    let numbers =
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64());
    assert!(numbers.eq(0..500));
}

#[tokio::test]
async fn a_line_whose_request_gives_up_is_written_all_the_same() {
    let (_directory, path) = log();
    let audit = on(&path);
    assert!(record(&audit, 1).now_or_never().is_none(), "it has not been written yet");
    while !fs::read_to_string(&path).unwrap().contains("\"n\":1") {
        tokio::task::yield_now().await;
    }
}
