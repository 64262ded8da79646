//! From the socket to the sessions and back.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use selkie_memory::WipedVec;
use selkie_pkcs11_protocol::{
    Class, Failure, LENGTH_BYTES, Malformed, Message, Reply, Request, Stage, message_bytes,
};

use crate::failure::failure;
use crate::session::Worker;
use crate::token::Token;

/// Why there is nothing more to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// The parent is gone.
    #[error(transparent)]
    Gone(#[from] io::Error),
    /// It does not speak our language.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Its first word was not to open a token.
    #[error("the first request was another than to open a token")]
    NotOpened,
    /// It asked for a library that was not said at the start.
    #[error("another library was asked for than was said at the start")]
    AnotherLibrary,
}

/// More sessions than any token serves at once.
const MOST_SESSIONS: u16 = 256;

type Numbered = (u64, Request);

/// Answers until the parent is gone. No other library is loaded than the one that was said at the
/// start: who has taken over the server cannot have another one loaded by us, who are not confined.
pub(crate) fn serve(mut parent: UnixStream, library: Option<&OsStr>) -> Result<(), Ended> {
    let replies = Mutex::new(parent.try_clone()?);
    let (number, Request::Open(open)) = hear(&mut parent)? else {
        return Err(Ended::NotOpened);
    };
    // A server from before this was said still runs while the new program is in place.
    if library.is_some_and(|library| library != open.library.as_str()) {
        return Err(Ended::AnotherLibrary);
    }
    let token = match guarded(Stage::Library, || Token::open(&open)) {
        Ok((token, facts)) => {
            say(&replies, number, &Reply::Opened(facts))?;
            token
        }
        Err(failure) => {
            say(&replies, number, &Reply::Failed(failure))?;
            // The parent ends us, once it has heard it.
            return hear(&mut parent).map(drop);
        }
    };
    let (sender, requests) = channel();
    let requests = Mutex::new(requests);
    thread::scope(|scope| {
        for _ in 0..open.sessions.clamp(1, MOST_SESSIONS) {
            scope.spawn(|| work(&token, &requests, &replies));
        }
        let ended = hear_all(&mut parent, |request| sender.send(request).is_ok());
        drop(sender);
        // Not back to the scope, which would wait for calls that may hang.
        crate::hardening::end_at_once();
        ended
    })
}

fn hear_all(parent: &mut UnixStream, take: impl Fn(Numbered) -> bool) -> Result<(), Ended> {
    loop {
        if !take(hear(parent)?) {
            return Ok(());
        }
    }
}

/// One session, which takes one request after the other.
fn work(token: &Token, requests: &Mutex<Receiver<Numbered>>, replies: &Mutex<UnixStream>) {
    let mut worker = Worker::new(token);
    loop {
        let next = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((number, request)) = next else { return };
        let stage = stage(&request);
        let reply = guarded(stage, || Ok(worker.answer(&request))).unwrap_or_else(Reply::Failed);
        if say(replies, number, &reply).is_err() {
            return;
        }
    }
}

const fn stage(request: &Request) -> Stage {
    match request {
        Request::Open(_) => Stage::Library,
        Request::Inspect(_) => Stage::Key,
        Request::Wrap { .. } => Stage::Wrap,
        Request::Unwrap { .. } => Stage::Unwrap,
    }
}

/// What a library's garbage makes panic (a length beyond all memory) is told, not died of.
fn guarded<T>(stage: Stage, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(failure(stage, Class::Odd, "its answer makes no sense")))
}

fn hear(parent: &mut UnixStream) -> Result<Numbered, Ended> {
    let mut length = [0; LENGTH_BYTES];
    parent.read_exact(&mut length)?;
    let mut message = WipedVec::new(vec![0; message_bytes(length)?]);
    parent.read_exact(&mut message)?;
    Ok(Request::parse(&message)?)
}

fn say(parent: &Mutex<UnixStream>, number: u64, reply: &Reply) -> Result<(), Ended> {
    let mut parent = parent.lock().unwrap_or_else(PoisonError::into_inner);
    let said = match reply.frame(number) {
        Ok(frame) => parent.write_all(&frame),
        // Too much to tell: a label of thousands of bytes, say.
        Err(Malformed) => {
            let failed = failure(Stage::Key, Class::Odd, "its answer is too long");
            parent.write_all(&Reply::Failed(failed).frame(number)?)
        }
    };
    if said.is_err() {
        // Wakes the reader, which ends the process.
        let _gone = parent.shutdown(Shutdown::Both);
    }
    Ok(said?)
}
