//! A child that runs, and the calls that it has not answered yet.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selkie_memory::WipedVec;
use selkie_pkcs11_protocol::{LENGTH_BYTES, Malformed, Message, Reply, Request, message_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, oneshot};

use super::launcher::Process;

/// Why a child answers no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It ended: by this signal, or with this code.
    Ended {
        /// The signal that ended it.
        signal: Option<i32>,
        /// The code that it ended with.
        code: Option<i32>,
    },
    /// We ended it.
    Stopped,
    /// What it said was no reply.
    Garbled,
}

/// A running child; dropped, it ends.
pub(super) struct Running(Arc<Shared>);

struct Shared {
    writer: tokio::sync::Mutex<OwnedWriteHalf>,
    calls: Mutex<Calls>,
    next: AtomicU64,
    stop: Notify,
}

#[derive(Default)]
struct Calls {
    waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    gone: Option<Gone>,
}

impl Running {
    /// Attends to a child that was just launched. It needs a tokio runtime.
    pub(super) fn new(child: Process, socket: UnixStream) -> Self {
        let (reader, writer) = socket.into_split();
        let shared = Arc::new(Shared {
            writer: tokio::sync::Mutex::new(writer),
            calls: Mutex::default(),
            next: AtomicU64::new(1),
            stop: Notify::new(),
        });
        drop(tokio::spawn(attend(Arc::clone(&shared), child, reader)));
        Self(shared)
    }

    /// Why it answers no more, if so.
    pub(super) fn gone(&self) -> Option<Gone> {
        self.0.calls().gone
    }

    /// Ends it; calls under way fail.
    pub(super) fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// Asks it, however long it takes.
    pub(super) async fn ask(&self, request: &Request) -> Result<Reply, Gone> {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        let frame = request.frame(number).map_err(|Malformed| Gone::Garbled)?;
        let (sender, answer) = oneshot::channel();
        {
            let mut calls = self.0.calls();
            if let Some(gone) = calls.gone {
                return Err(gone);
            }
            calls.waiting.insert(number, sender);
        }
        // An error means that it is gone, which the attendant tells all.
        let _written = self.0.writer.lock().await.write_all(&frame).await;
        drop(frame);
        answer.await.map_err(|_closed| self.gone().unwrap_or(Gone::Stopped))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("gone", &self.gone()).finish_non_exhaustive()
    }
}

impl Shared {
    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands on a reply, or says that nobody has asked for it. The asker may have left.
    fn answered(&self, number: u64, reply: Reply) -> Result<(), Malformed> {
        let sender = self.calls().waiting.remove(&number).ok_or(Malformed)?;
        // The reply is wiped here, if nobody waits for it any more.
        drop(sender.send(reply));
        Ok(())
    }

    fn over(&self, gone: Gone) {
        let mut calls = self.calls();
        calls.gone = Some(gone);
        calls.waiting.clear();
    }
}

/// Hands on what the child says, until it ends or has to.
async fn attend(shared: Arc<Shared>, mut child: Process, mut reader: OwnedReadHalf) {
    let ended = tokio::select! {
        biased;
        heard = hear_all(&shared, &mut reader) => heard,
        () = shared.stop.notified() => Some(Gone::Stopped),
        // Not the socket alone: a process that the library has started may hold it open. An error
        // says nothing of the child (the launch process is gone): then its socket alone tells.
        Ok(status) = child.wait() => Some(died(&status)),
    };
    // Before it is reaped, so that nobody waits for that.
    if let Some(gone) = ended {
        shared.over(gone);
    }
    // An error means that it has ended by itself.
    drop(child.start_kill());
    // What ends a child that nobody can kill any more.
    let _closed = rustix::net::shutdown(reader.as_ref(), rustix::net::Shutdown::Both);
    let status = child.wait().await;
    if ended.is_none() {
        shared.over(status.map_or(Gone::Stopped, |status| died(&status)));
    }
}

/// `None` once the child has closed its end: how it died, its status says.
async fn hear_all(shared: &Shared, reader: &mut OwnedReadHalf) -> Option<Gone> {
    loop {
        match hear(reader).await {
            Ok(Some((number, reply))) => match shared.answered(number, reply) {
                Ok(()) => {}
                Err(Malformed) => return Some(Gone::Garbled),
            },
            Ok(None) => return None,
            Err(Malformed) => return Some(Gone::Garbled),
        }
    }
}

/// The next reply; `None` if the socket is closed.
async fn hear(reader: &mut OwnedReadHalf) -> Result<Option<(u64, Reply)>, Malformed> {
    let mut length = [0; LENGTH_BYTES];
    if reader.read_exact(&mut length).await.is_err() {
        return Ok(None);
    }
    let mut message = WipedVec::new(vec![0; message_bytes(length)?]);
    if reader.read_exact(&mut message).await.is_err() {
        return Ok(None);
    }
    Reply::parse(&message).map(Some)
}

fn died(status: &ExitStatus) -> Gone {
    use std::os::unix::process::ExitStatusExt;
    Gone::Ended { signal: status.signal(), code: status.code() }
}
