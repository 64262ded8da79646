//! Changes a key on top of what others have made of it meanwhile: versions never go back, also
//! where nobody says whether a write was made (invariant I7).

use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_storage::{Guard, Record, RecordKey, Revision, Store, StoreError, Write};
use tokio::time::timeout;

use super::ManagedKeys;
use super::held::{Entry, Held, KeyInStore};
use crate::state::listing::{STORE_PATIENCE, in_time};
use crate::state::{KeyRecord, record_key};
use crate::transit::{TransitError, TransitKey};

/// How often a change is made anew on what another replica has made of the key meanwhile.
const ATTEMPTS: usize = 8;

/// What becomes of a key.
#[derive(Debug)]
pub(in crate::transit) enum Change {
    /// It is as it should be.
    Keep,
    /// This takes its place.
    Put(TransitKey),
    /// It goes.
    Delete,
}

impl Change {
    /// What is to be written at `place`, and held once it is; `None` if all stays as it is.
    fn into_write(self, place: &RecordKey) -> Result<Option<(Write, Entry)>, TransitError> {
        Ok(match self {
            Self::Keep => None,
            Self::Put(key) => {
                let value = KeyRecord::encode(&key).map_err(|_large| TransitError::RecordFull)?;
                Some((Write::Put(place.clone(), value), Entry::Key(Arc::new(key))))
            }
            Self::Delete => Some((Write::Delete(place.clone()), Entry::Deleted)),
        })
    }
}

/// A write that was sent, and of which nobody said whether it was made.
type Sent = Option<Write>;

impl ManagedKeys {
    /// Commits what `change` makes of the key, and holds it; answers the key as it is then.
    ///
    /// Where another replica was first, `change` is asked again about what that one has made of it,
    /// so that neither change is lost. In memory nothing changes before the store has.
    pub(in crate::transit) async fn commit(
        &self,
        mount: &MountPath,
        name: &KeyName,
        mut change: impl FnMut(Option<&TransitKey>) -> Result<Change, TransitError> + Send,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        let place = record_key(mount, name).map_err(|_long| TransitError::NameTooLong)?;
        let mut conflict = StoreError::GuardFailed { key: place.clone() };
        let mut sent: Sent = None;
        let mut late = None;
        for _ in 0..ATTEMPTS {
            let held = self.find_held(mount, name.as_str())?;
            let at = held.as_ref().map(|(_, revision)| *revision);
            let was = held.as_ref().map(|(key, _)| &**key);
            let changed = match change(was) {
                Ok(changed) => changed,
                Err(refusal) if sent.is_some() => return Err(refusal),
                // Another replica may have made it possible a moment ago.
                Err(refusal) => match (self.is_outdated(mount, name, &place, at).await, refusal) {
                    (Ok(true), refusal) => {
                        late = Some(refusal);
                        continue;
                    }
                    // That is final for a client, and only the store could say it.
                    (Err(error), TransitError::KeyNotFound) => return Err(error.into()),
                    (Ok(false) | Err(_), refusal) => return Err(refusal),
                },
            };
            let Some((write, entry)) = changed.into_write(&place)? else {
                return Ok(held.map(|(key, _)| key));
            };
            let store = self.store()?;
            match send(&**store, guard(&place, at), &write).await {
                Ok(revision) => {
                    let held = Held { entry, revision };
                    let found = KeyInStore { mount: mount.clone(), name: name.clone(), held };
                    self.holding_mut().take(found);
                    return self.find(mount, name.as_str());
                }
                Err(error @ StoreError::Undecided { .. }) => {
                    (conflict, sent) = (error, Some(write))
                }
                Err(error @ StoreError::GuardFailed { .. }) if sent.is_none() => conflict = error,
                Err(StoreError::GuardFailed { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let is = match self.look(&**store, mount, name, &place, at).await {
                Ok(is) => is,
                Err(_away) if sent.is_some() => return Err(conflict.into()),
                Err(error) => return Err(error.into()),
            };
            match sent.as_ref().map(|sent| outcome(sent, at, is.as_ref())) {
                Some(Outcome::Made) => return self.find(mount, name.as_str()),
                // Whether ours came before it or never is for the client to look up.
                Some(Outcome::Overwritten) => return Err(conflict.into()),
                Some(Outcome::NotMade) | None => {}
            }
        }
        Err(late.unwrap_or_else(|| conflict.into()))
    }

    /// Whether the store has the key as of another commit than `at`; `false` where there is none.
    async fn is_outdated(
        &self,
        mount: &MountPath,
        name: &KeyName,
        place: &RecordKey,
        at: Option<Revision>,
    ) -> Result<bool, StoreError> {
        let Ok(store) = self.store() else { return Ok(false) };
        let is = self.look(&**store, mount, name, place, at).await?;
        Ok(is.map(|is| is.revision) != at)
    }

    /// The key as it stands in the store, which is held from now on.
    ///
    /// # Errors
    ///
    /// [`TransitError::Store`], and as for every look at a key.
    pub(in crate::transit) async fn refresh(
        &self,
        mount: &MountPath,
        name: &KeyName,
    ) -> Result<Option<Arc<TransitKey>>, TransitError> {
        let place = record_key(mount, name).map_err(|_long| TransitError::NameTooLong)?;
        let at = self.find_held(mount, name.as_str())?.map(|(_, revision)| revision);
        self.look(&**self.store()?, mount, name, &place, at).await?;
        self.find(mount, name.as_str())
    }

    /// Reads the key's record anew, and holds what it says. `at` is as of when it was held.
    async fn look(
        &self,
        store: &dyn Store,
        mount: &MountPath,
        name: &KeyName,
        place: &RecordKey,
        at: Option<Revision>,
    ) -> Result<Option<Record>, StoreError> {
        let record = match in_time(store.get(place)).await {
            Err(StoreError::Corrupt { key, source }) => {
                KeyInStore::unreadable(place)
                    .into_iter()
                    .for_each(|one| self.holding_mut().take(one));
                return Err(StoreError::Corrupt { key, source });
            }
            answer => answer?,
        };
        match (&record, at) {
            (Some(record), _) => {
                KeyInStore::read(record).into_iter().for_each(|one| self.holding_mut().take(one));
            }
            (None, Some(at)) => self.holding_mut().take_absence(mount, name, at),
            (None, None) => {}
        }
        Ok(record)
    }
}

enum Outcome {
    Made,
    NotMade,
    Overwritten,
}

/// What became of a write that was sent while the record stood `at` this revision.
fn outcome(sent: &Write, at: Option<Revision>, is: Option<&Record>) -> Outcome {
    let is_as_sent = match sent {
        Write::Put(_, value) => is.is_some_and(|is| is.value == *value),
        Write::Delete(_) => is.is_none(),
    };
    match is_as_sent {
        true => Outcome::Made,
        false if is.map(|is| is.revision) == at => Outcome::NotMade,
        false => Outcome::Overwritten,
    }
}

fn guard(place: &RecordKey, at: Option<Revision>) -> [Guard; 1] {
    [at.map_or_else(|| Guard::Absent(place.clone()), |at| Guard::At(place.clone(), at))]
}

/// A commit that is given up is whole or absent, like one whose answer was lost.
async fn send(
    store: &dyn Store,
    guards: [Guard; 1],
    write: &Write,
) -> Result<Revision, StoreError> {
    let late = |elapsed| Err(StoreError::Undecided { source: Box::new(elapsed) });
    let writes = std::slice::from_ref(write);
    timeout(STORE_PATIENCE, store.commit(&guards, writes)).await.unwrap_or_else(late)
}
