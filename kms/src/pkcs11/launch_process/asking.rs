//! The server's side of it.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags,
    SocketType, recv, sendmsg, socketpair,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Launcher, WORD, listed};
use crate::pkcs11::launcher::LaunchError;

/// How long a start may take.
const START_TIME: Duration = Duration::from_secs(10);
/// For a thread that waits and writes one line.
const STACK_BYTES: usize = 128 * 1024;

/// The launch process, and what it may start.
#[derive(Debug)]
pub(in crate::pkcs11) struct LaunchProcess {
    socket: OwnedFd,
    allowed: Vec<Launcher>,
}

/// It belongs to the process, like what confines that: there is no other way to start a program.
static OURS: OnceLock<LaunchProcess> = OnceLock::new();

/// Starts `command`, which must do no more than [`serve_launches`](super::serve_launches) on its
/// standard input; from then on HSM processes are started by it alone, and only these. To be called
/// before this process is confined.
///
/// # Errors
///
/// It does not start.
pub fn start_launch_process(
    mut command: Command,
    allowed: Vec<Launcher>,
) -> io::Result<LaunchChild> {
    let (ours, theirs) = pair()?;
    // A group of its own: an interrupt from the terminal is the server's to handle.
    command.env_clear().stdin(theirs).stdout(Stdio::null()).stderr(Stdio::null());
    let child = std::os::unix::process::CommandExt::process_group(&mut command, 0).spawn()?;
    // Its end of the socket.
    drop(command);
    let process = LaunchProcess::introduce(ours, allowed)?;
    OURS.set(process).map_err(|_second| io::ErrorKind::AlreadyExists)?;
    Ok(LaunchChild(child))
}

/// The launch process, as this one's child.
#[derive(Debug)]
#[must_use]
pub struct LaunchChild(Child);

impl LaunchChild {
    /// Has its end told, by a thread. To be called once this process is confined: what confines a
    /// thread does not confine one from before.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn watch(mut self) -> io::Result<()> {
        let watch = move || {
            let _status = self.0.wait();
            tracing::error!(
                advice =
                    "restart Selkie soon: what runs goes on, and is not started anew once it ends",
                "the process that starts HSM processes has ended: none is started any more"
            );
        };
        thread::Builder::new().name("launches".into()).stack_size(STACK_BYTES).spawn(watch)?;
        Ok(())
    }
}

/// Whether the launch process has ended: what runs goes on, and no HSM process is started until the
/// server is. It cannot be started anew, as what confines the server keeps it from starting programs.
#[must_use]
pub fn has_launch_process_ended() -> bool {
    OURS.get().is_some_and(LaunchProcess::has_ended)
}

/// Whether the launch process starts this: nothing, where there is none.
#[must_use]
pub fn may_launch(launcher: &Launcher) -> bool {
    OURS.get().is_some_and(|ours| ours.allowed.contains(launcher))
}

/// Two connected sockets that keep messages apart.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

impl LaunchProcess {
    pub(in crate::pkcs11) fn of_this_process() -> Option<&'static Self> {
        OURS.get()
    }

    /// Tells the process at the other end of `socket` what it may start.
    pub(super) fn introduce(socket: OwnedFd, allowed: Vec<Launcher>) -> io::Result<Self> {
        rustix::net::send(&socket, &listed(&allowed)?, SendFlags::NOSIGNAL)?;
        Ok(Self { socket, allowed })
    }

    /// Has `launcher`'s program started with this standard input.
    pub(in crate::pkcs11) async fn launch(
        &self,
        launcher: &Launcher,
        input: OwnedFd,
    ) -> Result<Launched, LaunchError> {
        let launched = self.ask(launcher, input).await;
        launched.map_err(|error| match self.has_ended() {
            true => LaunchError::NobodyLaunches,
            false => LaunchError::Failed(error),
        })
    }

    /// Nothing is ever said on the socket, so that its end is all there can be to read.
    pub(super) fn has_ended(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(recv(&self.socket, &mut [0; 1], flags), Err(Errno::AGAIN | Errno::INTR))
    }

    async fn ask(&self, launcher: &Launcher, input: OwnedFd) -> io::Result<Launched> {
        let place = self.allowed.iter().position(|one| one == launcher);
        let place = place.ok_or(io::ErrorKind::PermissionDenied)?;
        let place = u32::try_from(place).map_err(io::Error::other)?;
        let (life, theirs) = StdUnixStream::pair()?;
        life.set_nonblocking(true)?;
        let theirs = OwnedFd::from(theirs);
        self.send(place, [&input, &theirs])?;
        drop((input, theirs));
        let mut launched = Launched { life: UnixStream::from_std(life)?, words: Vec::new() };
        let started = timeout(START_TIME, launched.word(0)).await;
        match started.map_err(|_late| io::ErrorKind::TimedOut)?? {
            0 => Ok(launched),
            number => Err(io::Error::from_raw_os_error(number)),
        }
    }

    pub(super) fn send(&self, place: u32, sockets: [&OwnedFd; 2]) -> io::Result<()> {
        let sockets = sockets.map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&sockets)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let place = place.to_be_bytes();
        // Never to wait: the other end reads at once, or is gone.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        sendmsg(&self.socket, &[IoSlice::new(&place)], &mut control, flags)?;
        Ok(())
    }
}

/// A child of the launch process; dropped, it ends.
#[derive(Debug)]
pub(in crate::pkcs11) struct Launched {
    life: UnixStream,
    /// What was said of it so far: how the start went, and how it has ended.
    words: Vec<u8>,
}

impl Launched {
    /// Waits for its end; may be dropped and called again.
    pub(in crate::pkcs11) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.word(1).await.map(ExitStatus::from_raw)
    }

    pub(in crate::pkcs11) fn start_kill(&self) -> io::Result<()> {
        self.life.try_write(&[0]).map(drop)
    }

    /// Byte by byte: a read that is dropped loses nothing.
    async fn word(&mut self, at: usize) -> io::Result<i32> {
        loop {
            let word = self.words.chunks_exact(WORD).nth(at);
            if let Some(word) = word.and_then(|word| word.first_chunk()) {
                return Ok(i32::from_be_bytes(*word));
            }
            let mut byte = [0];
            if self.life.read(&mut byte).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.words.extend_from_slice(&byte);
        }
    }
}
