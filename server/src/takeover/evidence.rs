//! Who has opened what with a key that is taken over, and where that is kept across a restart.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::spawn_blocking;

use super::file::EvidenceFile;
use super::record::{Pair, UsageRecord};
use super::usage::Usage;
use crate::seal::Keeping;
use crate::state::records::{Batch, Mirror, Records, RecordsError};
use crate::telemetry::WithCauses;

/// How many pairs are told apart. Clients and keys are the operator's, but tokens can be made.
const MOST: usize = 4_096;
/// Whom all others are counted under.
const OTHERS: &str = "(others)";
/// How many records one commit changes at most.
const RECORDS_AT_ONCE: usize = 32;

/// What was opened by whom.
#[derive(Debug)]
pub struct Evidence {
    place: Place,
    /// What is not kept yet.
    fresh: Mutex<HashMap<Pair, Usage>>,
}

#[derive(Debug)]
enum Place {
    /// The storage, where replicas sum up.
    Store { records: Arc<Records>, mirror: Arc<Mirror<UsageRecord>> },
    /// A file, and what is in it.
    File { file: EvidenceFile, kept: Mutex<BTreeMap<Pair, Usage>> },
    /// None: a restart forgets it.
    Memory,
}

impl Evidence {
    /// In the storage if there is one, else in a file if it can be proven to be ours. A file that is
    /// not is set aside, and counts as none.
    pub(crate) fn open(
        records: Arc<Records>,
        mirror: Arc<Mirror<UsageRecord>>,
        keeping: &Keeping,
    ) -> Self {
        let place = match (&keeping.data_dir, &keeping.local_key) {
            _ if records.has_store() => Place::Store { records, mirror },
            (Some(dir), Some(key)) => {
                let file = EvidenceFile::new(dir, Arc::clone(key));
                let kept = read(&file).into_iter().map(|one| (one.pair(), one.usage)).collect();
                Place::File { file, kept: Mutex::new(kept) }
            }
            _ => Place::Memory,
        };
        Self { place, fresh: Mutex::default() }
    }

    /// Where it is kept: `storage`, `data_dir` or `memory`.
    #[must_use]
    pub const fn kept_in(&self) -> &'static str {
        match self.place {
            Place::Store { .. } => "storage",
            Place::File { .. } => "data_dir",
            Place::Memory => "memory",
        }
    }

    /// Adds what `pair` has opened.
    pub(crate) fn note(&self, pair: Pair, usage: Usage) {
        let mut fresh = self.fresh();
        let is_full = !fresh.contains_key(&pair) && self.has_no_room(&fresh, &pair);
        let pair = if is_full { Pair { client: OTHERS.into(), ..pair } } else { pair };
        let sum = fresh.entry(pair).or_default();
        *sum = sum.with(usage);
    }

    /// Whether `pair` would be one too many, together with what is kept.
    fn has_no_room(&self, fresh: &HashMap<Pair, Usage>, pair: &Pair) -> bool {
        let (mut kept, mut is_kept) = (0_usize, false);
        let mut count = |one: &Pair| {
            kept += usize::from(!fresh.contains_key(one));
            is_kept |= one == pair;
        };
        match &self.place {
            Place::Store { mirror, .. } => mirror.for_each(|_, record| count(&record.pair())),
            Place::File { kept, .. } => lock(kept).keys().for_each(count),
            Place::Memory => {}
        }
        !is_kept && fresh.len().saturating_add(kept) >= MOST
    }

    /// All that is known, be it kept or not.
    #[must_use]
    pub fn all(&self) -> BTreeMap<Pair, Usage> {
        let mut all = match &self.place {
            Place::Store { mirror, .. } => {
                let mut kept = BTreeMap::new();
                mirror.for_each(|_, record| {
                    kept.insert(record.pair(), record.usage);
                });
                kept
            }
            Place::File { kept, .. } => lock(kept).clone(),
            Place::Memory => BTreeMap::new(),
        };
        for (pair, usage) in &*self.fresh() {
            let sum = all.entry(pair.clone()).or_default();
            *sum = sum.with(*usage);
        }
        all
    }

    /// Keeps what is not kept yet. What cannot be stays for the next time.
    pub(crate) async fn keep(&self) {
        match &self.place {
            Place::Memory => {}
            Place::File { file, kept } => self.keep_in_file(file, kept).await,
            Place::Store { records, mirror } => {
                while records.store().is_ok() && self.keep_some_in_store(records, mirror).await {}
            }
        }
    }

    async fn keep_in_file(&self, file: &EvidenceFile, kept: &Mutex<BTreeMap<Pair, Usage>>) {
        let taken = std::mem::take(&mut *self.fresh());
        if taken.is_empty() {
            return;
        }
        let records: Vec<_> = {
            let mut kept = lock(kept);
            for (pair, usage) in taken {
                let sum = kept.entry(pair).or_default();
                *sum = sum.with(usage);
            }
            kept.iter().map(|(pair, usage)| UsageRecord::new(pair, *usage)).collect()
        };
        let file = file.clone();
        // What is in `kept` is told in any case, and written with the next change.
        if let Ok(Err(error)) = spawn_blocking(move || file.write(&records)).await {
            tell_unkept(&error);
        }
    }

    /// Whether there is more to keep, and a use in going on.
    async fn keep_some_in_store(&self, records: &Records, mirror: &Mirror<UsageRecord>) -> bool {
        let taken: Vec<_> = {
            let mut fresh = self.fresh();
            let pairs: Vec<_> = fresh.keys().take(RECORDS_AT_ONCE).cloned().collect();
            pairs.into_iter().filter_map(|pair| fresh.remove_entry(&pair)).collect()
        };
        if taken.is_empty() {
            return false;
        }
        let mut batch = Batch::default();
        for (pair, usage) in &taken {
            let name = pair.name();
            // Nothing is made anew in place of what cannot be read.
            let Ok(found) = mirror.get(&name) else { continue };
            let sum = found.as_ref().map_or(*usage, |found| found.value.usage.with(*usage));
            let at = found.map(|found| found.revision);
            // A name that is too long for the store is not kept, and not tried again.
            let _too_large = batch.put(&name, &UsageRecord::new(pair, sum), at);
        }
        if batch.is_empty() {
            return true;
        }
        let failed = match records.commit(&batch).await {
            Ok(()) => return true,
            Err(RecordsError::Conflict) => None,
            Err(error) => Some(error),
        };
        for (pair, usage) in taken {
            self.note(pair, usage);
        }
        // Another replica was faster: the mirror shows what it has written.
        failed.as_ref().is_none_or(|error| {
            tell_unkept(error);
            false
        })
    }

    fn fresh(&self) -> MutexGuard<'_, HashMap<Pair, Usage>> {
        lock(&self.fresh)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_unkept(error: &(dyn std::error::Error + 'static)) {
    tracing::warn!(
        reason = %WithCauses(error),
        advice = "it is tried again; a restart meanwhile forgets it",
        "evidence of a takeover cannot be written"
    );
}

fn read(file: &EvidenceFile) -> Vec<UsageRecord> {
    file.read().unwrap_or_else(|error| {
        tracing::error!(
            file = %file.path().display(),
            reason = %WithCauses(&error),
            advice = "find out who changed it; it is kept as .refused, and evidence begins anew",
            "the evidence of a takeover is not used"
        );
        if let Err(error) = file.set_aside() {
            tracing::error!(reason = %WithCauses(&error), "the file cannot be set aside");
        }
        Vec::new()
    })
}

#[cfg(test)]
mod tests {
    use selkie_crypto::PinKey;
    use selkie_storage::MemoryStore;

    use super::*;
    use crate::clock::SystemClock;
    use crate::state::records::Mirrors;

    fn pair(client: &str) -> Pair {
        Pair { key: "transit/unseal".into(), client: client.into() }
    }

    fn foreign(count: u64) -> Usage {
        Usage { foreign: count, ..Usage::default() }
    }

    async fn on_store(store: &Arc<MemoryStore>) -> Evidence {
        let mirror = Arc::<Mirror<UsageRecord>>::default();
        let mirrors = vec![Arc::clone(&mirror) as Arc<dyn Mirrors>];
        let records = Arc::new(Records::new(true, mirrors, Arc::new(SystemClock)));
        records.attach(Arc::clone(store) as _).await.unwrap();
        Evidence::open(records, mirror, &Keeping::default())
    }

    #[tokio::test]
    async fn replicas_sum_up_in_the_store_whoever_comes_first() {
        let store = Arc::new(MemoryStore::new());
        let (one, other) = (on_store(&store).await, on_store(&store).await);
        one.note(pair("a"), foreign(2));
        other.note(pair("a"), foreign(3));
        one.keep().await;
        other.keep().await;
        one.note(pair("a"), foreign(1));
        let anew = on_store(&store).await;
        assert_eq!(anew.all()[&pair("a")].foreign, 5);
        assert_eq!(anew.kept_in(), "storage");
        assert_eq!(other.all()[&pair("a")].foreign, 5);
        one.keep().await;
        assert_eq!(on_store(&store).await.all()[&pair("a")].foreign, 6);
    }

    #[tokio::test]
    async fn a_file_keeps_it_across_a_restart_and_a_forged_one_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let open = |fill| {
            let local_key = PinKey::init_with(|page| page.fill(fill)).unwrap();
            let keeping = Keeping {
                data_dir: Some(dir.path().to_owned()),
                local_key: Some(Arc::new(local_key)),
            };
            let records = Arc::new(Records::new(false, Vec::new(), Arc::new(SystemClock)));
            Evidence::open(records, Arc::default(), &keeping)
        };
        let before = open(1);
        before.note(pair("a"), foreign(2));
        before.keep().await;
        before.note(pair("a"), foreign(1));
        assert_eq!(before.all()[&pair("a")].foreign, 3, "kept or not");
        assert_eq!(open(1).all()[&pair("a")].foreign, 2);
        assert!(open(2).all().is_empty(), "under another key");
        assert!(open(1).all().is_empty(), "it was set aside");
        assert!(dir.path().join("takeover.json.refused").exists());
    }

    #[tokio::test]
    async fn what_is_kept_counts_for_the_limit() {
        let evidence = on_store(&Arc::new(MemoryStore::new())).await;
        for number in 0..MOST {
            evidence.note(pair(&number.to_string()), foreign(1));
        }
        evidence.keep().await;
        evidence.note(pair("one more"), foreign(1));
        evidence.note(pair("7"), foreign(1));
        let all = evidence.all();
        assert_eq!(
            (all.len(), all[&pair(OTHERS)].foreign, all[&pair("7")].foreign),
            (MOST + 1, 1, 2)
        );
    }

    #[test]
    fn beyond_the_limit_clients_are_counted_together() {
        let records = Arc::new(Records::new(false, Vec::new(), Arc::new(SystemClock)));
        let evidence = Evidence::open(records, Arc::default(), &Keeping::default());
        assert_eq!(evidence.kept_in(), "memory");
        for number in 0..MOST + 5 {
            evidence.note(pair(&number.to_string()), foreign(1));
        }
        let all = evidence.all();
        assert_eq!((all.len(), all[&pair(OTHERS)].foreign), (MOST + 1, 5));
    }
}
