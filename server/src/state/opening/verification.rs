//! Compares all records with what the root says that they add up to, before any is believed
//! (invariant I5).

use std::time::Duration;

use selkie_crypto::StateKey;
use selkie_storage::{Page, Store, StoreError};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::tally::Tally;
use super::{OpenError, missing, place};
use crate::state::Root;
use crate::state::layout::is_reserved;
use crate::state::listing::{in_time, list_page};
use crate::state::sealed_store::{Damage, ROOT, Seen, corrupt, open_root, open_value};

/// How often the store may change under the reader before the changes are followed.
const PASSES: usize = 2;
/// How often that may fail before it counts as trouble.
const ATTEMPTS: usize = 20;
const RECORDS_AT_A_TIME: usize = 256;
/// How long a commit that is known to be there may take to come from the watch.
const WATCH_PATIENCE: Duration = Duration::from_secs(5);

/// Opens every record, a page at a time, and compares what they add up to with the root.
///
/// A store that rests is read once and nothing is held of it. One with so many records that somebody
/// always commits meanwhile is followed instead.
pub(in crate::state) async fn verify(raw: &dyn Store, key: &StateKey) -> Result<Seen, OpenError> {
    let mut seen = root(raw, key).await?;
    for _ in 0..PASSES {
        let Root { records, sum, .. } = add_up(raw, key).await?;
        let after = root(raw, key).await?;
        if after.revision != seen.revision {
            // A commit came between: what was read is of both before and after it.
            seen = after;
            continue;
        }
        let is_whole = (records, sum) == (seen.root.records, seen.root.sum);
        return if is_whole { Ok(seen) } else { Err(OpenError::Sum) };
    }
    for _ in 0..ATTEMPTS {
        match follow(raw, key).await {
            // The store forgot what was to be followed, or did not tell of it in time.
            Err(OpenError::Store(StoreError::Compacted { .. }) | OpenError::Busy) => {}
            outcome => return outcome,
        }
    }
    Err(OpenError::Busy)
}

/// As [`verify`], for a store that others change: what they commit is taken from a watch, up to a root
/// that was read after all pages. Each of our commits puts the root, so no page knows of a later one.
async fn follow(raw: &dyn Store, key: &StateKey) -> Result<Seen, OpenError> {
    let mut listing = list_page(raw, &Page::all_in_bulk()).await?;
    let (mut tally, mut told) = (Tally::new(key), listing.revision);
    let mut watch = in_time(raw.watch(told)).await?;
    loop {
        for (number, record) in listing.records.into_iter().enumerate() {
            tally.put(record.key, &record.value)?;
            pause(number).await;
        }
        // In step, so that the store need not remember much: it remembers a bounded number.
        while let Ok(commit) = timeout(Duration::ZERO, watch.next()).await {
            let commit = commit?;
            told = commit.revision;
            tally.apply(commit)?;
        }
        let Some(next) = listing.next else { break };
        listing = list_page(raw, &next).await?;
    }
    let seen = root(raw, key).await?;
    while told < seen.revision {
        let next = timeout(WATCH_PATIENCE, watch.next()).await;
        let commit = next.map_err(|_elapsed| OpenError::Busy)??;
        told = commit.revision;
        tally.apply(commit)?;
    }
    if tally.is(&seen.root) { Ok(seen) } else { Err(OpenError::Sum) }
}

/// Others have their turn after some records: a store in memory answers at once, and to open a record
/// takes microseconds.
async fn pause(number: usize) {
    if number % RECORDS_AT_A_TIME == RECORDS_AT_A_TIME - 1 {
        yield_now().await;
    }
}

async fn root(raw: &dyn Store, key: &StateKey) -> Result<Seen, OpenError> {
    let at = place(ROOT)?;
    let record = in_time(raw.get(&at)).await?.ok_or_else(|| missing(ROOT))?;
    let root = open_root(key, &record.value).ok_or_else(|| corrupt(&at, Damage::Refused))?;
    Ok(Seen { root, revision: record.revision })
}

async fn add_up(raw: &dyn Store, key: &StateKey) -> Result<Root, OpenError> {
    let mut total = Root::EMPTY;
    let mut next = Some(Page::all_in_bulk());
    while let Some(page) = next {
        let listing = list_page(raw, &page).await?;
        let sealed = listing.records.iter().filter(|record| !is_reserved(&record.key));
        for (number, record) in sealed.enumerate() {
            pause(number).await;
            open_value(key, &record.key, &record.value)?;
            let summand = key.summand(record.key.as_str(), record.value.as_bytes());
            total.sum = total.sum.toggled(summand);
            total.records = total.records.saturating_add(1);
        }
        next = listing.next;
    }
    Ok(total)
}

#[cfg(test)]
mod tests;
