//! Opaque bytes under keys: [`Store`] is the one way Selkie keeps state. Its backends are
//! [`MemoryStore`], [`SledStore`] (one machine; sled beside a journal of ours) and [`EtcdStore`]
//! (shared by replicas); all pass the same contract suite. The crate promises atomic commits, an
//! order of revisions and a watch that misses nothing. It will never know any cryptography, look
//! into a value, write one to a log, or make a record anew because the old one could not be read:
//! sealing and meaning stay above it.

#[cfg(any(test, feature = "contract"))]
pub mod contract;

mod commit;
mod error;
mod etcd;
#[doc(hidden)]
pub mod fuzzing;
mod image;
mod key;
mod memory;
mod page;
mod record;
mod sled;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use self::sled::{Holder, SledError, SledSettings, SledStore};
pub use commit::{Commit, Guard, Limits, MAX_COMMIT_BYTES, MAX_COMMIT_RECORDS, Write};
pub use error::StoreError;
pub use etcd::{
    EtcdDamage, EtcdError, EtcdFault, EtcdIdentity, EtcdLogin, EtcdSettings, EtcdStore,
};
pub use key::{InvalidKey, MAX_KEY_BYTES, RecordKey};
pub use memory::MemoryStore;
pub use page::{Listing, Page};
pub use record::{MAX_VALUE_BYTES, Record, RecordValue, Revision, ValueTooLarge};

/// The answer of a store, on its way.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Records under keys, changed by atomic commits; used as `Arc<dyn Store>`.
///
/// What every backend owes is written down as the claims of the `contract` module, which it must
/// pass. In short: once a commit has answered, everyone sees all of it; any future may be dropped,
/// and a dropped commit is afterwards whole or absent, never half.
pub trait Store: Debug + Send + Sync {
    /// The most that one commit takes.
    fn limits(&self) -> Limits {
        Limits::BACKEND
    }

    /// Whether [`Store::get`] answers from the memory of this process, which alone writes there:
    /// nobody has to be spared questions.
    fn answers_from_memory(&self) -> bool {
        false
    }

    /// What the tools of the backend call the record under `key`.
    fn place_of(&self, key: &RecordKey) -> String {
        key.to_string()
    }

    /// The record under `key`; `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if there is a record that cannot be read: that is never `None`.
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>>;

    /// One page of records in the byte order of their keys, all as they stood at one revision.
    ///
    /// Other commits may fall between two pages. A record that none of them touches is listed
    /// exactly once; to learn of those they did touch, watch from the first page's revision.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if any record of the page cannot be read.
    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing>;

    /// Applies all of `writes` if all of `guards` hold, and else nothing.
    ///
    /// Without guards the commit is unconditional. A commit that changes nothing (no writes, or
    /// deletions of what is not there) answers the newest revision, and no watch sees it.
    ///
    /// # Errors
    /// [`StoreError::GuardFailed`], [`StoreError::TooLarge`] and [`StoreError::WrittenTwice`] mean
    /// that nothing changed; so does [`StoreError::Unavailable`]. After [`StoreError::Undecided`]
    /// the caller has to look.
    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision>;

    /// Every commit after `from`: first those there were, then those to come.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the store no longer remembers back to `from`: list again.
    /// [`StoreError::NotReached`] if the store is younger than `from`.
    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>>;

    /// Lets all who share the store see that this process uses it: `value` stands in a record of its
    /// own below `under`, whose key is answered. It goes by itself once this has not been called
    /// for `ttl`, and never before; one that somebody has deleted is put again. `None`, and no record,
    /// where a store is of one process alone.
    ///
    /// # Errors
    /// As for [`Store::commit`]; there is a record or none, until this is called again.
    fn attend<'a>(
        &'a self,
        _under: &'a RecordKey,
        _value: &'a RecordValue,
        _ttl: Duration,
    ) -> StoreFuture<'a, Option<RecordKey>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// The changes of a store, commit by commit.
pub trait Watch: Debug + Send {
    /// The next commit that changed anything, once there is one; each exactly once and in order.
    ///
    /// Dropping the future loses no commit. An error ends the watch: start another from the last
    /// revision that was seen.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] if the caller came back so late that commits are forgotten.
    fn next(&mut self) -> StoreFuture<'_, Commit>;
}
