//! The time that counts against tokens. It stands while the store is away, so that no outage of
//! ours ends a token.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_storage::{Guard, Record, RecordValue, Revision, Write};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Token;
use crate::clock::Clock;
use crate::state::listing::Listed;
use crate::state::records::{
    Batch, Kept, Mirror, Mirrors, Records, RecordsError, TooLarge, to_record,
};

/// How far the token clock runs on after the last mark that was kept.
pub(super) const FREE_RUN_SECONDS: u64 = 60;
/// How often a mark is kept, by all replicas together.
pub(super) const BEAT_SECONDS: u64 = 20;
/// By how much the clocks of replicas may differ.
const MOST_SKEW_SECONDS: u64 = 300;

/// What became of a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// A mark is kept, ours or one that another replica made meanwhile.
    Kept,
    /// The last mark is young enough.
    NotDue,
    /// A mark is kept in place of one from the future.
    ClocksDisagree {
        /// By how many seconds.
        ahead: u64,
    },
}

/// The time that counts against tokens. It runs as wall time does while marks of it are kept in the
/// store, and stands otherwise: when the store is away, the state sealed, or every replica down, so
/// that no outage of ours costs a token more than [`FREE_RUN_SECONDS`]. Where wall time says that
/// the last mark is older than that, no more counts than this process has seen go by since: else
/// replicas whose wall clocks disagree would each add what the others had counted already.
pub(super) struct TokenClock {
    wall: Arc<dyn Clock>,
    marks: Arc<Mirror<ClockMark>>,
    /// Whether renewals were granted that could not be written.
    owes: AtomicBool,
    /// What the clock of the last mark was, and when a beat first found it so here.
    found: Mutex<Option<(u64, Instant)>>,
    /// The most that was said since the last mark, which is the first of both.
    said: Mutex<(ClockMark, u64)>,
}

/// What the token clock said at a point of wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClockMark {
    format: u32,
    /// In seconds since 1970.
    pub(super) wall: u64,
    /// In seconds of the token clock, which began as wall time.
    pub(super) clock: u64,
    /// When, by the token clock, every periodic token that lived counted as renewed for the last
    /// time, since renewals had been granted that could not be written.
    pub(super) renewed_all: u64,
}

const FORMAT: u32 = 1;

impl ClockMark {
    /// Before there is a mark, the clock says what wall time says.
    const NONE: Self = Self { format: FORMAT, wall: 0, clock: 0, renewed_all: 0 };

    /// When `token` ends, by the token clock; `None`: never.
    pub(super) fn end_of(&self, token: &Token) -> Option<u64> {
        let expires = token.expires?;
        let Some(period) = token.made.period else { return Some(expires) };
        if expires <= self.renewed_all || token.issued > self.renewed_all {
            return Some(expires);
        }
        let renewed = self.renewed_all.saturating_add(period.as_secs());
        let most =
            token.made.explicit_max_ttl.map(|most| token.issued.saturating_add(most.as_secs()));
        Some(expires.max(most.map_or(renewed, |most| renewed.min(most))))
    }

    /// Whether `token` has ended `now`.
    pub(super) fn is_over(&self, token: &Token, now: u64) -> bool {
        self.end_of(token).is_some_and(|end| end <= now)
    }
}

impl TokenClock {
    pub(super) fn new(wall: Arc<dyn Clock>) -> Self {
        Self {
            wall,
            marks: Arc::default(),
            owes: AtomicBool::new(false),
            found: Mutex::new(None),
            said: Mutex::new((ClockMark::NONE, 0)),
        }
    }

    pub(super) fn mirror(&self) -> Arc<dyn Mirrors> {
        Arc::new(HeardMarks(Arc::clone(&self.marks)))
    }

    /// Wall time, in seconds since 1970.
    pub(super) fn wall(&self) -> u64 {
        self.wall.unix_seconds()
    }

    /// The last mark that was kept.
    pub(super) fn mark(&self) -> ClockMark {
        // One that cannot be read is told of by the mirror; without it wall time counts.
        let kept = self.marks.get(&()).ok().flatten();
        kept.map_or(ClockMark::NONE, |kept| *kept.value)
    }

    /// The last mark, and a batch that depends on that it is: another replica may have kept one since by
    /// which all periodic tokens count as renewed.
    pub(super) fn mark_for_deletions(&self) -> Result<(ClockMark, Batch), RecordsError> {
        let mut batch = Batch::default();
        let kept = self.marks.get(&())?;
        match &kept {
            Some(kept) => batch.require::<ClockMark>(&(), kept.revision)?,
            None => batch.require_absent::<ClockMark>(&())?,
        }
        Ok((kept.map_or(ClockMark::NONE, |kept| *kept.value), batch))
    }

    /// For how many seconds nothing has been heard of the store that `records` are in, where
    /// something must have been said. It was last heard of at `heard` if there is no mark.
    pub(super) fn silence(&self, records: &Records, heard: u64) -> u64 {
        match self.marks.get(&()) {
            // From then on marks are kept, and each comes by the watch, our own too. One that is
            // held proves nothing: ours is held as soon as its commit is answered.
            Ok(Some(_)) => records.silence(),
            Ok(None) => records.silence().min(self.wall().saturating_sub(heard)),
            // A damaged record is no silence; the mirror tells of it.
            Err(_) => 0,
        }
    }

    /// For how long marks have been kept, and none has been heard of; zero while they come.
    pub(super) fn unheard_for(&self, records: &Records) -> Duration {
        let silence = if self.has_begun() { records.silence() } else { 0 };
        Duration::from_secs(if silence > FREE_RUN_SECONDS { silence } else { 0 })
    }

    /// Whether a mark was ever kept.
    pub(super) fn has_begun(&self) -> bool {
        self.mark() != ClockMark::NONE
    }

    /// What the token clock says.
    pub(super) fn now(&self) -> u64 {
        self.now_by(&self.mark())
    }

    /// The same for whoever has the last mark.
    pub(super) fn now_by(&self, mark: &ClockMark) -> u64 {
        let wall = self.wall();
        if *mark == ClockMark::NONE {
            return wall;
        }
        let age = wall.saturating_sub(mark.wall);
        let passed = if age > FREE_RUN_SECONDS { self.seen_for(mark) } else { age };
        self.at_least_as_said(mark, mark.clock.saturating_add(passed.min(FREE_RUN_SECONDS)))
    }

    /// `now`, or what was said already since `mark`: what has ended by that does not live again
    /// because wall time counts no more, or was set back.
    fn at_least_as_said(&self, mark: &ClockMark, now: u64) -> u64 {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        *said = if said.0 == *mark { (*mark, said.1.max(now)) } else { (*mark, now) };
        said.1
    }

    /// For how many seconds this process has seen the clock at `mark`, whatever wall time says.
    fn seen_for(&self, mark: &ClockMark) -> u64 {
        let found = self.found().filter(|(clock, _)| *clock == mark.clock);
        found.map_or(0, |(_, at)| at.elapsed().as_secs())
    }

    fn find(&self) {
        let clock = self.mark().clock;
        let mut found = self.found();
        if found.is_none_or(|(before, _)| before != clock) {
            *found = Some((clock, Instant::now()));
        }
    }

    fn found(&self) -> MutexGuard<'_, Option<(u64, Instant)>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenClock {
    /// Takes note of a renewal that was granted and could not be written.
    pub(super) fn owe(&self) {
        self.owes.store(true, Ordering::Relaxed);
    }

    /// Keeps a mark, if one is due. After a time without marks, of which a process at its
    /// `is_first` beat does not know what others granted in it, and when this one owes renewals,
    /// all periodic tokens count as renewed.
    pub(super) async fn beat(
        &self,
        records: &Records,
        is_first: bool,
    ) -> Result<Beat, RecordsError> {
        self.find();
        let done = self.keep_mark(records, is_first).await;
        self.find();
        done
    }

    async fn keep_mark(&self, records: &Records, is_first: bool) -> Result<Beat, RecordsError> {
        let kept = self.marks.get(&())?;
        let wall = self.wall();
        let Some(kept) = kept else {
            let mark = ClockMark { wall, clock: wall, ..ClockMark::NONE };
            return self.keep(records, mark, None, Beat::Kept).await;
        };
        let owes = self.owes.swap(false, Ordering::Relaxed);
        let (age, ahead) =
            (wall.saturating_sub(kept.value.wall), kept.value.wall.saturating_sub(wall));
        let disagree = ahead > MOST_SKEW_SECONDS;
        // A mark is also what tells that the store is heard of: one that says it is of a moment to
        // come, by a clock that was ahead, must not silence all others until then.
        let is_fresh = age < BEAT_SECONDS && records.silence() < 2 * BEAT_SECONDS;
        if is_fresh && !owes && !disagree {
            return Ok(Beat::NotDue);
        }
        let clock = self.now();
        let renews_all = owes || (is_first && age > FREE_RUN_SECONDS);
        let mark = ClockMark {
            // Who is behind the others by a little leaves the mark where they put it.
            wall: if disagree { wall } else { wall.max(kept.value.wall) },
            clock,
            renewed_all: if renews_all { clock } else { kept.value.renewed_all },
            format: FORMAT,
        };
        let told = if disagree { Beat::ClocksDisagree { ahead } } else { Beat::Kept };
        let done = self.keep(records, mark, Some(kept.revision), told).await;
        if owes && !matches!(done, Ok(Beat::Kept | Beat::ClocksDisagree { .. })) {
            self.owe();
        }
        done
    }

    async fn keep(
        &self,
        records: &Records,
        mark: ClockMark,
        at: Option<Revision>,
        told: Beat,
    ) -> Result<Beat, RecordsError> {
        let mut batch = Batch::default();
        batch.put(&(), &mark, at)?;
        match records.commit(&batch).await {
            Ok(()) => Ok(told),
            // Another replica was first.
            Err(RecordsError::Conflict) => Ok(Beat::NotDue),
            Err(error) => Err(error),
        }
    }
}

/// Holds the marks that are told of, and those that this process has kept, and none that only a conflict
/// has shown: of the tokens that others had renewed by then nothing may have been heard yet.
struct HeardMarks(Arc<Mirror<ClockMark>>);

impl Mirrors for HeardMarks {
    fn root(&self) -> &'static str {
        self.0.root()
    }

    fn judged_by(&self) -> &'static [&'static str] {
        self.0.judged_by()
    }

    fn replace(&self, listed: &Listed) {
        self.0.replace(listed);
    }

    fn take(&self, revision: Revision, writes: &[Write]) {
        self.0.take(revision, writes);
    }

    fn settle(&self, revision: Revision) {
        self.0.settle(revision);
    }

    fn look(&self, _guard: &Guard, _found: Option<&Record>) {}

    fn followed(&self) -> Option<Revision> {
        self.0.followed()
    }
}

impl Kept for ClockMark {
    const ROOT: &'static str = "token-clock";
    type Name = ();
    type Index = ();
    /// A token that was renewed has ended, by a mark that is newer than what is held of it.
    const JUDGED_BY: &'static [&'static str] = &[Token::ROOT];

    fn place((): &()) -> String {
        "mark".to_owned()
    }

    fn name(place: &str) -> Option<()> {
        (place == "mark").then_some(())
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(self)
    }

    fn decode((): &(), value: &RecordValue) -> Option<Self> {
        let mark: Self = serde_json::from_slice(value.as_bytes()).ok()?;
        (mark.format == FORMAT).then_some(mark)
    }
}
