//! Devices that do not open, and do not say so either.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};

use super::partial::device_on;
use super::socket::connect_unix;
use super::*;

/// A collector that hangs, with the connections that wait until it has room for no other.
fn collector_that_accepts_nobody(path: &Path) -> (OwnedFd, Vec<UnixStream>) {
    let listening = socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    bind(&listening, &SocketAddrUnix::new(path).unwrap()).unwrap();
    listen(&listening, 1).unwrap();
    let mut waiting = Vec::new();
    let refused = loop {
        match connect_unix(path, Duration::from_millis(50)) {
            Ok(connection) => waiting.push(connection),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
    (listening, waiting)
}

#[tokio::test]
async fn a_collector_that_accepts_nobody_stops_no_server() {
    let (directory, path) = log();
    let collector = directory.path().join("collector");
    let _hangs = collector_that_accepts_nobody(&collector);
    let write_timeout = Duration::from_millis(50);
    let target = AuditTarget::Unix(collector);
    let hung = device("hung", AuditKind::Socket(AuditSocket { target, write_timeout }));
    let audit = start(vec![hung, device("file", file(&path))]).unwrap();
    assert_eq!(record(&audit, 0).await, Ok(()));
    assert!(audit.devices()[0].1.is_failing.load(Ordering::Relaxed));
}

/// With the name of the device alone nobody finds it.
#[tokio::test]
async fn a_device_that_does_not_open_is_told_with_its_place_and_what_that_means() {
    let (directory, path) = log();
    let nowhere = || {
        let target = AuditTarget::Unix(directory.path().join("nobody"));
        let write_timeout = Duration::from_millis(50);
        device("away", AuditKind::Socket(AuditSocket { target, write_timeout }))
    };
    let place = format!("socket at {}/nobody", directory.path().display());
    let log = crate::telemetry::captured::Log::start();
    let _refuses = start(vec![nowhere()]).unwrap();
    let text = log.take();
    assert!(text.contains(&place) && text.contains("advice="), "{text}");
    assert!(text.contains("every request is refused"), "{text}");
    let audit = start(vec![nowhere(), device("file", file(&path))]).unwrap();
    let text = log.take();
    assert!(text.contains(&place) && text.contains("the others take the lines"), "{text}");
    let other = device("other", nowhere().kind);
    let kept = audit.devices().iter().map(|(device, _)| (**device).clone()).collect::<Vec<_>>();
    let devices = kept.into_iter().chain([other]).collect();
    let declared = selkie_config::Audit { key: None, devices };
    let error = audit.prepare(declared).await.unwrap_err().to_string();
    assert!(error.contains(&place), "{error}");
}

/// A file on a disk that hangs as it is opened, until it is let go.
struct HangsAtOpening {
    file: FileSink,
    let_go: std::sync::mpsc::Receiver<()>,
}

impl Sink for HangsAtOpening {
    fn probe(&mut self) -> io::Result<()> {
        let _let_go = self.let_go.recv();
        self.file.probe()
    }

    fn ready(&mut self) -> io::Result<sink::Ready> {
        self.file.ready()
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), sink::Failed> {
        self.file.write(lines)
    }

    fn reopen(&mut self) {
        self.file.reopen();
    }
}

#[tokio::test]
async fn a_device_whose_opening_hangs_is_waited_for_a_while_and_works_once_it_comes_back() {
    let (_directory, path) = log();
    let settings = AuditFile { path: path.clone(), mode: 0o600, fsync: false };
    let (go, let_go) = std::sync::mpsc::channel();
    let file = FileSink::new(settings, "hung", &Arc::default());
    let hung = device_on("hung", Box::new(HangsAtOpening { file, let_go }));
    assert_eq!(hung.opened().unwrap_err().kind(), io::ErrorKind::TimedOut);
    let device = Arc::new(hung);
    let gathering = Arc::new(Gathering::of(vec![Arc::clone(&device)]));
    let line = || b"{\"type\":\"request\"".to_vec();
    assert_eq!(gathering.record(line()).await, Err(NotRecorded), "it still hangs");
    go.send(()).unwrap();
    until(|| !device.is_failing()).await;
    assert_eq!(gathering.record(line()).await, Ok(()));
    assert_eq!(types(&path), ["selkie_start", "request"]);
}
