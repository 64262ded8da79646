//! Keeps the state key wrapped for the seals that are configured now. To lose a recipient is worse
//! than to have an old one.

use selkie_crypto::StateKey;
use selkie_storage::{Guard, StoreError, Write};

use super::{KEY_PLACE, OpenError, State, missing, names, place, value};
use crate::seal::{KekRef, listed};
use crate::state::sealed_store::{Damage, ROOT, corrupt, open_root};
use crate::state::state_key;
use crate::transit::{Transit, TransitError};

impl State {
    /// Encrypts the state key anew when the seals are no longer those of its envelope: a master key
    /// was rotated, a seal added or removed. It is the same key, so no record changes.
    ///
    /// As long as an enabled seal is away or not trusted, the envelope stays as it is: to lose a
    /// recipient is worse than to have an old one.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn follow_seals(&self, key: &StateKey, transit: &Transit) -> Result<(), OpenError> {
        let deployment = &transit.deployment;
        let keks = state_key::trusted_keks(deployment, transit.clock.unix_seconds());
        if keks.is_empty() || keks.len() != deployment.seals.enabled().count() {
            return Ok(());
        }
        let record = self.get(KEY_PLACE).await?.ok_or_else(|| missing(KEY_PLACE))?;
        self.require_key_of_store(key).await?;
        let json = record.value.as_bytes();
        let envelope = state_key::parse(json, deployment, None);
        let envelope =
            envelope.map_err(|refusal| OpenError::StateKey(TransitError::Refused(refusal)))?;
        let is_ours = state_key::has_our_origin(json, deployment);
        if is_ours && is_same(&state_key::recipients(&envelope), &keks) {
            return Ok(());
        }
        let envelope = state_key::encrypt(key, &keks, transit).await;
        let envelope = envelope.map_err(|error| OpenError::of_seals(names(&keks), error))?;
        let at = place(KEY_PLACE)?;
        let guard = Guard::At(at.clone(), record.revision);
        match self.raw.commit(&[guard], &[Write::Put(at, value(envelope)?)]).await {
            Ok(_) => {
                let seals = listed(&names(&keks));
                tracing::info!(%seals, "the state key follows its seals");
            }
            // Another replica was first; what it wrote is looked at the next time.
            Err(StoreError::GuardFailed { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Whether `key` is still that of the store. A restore under a running server may have put
    /// another store there, whose state key must not be written over. To be asked after the envelope
    /// was read: what it says then holds as long as the envelope stays.
    async fn require_key_of_store(&self, key: &StateKey) -> Result<(), OpenError> {
        let root = self.get(ROOT).await?.ok_or_else(|| missing(ROOT))?;
        match open_root(key, &root.value) {
            Some(_) => Ok(()),
            None => Err(corrupt(&place(ROOT)?, Damage::Refused).into()),
        }
    }
}

/// The order of priority is of no matter to who opens it.
fn is_same(some: &[KekRef], others: &[KekRef]) -> bool {
    some.len() == others.len() && some.iter().all(|kek| others.contains(kek))
}
