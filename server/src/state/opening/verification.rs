use selkie_crypto::StateKey;
use selkie_storage::{Page, Store};

use super::{OpenError, missing, place};
use crate::state::Root;
use crate::state::layout::is_reserved;
use crate::state::sealed_store::{Damage, ROOT, Seen, corrupt, open_root, open_value};

/// How often the store may change under the reader before that counts as trouble.
const ATTEMPTS: usize = 20;

/// Opens every record, a page at a time, and compares what they add up to with the root.
pub(in crate::state) async fn verify(raw: &dyn Store, key: &StateKey) -> Result<Seen, OpenError> {
    let mut seen = root(raw, key).await?;
    for _ in 0..ATTEMPTS {
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
    Err(OpenError::Busy)
}

async fn root(raw: &dyn Store, key: &StateKey) -> Result<Seen, OpenError> {
    let at = place(ROOT)?;
    let record = raw.get(&at).await?.ok_or_else(|| missing(ROOT))?;
    let root = open_root(key, &record.value).ok_or_else(|| corrupt(&at, Damage::Refused))?;
    Ok(Seen { root, revision: record.revision })
}

async fn add_up(raw: &dyn Store, key: &StateKey) -> Result<Root, OpenError> {
    let mut total = Root::EMPTY;
    let mut next = Some(Page::all());
    while let Some(page) = next {
        let listing = raw.list(&page).await?;
        for record in listing.records.iter().filter(|record| !is_reserved(&record.key)) {
            open_value(key, &record.key, &record.value)?;
            let summand = key.summand(record.key.as_str(), record.value.as_bytes());
            total.sum = total.sum.toggled(summand);
            total.records = total.records.saturating_add(1);
        }
        next = listing.next;
    }
    Ok(total)
}
