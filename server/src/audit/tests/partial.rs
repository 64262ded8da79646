//! Batches of which a device keeps a part.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use futures_util::future::join_all;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

use super::super::sink::{Failed, Ready};
use super::verifying::check;
use super::*;

/// How many lines of the next batch a device keeps, and whether they are lasting.
type Cut = Arc<Mutex<Option<(usize, bool)>>>;

/// A file that takes everything, but of one batch.
struct Short {
    file: File,
    is_open: bool,
    cut: Cut,
}

impl Sink for Short {
    fn probe(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn ready(&mut self) -> io::Result<Ready> {
        let was_open = std::mem::replace(&mut self.is_open, true);
        Ok(if was_open { Ready::AsBefore } else { Ready::Anew(None) })
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let cut = self.cut.lock().unwrap().take();
        let kept = cut.map_or(usize::MAX, |(kept, _)| kept);
        let kept: Vec<u8> =
            lines.split_inclusive(|byte| *byte == b'\n').take(kept).flatten().copied().collect();
        self.file.write_all(&kept).unwrap();
        let Some((_, are_lasting)) = cut else { return Ok(()) };
        let source = io::ErrorKind::StorageFull.into();
        Err(Failed { kept_bytes: kept.len(), are_lasting, source })
    }

    fn reopen(&mut self) {}
}

/// Devices that write to `path` by way of [`Short`].
fn on_short(path: &Path, cut: &Cut) -> Arc<Gathering> {
    let file = File::options().append(true).create(true).open(path).unwrap();
    on_sink("short", Box::new(Short { file, is_open: false, cut: Arc::clone(cut) }))
}

/// One device that writes to `sink`.
pub(super) fn on_sink(name: &str, sink: Box<dyn Sink>) -> Arc<Gathering> {
    Arc::new(Gathering::of(vec![Arc::new(device_on(name, sink))]))
}

pub(super) fn device_on(name: &str, sink: Box<dyn Sink>) -> Device {
    let figures = Arc::<Figures>::default();
    let writer = writer_on(name, sink, &figures, Arc::new(SystemClock));
    let settings = device(name, file(Path::new("/nowhere")));
    Device::start(settings, figures, writer).unwrap()
}

fn writer_on(
    name: &str,
    sink: Box<dyn Sink>,
    figures: &Arc<Figures>,
    clock: Arc<dyn Clock>,
) -> Writer {
    Writer {
        name: name.to_owned(),
        sink,
        key: Arc::new(key()),
        clock,
        chain: Chain::new(Uuid::new_v4().to_string()),
        figures: Arc::clone(figures),
        checkpoint_interval: Duration::from_secs(60),
        before: None,
        is_anew: true,
        chained: Chained::default(),
        told_too_long: LogBudget::new(1),
    }
}

fn line(number: usize) -> Vec<u8> {
    let time = format!("2026-11-27T09:00:00.{number:09}Z");
    format!("{{\"time\":\"{time}\",\"type\":\"request\",\"n\":{number}").into_bytes()
}

/// How many of so many lines, which go together, were recorded; those are the first ones.
async fn recorded(gathering: &Arc<Gathering>, numbers: std::ops::Range<usize>) -> usize {
    let outcomes = join_all(numbers.map(|number| gathering.record(line(number)))).await;
    let taken = outcomes.iter().take_while(|outcome| outcome.is_ok()).count();
    assert!(outcomes[taken..].iter().all(Result::is_err), "not the first ones");
    taken
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["n"].as_u64())
        .collect()
}

#[tokio::test]
async fn of_a_batch_that_is_cut_short_those_lines_count_that_are_lasting() {
    for (kept, are_lasting) in [(4, true), (4, false), (0, true), (10, true), (10, false)] {
        let (_directory, path) = log();
        let cut = Cut::default();
        let gathering = on_short(&path, &cut);
        assert_eq!(recorded(&gathering, 0..1).await, 1);
        *cut.lock().unwrap() = Some((kept, are_lasting));
        let taken = recorded(&gathering, 1..11).await;
        assert_eq!(taken, if are_lasting { kept } else { 0 }, "of {kept} that were kept");
        assert_eq!(recorded(&gathering, 11..13).await, 2);
        let figures = Arc::clone(&gathering.devices()[0].figures);
        assert_eq!(figures.failed.load(Ordering::Relaxed), 10 - taken as u64);
        gathering.devices()[0].stop();
        let expected: Vec<u64> = (0..1 + kept as u64).chain([11, 12]).collect();
        assert_eq!(numbers(&path), expected, "of {kept} that were kept");
        let report = check(&[&path], &[]);
        assert!(report.is_whole() && report.notices.is_empty(), "{report:?}");
    }
}

/// A file system that is full, as far as the kernel tells this process.
struct Full(Rlimit);

impl Full {
    fn beyond(bytes: u64) -> Self {
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(bytes), ..before }).unwrap();
        Self(before)
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        setrlimit(Resource::Fsize, self.0).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_fills_up_within_a_batch_keeps_whole_lines_with_and_without_fsync() {
    // Larger than any other file of these tests, as it concerns all of them.
    const MOST: u64 = 256 << 20;
    const ROOM: u64 = 3_000;
    let _survived = signal(SignalKind::from_raw(25)).unwrap();
    for fsync in [true, false] {
        let (directory, path) = log();
        let before = File::create(&path).unwrap();
        before.set_len(MOST - ROOM - 1).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        File::options().append(true).open(&path).unwrap().write_all(b"\n").unwrap();
        let settings = AuditFile { path: path.clone(), mode: 0o600, fsync };
        let audit = start(vec![device("file", AuditKind::File(settings))]).unwrap();
        record(&audit, 0).await.unwrap();
        let full = Full::beyond(MOST);
        let taken = recorded(&audit.gathering, 1..101).await;
        drop(full);
        assert!((1..100).contains(&taken), "{taken}");
        assert_eq!(recorded(&audit.gathering, 101..103).await, 2);
        drop(audit);
        let (mut file, mut tail) = (File::open(&path).unwrap(), Vec::new());
        file.seek(SeekFrom::Start(MOST - ROOM)).unwrap();
        file.read_to_end(&mut tail).unwrap();
        let path = directory.path().join("tail.log");
        fs::write(&path, tail).unwrap();
        let expected: Vec<u64> = (0..=taken as u64).chain([101, 102]).collect();
        assert_eq!(numbers(&path), expected, "with fsync: {fsync}");
        let report = check(&[&path], &[]);
        assert!(report.is_whole() && report.notices.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn more_lines_than_a_batch_holds_go_in_several_and_in_order() {
    let (_directory, path) = log();
    let gathering = on_short(&path, &Cut::default());
    assert_eq!(recorded(&gathering, 0..2_500).await, 2_500);
    gathering.devices()[0].stop();
    assert!(numbers(&path).into_iter().eq(0..2_500));
    assert!(check(&[&path], &[]).is_whole());
}

/// A line that a datagram cannot hold is refused by the kernel, and is nobody else's matter.
async fn fails_alone(kind: AuditKind, receive: impl Fn(&mut [u8]) -> usize) {
    const LONG: usize = 3;
    let (_directory, path) = log();
    let audit = start(vec![device("datagrams", kind)]).unwrap();
    let line = |number| match number {
        LONG => [line(number), vec![b' '; 300_000]].concat(),
        _ => line(number),
    };
    let outcomes = join_all((0..6).map(|number| audit.record(line(number)))).await;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), number != LONG, "{number}");
    }
    assert!(!audit.refuses_all());
    assert_eq!(audit.record(line(LONG)).await, Err(NotRecorded));
    assert!(!audit.refuses_all(), "by itself neither");
    let figures = Arc::clone(&audit.devices()[0].1);
    assert_eq!(figures.failed.load(Ordering::Relaxed), 2);
    audit.stop();
    let (mut text, mut buffer) = (Vec::new(), vec![0; 65_536]);
    // A first and a last one besides the five.
    for _ in 0..7 {
        let length = receive(&mut buffer);
        let from = buffer.iter().position(|byte| *byte == b'{').unwrap();
        text.extend_from_slice(&buffer[from..length]);
        text.push(b'\n');
    }
    fs::write(&path, text).unwrap();
    assert_eq!(numbers(&path), [0, 1, 2, 4, 5]);
    let report = check(&[&path], &[]);
    assert!(report.is_whole(), "{report:?}");
}

#[tokio::test]
async fn a_line_that_is_too_long_for_a_datagram_fails_alone() {
    let directory = TempDir::new().unwrap();
    let socket = directory.path().join("log");
    let daemon = UnixDatagram::bind(&socket).unwrap();
    let syslog = AuditSyslog { facility: 4, tag: "selkie".to_owned(), socket };
    fails_alone(AuditKind::Syslog(syslog), |buffer| daemon.recv(buffer).unwrap()).await;
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = AuditTarget::Udp(collector.local_addr().unwrap());
    let udp = AuditSocket { target, write_timeout: Duration::from_secs(1) };
    fails_alone(AuditKind::Socket(udp), |buffer| collector.recv(buffer).unwrap()).await;
}

/// What takes no line, as each is too long.
struct Datagrams;

impl Sink for Datagrams {
    fn probe(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn ready(&mut self) -> io::Result<Ready> {
        Ok(Ready::AsBefore)
    }

    fn write(&mut self, _lines: &[u8]) -> Result<(), Failed> {
        let error = rustix::io::Errno::MSGSIZE;
        Err(Failed::with_nothing_kept(io::Error::from_raw_os_error(error.raw_os_error())))
    }

    fn reopen(&mut self) {}
}

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn lines_that_are_too_long_are_told_once_a_minute() {
    let log = crate::telemetry::captured::Log::start();
    let clock = Arc::<SetClock>::default();
    let figures = Arc::default();
    let mut writer = writer_on("datagrams", Box::new(Datagrams), &figures, Arc::clone(&clock) as _);
    writer.is_anew = false;
    let lines = (0..100).map(|_| &b"{"[..]);
    assert!(!writer.attempt_each(&lines).0.contains(&true));
    clock.0.store(59, Ordering::Relaxed);
    writer.attempt_each(&lines).1.unwrap();
    assert_eq!(log.take().matches("too long for its device").count(), 1);
    clock.0.store(60, Ordering::Relaxed);
    writer.attempt_each(&lines).1.unwrap();
    let told = log.take();
    assert_eq!(told.matches("too long for its device").count(), 1);
    assert!(told.contains("not_told=199"), "{told}");
}
