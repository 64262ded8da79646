//! Looks for what another replica may have made a moment ago, before anybody says that there is none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use selkie_storage::{Guard, Page, Record, Revision, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::{Current, Kept, Mirror, Mirrors, Records, RecordsError};
use crate::auth::ClientNetwork;
use crate::look_budget::LOOK_PATIENCE;
use crate::state::listing::{in_time, list};

/// Listings of what records are judged by, one at a time; they are numbered.
#[derive(Debug, Default)]
pub(super) struct CatchUps {
    begun: AtomicU64,
    /// The last one of each kind that came to its end, by the kind's root.
    held: Mutex<HashMap<&'static str, u64>>,
}

impl Records {
    /// The record `name`: where it is not held, as the store says. `from` is the address of a
    /// stranger, whose network has so many looks a second for this kind; who is known looks at will.
    ///
    /// # Errors
    ///
    /// [`RecordsError::NotLookedUp`], and what [`Records::look_again`] answers.
    pub(crate) async fn find<T: Kept>(
        &self,
        mirror: &Mirror<T>,
        name: &T::Name,
        from: Option<IpAddr>,
    ) -> Result<Option<Current<T>>, RecordsError> {
        if let Some(current) = mirror.get(name)? {
            return Ok(Some(current));
        }
        let look = self.look_again::<T>(name);
        match from {
            Some(from) => {
                self.spend_look(mirror, from)?;
                soon(look).await?;
            }
            None => look.await?,
        }
        Ok(mirror.get(name)?)
    }

    /// Reads anew all that the records in `mirror` are judged by, for a stranger at `from`.
    ///
    /// # Errors
    ///
    /// [`RecordsError`].
    pub(crate) async fn hear_what_judges<T: Kept>(
        &self,
        mirror: &Mirror<T>,
        from: IpAddr,
    ) -> Result<(), RecordsError> {
        let store = self.store()?;
        if store.answers_from_memory() {
            // Nobody else writes there, and what this process wrote is held.
            return Ok(());
        }
        self.spend_look(mirror, from)?;
        soon(self.catch_up::<T>(&*store, None)).await
    }

    /// Reads anew the record `name`, of which the mirrors may not have heard yet. Once it is held, so
    /// is all that it is judged by, as it was when it was written or newer.
    ///
    /// # Errors
    ///
    /// [`RecordsError`].
    pub(crate) async fn look_again<T: Kept>(&self, name: &T::Name) -> Result<(), RecordsError> {
        let store = self.store()?;
        let Some(place) = Mirror::<T>::place(name) else { return Ok(()) };
        let found = in_time(store.get(&place)).await.map_err(RecordsError::Store)?;
        if let Some(record) = &found {
            self.catch_up::<T>(&*store, Some(record.revision)).await?;
        }
        self.hold(&Guard::Absent(place), found.as_ref());
        Ok(())
    }

    /// Reads anew what the guards are about.
    pub(super) async fn look(&self, store: &dyn Store, guards: &[Guard]) -> Result<(), StoreError> {
        for guard in guards {
            let found = in_time(store.get(guard.key())).await?;
            self.hold(guard, found.as_ref());
        }
        Ok(())
    }

    fn hold(&self, guard: &Guard, found: Option<&Record>) {
        self.mirrors.iter().for_each(|mirror| mirror.look(guard, found));
        if let Some(record) = found {
            self.heard.note_known(record.revision);
        }
    }

    /// Makes the kinds that judge `T` as new as `revision`, or as the store is now. Those of which the
    /// watch has told that much already cost nothing.
    async fn catch_up<T: Kept>(
        &self,
        store: &dyn Store,
        revision: Option<Revision>,
    ) -> Result<(), RecordsError> {
        let is_behind = |mirror: &dyn Mirrors| {
            let followed = mirror.followed();
            let is_new = revision.is_some_and(|revision| followed >= Some(revision));
            T::JUDGED_BY.contains(&mirror.root()) && !is_new
        };
        if !self.mirrors.iter().any(|mirror| is_behind(&**mirror)) {
            return Ok(());
        }
        let CatchUps { begun, held } = &self.catch_ups;
        let asked = begun.load(Ordering::SeqCst);
        let mut held = held.lock().await;
        for mirror in self.mirrors.iter().filter(|mirror| is_behind(&***mirror)) {
            let root = mirror.root();
            // Of many who wait here, one lists for all who came before it began.
            let is_new = held.get(root).is_some_and(|listing| *listing > asked);
            if let (false, Ok(place)) = (is_new, root.parse()) {
                let listing = begun.fetch_add(1, Ordering::SeqCst).saturating_add(1);
                let listed = list(store, Page::under_in_bulk(place)).await;
                mirror.replace(&listed.map_err(RecordsError::Store)?);
                held.insert(root, listing);
            }
        }
        Ok(())
    }

    fn spend_look<T: Kept>(&self, mirror: &Mirror<T>, from: IpAddr) -> Result<(), RecordsError> {
        let second = self.heard.now().unix_seconds();
        // A client takes "there is none" for final, and only the store could say it.
        match mirror.spend_look(ClientNetwork::from(from), second) {
            true => Ok(()),
            false => Err(RecordsError::NotLookedUp),
        }
    }
}

/// The outcome, if it comes while a client waits for it.
async fn soon(looked: impl Future<Output = Result<(), RecordsError>>) -> Result<(), RecordsError> {
    let late =
        |elapsed| Err(RecordsError::Store(StoreError::Unavailable { source: Box::new(elapsed) }));
    timeout(LOOK_PATIENCE, looked).await.unwrap_or_else(late)
}
