//! Keeps the state key wrapped for the seals that are configured now. To lose a recipient is worse
//! than to have an old one.

use selkie_crypto::{SealName, StateKey};
use selkie_storage::{Guard, Record, StoreError, Write};

use super::{KEY_PLACE, OpenError, State, missing, names, place, value};
use crate::seal::{KekRef, Seal, listed};
use crate::state::sealed_store::{Damage, ROOT, corrupt, open_root};
use crate::state::state_key;
use crate::transit::{Transit, TransitError};

/// An envelope of the state key that is older than its seals, as one of them is not there to be
/// wrapped for. Where the others go, so does the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// The seals it is not made for as they are now.
    pub lacking: Vec<SealName>,
    /// Those that are away or not trusted.
    pub waits_for: Vec<SealName>,
}

impl Behind {
    /// What an operator can do about it.
    #[must_use]
    pub const fn advice() -> &'static str {
        "remove no seal until then: the state may open through it alone. Mend the seal that is waited \
         for, or give it up: `disabled = true` in its stanza, and reload"
    }
}

impl State {
    /// Encrypts the state key anew when the seals are no longer those of its envelope: a master key
    /// was rotated, a seal added or removed. It is the same key, so no record changes.
    ///
    /// As long as an enabled seal is away or not trusted, the envelope stays as it is: to lose a
    /// recipient is worse than to have an old one. What it lacks then is told.
    ///
    /// # Errors
    ///
    /// [`OpenError`].
    pub async fn follow_seals(
        &self,
        key: &StateKey,
        transit: &Transit,
    ) -> Result<Option<Behind>, OpenError> {
        let deployment = &transit.deployment;
        let keks = state_key::trusted_keks(deployment, transit.clock.unix_seconds());
        if keks.is_empty() {
            return Ok(None);
        }
        let (record, made_for) = self.envelope(transit).await?;
        let is_trusted = |name: &&SealName| keks.iter().any(|kek| kek.seal == **name);
        let enabled = deployment.seals.enabled().map(Seal::name);
        let waits_for: Vec<_> = enabled.filter(|name| !is_trusted(name)).cloned().collect();
        if !waits_for.is_empty() {
            // It may have been made under a name that a seal had before, and opens by that.
            let is_made_for = |kek: &&KekRef| {
                let seal = deployment.seals.find(&kek.seal);
                let is_of = |name| seal.is_some_and(|seal| seal.is_known_as(name));
                made_for.iter().any(|made| made.kek == kek.kek && is_of(&made.seal))
            };
            let lacking = keks.iter().filter(|kek| !is_made_for(kek));
            let lacking: Vec<_> = lacking.map(|kek| kek.seal.clone()).collect();
            return Ok((!lacking.is_empty()).then_some(Behind { lacking, waits_for }));
        }
        self.require_key_of_store(key).await?;
        let is_ours = state_key::has_our_origin(record.value.as_bytes(), deployment);
        if is_ours && is_same(&made_for, &keks) {
            return Ok(None);
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
        Ok(None)
    }

    /// The envelope as it stands in the store, and what it is made for.
    async fn envelope(&self, transit: &Transit) -> Result<(Record, Vec<KekRef>), OpenError> {
        let record = self.get(KEY_PLACE).await?.ok_or_else(|| missing(KEY_PLACE))?;
        let envelope = state_key::parse(record.value.as_bytes(), &transit.deployment, None);
        let envelope =
            envelope.map_err(|refusal| OpenError::StateKey(TransitError::Refused(refusal)))?;
        let made_for = state_key::recipients(&envelope);
        Ok((record, made_for))
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
