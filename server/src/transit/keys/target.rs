//! What the next version of a managed key is to be for, and since when that is steady enough to be
//! worth a version.

use std::time::Duration;

use selkie_crypto::SealName;

use crate::seal::{KekRef, Seal, SealError, Seals};
use crate::transit::{TransitError, TransitKey};

/// How long a seal that was left out must be well before the version rises for it again. It doubles
/// with each time that the seal was left out within [`DAY`], so that one which comes and goes moves
/// the version a few times a day and no more.
pub(crate) const RETURN_AFTER: Duration = Duration::from_secs(600);
const LONGEST_RETURN: Duration = Duration::from_secs(6 * 3_600);
const DAY: u64 = 86_400;

/// What the next version of a managed key is for.
#[derive(Debug)]
pub(in crate::transit) struct Target {
    /// The master-key versions that it wraps for.
    pub(in crate::transit) keks: Vec<KekRef>,
    /// The seals that it should wrap for as well, and that are away.
    pub(in crate::transit) left_out: Vec<SealName>,
}

impl TransitKey {
    /// What the key's next version is for: the same seals as these, or where nothing but versions of
    /// master keys may have changed, those of its latest version; and seals that were left out, once
    /// they are steadily back.
    ///
    /// # Errors
    ///
    /// [`SealError`] of a seal that neither this replica nor the key has a version of to rely on.
    pub(in crate::transit) fn target(
        &self,
        seals: &Seals,
        by_configuration: bool,
        now: u64,
    ) -> Result<Target, SealError> {
        let (latest, made) = (self.keks(self.latest), self.made());
        let (returned, left_out): (Vec<_>, Vec<_>) = self
            .left_out()
            .iter()
            .filter_map(|name| seals.find(name).filter(|seal| !seal.disabled))
            .partition(|seal| self.is_back(seal, now));
        let mut left_out: Vec<_> = left_out.into_iter().map(|seal| seal.name().clone()).collect();
        let keks = if by_configuration {
            let keks = seals.next_keks(latest, &left_out, made, now)?;
            if seals.opens_any(&keks) {
                keks
            } else {
                // The seals that were there are gone for good: those that are away are all it has.
                left_out.clear();
                seals.next_keks(latest, &[], made, now)?
            }
        } else {
            let mut keks = seals.newer_keks(latest, made, now);
            let returned = returned.into_iter().filter_map(Seal::current_kek);
            keks.extend(returned.filter(|kek| latest.iter().all(|was| was.seal != kek.seal)));
            keks
        };
        Ok(Target { keks, left_out })
    }

    /// The key with a version without the seals `away`; `None` if its settings do not allow that, its
    /// latest version is without them already, or no seal would be left that a server can ask.
    pub(in crate::transit) fn without(
        &self,
        seals: &Seals,
        away: &[SealName],
        now: u64,
    ) -> Result<Option<Self>, TransitError> {
        let latest = self.keks(self.latest);
        let (gone, keks): (Vec<_>, Vec<_>) =
            latest.iter().cloned().partition(|kek| away.contains(&kek.seal));
        if !self.allow_missing_seals || gone.is_empty() || !seals.opens_any(&keks) {
            return Ok(None);
        }
        let gone = gone.into_iter().map(|kek| kek.seal);
        let left_out = self.left_out().iter().cloned().chain(gone).collect();
        let next = self.clone().rotated(Target { keks, left_out }, now)?;
        next.leave_room()?;
        Ok(Some(next))
    }

    /// The seals that the latest version is without as they were away.
    pub(crate) fn left_out(&self) -> &[SealName] {
        self.versions.get(&self.latest).map_or(&[], |latest| &latest.left_out)
    }

    /// When the latest version was made.
    pub(crate) fn made(&self) -> u64 {
        self.versions.get(&self.latest).map_or(0, |latest| latest.created)
    }

    /// Whether a seal that was left out has been well for long enough, as this replica sees it. A key
    /// that must not miss it any more does not wait for that.
    fn is_back(&self, seal: &Seal, now: u64) -> bool {
        let is_usable = seal.current_kek().is_some_and(|current| seal.wraps(&current.kek, now));
        let is_steady = || {
            let left = seal.connection.when(self.left_out_since(seal.name()), now);
            seal.connection.well_for() >= RETURN_AFTER
                && Duration::from_secs(now.saturating_sub(left)) >= self.return_after(seal, now)
        };
        is_usable && (!self.allow_missing_seals || is_steady())
    }

    fn return_after(&self, seal: &Seal, now: u64) -> Duration {
        let left = self.leavings(seal.name()).map(|left| seal.connection.when(left, now));
        let recent = left.filter(|left| left.saturating_add(DAY) > now).count();
        let doublings = u32::try_from(recent.saturating_sub(1)).unwrap_or(u32::MAX);
        RETURN_AFTER.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_RETURN)
    }

    /// When the seal was last left out.
    pub(crate) fn left_out_since(&self, seal: &SealName) -> u64 {
        self.leavings(seal).last().unwrap_or(0)
    }

    /// When the versions were made that were the first without the seal, in order.
    fn leavings(&self, seal: &SealName) -> impl Iterator<Item = u64> {
        let mut was_out = false;
        self.versions.values().filter_map(move |version| {
            let is_out = version.left_out.contains(seal);
            let is_first = is_out && !std::mem::replace(&mut was_out, is_out);
            was_out = is_out;
            is_first.then_some(version.created)
        })
    }
}
