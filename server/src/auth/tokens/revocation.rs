//! Revocations. What came of a token is dead with it at once, for want of an ancestor; to remove it
//! has time.

use selkie_storage::Revision;

use super::record::TokenId;
use super::{ATTEMPTS, Token, Tokens};
use crate::auth::methods::documents::forget;
use crate::state::records::{Batch, Mirror, Records, RecordsError};

impl Tokens {
    /// Ends the token, and with it all that came from it: they are dead from now on, because their
    /// ancestor is gone, and the sweep removes them. Whether there was one.
    pub(in crate::auth) async fn revoke(
        &self,
        records: &Records,
        id: &TokenId,
    ) -> Result<bool, RecordsError> {
        for _ in 0..ATTEMPTS {
            let Some(current) = self.mirror.get(id)? else { return Ok(false) };
            let mut batch = Batch::default();
            batch.delete::<Token>(id, current.revision)?;
            match records.commit(&batch).await {
                Ok(()) => {
                    self.sweep_now.notify_one();
                    return Ok(true);
                }
                Err(RecordsError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(RecordsError::Conflict)
    }

    /// Ends all tokens that were got by logins at the mount with this accessor. Batch tokens are kept
    /// nowhere, and end by themselves.
    pub(in crate::auth) async fn revoke_logins(
        &self,
        records: &Records,
        mount_accessor: &str,
    ) -> Result<(), RecordsError> {
        let mut ids = Vec::new();
        self.mirror.for_each(|id, token| {
            let login = token.made.login.as_ref();
            if login.is_some_and(|login| login.mount_accessor == mount_accessor) {
                ids.push(*id);
            }
        });
        forget(records, &self.mirror, ids).await?;
        self.sweep_now.notify_one();
        Ok(())
    }

    /// Ends the token alone: its children become orphans first, some at a time. If that is
    /// interrupted it can be done again.
    pub(in crate::auth) async fn revoke_orphan(
        &self,
        records: &Records,
        id: &TokenId,
    ) -> Result<bool, RecordsError> {
        let mut attempts = ATTEMPTS;
        while attempts > 0 {
            let Some(own) = self.mirror.get(id)? else { return Ok(false) };
            let room = records.store()?.limits().records.saturating_sub(1).max(1);
            let children = self.mirror.find(|index| index.children_of(id, room));
            let mut batch = Batch::default();
            for child in &children {
                let Some(current) = self.mirror.get(child)? else { continue };
                let mut orphan = Token::clone(&current.value);
                orphan.made.parent = None;
                batch.put(child, &orphan, Some(current.revision))?;
            }
            if children.is_empty() {
                batch.delete::<Token>(id, own.revision)?;
            }
            match records.commit(&batch).await {
                Ok(()) if children.is_empty() => return Ok(true),
                Ok(()) => attempts = ATTEMPTS,
                Err(RecordsError::Conflict) => attempts -= 1,
                Err(error) => return Err(error),
            }
        }
        Err(RecordsError::Conflict)
    }

    /// Removes what has ended, and what came from tokens that are gone. How many.
    pub(super) async fn sweep(&self, records: &Records) -> Result<usize, RecordsError> {
        let room = records.store()?.limits().records.max(1);
        let mut removed: usize = 0;
        let (mut after, mut is_last) = (None, false);
        while !is_last {
            let mark = self.clock.mark();
            let now = self.clock.now_by(&mark);
            let due = self.mirror.find(|index| index.ended(now, after, room));
            is_last = due.len() < room;
            after = due.last().copied();
            let ended = due.into_iter().filter_map(|(_, id)| {
                let current = self.mirror.get(&id).ok()??;
                mark.is_over(&current.value, now).then_some((id, current.revision))
            });
            removed = removed.saturating_add(remove(records, ended.collect()).await?);
            tokio::task::yield_now().await;
        }
        loop {
            let some = self.headless(room)?;
            if some.is_empty() {
                return Ok(removed);
            }
            match remove(records, some).await? {
                // Others sweep as well: they have it, or the next time will.
                0 => return Ok(removed),
                count => removed = removed.saturating_add(count),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Some tokens whose parent is gone.
    fn headless(&self, most: usize) -> Result<Vec<(TokenId, Revision)>, RecordsError> {
        let mut found = Vec::new();
        for parent in self.mirror.find(|index| index.parents()) {
            if self.mirror.get(&parent)?.is_some() {
                continue;
            }
            let room = most.saturating_sub(found.len());
            for child in self.mirror.find(|index| index.children_of(&parent, room)) {
                if let Ok(Some(current)) = Mirror::get(&self.mirror, &child) {
                    found.push((child, current.revision));
                }
            }
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }
}

/// Deletes the tokens, unless somebody has changed one of them: then none.
async fn remove(
    records: &Records,
    doomed: Vec<(TokenId, Revision)>,
) -> Result<usize, RecordsError> {
    if doomed.is_empty() {
        return Ok(0);
    }
    let mut batch = Batch::default();
    for (id, revision) in &doomed {
        batch.delete::<Token>(id, *revision)?;
    }
    match records.commit(&batch).await {
        Ok(()) => Ok(doomed.len()),
        Err(RecordsError::Conflict) => Ok(0),
        Err(error) => Err(error),
    }
}
