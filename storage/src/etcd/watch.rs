//! Following a cluster: events of one revision become one commit.
//!
//! A watch outlives its member. When the stream ends, or the member loses its leader, it goes on at
//! another from the last revision it has; only after a whole request timeout without success does
//! it answer an error.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Streaming};

use super::cluster::{Cluster, PAUSE};
use super::fault::{Effect, EtcdFault, Fault};
use super::place::{Prefix, number, revision};
use super::protocol::event::EventType;
use super::protocol::watch_request::RequestUnion;
use super::protocol::{Event, RangeRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::{newest, unavailable};
use crate::commit::{Commit, Write};
use crate::error::StoreError;
use crate::record::Revision;
use crate::{StoreFuture, Watch};

pub(super) struct EtcdWatch {
    cluster: Arc<Cluster>,
    prefix: Prefix,
    /// All commits up to here were handed out or are `ready`.
    reached: Revision,
    ready: VecDeque<Commit>,
    /// A commit of which a later fragment may bring more.
    partial: Option<Commit>,
    stream: Option<Streaming<WatchResponse>>,
    endpoint: String,
    opened: Instant,
    /// Since when nothing has come.
    broken: Option<Instant>,
}

impl EtcdWatch {
    /// Starts after `from`.
    pub(super) async fn start(
        cluster: Arc<Cluster>,
        prefix: Prefix,
        from: Revision,
    ) -> Result<Self, StoreError> {
        let mut watch = Self::unopened(cluster, prefix, from);
        if !watch.is_remembered().await? {
            // The member refuses the stream, and only there says from where it remembers.
            let limit = watch.cluster.timeout;
            let first = timeout(limit, watch.follow()).await;
            let silent = |_late| unavailable(Fault::silent(&watch.endpoint).why);
            let first = first.map_err(silent)??;
            watch.ready.push_front(first);
        } else if watch.stream.is_none() {
            watch.reopen().await?;
        }
        Ok(watch)
    }

    fn unopened(cluster: Arc<Cluster>, prefix: Prefix, from: Revision) -> Self {
        Self {
            cluster,
            prefix,
            reached: from,
            ready: VecDeque::new(),
            partial: None,
            stream: None,
            endpoint: String::new(),
            opened: Instant::now(),
            broken: None,
        }
    }

    /// Whether the cluster still has what came after `reached`.
    async fn is_remembered(&self) -> Result<bool, StoreError> {
        let key = self.prefix.whole().start;
        let at = number(self.reached).unwrap_or(i64::MAX).max(1);
        let probe = RangeRequest { key, count_only: true, revision: at, ..Default::default() };
        match self.cluster.read(&probe).await {
            Ok(_) => Ok(true),
            Err(EtcdFault::Answer { code: Code::OutOfRange, message, .. }) => {
                if message.contains("compacted") {
                    return Ok(false);
                }
                let newest = newest(&self.cluster, &self.prefix).await?;
                if newest < self.reached {
                    return Err(StoreError::NotReached { newest });
                }
                Ok(true)
            }
            Err(why) => Err(unavailable(why)),
        }
    }

    async fn follow(&mut self) -> Result<Commit, StoreError> {
        loop {
            if let Some(commit) = self.ready.pop_front() {
                return Ok(commit);
            }
            let Some(stream) = &mut self.stream else {
                self.reopen().await?;
                continue;
            };
            match stream.message().await {
                Ok(Some(response)) => self.take(response)?,
                Ok(None) => self.note_break(Fault::malformed(&self.endpoint))?,
                Err(status) => self.note_break(Fault::of(&status, &self.endpoint))?,
            }
        }
    }

    /// Opens a stream, at whichever member lets it.
    async fn reopen(&mut self) -> Result<(), StoreError> {
        loop {
            if self.broken.is_some() {
                sleep(PAUSE).await;
            }
            // A cluster that was rolled back would never come to what is awaited here.
            self.is_remembered().await?;
            match self.cluster.follow(self.request()).await {
                Ok((stream, endpoint)) => {
                    endpoint.clone_into(&mut self.endpoint);
                    self.stream = Some(stream);
                    self.opened = Instant::now();
                    return Ok(());
                }
                Err(fault) => self.note_break(fault)?,
            }
        }
    }

    fn request(&self) -> WatchRequest {
        let range = self.prefix.whole();
        let create = WatchCreateRequest {
            key: range.start,
            range_end: range.end,
            // Not the revision after it: etcd 3.4 forgets a deletion that is the very revision it
            // compacts at, without a word. What was handed out already is left out again.
            start_revision: number(self.reached).unwrap_or(i64::MAX).max(1),
            progress_notify: true,
            fragment: true,
        };
        WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }
    }

    /// Gives up the stream, and the watch once that has gone on for too long.
    fn note_break(&mut self, fault: Fault) -> Result<(), StoreError> {
        self.stream = None;
        self.partial = None;
        let limit = self.cluster.timeout;
        let lasted = self.opened.elapsed() > limit;
        let since = self.broken.filter(|_| !lasted).unwrap_or_else(Instant::now);
        self.broken = Some(since);
        if fault.effect == Effect::Refused || since.elapsed() > limit {
            return Err(unavailable(fault.why));
        }
        Ok(())
    }

    fn take(&mut self, response: WatchResponse) -> Result<(), StoreError> {
        if response.canceled {
            return self.canceled(&response);
        }
        let is_progress = response.events.is_empty() && !response.created && !response.fragment;
        for event in response.events {
            self.take_event(event)?;
        }
        if !response.fragment {
            self.finish_partial();
        }
        if let Some(header) = response.header.filter(|_| is_progress) {
            self.broken = None;
            self.reached = self.reached.max(revision(header.revision)?);
        }
        Ok(())
    }

    fn canceled(&mut self, response: &WatchResponse) -> Result<(), StoreError> {
        if response.compact_revision > 0 {
            return Err(StoreError::Compacted { oldest: revision(response.compact_revision)? });
        }
        let endpoint = self.endpoint.clone();
        if response.cancel_reason.contains("permission denied") {
            return Err(unavailable(EtcdFault::Permission { endpoint }));
        }
        let (code, message) = (Code::Cancelled, response.cancel_reason.clone());
        let why = EtcdFault::Answer { endpoint, code, message };
        self.note_break(Fault { why, effect: Effect::None })
    }

    fn take_event(&mut self, event: Event) -> Result<(), StoreError> {
        let is_delete = event.r#type() == EventType::Delete;
        let pair = event.kv.unwrap_or_default();
        let revision = revision(pair.mod_revision)?;
        if revision <= self.reached {
            return Ok(());
        }
        let write = if is_delete {
            Write::Delete(self.prefix.key(&pair.key)?)
        } else {
            let record = self.prefix.record(&pair)?;
            Write::Put(record.key, record.value)
        };
        if self.partial.as_ref().is_some_and(|partial| partial.revision != revision) {
            self.finish_partial();
        }
        let partial = self.partial.get_or_insert_with(|| Commit { revision, writes: Vec::new() });
        partial.writes.push(write);
        Ok(())
    }

    fn finish_partial(&mut self) {
        if let Some(mut commit) = self.partial.take() {
            // Whatever broke before is over.
            self.broken = None;
            commit.writes.sort_unstable_by(|a, b| a.key().cmp(b.key()));
            self.reached = commit.revision;
            self.ready.push_back(commit);
        }
    }
}

impl fmt::Debug for EtcdWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdWatch").field("reached", &self.reached).finish_non_exhaustive()
    }
}

impl Watch for EtcdWatch {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(self.follow())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::protocol::KeyValue;
    use super::super::settings::EtcdSettings;
    use super::*;

    fn watch(request_timeout: Duration) -> EtcdWatch {
        let settings = EtcdSettings::of_nobody(request_timeout);
        let cluster = Cluster::new(settings, RangeRequest::default()).unwrap();
        EtcdWatch::unopened(Arc::new(cluster), Prefix::new("selkie/").unwrap(), Revision::ORIGIN)
    }

    fn deletion(mod_revision: i64) -> WatchResponse {
        let kv = KeyValue { key: b"selkie/a".to_vec(), mod_revision, ..KeyValue::default() };
        let r#type = EventType::Delete.into();
        let event = Event { r#type, kv: Some(kv) };
        WatchResponse { events: vec![event], ..WatchResponse::default() }
    }

    /// One member after another is lost, each soon after the watch has come to it.
    #[tokio::test(start_paused = true)]
    async fn breaks_between_which_commits_come_end_no_watch() {
        let second = Duration::from_secs(1);
        let mut watch = watch(4 * second);
        for revision in 1..10 {
            watch.note_break(Fault::silent("m")).unwrap();
            tokio::time::advance(second).await;
            watch.opened = Instant::now();
            watch.take(deletion(revision)).unwrap();
            tokio::time::advance(second).await;
        }
        for _ in 0..3 {
            watch.note_break(Fault::silent("m")).unwrap();
            tokio::time::advance(2 * second).await;
            watch.opened = Instant::now();
        }
        watch.note_break(Fault::silent("m")).unwrap_err();
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_of_which_only_a_part_ever_comes_ends_the_watch() {
        let second = Duration::from_secs(1);
        let mut watch = watch(4 * second);
        let outcomes = (0..10).map(|_| {
            let outcome = watch.note_break(Fault::silent("m"));
            watch.opened = Instant::now();
            watch.take(WatchResponse { fragment: true, ..deletion(1) }).unwrap();
            outcome
        });
        let mut is_over = false;
        for outcome in outcomes {
            is_over |= outcome.is_err();
            tokio::time::advance(second).await;
        }
        assert!(is_over);
    }
}
