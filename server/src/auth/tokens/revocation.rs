//! Revocations. What came of a token is dead with it at once, for want of an ancestor; to remove it
//! has time.

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
            let (mark, mut ended) = self.clock.mark_for_deletions()?;
            let room = room.saturating_sub(ended.guard_count()).max(1);
            let now = self.clock.now_by(&mark);
            let due = self.mirror.find(|index| index.ended(now, after, room));
            is_last = due.len() < room;
            after = due.last().copied();
            for (_, id) in due {
                if let Ok(Some(current)) = self.mirror.get(&id)
                    && mark.is_over(&current.value, now)
                {
                    ended.delete::<Token>(&id, current.revision)?;
                }
            }
            match remove(records, &ended).await? {
                // Others sweep as well, or there is a mark not heard of: each batch would be refused,
                // and all its tokens read one by one.
                0 if !ended.is_empty() => return Ok(removed),
                count => removed = removed.saturating_add(count),
            }
            tokio::task::yield_now().await;
        }
        loop {
            let headless = self.headless(room)?;
            match remove(records, &headless).await? {
                // There are none, or others sweep as well: they have them, or the next time will.
                0 => return Ok(removed),
                count => removed = removed.saturating_add(count),
            }
            tokio::task::yield_now().await;
        }
    }

    /// The removal of some tokens whose parent is gone, with at most so many guards. That it is not
    /// held here proves nothing: another replica may have made both a moment ago, and the child alone
    /// was asked for. So the store has to agree; where it does not, the parent is held from then on.
    fn headless(&self, most: usize) -> Result<Batch, RecordsError> {
        let mut batch = Batch::default();
        for parent in self.mirror.find(|index| index.parents()) {
            if self.mirror.get(&parent)?.is_some() {
                continue;
            }
            let room = most.saturating_sub(batch.guard_count()).saturating_sub(1);
            if room == 0 {
                break;
            }
            batch.require_absent::<Token>(&parent)?;
            for child in self.mirror.find(|index| index.children_of(&parent, room)) {
                if let Ok(Some(current)) = Mirror::get(&self.mirror, &child) {
                    batch.delete::<Token>(&child, current.revision)?;
                }
            }
        }
        Ok(batch)
    }
}

/// Deletes the tokens of `doomed`, unless one of them, or what it depends on, is not as it was held:
/// then none. How many.
async fn remove(records: &Records, doomed: &Batch) -> Result<usize, RecordsError> {
    if doomed.is_empty() {
        return Ok(0);
    }
    match records.commit(doomed).await {
        Ok(()) => Ok(doomed.len()),
        Err(RecordsError::Conflict) => Ok(0),
        Err(error) => Err(error),
    }
}
