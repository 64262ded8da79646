//! What a confined thread can no longer do, each beside one that is not confined.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use selkie_sandbox::{Allowed, Sandbox, deny_what_concerns_the_machine};

/// What `work` comes to on a thread that is confined to this, and on one that is not.
fn both<T: Send + 'static>(
    allowed: &Allowed,
    work: impl Fn() -> T + Clone + Send + 'static,
) -> [T; 2] {
    let (allowed, same) = (allowed.clone(), work.clone());
    let confined = move || {
        let sandbox = Sandbox::enter(&allowed);
        assert!(sandbox.is_whole(), "{sandbox:?}");
        work()
    };
    [thread::spawn(confined).join().unwrap(), thread::spawn(same).join().unwrap()]
}

/// The version of landlock that knows of ports: Linux 6.7.
const PORTS: i32 = 4;
/// And the one that knows of signals: Linux 6.12.
const SIGNALS: i32 = 6;

fn kernel_has(version: i32) -> bool {
    Sandbox::probe().0.is_ok_and(|has| has >= version)
}

fn kind<T>(result: std::io::Result<T>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn files_outside_cannot_be_opened_and_those_inside_can_be_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["read", "write", "outside"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), name).unwrap();
    }
    let [read, write] = [at("read"), at("write")].map(|path| vec![path]);
    let allowed = Allowed { read, write, listen: Vec::new() };
    let root = dir.path().to_owned();
    let denied = Some(ErrorKind::PermissionDenied);
    let tries = move || {
        let at = |name: &str| root.join(name);
        let other = at("read/other");
        [
            kind(fs::read(at("outside/file"))),
            kind(fs::write(at("outside/new"), "")),
            kind(fs::write(other, "")),
            kind(fs::read_dir(at("outside"))),
            kind(fs::rename(at("write/file"), at("outside/moved"))),
            kind(fs::read(at("read/file"))),
            kind(
                fs::write(at("write/new"), "x")
                    .and_then(|()| fs::rename(at("write/new"), at("write/file"))),
            ),
        ]
    };
    let [confined, free] = both(&allowed, tries);
    assert_eq!(confined[..4], [denied; 4]);
    assert!(confined[4].is_some(), "nothing is moved out");
    assert_eq!(confined[5..], [None, None], "what is allowed works");
    assert_eq!(free[..4], [None; 4], "the control can do it");
}

#[test]
fn a_file_that_is_replaced_by_rename_stays_readable() {
    let dir = tempfile::tempdir().unwrap();
    let (file, next) = (dir.path().join("cert.pem"), dir.path().join("next"));
    fs::write(&file, "first").unwrap();
    let allowed = Allowed { read: vec![dir.path().to_owned()], ..Allowed::default() };
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (ready, entered) = std::sync::mpsc::channel::<()>();
    let path: PathBuf = file.clone();
    let confined = thread::spawn(move || {
        let _sandbox = Sandbox::enter(&allowed);
        ready.send(()).unwrap();
        wait.recv().unwrap();
        fs::read_to_string(path)
    });
    entered.recv().unwrap();
    fs::write(&next, "second").unwrap();
    fs::rename(&next, &file).unwrap();
    go.send(()).unwrap();
    assert_eq!(confined.join().unwrap().unwrap(), "second");
}

#[test]
fn no_program_is_started_and_no_process_looked_into() {
    let allowed = Allowed { read: vec!["/".into()], write: Vec::new(), listen: Vec::new() };
    let other = Command::new("/bin/sleep").arg("60").spawn().unwrap();
    let pid = rustix::process::Pid::from_child(&other);
    let tries = move || {
        let started = kind(Command::new("/bin/true").status());
        let signalled = rustix::process::test_kill_process(pid).err();
        (started, signalled)
    };
    let [confined, free] = both(&allowed, tries);
    let refused = kernel_has(SIGNALS).then_some(Errno::PERM);
    assert_eq!(confined, (Some(ErrorKind::PermissionDenied), refused));
    assert_eq!(free, (None, None), "the control can do it");
    kill(other);
}

fn kill(mut child: std::process::Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn threads_start_and_names_resolve() {
    let allowed =
        Allowed { read: ["/etc", "/usr", "/lib"].map(PathBuf::from).into(), ..Allowed::default() };
    let work = || {
        let joined = thread::spawn(|| 7).join().is_ok();
        let resolved = std::net::ToSocketAddrs::to_socket_addrs("localhost:80").is_ok();
        (joined, resolved)
    };
    assert_eq!(both(&allowed, work), [(true, true); 2]);
}

#[test]
fn no_port_is_listened_at_but_those_that_are_allowed() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let allowed = Allowed { listen: vec![free], ..Allowed::default() };
    let tries = move || {
        let other = kind(TcpListener::bind("127.0.0.1:0"));
        (kind(TcpListener::bind(("127.0.0.1", free))), other)
    };
    let [confined, control] = both(&allowed, tries);
    let refused = kernel_has(PORTS).then_some(ErrorKind::PermissionDenied);
    assert_eq!(confined, (None, refused));
    assert_eq!(control, (None, None));
}

#[test]
fn a_launcher_still_starts_programs_but_mounts_nothing() {
    let work = || {
        let denied = deny_what_concerns_the_machine().is_err();
        let started = kind(Command::new("/bin/true").status());
        let unmounted = rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty());
        (denied, started, unmounted.err())
    };
    let told = thread::spawn(work).join().unwrap();
    assert_eq!(told, (false, None, Some(Errno::PERM)));
    let free = rustix::mount::unmount("/nowhere", rustix::mount::UnmountFlags::empty());
    if rustix::process::geteuid().is_root() {
        assert_eq!(free, Err(Errno::NOENT), "the control gets as far as the name");
    }
}
