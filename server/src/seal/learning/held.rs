//! The version that stays in use while the KMS's newest one cannot be used.

use std::sync::Arc;

use selkie_kms::{KekDescription, KekState, KekVersion};

use super::canaries::is_passing;
use super::trials::is_refusal;
use super::{Learner, Outlook};
use crate::seal::connection::Connection;
use crate::seal::error::SealFault;
use crate::seal::known::{Known, Trust, rebuilt};
use crate::seal::round_trip;

impl Learner {
    /// What `was` known, in the states that `fresh` tells, where the newest version cannot be used
    /// because of `fault`. After a start, a version that an unsigned pin file names has to prove
    /// itself as a new one has: nothing else would try it, for as long as the newest one stays so.
    pub(super) async fn held(
        &self,
        connection: &Connection,
        was: &Known,
        fresh: &KekDescription,
        fault: SealFault,
    ) -> Outlook {
        let keks = was.with_states_of(fresh);
        let known = Known::described(keks, Some(was), connection.fingerprints());
        let mut known = known.passing_over(fresh);
        // Others may have moved on from it: to the newest, if that fails for a moment alone, or to one
        // that came between (invariant I7).
        if is_passing(&fault) || is_left_behind(was, fresh) || !self.is_to_be_proven(&known) {
            return Outlook { known, fault: Some(fault) };
        }
        let proven = self.prove_current(connection, &mut known).await;
        // What keeps it from encrypting is told in place of what keeps it from moving.
        let own = proven.err().filter(|_| known.current_trust().is_none());
        Outlook { known, fault: Some(own.unwrap_or(fault)) }
    }

    /// The same where a KMS refuses to describe its key, as one whose newest version is of no use to
    /// us: whether the version in use has proven itself, and is trusted.
    pub(super) async fn prove_undescribed(
        &self,
        connection: &Arc<Connection>,
        fault: &SealFault,
    ) -> bool {
        let Some(before) = connection.known() else { return false };
        if !is_refusal(fault) || !self.is_to_be_proven(&before) {
            return false;
        }
        // A key that nobody can see may be another one than before.
        if self.check_canaries(connection, Some(&before), &before).await.is_err() {
            return false;
        }
        let mut known = (*before).clone();
        if self.prove_current(connection, &mut known).await.is_err() {
            return false;
        }
        match self.adopt(connection, &Arc::new(known)).await {
            Ok(()) => true,
            Err(error) => {
                // No version changes with it, so nothing can stand against it.
                tracing::error!(seal = %connection.name(), %error, "a proven version is not in use");
                false
            }
        }
    }

    fn is_to_be_proven(&self, known: &Known) -> bool {
        let current = &known.keks.current().id;
        known.current_trust() < Some(Trust::Confirmed)
            && known.usable_version(current, self.clock.unix_seconds()).is_ok()
    }

    /// What was known, where the KMS has another current version and does not let us list them: that
    /// one cannot be counted, and the one before it serves on, unless the KMS says that it does not.
    pub(super) async fn held_unlisted(
        &self,
        connection: &Connection,
        before: Option<&Known>,
        known: &Known,
        fresh: &KekDescription,
    ) -> Option<Known> {
        let was = before.filter(|was| was.keks.is_complete() && !known.keks.is_complete())?;
        if !self.current.load().counts(connection.name()) {
            return None;
        }
        let fingerprints = connection.fingerprints();
        let held = Known::described(was.with_states_of(fresh), before, fingerprints);
        let mut held = held.passing_over(fresh);
        let current = held.keks.current().clone();
        held.usable_version(&current.id, self.clock.unix_seconds()).ok()?;
        match round_trip::confirm(connection, &current, &*self.random).await {
            Ok(_) => held.trust(current.id, Trust::Confirmed),
            Err(fault) if !fault.is_transient() => return None,
            Err(SealFault::Unconfirmed(_)) => return None,
            Err(_away) => {}
        }
        Some(held)
    }
}

/// Whether a version came between the one in use and the newest that may be in use elsewhere, or was
/// before it expired. One that is disabled stops nobody who has not followed it (invariant I7).
fn is_left_behind(was: &Known, fresh: &KekDescription) -> bool {
    let is_own = |version: &KekVersion| version.id == was.keks.current().id;
    let is_newest = |version: &&KekVersion| version.id == fresh.current().id;
    let later = fresh.versions().iter().skip_while(|version| !is_own(version)).skip(1);
    let mut between = later.take_while(|version| !is_newest(version));
    between.any(|version| matches!(version.state, KekState::Enabled | KekState::Expired))
}

/// What is to be followed in place of `followed`, which the KMS has described after `before`, where
/// the time of the newest version has not come: the newest one whose time has. Two versions that wait
/// for a time each would else have servers that run stay at the one before both, while those that
/// start use the one between (invariant I7). None where that would be an older one than is known.
pub(in crate::seal) fn due(
    before: Option<&Known>,
    followed: &KekDescription,
) -> Option<KekDescription> {
    let due = before_its_time(followed)?;
    let Some(was) = before else { return Some(due) };
    let is_kept = |version: &KekVersion| due.version(&version.id).is_some();
    let is_older = !was.keks.versions().iter().all(is_kept);
    if is_older { None } else { Some(was.with_key_of_current(due)) }
}

/// The description with the newest version whose time has come as the current one, and no version
/// after it. Those count from when they are valid. Any other state may be that of a version that was
/// in use, and that N counts (invariant I7).
fn before_its_time(fresh: &KekDescription) -> Option<KekDescription> {
    let (newest, versions) = (fresh.current(), fresh.versions());
    if newest.state != KekState::NotYetValid {
        return None;
    }
    let newest = versions.iter().position(|version| version.id == newest.id)?;
    let older = versions.get(..newest)?;
    let valid = older.iter().rposition(|version| version.state != KekState::NotYetValid);
    // Where no time has come yet it will be that of the first.
    let valid = valid.unwrap_or(0);
    let (current, versions) = (older.get(valid)?, older.get(..=valid)?);
    let (is_complete, is_purgeable) = (fresh.is_complete(), fresh.is_purgeable());
    rebuilt(versions.to_vec(), &current.id, is_complete, is_purgeable).ok()
}
