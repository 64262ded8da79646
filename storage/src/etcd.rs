//! The store of many replicas: an etcd cluster, spoken to over its own gRPC protocol.
//!
//! Reads are linearizable, a commit is one transaction with compares on revisions, and etcd's
//! revisions are the store's: they leap where others write to the same cluster. One member is used
//! until it fails, then the next. A read is repeated elsewhere until the request timeout; a commit
//! only while it is certain that no member has taken it, and is
//! [`Undecided`](StoreError::Undecided) from then on. So that few are, a member that has not
//! answered for a second is asked to read something before it gets a commit.

mod cluster;
mod damage;
mod fault;
pub(crate) mod frame;
mod lease;
mod paging;
mod place;
mod protocol;
mod settings;
mod txn;
mod watch;

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use self::cluster::Cluster;
use self::fault::{Effect, Fault};
use self::lease::Lease;
use self::paging::Paging;
use self::place::{Prefix, revision};
use self::protocol::{RangeRequest, RangeResponse};
use self::txn::{Outcome, outcome, transaction};
use self::watch::EtcdWatch;
use crate::commit::{Guard, Write, check_limits};
use crate::error::StoreError;
use crate::key::RecordKey;
use crate::page::{Listing, Page};
use crate::record::{Record, RecordValue, Revision};
use crate::{Store, StoreFuture, Watch};

pub use damage::EtcdDamage;
pub use fault::EtcdFault;
pub use settings::{EtcdError, EtcdIdentity, EtcdLogin, EtcdSettings};

/// A [`Store`] in an etcd cluster, below one prefix.
///
/// Its watches go on at another member when theirs is lost, and answer
/// [`StoreError::Unavailable`] only if none has been found for a whole request timeout. The source
/// of `Unavailable` and `Undecided` is an [`EtcdFault`].
pub struct EtcdStore {
    cluster: Arc<Cluster>,
    prefix: Prefix,
    paging: Paging,
    /// The one that this process keeps; whoever renews it has it alone.
    lease: tokio::sync::Mutex<Option<Lease>>,
}

impl EtcdStore {
    /// The store in the cluster of `settings`, which is connected to when it is used: it need not
    /// be there yet. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`EtcdError`] if the settings alone show that this will never be a connection.
    pub fn connect(settings: EtcdSettings) -> Result<Self, EtcdError> {
        let Some(prefix) = Prefix::new(&settings.prefix) else {
            return Err(EtcdError::InvalidPrefix { prefix: settings.prefix });
        };
        let cluster = Arc::new(Cluster::new(settings, probe(&prefix))?);
        let (paging, lease) = (Paging::new(), tokio::sync::Mutex::default());
        Ok(Self { cluster, prefix, paging, lease })
    }

    /// The prefix of a store in whose place this one lies: a prefix that ours begins with, and that
    /// has a record under `key`, as every store has. Where this user may not read, nobody is seen.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn enclosing(&self, key: &RecordKey) -> Result<Option<String>, StoreError> {
        for outer in self.prefix.ancestors() {
            let read = RangeRequest { key: outer.place(key), ..RangeRequest::default() };
            let answer = match self.cluster.read(&read).await {
                Err(EtcdFault::Permission { .. }) => continue,
                outcome => outcome.map_err(unavailable)?,
            };
            if answer.kvs.iter().any(|pair| outer.record(pair).is_ok()) {
                return Ok(Some(outer.as_str().to_owned()));
            }
        }
        Ok(None)
    }

    async fn read_record(&self, key: &RecordKey) -> Result<Option<Record>, StoreError> {
        let read = RangeRequest { key: self.prefix.place(key), ..RangeRequest::default() };
        let answer = self.cluster.read(&read).await.map_err(unavailable)?;
        answer.kvs.first().map(|pair| self.prefix.record(pair)).transpose()
    }

    async fn read_page(&self, page: &Page) -> Result<Listing, StoreError> {
        let range = self.prefix.page(page);
        if range.start >= range.end {
            let revision = newest(&self.cluster, &self.prefix).await?;
            return Ok(Listing { records: Vec::new(), revision, next: None });
        }
        let read = RangeRequest { key: range.start, range_end: range.end, ..Default::default() };
        let answer = self.read_range(read, page.limit).await?;
        let revision = header_revision(&answer)?;
        let records = answer.kvs.iter().map(|pair| self.prefix.record(pair));
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let last = records.last().filter(|_| answer.more);
        let next = last.map(|last| Page { after: Some(last.key.clone()), ..page.clone() });
        Ok(Listing { records, revision, next })
    }

    /// At most `limit` pairs, and fewer if so many make too large or too slow an answer.
    async fn read_range(
        &self,
        range: RangeRequest,
        limit: NonZeroUsize,
    ) -> Result<RangeResponse, StoreError> {
        let page = |limit| {
            let read = RangeRequest { limit, ..range.clone() };
            async move { self.cluster.read_page(&read).await }
        };
        let patience = self.cluster.page_patience();
        let answer = self.paging.read(limit, patience, page, || self.cluster.probe());
        answer.await.map_err(unavailable)
    }

    async fn transact(&self, guards: &[Guard], writes: &[Write]) -> Result<Revision, StoreError> {
        check_limits(guards, writes)?;
        let request = transaction(&self.prefix, guards, writes);
        let answer = if writes.is_empty() {
            self.cluster.read(&request).await.map_err(unavailable)?
        } else {
            self.cluster.write(&request).await.map_err(commit_error)?
        };
        match outcome(guards, &answer)? {
            Outcome::Committed(revision) => Ok(revision),
            Outcome::GuardFailed(key) => Err(StoreError::GuardFailed { key }),
            Outcome::Malformed => Err(commit_error(Fault::malformed("etcd"))),
        }
    }

    async fn follow(&self, from: Revision) -> Result<Box<dyn Watch>, StoreError> {
        let cluster = Arc::clone(&self.cluster);
        let watch = EtcdWatch::start(cluster, self.prefix.clone(), from).await?;
        Ok(Box::new(watch))
    }
}

impl fmt::Debug for EtcdStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdStore").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Store for EtcdStore {
    fn place_of(&self, key: &RecordKey) -> String {
        format!("{}{key}", self.prefix.as_str())
    }

    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.read_record(key))
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(self.read_page(page))
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(self.transact(guards, writes))
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        Box::pin(self.follow(from))
    }

    fn attend<'a>(
        &'a self,
        under: &'a RecordKey,
        value: &'a RecordValue,
        ttl: Duration,
    ) -> StoreFuture<'a, Option<RecordKey>> {
        Box::pin(async move { self.renew_or_grant(under, value, ttl).await.map(Some) })
    }
}

fn probe(prefix: &Prefix) -> RangeRequest {
    RangeRequest { key: prefix.whole().start, count_only: true, ..RangeRequest::default() }
}

async fn newest(cluster: &Cluster, prefix: &Prefix) -> Result<Revision, StoreError> {
    let answer = cluster.read(&probe(prefix)).await.map_err(unavailable)?;
    header_revision(&answer)
}

fn header_revision(answer: &RangeResponse) -> Result<Revision, StoreError> {
    match &answer.header {
        Some(header) => revision(header.revision),
        None => Err(unavailable(Fault::malformed("etcd").why)),
    }
}

fn unavailable(why: EtcdFault) -> StoreError {
    StoreError::Unavailable { source: Box::new(why) }
}

fn commit_error(fault: Fault) -> StoreError {
    let source = Box::new(fault.why);
    match fault.effect {
        Effect::None | Effect::Refused => StoreError::Unavailable { source },
        Effect::Open => StoreError::Undecided { source },
    }
}
