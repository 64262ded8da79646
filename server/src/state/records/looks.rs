//! Looks for what another replica may have made a moment ago, before anybody says that there is none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use selkie_storage::{Guard, Page, Record, Revision, Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Current, Kept, Mirror, Mirrors, Records, RecordsError};
use crate::auth::ClientNetwork;
use crate::look_budget::LOOK_PATIENCE;
use crate::state::listing::{in_time, list, newest};

/// How far apart strangers' listings of one kind are: however many ask, from wherever, the store has
/// time for others.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// One kind of record, and what there is to listings of it.
struct Kind {
    mirror: Arc<dyn Mirrors>,
    /// What its records are judged by.
    judges: Vec<Arc<Self>>,
    /// One listing at a time; when the last one ended.
    last: Arc<Mutex<Option<Instant>>>,
}

/// Listings of what records are judged by: the kinds by their roots.
#[derive(Default)]
pub(super) struct CatchUps(HashMap<&'static str, Arc<Kind>>);

impl CatchUps {
    pub(super) fn of(mirrors: &[Arc<dyn Mirrors>]) -> Self {
        let mut kinds = Self::default();
        for mirror in mirrors {
            kinds.add(mirror, mirrors);
        }
        kinds
    }

    /// After those that judge it; none judges itself, in however many steps.
    fn add(&mut self, mirror: &Arc<dyn Mirrors>, all: &[Arc<dyn Mirrors>]) -> Arc<Kind> {
        if let Some(kind) = self.0.get(mirror.root()) {
            return Arc::clone(kind);
        }
        let judges = all.iter().filter(|one| mirror.judged_by().contains(&one.root()));
        let judges = judges.map(|judge| self.add(judge, all)).collect();
        let kind = Arc::new(Kind { mirror: Arc::clone(mirror), judges, last: Arc::default() });
        self.0.insert(mirror.root(), Arc::clone(&kind));
        kind
    }
}

impl Records {
    /// The record `name`: where it is not held, as the store says; whoever is told that there is none
    /// takes it that it is deleted or was revoked. `from` is the address of a
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
            // Nobody else writes there, and what this process wrote is held.
            None if self.store()?.answers_from_memory() => {}
            None => look.await?,
        }
        Ok(mirror.get(name)?)
    }

    /// Has all that the records in `mirror` are judged by as the store is now. `from` is the address of a
    /// stranger, as above.
    ///
    /// # Errors
    ///
    /// [`RecordsError`].
    pub(crate) async fn hear_what_judges<T: Kept>(
        &self,
        mirror: &Mirror<T>,
        from: Option<IpAddr>,
    ) -> Result<(), RecordsError> {
        let store = self.store()?;
        if store.answers_from_memory() {
            // Nobody else writes there, and what this process wrote is held.
            return Ok(());
        }
        if let Some(from) = from {
            self.spend_look(mirror, from)?;
        }
        let revision = newest(&*store).await.map_err(RecordsError::Store)?;
        let pause = from.map_or(Duration::ZERO, |_stranger| PAUSE);
        self.catch_up::<T>(&store, revision, pause).await
    }

    /// Has all records in `mirror` as the store is now, for a look by something else than their name.
    ///
    /// # Errors
    ///
    /// [`RecordsError`].
    pub(crate) async fn hear_of_all<T: Kept>(
        &self,
        _mirror: &Mirror<T>,
    ) -> Result<(), RecordsError> {
        let store = self.store()?;
        if store.answers_from_memory() {
            return Ok(());
        }
        let revision = newest(&*store).await.map_err(RecordsError::Store)?;
        let Some(kind) = self.catch_ups.0.get(T::ROOT) else { return Ok(()) };
        list_up_to(revision, kind, (&store, PAUSE)).await.map_err(RecordsError::Store)
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
            self.catch_up::<T>(&store, record.revision, Duration::ZERO).await?;
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

    /// Makes the kinds that judge `T` as new as `revision`.
    async fn catch_up<T: Kept>(
        &self,
        store: &Arc<dyn Store>,
        revision: Revision,
        pause: Duration,
    ) -> Result<(), RecordsError> {
        for judge in T::JUDGED_BY.iter().filter_map(|root| self.catch_ups.0.get(root)) {
            let listed = list_up_to(revision, judge, (store, pause)).await;
            listed.map_err(RecordsError::Store)?;
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

/// Makes one kind as new as `revision`, and what judges it as new as what is held of it then: somebody
/// may write a policy, and a role that names it, while this lists. Costs nothing where the watch has told
/// of that much already.
fn list_up_to<'a>(
    revision: Revision,
    kind: &'a Arc<Kind>,
    (store, pause): (&'a Arc<dyn Store>, Duration),
) -> Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>> {
    Box::pin(async move {
        let is_new = || kind.mirror.followed() >= Some(revision);
        let (Ok(place), false) = (kind.mirror.root().parse(), is_new()) else { return Ok(()) };
        let mut last = Arc::clone(&kind.last).lock_owned().await;
        // Of many who wait here, one lists for all who asked before it began.
        if let (Some(last), false) = (*last, is_new()) {
            sleep_until(last + pause).await;
        }
        if is_new() {
            return Ok(());
        }
        let (kind, store) = (Arc::clone(kind), Arc::clone(store));
        // In a task of its own: who gives up leaves it to those who come later.
        let listing = tokio::spawn(async move {
            let listed = list(&*store, Page::under_in_bulk(place)).await;
            *last = Some(Instant::now());
            let listed = listed?;
            for judge in &kind.judges {
                list_up_to(listed.revision, judge, (&store, pause)).await?;
            }
            kind.mirror.replace(&listed);
            Ok(())
        });
        let panicked = |error| Err(StoreError::Unavailable { source: Box::new(error) });
        listing.await.unwrap_or_else(panicked)
    })
}

/// The outcome, if it comes while a client waits for it.
pub(crate) async fn soon<E: From<RecordsError>>(
    looked: impl Future<Output = Result<(), E>>,
) -> Result<(), E> {
    let late = |elapsed| {
        let error = StoreError::Unavailable { source: Box::new(elapsed) };
        Err(RecordsError::Store(error).into())
    };
    timeout(LOOK_PATIENCE, looked).await.unwrap_or_else(late)
}
