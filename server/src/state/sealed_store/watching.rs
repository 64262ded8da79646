//! What other replicas commit, believed only if it is the next commit of ours.

use std::sync::Arc;

use selkie_storage::{Commit, RecordKey, Revision, StoreError, StoreFuture, Watch, Write};

use super::super::Root;
use super::super::layout::is_reserved;
use super::{Damage, Sealed, Seen, open_root, open_value};

/// The raw commits, each checked to be the next one of ours, and opened.
///
/// A commit that others make has no root, or one that is not the next: they can make none of their
/// own without the state key, and any they put back is of an earlier commit.
#[derive(Debug)]
pub(super) struct SealedWatch {
    sealed: Arc<Sealed>,
    raw: Box<dyn Watch>,
    /// The root of the last commit; not known when the watch begins somewhere in the past.
    last: Option<Root>,
    /// A root of which it is known where in the line it stands.
    landmark: Seen,
}

impl SealedWatch {
    pub(super) async fn new(
        sealed: Arc<Sealed>,
        raw: Box<dyn Watch>,
        from: Revision,
    ) -> Result<Self, StoreError> {
        let landmark = sealed.current().await?;
        let last = (landmark.revision <= from).then_some(landmark.root);
        Ok(Self { sealed, raw, last, landmark })
    }

    /// The commit with its records opened; `None` if it changed reserved records alone.
    fn checked(&mut self, commit: Commit) -> Result<Option<Commit>, StoreError> {
        let (reserved, writes): (Vec<_>, Vec<_>) =
            commit.writes.into_iter().partition(|write| is_reserved(write.key()));
        let Some(root) = self.root_among(&reserved)? else {
            return match writes.first() {
                Some(foreign) => Err(self.damaged(foreign.key(), Damage::PutBack)),
                None => Ok(None),
            };
        };
        if !self.is_next(&root, commit.revision, &writes) {
            return Err(self.damaged(&self.sealed.root, Damage::PutBack));
        }
        let writes: Vec<_> =
            writes.into_iter().map(|write| self.opened(write, &root)).collect::<Result<_, _>>()?;
        self.last = Some(root);
        self.sealed.saw(Seen { root, revision: commit.revision });
        let revision = commit.revision;
        Ok((!writes.is_empty()).then_some(Commit { revision, writes }))
    }

    /// The root that a commit puts. What else is reserved may change without one, but not so that
    /// the store is no longer the same.
    fn root_among(&self, reserved: &[Write]) -> Result<Option<Root>, StoreError> {
        let mut found = None;
        for write in reserved {
            match (write, write.key().as_str()) {
                (Write::Put(_, value), super::ROOT) => {
                    let root = open_root(&self.sealed.key, value);
                    let refused = || self.damaged(write.key(), Damage::Refused);
                    found = Some(root.ok_or_else(refused)?);
                }
                (Write::Delete(key), super::ROOT | "state-key" | "format") => {
                    return Err(self.damaged(key, Damage::Missing));
                }
                (Write::Put(key, _), "filling" | "format") => {
                    return Err(self.damaged(key, Damage::PutBack));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    fn is_next(&self, root: &Root, revision: Revision, writes: &[Write]) -> bool {
        let Seen { root: known, revision: at } = self.landmark;
        let is_landmark = revision != at || *root == known;
        is_landmark && self.last.is_none_or(|last| self.follows(&last, root, writes))
    }

    /// Whether `root` can come of `last` by `writes`. What they replaced is not known here, so the
    /// sum can only be told where they replaced nothing.
    fn follows(&self, last: &Root, root: &Root, writes: &[Write]) -> bool {
        let puts = writes.iter().filter_map(|write| match write {
            Write::Put(key, value) => Some((key, value)),
            Write::Delete(_) => None,
        });
        let count = |many: usize| u64::try_from(many).unwrap_or(u64::MAX);
        let put = count(puts.clone().count());
        let deleted = count(writes.len()).saturating_sub(put);
        let least = last.records.checked_sub(deleted);
        let is_counted =
            least.is_some_and(|least| (least..=least.saturating_add(put)).contains(&root.records));
        let replaced_nothing = deleted == 0 && root.records == last.records.saturating_add(put);
        let sum = puts.fold(last.sum, |sum, (key, value)| {
            sum.toggled(self.sealed.key.summand(key.as_str(), value.as_bytes()))
        });
        last.sequence.checked_add(1) == Some(root.sequence)
            && is_counted
            && (!replaced_nothing || sum == root.sum)
    }

    fn opened(&self, write: Write, root: &Root) -> Result<Write, StoreError> {
        match write {
            Write::Delete(key) => Ok(Write::Delete(key)),
            Write::Put(key, value) => {
                let opened = open_value(&self.sealed.key, &key, &value);
                let (content, sequence) =
                    opened.map_err(|_refused| self.damaged(&key, Damage::Refused))?;
                if sequence != root.sequence {
                    return Err(self.damaged(&key, Damage::PutBack));
                }
                Ok(Write::Put(key, content))
            }
        }
    }

    fn damaged(&self, key: &RecordKey, damage: Damage) -> StoreError {
        self.sealed.damaged(key, damage)
    }
}

impl Watch for SealedWatch {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(async move {
            loop {
                let commit = self.raw.next().await?;
                if let Some(commit) = self.checked(commit)? {
                    return Ok(commit);
                }
            }
        })
    }
}
