//! What the configurations of this server have promised to ciphertexts, across restarts: a reload is
//! compared with the one in use, and a start with what this remembers. Nothing of it stops a start.

mod file;
#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use selkie_access::{KeyName, MountPath};
use selkie_config::{Promises, Regression};
use tokio::time::timeout;

pub use self::file::{PromiseFile, PromiseFileError, Remembered};
pub(crate) use self::told::advice;
use crate::seal::Keeping;

/// How long an encrypt waits until it is noted.
const NOTE_PATIENCE: Duration = Duration::from_secs(1);

/// What is remembered, and what of it the configuration in use does not keep.
#[derive(Debug, Default)]
pub struct PromiseMemory {
    /// `None` without a data directory: then nothing is remembered.
    file: Option<PromiseFile>,
    /// Held while the file is written.
    now: Mutex<Now>,
    losses: Mutex<Vec<Regression>>,
    /// The configurations that are not remembered as a whole: the one in use, and those that requests
    /// under way may still encrypt under.
    withheld: Mutex<Vec<Withheld>>,
    /// Whether there was ever one.
    has_withheld: AtomicBool,
}

/// A configuration that broke promises when it was put to use.
#[derive(Debug)]
struct Withheld {
    promises: Arc<Promises>,
    /// The keys that something was encrypted under.
    made: BTreeSet<(MountPath, KeyName)>,
}

#[derive(Debug, Default)]
struct Now {
    remembered: Vec<Promises>,
    in_use: Option<Arc<Promises>>,
    has_begun: bool,
    /// Whether there is a file that cannot be read, and so is left alone.
    is_file_barred: bool,
}

/// What becomes of what is remembered when a configuration is put to use.
#[derive(Debug)]
pub struct Outlook {
    /// What is lost of what was promised.
    pub losses: Vec<Regression>,
    /// What loses nothing by itself, compared with the last configuration in use: versions that do
    /// not rise, and tokens of an HSM that may be others.
    pub doubts: Vec<Regression>,
    /// What is to be remembered from now on.
    pub promises: Vec<Promises>,
}

impl Outlook {
    /// What `now` comes to after what was `remembered`.
    ///
    /// Where it keeps all of that, its own promises hold the earlier ones. Where it does not, it may
    /// be a slip that is soon put right, so it promises nothing until something is
    /// [made under it](PromiseMemory::note_making): else the slip would be missed once it is gone.
    #[must_use]
    pub fn of(now: &Promises, remembered: Vec<Promises>) -> Self {
        let last = remembered.last().map(|last| now.check_against_previous(last));
        let mut doubts = last.unwrap_or_default();
        doubts.retain(|told| !told.is_loss());
        let losses = now.losses_since(&remembered);
        let mut promises = remembered;
        if losses.is_empty() {
            promises = vec![now.clone()];
        }
        for earlier in &mut promises {
            earlier.revoke_as(now);
        }
        Self { losses, doubts, promises }
    }
}

impl PromiseMemory {
    /// The one of a data directory.
    #[must_use]
    pub fn new(keeping: &Keeping) -> Self {
        Self { file: PromiseFile::of(keeping), ..Self::default() }
    }

    /// What the configuration in use does not keep.
    #[must_use]
    pub fn losses(&self) -> Vec<Regression> {
        locked(&self.losses).clone()
    }

    /// A configuration that promises this is in use. Blocks.
    pub fn follow(&self, promises: &Arc<Promises>) {
        let Some(file) = &self.file else { return };
        let mut now = locked(&self.now);
        let read = file.read();
        let is_proven = matches!(&read, Ok(Some(read)) if read.is_proven);
        now.is_file_barred = matches!(&read, Err(PromiseFileError::Unreadable(_)));
        let remembered = read.map(|read| read.map(|read| read.promises).unwrap_or_default());
        let remembered = remembered.unwrap_or_else(|error| {
            told::unused(file, &error, promises);
            now.remembered.clone()
        });
        let before = as_json(&remembered);
        let outlook = Outlook::of(promises, remembered);
        if !is_proven || before != as_json(&outlook.promises) {
            now.write(file, &outlook.promises);
        }
        if !now.has_begun {
            told::doubts(&outlook.doubts);
        }
        let lost_before = self.losses();
        if !now.has_begun || lost_before != outlook.losses {
            told::losses(&outlook.losses);
        }
        if outlook.losses.is_empty() && !lost_before.is_empty() {
            told::mended();
        }
        now.has_begun = true;
        now.remembered = outlook.promises;
        now.in_use = Some(Arc::clone(promises));
        self.withhold((!outlook.losses.is_empty()).then_some(promises));
        *locked(&self.losses) = outlook.losses;
    }

    /// From now on `promises` are withheld, if any, beside those that requests may be under way with.
    fn withhold(&self, promises: Option<&Arc<Promises>>) {
        let mut withheld = locked(&self.withheld);
        withheld.retain(|one| Arc::strong_count(&one.promises) > 1);
        let new = promises.filter(|new| withheld.iter().all(|one| !one.is_of(new)));
        withheld.extend(new.map(|new| Withheld::new(Arc::clone(new))));
        self.has_withheld.fetch_or(promises.is_some(), Ordering::Relaxed);
    }

    /// What `new` loses of all that is promised, where `in_use` is a slip: what that would promise by
    /// itself is nothing, but for what something was encrypted under. `None` where it is none, and
    /// while a disk is waited for.
    #[must_use]
    pub fn losses_past_slip(
        &self,
        in_use: &Arc<Promises>,
        new: &Promises,
    ) -> Option<Vec<Regression>> {
        if !locked(&self.withheld).iter().any(|one| one.is_of(in_use)) {
            return None;
        }
        let remembered = self.now.try_lock().ok()?.remembered.clone();
        Some(new.losses_since(&remembered))
    }

    /// Something is about to be encrypted under a configuration that promises `under`, once this is
    /// noted: where that breaks promises, its own begin here. `None` where all is noted. A disk that
    /// hangs is waited for a moment only.
    pub(crate) fn note_making(
        self: &Arc<Self>,
        under: &Arc<Promises>,
        mount: &MountPath,
        key: &KeyName,
    ) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        if !self.has_withheld.load(Ordering::Relaxed) {
            return None;
        }
        let mut withheld = locked(&self.withheld);
        let made = &mut withheld.iter_mut().find(|one| one.is_of(under))?.made;
        made.insert((mount.clone(), key.clone())).then(|| {
            let (memory, under, made) = (Arc::clone(self), Arc::clone(under), made.clone());
            let noted = tokio::task::spawn_blocking(move || memory.promise_made(&under, &made));
            // It tells by itself what does not work.
            Box::pin(async { drop(timeout(NOTE_PATIENCE, noted).await) }) as _
        })
    }

    fn promise_made(&self, under: &Arc<Promises>, made: &BTreeSet<(MountPath, KeyName)>) {
        let mut now = locked(&self.now);
        let Some(file) = &self.file else { return };
        // Read anew: what was let go meanwhile is not promised again.
        let remembered = match file.read() {
            Ok(read) => read.map(|read| read.promises).unwrap_or_default(),
            Err(_told_at_the_start) => now.remembered.clone(),
        };
        let used = under.only_keys(|mount, key| {
            made.contains(&(mount.clone(), key.clone()))
                || remembered.iter().any(|one| one.declares(mount, key))
        });
        let mut promises = remembered.clone();
        promises.retain(|one| !used.losses_since(slice::from_ref(one)).is_empty());
        promises.push(used);
        if as_json(&promises) != as_json(&remembered) {
            now.write(file, &promises);
        }
        now.remembered = promises;
        // A request that began before a reload put things right.
        if let Some(in_use) = now.in_use.as_ref().filter(|in_use| !Arc::ptr_eq(in_use, under)) {
            let losses = in_use.losses_since(&now.remembered);
            told::losses(&losses);
            *locked(&self.losses) = losses;
        }
    }
}

impl Withheld {
    const fn new(promises: Arc<Promises>) -> Self {
        Self { promises, made: BTreeSet::new() }
    }

    fn is_of(&self, promises: &Arc<Promises>) -> bool {
        Arc::ptr_eq(&self.promises, promises)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Now {
    fn write(&self, file: &PromiseFile, promises: &[Promises]) {
        if !self.is_file_barred
            && let Err(error) = file.write(promises)
        {
            told::unwritten(file, &error);
        }
    }
}

impl PromiseFile {
    /// The one of a data directory, if there is any.
    #[must_use]
    pub fn of(keeping: &Keeping) -> Option<Self> {
        let data_dir = keeping.data_dir.as_ref()?;
        Some(Self::new(data_dir, keeping.local_key.clone()))
    }
}

/// What cannot be printed equals nothing, and so is written.
fn as_json(promises: &[Promises]) -> Option<Vec<serde_json::Value>> {
    promises.iter().map(|one| one.to_json().ok()).collect()
}
