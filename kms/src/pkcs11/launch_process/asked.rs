//! The launch process itself.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::thread;

use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::{LARGEST_LIST, Launcher, WORD, parse_list};

/// A message and the sockets that came with it.
type Heard = (Vec<u8>, Vec<OwnedFd>);

/// Starts what the server at the other end asks for, until it is gone. `socket` keeps messages
/// apart (`SOCK_SEQPACKET`); its first one says what may be started at all.
///
/// # Errors
///
/// What is no such socket, or begins with no list. A later message that makes no sense costs its
/// sender the sockets that came with it, and nobody else anything.
pub fn serve_launches(socket: OwnedFd) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Who ends the server by one of these may let it finish what is under way: that needs us.
        let _kept =
            [SignalKind::hangup(), SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let (sender, heard) = unbounded_channel();
        thread::spawn(move || hear_all(&socket, &sender));
        serve(heard).await
    })
}

/// On a thread of its own, as no tokio type takes sockets from a socket.
fn hear_all(socket: &OwnedFd, sender: &UnboundedSender<io::Result<Heard>>) {
    loop {
        let heard = match receive(socket) {
            Err(Errno::INTR | Errno::MSGSIZE) => continue,
            Ok((message, _)) if message.is_empty() => return,
            heard => heard,
        };
        let is_over = heard.is_err();
        if sender.send(heard.map_err(io::Error::from)).is_err() || is_over {
            return;
        }
    }
}

async fn serve(mut heard: UnboundedReceiver<io::Result<Heard>>) -> io::Result<()> {
    let Some(first) = heard.recv().await else { return Ok(()) };
    let allowed = parse_list(&first?.0).ok_or(io::ErrorKind::InvalidData)?;
    while let Some(next) = heard.recv().await {
        let (asked, sockets) = next?;
        // Its sockets are closed then, which tells the server; the other children go on.
        let _refused = start(&allowed, &asked, sockets);
    }
    Ok(())
}

fn start(allowed: &[Launcher], asked: &[u8], sockets: Vec<OwnedFd>) -> io::Result<()> {
    let place = asked.first_chunk::<WORD>().map(|word| u32::from_be_bytes(*word) as usize);
    let launcher = place.and_then(|place| allowed.get(place)).ok_or(io::ErrorKind::InvalidData)?;
    let Ok([input, life]) = <[OwnedFd; 2]>::try_from(sockets) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let life = StdUnixStream::from(life);
    life.set_nonblocking(true)?;
    let life = UnixStream::from_std(life)?;
    // An error is the server's loss of interest, and has ended the child.
    drop(tokio::spawn(attend(launcher.spawn(input), life)));
    Ok(())
}

fn receive(socket: &OwnedFd) -> rustix::io::Result<Heard> {
    let mut bytes = vec![0; LARGEST_LIST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut vectors = [IoSliceMut::new(&mut bytes)];
    let heard = recvmsg(socket, &mut vectors, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    if heard.flags.contains(ReturnFlags::TRUNC) {
        return Err(Errno::MSGSIZE);
    }
    let mut sockets = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            sockets.extend(received);
        }
    }
    bytes.truncate(heard.bytes);
    Ok((bytes, sockets))
}

/// Says how the start went, and then how the child has ended: by itself, or because the server has
/// written or is gone.
async fn attend(started: io::Result<Child>, mut life: UnixStream) -> io::Result<()> {
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
            return life.write_all(&number.to_be_bytes()).await;
        }
    };
    life.write_all(&0_i32.to_be_bytes()).await?;
    let mut byte = [0];
    let status = tokio::select! {
        status = child.wait() => status?,
        _wish = life.read(&mut byte) => {
            child.start_kill()?;
            child.wait().await?
        }
    };
    life.write_all(&status.into_raw().to_be_bytes()).await
}
