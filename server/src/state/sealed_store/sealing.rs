//! Every write with the root that it leads to, or no write: two replicas cannot both go on from the
//! same one.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use selkie_crypto::{SealRecordError, StateKey, StateSum};
use selkie_storage::{Guard, Record, RecordKey, RecordValue, Revision, StoreError, Write};
use tokio::time::sleep;

use super::super::Root;
use super::super::layout::is_reserved;
use super::{ATTEMPTS, Contended, Sealed, Seen, SharedRandom};

/// How many old records are read at the same time.
const READS: usize = 16;
/// The longest that a commit stands back after another replica was first; each loss doubles it.
const FIRST_BACKOFF: Duration = Duration::from_millis(1);
const LONGEST_BACKOFF: Duration = Duration::from_millis(64);

/// A record as it was found.
pub(super) struct FoundRecord {
    pub(super) opened: Record,
    summand: StateSum,
}

impl Sealed {
    /// The record under `key`, if it opens and was put by one of our commits.
    pub(super) async fn read(&self, key: &RecordKey) -> Result<Option<FoundRecord>, StoreError> {
        let Some(record) = self.raw.get(key).await? else { return Ok(None) };
        self.require_ours(&record).await?;
        let summand = self.key.summand(key.as_str(), record.value.as_bytes());
        Ok(Some(FoundRecord { opened: self.open(record)?, summand }))
    }

    pub(super) async fn commit(
        &self,
        guards: &[Guard],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        let named = guards.iter().map(Guard::key).chain(writes.iter().map(Write::key));
        if let Some(key) = named.into_iter().find(|key| is_reserved(key)) {
            return Err(StoreError::Reserved { key: key.clone() });
        }
        self.require_sound()?;
        let _turn = self.turn.lock().await;
        for lost in 0..ATTEMPTS {
            let seen = self.seen();
            match self.attempt(seen, guards, writes).await {
                // Another replica was first; whether the caller's guards hold is asked anew.
                Err(StoreError::GuardFailed { key }) if key == self.root => {
                    sleep(self.backoff(lost)?).await;
                    self.current().await?
                }
                outcome => return outcome,
            };
        }
        Err(StoreError::Unavailable { source: Box::new(Contended) })
    }

    /// How long to stand back after losing for the `lost`th time, counted from 0. It is drawn at
    /// random, so that a replica that is slower than the others has its turn as well.
    fn backoff(&self, lost: u32) -> Result<Duration, StoreError> {
        let mut drawn = [0];
        let unavailable = |error| StoreError::Unavailable { source: Box::new(error) };
        (self.random)(&mut drawn).map_err(unavailable)?;
        let longest = (FIRST_BACKOFF * 2_u32.saturating_pow(lost)).min(LONGEST_BACKOFF);
        Ok(longest * u32::from(drawn[0]) / 256)
    }

    async fn attempt(
        &self,
        seen: Seen,
        guards: &[Guard],
        writes: &[Write],
    ) -> Result<Revision, StoreError> {
        let (next, sealed) = self.seal(&seen.root, writes).await?;
        let on_root = Guard::At(self.root.clone(), seen.revision);
        let guards: Vec<_> = guards.iter().cloned().chain([on_root]).collect();
        let revision = self.raw.commit(&guards, &sealed).await?;
        if !sealed.is_empty() {
            self.saw(Seen { root: next, revision });
        }
        Ok(revision)
    }

    /// `writes` sealed as the commit after `root`, with its root; nothing if they change nothing.
    async fn seal(&self, root: &Root, writes: &[Write]) -> Result<(Root, Vec<Write>), StoreError> {
        let mut reads = Vec::with_capacity(writes.len());
        for write in writes {
            reads.push(self.read(write.key()));
        }
        let old: Vec<_> = stream::iter(reads).buffered(READS).try_collect().await?;
        let mut next = Root { sequence: root.sequence.saturating_add(1), ..*root };
        let mut sealed = Vec::with_capacity(writes.len() + 1);
        for (write, old) in writes.iter().zip(old) {
            if let (Write::Delete(_), None) = (write, &old) {
                continue;
            }
            if let Some(old) = old {
                next.sum = next.sum.toggled(old.summand);
                next.records = next.records.saturating_sub(1);
            }
            sealed.push(match write {
                Write::Delete(key) => Write::Delete(key.clone()),
                Write::Put(key, value) => {
                    let content = value.as_bytes().to_vec();
                    let value = seal_value(&self.key, key, next.sequence, content, &self.random)?;
                    next.sum = next.sum.toggled(self.key.summand(key.as_str(), value.as_bytes()));
                    next.records = next.records.saturating_add(1);
                    Write::Put(key.clone(), value)
                }
            });
        }
        if !sealed.is_empty() {
            sealed.push(seal_root(&self.key, &self.root, &next, &self.random)?);
        }
        Ok((next, sealed))
    }
}

/// The write that puts `root`.
pub(in crate::state) fn seal_root(
    key: &StateKey,
    place: &RecordKey,
    root: &Root,
    random: &SharedRandom,
) -> Result<Write, StoreError> {
    let value = seal_value(key, place, root.sequence, root.encode(), random)?;
    Ok(Write::Put(place.clone(), value))
}

fn seal_value(
    key: &StateKey,
    place: &RecordKey,
    sequence: u64,
    content: Vec<u8>,
    random: &SharedRandom,
) -> Result<RecordValue, StoreError> {
    let sealed = key.seal_record(place.as_str(), sequence, content, &**random);
    let sealed = sealed.map_err(|error| match error {
        SealRecordError::Random(error) => StoreError::Unavailable { source: Box::new(error) },
        SealRecordError::TooLong => StoreError::TooLarge,
    })?;
    RecordValue::new(sealed).map_err(|_large| StoreError::TooLarge)
}
