use std::path::Path;
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::asking::pair;
use super::*;
use crate::pkcs11::launcher::LaunchError;

fn launcher(program: &Path) -> Launcher {
    let environment = vec![("A".into(), "b=c".into()), ("EMPTY".into(), String::new())];
    Launcher { program: program.into(), library: "/usr/lib/hsm.so".into(), environment }
}

/// A launch process that is a thread of this one.
fn process(allowed: Vec<Launcher>) -> LaunchProcess {
    let (ours, theirs) = pair().unwrap();
    thread::spawn(move || serve_launches(theirs));
    LaunchProcess::introduce(ours, allowed).unwrap()
}

async fn launch(
    process: &LaunchProcess,
    launcher: &Launcher,
) -> Result<(Launched, UnixStream), LaunchError> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((process.launch(launcher, theirs.into()).await?, UnixStream::from_std(ours)?))
}

fn kind(error: &LaunchError) -> Option<io::ErrorKind> {
    match error {
        LaunchError::Failed(error) => Some(error.kind()),
        LaunchError::NobodyLaunches => None,
    }
}

/// A program that writes what it is given back to its standard input, which is a socket.
fn echo(dir: &Path) -> Launcher {
    use std::os::unix::fs::PermissionsExt;
    let program = dir.join("echo");
    std::fs::write(&program, "#!/bin/sh\nread -r word; echo \"$word $1 $A\" >&0\nread -r x\n")
        .unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    launcher(&program)
}

#[test]
fn the_list_reads_as_it_was_written() {
    let no_variable = Launcher { environment: Vec::new(), ..launcher(Path::new("/b")) };
    for allowed in
        [vec![], vec![launcher(Path::new("/a"))], vec![no_variable, launcher(Path::new("/a"))]]
    {
        let message = listed(&allowed).unwrap();
        if !allowed.is_empty() {
            assert_eq!(parse_list(&message), Some(allowed));
        }
    }
    assert!(listed(&[launcher(Path::new("/a\0b"))]).is_err());
    assert!(listed(&[launcher(Path::new(""))]).is_err());
}

#[tokio::test]
async fn a_child_hears_its_socket_and_sees_its_library_and_environment() {
    let dir = tempfile::tempdir().unwrap();
    let echo = echo(dir.path());
    let process = process(vec![launcher(Path::new("/nowhere")), echo.clone()]);
    let (mut child, mut socket) = launch(&process, &echo).await.unwrap();
    socket.write_all(b"hello\n").await.unwrap();
    let mut line = vec![0; 26];
    socket.read_exact(&mut line).await.unwrap();
    assert_eq!(line, b"hello /usr/lib/hsm.so b=c\n");
    // Asked to end, it is killed, and its status is told.
    assert!(timeout(Duration::from_millis(20), child.wait()).await.is_err(), "it lives");
    child.start_kill().unwrap();
    let status = child.wait().await.unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(child.wait().await.unwrap(), status, "it is told again");
}

#[tokio::test]
async fn nothing_is_started_that_was_not_listed() {
    let dir = tempfile::tempdir().unwrap();
    let echo = echo(dir.path());
    let process = process(vec![echo.clone()]);
    for other in [
        Launcher { program: "/bin/true".into(), ..echo.clone() },
        Launcher { library: "/tmp/evil.so".into(), ..echo.clone() },
        Launcher {
            environment: vec![("LD_PRELOAD".into(), "/tmp/evil.so".into())],
            ..echo.clone()
        },
    ] {
        let error = launch(&process, &other).await.unwrap_err();
        assert_eq!(kind(&error), Some(io::ErrorKind::PermissionDenied));
    }
    assert!(launch(&process, &echo).await.is_ok());
}

#[test]
fn nothing_may_be_launched_where_there_is_no_launch_process() {
    assert!(!may_launch(&launcher(Path::new("/a"))));
}

#[tokio::test]
async fn a_request_that_makes_no_sense_ends_nothing_but_itself() {
    let dir = tempfile::tempdir().unwrap();
    let echo = echo(dir.path());
    let process = process(vec![echo.clone()]);
    let (mut child, _socket) = launch(&process, &echo).await.unwrap();
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let theirs = std::os::fd::OwnedFd::from(theirs);
    process.send(7, [&theirs, &theirs]).unwrap();
    drop(theirs);
    ours.set_nonblocking(true).unwrap();
    let mut ours = UnixStream::from_std(ours).unwrap();
    assert_eq!(ours.read(&mut [0]).await.unwrap(), 0, "it is closed, and nothing said");
    assert!(launch(&process, &echo).await.is_ok(), "the next one is started");
    assert!(timeout(Duration::from_millis(20), child.wait()).await.is_err(), "the first lives");
}

#[tokio::test]
async fn a_program_that_does_not_start_says_why() {
    let missing = launcher(Path::new("/nowhere/selkie-pkcs11"));
    let process = process(vec![missing.clone()]);
    let error = launch(&process, &missing).await.unwrap_err();
    assert_eq!(kind(&error), Some(io::ErrorKind::NotFound));
}

#[tokio::test]
async fn a_launch_process_that_is_gone_is_told_as_that_and_no_wait() {
    let (ours, theirs) = pair().unwrap();
    let process = LaunchProcess::introduce(ours, vec![launcher(Path::new("/a"))]).unwrap();
    assert!(!process.has_ended());
    drop(theirs);
    let error = launch(&process, &launcher(Path::new("/a"))).await.unwrap_err();
    assert!(matches!(error, LaunchError::NobodyLaunches), "{error:?}");
    assert!(process.has_ended());
}
