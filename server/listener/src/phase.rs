//! What a connection is doing, as one word that its task and its listener share without a lock.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use tokio::{sync::Notify, task::yield_now};

const KIND_BITS: u64 = 3;
const KIND_MASK: u64 = (1 << KIND_BITS) - 1;
const HEAD: u64 = 0;
const BUSY: u64 = 1;
const IDLE: u64 = 2;
const DEAF: u64 = 3;
const STRANGER: u64 = 4;

/// No word: it would take longer than the machine lasts to count so far.
const FINISH: u64 = u64::MAX;

/// What a connection is doing, and what its listener asks of it.
///
/// Shared by the stream, which sees bytes, the service, which sees requests, both in the connection's
/// task, and the accept loop, which looks at it only while others wait.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    word: AtomicU64,
    has_grown: AtomicBool,
    /// The word for which the connection is asked to leave, or `FINISH`; it counts once the bell
    /// rings.
    asked: AtomicU64,
    bell: Notify,
}

/// A phase as it was seen: equal to a later one if nothing has changed between. A wait that was
/// measured for one request must not count against the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The peer owes its part of the handshake, or a head.
    Head,
    /// The service works on a request.
    Busy,
    /// The service has a request of somebody unknown, and does not work on it yet: its body is still
    /// to come, or it waits for its turn.
    Stranger,
    /// At least one request was served, and nothing is asked.
    Idle,
    /// The peer leaves a reply lying.
    Deaf,
}

impl Word {
    pub(crate) const fn kind(self) -> Kind {
        match self.0 & KIND_MASK {
            HEAD => Kind::Head,
            BUSY => Kind::Busy,
            IDLE => Kind::Idle,
            STRANGER => Kind::Stranger,
            _ => Kind::Deaf,
        }
    }
}

/// What a listener asks of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dismissal {
    /// To end with the request that is under way: the listener drains.
    Finish,
    /// To end now: others wait for the place.
    Leave,
}

impl Phase {
    pub(crate) fn word(&self) -> Word {
        Word(self.0.word.load(Ordering::Relaxed))
    }

    /// The peer has done one part of the greeting, and the next is due.
    pub(crate) fn greeting_goes_on(&self) {
        self.enter(HEAD);
    }

    /// The head is complete, or a stranger's turn has come; from here the service answers for the
    /// time taken.
    pub(crate) fn request_begins(&self) {
        self.enter(BUSY);
    }

    /// Nobody vouches for the request, and until the service works on it it is worth no more than a
    /// head.
    pub(crate) fn stranger_waits(&self) {
        self.enter(STRANGER);
    }

    /// The service has answered. What is still to be written is bounded by stall and idle time.
    pub(crate) fn request_ends(&self) {
        self.enter(IDLE);
    }

    pub(crate) fn bytes_arrived(&self) {
        if matches!(self.word().kind(), Kind::Idle | Kind::Deaf) {
            self.enter(HEAD);
        }
    }

    pub(crate) fn bytes_left(&self) {
        if matches!(self.word().kind(), Kind::Idle | Kind::Deaf) {
            self.enter(IDLE);
        }
    }

    pub(crate) fn bytes_are_not_taken(&self) {
        if self.word().kind() == Kind::Idle {
            self.enter(DEAF);
        }
    }

    pub(crate) fn buffer_grows(&self) {
        self.0.has_grown.store(true, Ordering::Relaxed);
    }

    /// Whether hyper's buffer is larger than it begins: then earlier heads, tokens included, stay in
    /// a part of it that it does not offer for reading, where nothing wipes them.
    pub(crate) fn has_grown(&self) -> bool {
        // The build that wipes nothing leaves nothing that could be wiped out of reach either.
        !cfg!(feature = "unhygienic") && self.0.has_grown.load(Ordering::Relaxed)
    }

    fn enter(&self, kind: u64) {
        let changes = (self.word().0 >> KIND_BITS).wrapping_add(1);
        self.0.word.store((changes << KIND_BITS) | kind, Ordering::Relaxed);
    }

    /// Asks the connection to leave for what it was seen to do. False: it does something else by now.
    pub(crate) fn ask_to_leave(&self, seen: Word) -> bool {
        let is_as_seen = self.word() == seen;
        if is_as_seen {
            self.0.asked.store(seen.0, Ordering::Relaxed);
            self.0.bell.notify_one();
        }
        is_as_seen
    }

    pub(crate) fn ask_to_finish(&self) {
        self.0.asked.store(FINISH, Ordering::Relaxed);
        self.0.bell.notify_one();
    }

    /// Waits until the connection is to end. To be polled after what reads and writes.
    pub(crate) async fn is_asked_to_end(&self) -> Dismissal {
        loop {
            self.0.bell.notified().await;
            let asked = self.0.asked.load(Ordering::Relaxed);
            if asked == FINISH {
                return Dismissal::Finish;
            }
            // What has arrived while the server was late is read before its peer is blamed: until
            // the runtime has looked for events, and the connection has been polled once more.
            yield_now().await;
            if self.word() == Word(asked) {
                return Dismissal::Leave;
            }
        }
    }
}
