//! What a new configuration would break for ciphertexts made under the previous one.

use std::collections::BTreeSet;

use base16ct::lower::encode_string;
use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, SealName};

use crate::key::{DeclaredKey, VersionRule};
use crate::promises::{PromisedSeal, Promises};
use crate::regression::Regression;
use crate::seal::DistantKey;

/// What new DEKs of a seal are wrapped under, as far as the file tells: the current version of a
/// static seal, the key of a break-glass seal, a key that somebody else holds, whose versions the
/// file does not name, or the label and the id of one in an HSM.
type MasterKey<'s> = (Option<&'s KekId>, Option<DistantKey>, HsmKey<'s>);
type HsmKey<'s> = (Option<&'s str>, Option<&'s [u8]>);

impl Promises {
    /// What these promises would break of those of the server that takes them while it runs. It knows
    /// which versions clients have seen, where a file can only fear the worst, and judges them itself,
    /// where the master key of each seal concerned `is_described`; and a master key that was stolen
    /// goes out of use at once, whatever needs it.
    #[must_use]
    pub fn check_against_running(
        &self,
        running: &Self,
        is_described: impl Fn(&SealName) -> bool,
    ) -> Vec<Regression> {
        let needs_revoked = |key: &KeyName, mount: &MountPath| {
            let mut keys = running.keys.iter();
            let found = keys.find(|old| old.name == *key && old.mount == *mount);
            found.is_some_and(|old| old.seals.iter().any(|seal| self.revoked.contains(seal)))
        };
        let mut broken = self.check_against_previous(running);
        broken.retain(|told| match told {
            Regression::VersionMayGoBack { key, mount, .. } => {
                !self.is_known(running, key, mount, &is_described)
            }
            Regression::OnlyOpenersGone { key, mount, .. }
            | Regression::QuorumGone { key, mount, .. } => !needs_revoked(key, mount),
            _ => true,
        });
        broken
    }

    /// What these promises lose of what was `promised` before, each loss once. A version that does not
    /// rise loses nothing by itself, nor does a seal that was revoked since, here or earlier, under
    /// whatever name.
    #[must_use]
    pub fn losses_since(&self, promised: &[Self]) -> Vec<Regression> {
        let mut now = self.clone();
        for seal in promised.iter().flat_map(|one| &one.seals) {
            if now.revoked.contains(&seal.name) {
                now.revoke(&seal.aliases);
            }
        }
        let mut losses: Vec<Regression> = Vec::new();
        for earlier in promised {
            let mut now = now.clone();
            now.revoke(&earlier.revoked);
            for told in now.check_against_running(earlier, |_| false) {
                if told.is_loss() && !losses.contains(&told) {
                    losses.push(told);
                }
            }
        }
        losses
    }

    /// Notes that `others` have put seals out of use.
    pub fn revoke_as(&mut self, others: &Self) {
        self.revoke(&others.revoked);
    }

    fn revoke(&mut self, seals: &[SealName]) {
        let new = seals.iter().filter(|seal| !self.revoked.contains(seal)).cloned();
        let new: Vec<_> = new.collect();
        self.revoked.extend(new);
    }

    /// Whether a server with the promises `running` has counted every master key of this key. One that
    /// it has not is described after the reload, when a version that turns out too low can no longer
    /// be refused: nothing would be encrypted from then on.
    fn is_known(
        &self,
        running: &Self,
        key: &KeyName,
        mount: &MountPath,
        is_described: impl Fn(&SealName) -> bool,
    ) -> bool {
        let Some(new) = self.keys.iter().find(|new| new.name == *key && new.mount == *mount) else {
            return false;
        };
        self.seals_of(new).all(|seal| {
            let is_held_here = seal.distant_key.is_none() && seal.in_hsm.is_none();
            let was = running.seal_named(&seal.name);
            let is_same = || was.is_some_and(|was| master_key(was) == master_key(seal));
            is_held_here || (is_same() && is_described(&seal.name))
        })
    }

    /// What these promises would break of the `previous` ones, which were read in the same way.
    #[must_use]
    pub fn check_against_previous(&self, previous: &Self) -> Vec<Regression> {
        let mut regressions = Vec::new();
        self.check_realms(previous, &mut regressions);
        self.check_mounts(previous, &mut regressions);
        self.check_seals(previous, &mut regressions);
        for key in &previous.keys {
            regressions.extend(self.check_openers(key));
            regressions.extend(self.check_key(previous, key));
        }
        if !previous.is_origin_let_go {
            let (now, was) = (self.origin_key.as_ref(), previous.origin_key.as_ref());
            regressions.extend(Regression::of_origin_key(now, was));
        }
        if previous.has_storage && !self.has_storage {
            regressions.push(Regression::StorageRemoved);
        }
        regressions
    }

    fn check_realms(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        let now = self.realms.first().cloned().unwrap_or_default();
        let removed = previous.realms.iter().filter(|realm| !self.realms.contains(realm)).cloned();
        regressions.extend(removed.map(|realm| {
            let now = now.clone();
            Regression::RealmRemoved { realm, now }
        }));
    }

    fn check_mounts(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        let mounts = previous.mounts.iter();
        let paths = mounts.flat_map(|mount| std::iter::once(&mount.path).chain(&mount.aliases));
        let removed = paths.filter(|path| self.mount_now(path).is_none()).cloned();
        regressions.extend(removed.map(|mount| Regression::MountRemoved { mount }));
    }

    fn check_seals(&self, previous: &Self, regressions: &mut Vec<Regression>) {
        for seal in &previous.seals {
            // Of what no server opened, nothing stops to open.
            let is_revoked = self.revoked.contains(&seal.name);
            if seal.is_offline || is_revoked {
                // Said on purpose; what it would lose altogether is told of the keys.
                continue;
            }
            let names = std::iter::once(&seal.name).chain(&seal.aliases);
            let removed = names.filter(|name| self.seal_named(name).is_none()).cloned();
            regressions.extend(removed.map(|seal| {
                let seals = self.seals.iter().map(|seal| &seal.name);
                let alike = closest(seal.as_str(), seals, SealName::as_str).cloned();
                Regression::SealRemoved { seal, alike }
            }));
            let Some(now) = self.seal_named(&seal.name) else { continue };
            let is_kept = |was: &DistantKey| now.distant_keys().any(|key| key == was);
            let removed = seal.distant_keys().filter(|was| !is_kept(was)).cloned();
            regressions.extend(removed.map(|was| {
                let (seal, now) = (seal.name.clone(), now.distant_key.clone());
                Regression::MasterKeyRemoved { seal, was, now }
            }));
            check_hsm(now, seal, regressions);
            check_static_keys(now, seal, regressions);
        }
    }

    /// Whether the seals that are left open what was made for `old`.
    fn check_openers(&self, old: &DeclaredKey) -> Option<Regression> {
        // Two that became one, by an alias, count as one.
        let left = old.seals.iter().filter_map(|name| self.seal_named(name));
        let left = left.filter(|seal| !seal.is_offline).map(|seal| &seal.name);
        let left = left.collect::<BTreeSet<_>>().len();
        if left >= usize::from(old.quorum) {
            return None;
        }
        let (key, mount) = (old.name.clone(), old.mount.clone());
        if left > 0 {
            return Some(Regression::QuorumGone { key, mount, needed: old.quorum, left });
        }
        let seals = old.seals.iter().map(ToString::to_string).collect();
        Some(Regression::OnlyOpenersGone { key, mount, seals })
    }

    fn check_key(&self, previous: &Self, old: &DeclaredKey) -> Option<Regression> {
        let mount = self.mount_now(&old.mount)?;
        let (key, mount) = (old.name.clone(), mount.clone());
        let Some(new) = self.keys.iter().find(|new| new.name == key && new.mount == mount) else {
            let keys = self.keys.iter().filter(|new| new.mount == mount).map(|new| &new.name);
            let alike = closest(key.as_str(), keys, KeyName::as_str).cloned();
            return Some(Regression::KeyRemoved { key, mount, alike });
        };
        let counted = self.counted_elsewhere(new);
        let is_uncertain = !previous.counted_elsewhere(old).is_subset(&counted);
        let was = match (old.version, is_uncertain) {
            (VersionRule::Counted { generation }, true) => highest_of(generation),
            _ => previous.version_of(old),
        };
        let is_rewrapped = previous.current_keys(old, self) != self.current_keys(new, self)
            || old.quorum != new.quorum;
        let needed = was.saturating_add(u32::from(is_rewrapped));
        if self.version_of(new) >= needed {
            return None;
        }
        let by = was.saturating_sub(self.version_of(new));
        let is_counted = matches!(new.version, VersionRule::Counted { .. });
        let missing = needed.saturating_sub(self.listed_versions(new));
        let generation = missing.div_ceil(VersionRule::GENERATION_SIZE);
        Some(match (is_uncertain, is_counted) {
            (true, true) => {
                let field = "generation";
                Regression::VersionMayGoBack { key, mount, most: was, field, needed: generation }
            }
            (true, false) => {
                let field = "version";
                Regression::VersionMayGoBack { key, mount, most: was, field, needed }
            }
            (false, true) if is_rewrapped => {
                Regression::GenerationNotRaised { key, mount, was, needed: generation }
            }
            (false, false) if is_rewrapped => {
                Regression::VersionNotRaised { key, mount, was, needed }
            }
            (false, true) => {
                let field = "generation";
                Regression::VersionGoesBack { key, mount, by, field, needed: generation }
            }
            (false, false) => {
                let field = "version";
                Regression::VersionGoesBack { key, mount, by, field, needed }
            }
        })
    }

    fn seals_of(&self, key: &DeclaredKey) -> impl Iterator<Item = &PromisedSeal> {
        key.seals.iter().filter_map(|name| self.seal_named(name))
    }

    /// What the envelopes of a declared key are made for. Vaults encrypt anew when the version
    /// number changes, so it must rise with this set, also where no key id is added. A seal goes by
    /// the name it has `now`: a new name alone moves nobody.
    fn current_keys<'p>(
        &'p self,
        key: &DeclaredKey,
        now: &'p Self,
    ) -> BTreeSet<(&'p SealName, MasterKey<'p>)> {
        let name = |seal: &'p PromisedSeal| &now.seal_named(&seal.name).unwrap_or(seal).name;
        self.seals_of(key).map(|seal| (name(seal), master_key(seal))).collect()
    }

    /// The version number of a declared key. All that a static seal ever listed is declared; a key
    /// that others hold counts as 1 here, which tells the lowest that the version can be.
    fn version_of(&self, key: &DeclaredKey) -> u32 {
        match key.version {
            VersionRule::Stated(version) => version.get(),
            VersionRule::Counted { generation } => {
                let first = generation.saturating_mul(VersionRule::GENERATION_SIZE);
                first.saturating_add(self.listed_versions(key))
            }
        }
    }

    fn listed_versions(&self, key: &DeclaredKey) -> u32 {
        let listed = |seal: &PromisedSeal| seal.static_keys.len().max(seal.hsm_ids().len()).max(1);
        let versions: usize = self.seals_of(key).map(listed).sum();
        u32::try_from(versions).unwrap_or(u32::MAX)
    }

    /// The keys that others hold whose versions the version number of `key` counts. What both
    /// configurations count is the same on both sides; what only the previous one counted is a
    /// number that nobody here knows.
    fn counted_elsewhere(&self, key: &DeclaredKey) -> BTreeSet<DistantKey> {
        match key.version {
            VersionRule::Stated(_) => BTreeSet::new(),
            VersionRule::Counted { .. } => {
                self.seals_of(key).filter_map(|seal| seal.distant_key.clone()).collect()
            }
        }
    }
}

fn check_static_keys(now: &PromisedSeal, before: &PromisedSeal, regressions: &mut Vec<Regression>) {
    for (id, was) in &before.static_keys {
        let (seal, id) = (before.name.clone(), id.clone());
        match now.static_key(&id) {
            None => regressions.push(Regression::KeyIdRemoved { seal, id }),
            Some(now) if now != was => regressions.push(Regression::OtherKeyUnderId { seal, id }),
            Some(_same) => {}
        }
    }
}

/// Whether what was in an HSM is still looked for there.
fn check_hsm(now: &PromisedSeal, before: &PromisedSeal, regressions: &mut Vec<Regression>) {
    for id in before.hsm_ids().iter().filter(|id| !now.hsm_ids().contains(id)) {
        let (seal, id) = (before.name.clone(), encode_string(id));
        regressions.push(Regression::HsmKeyRemoved { seal, id });
    }
    // By an id alone a key is found whatever its label is.
    let is_found_by_id = now.hsm_label().is_none() && !before.hsm_ids().is_empty();
    if let Some(was) = before.hsm_label().filter(|was| now.hsm_label() != Some(was))
        && !is_found_by_id
    {
        let (seal, was) = (before.name.clone(), was.to_owned());
        regressions.push(Regression::HsmLabelChanged { seal, was });
    }
    if let (Some(was), Some(now)) = (&before.in_hsm, &now.in_hsm)
        && was.token != now.token
    {
        let (seal, was) = (before.name.clone(), was.token_in_words.clone());
        regressions.push(Regression::HsmTokenChanged { seal, was });
    }
}

/// The one of `names` that may be meant by what was called `name`: a slip of few letters.
fn closest<'n, N>(
    name: &str,
    names: impl Iterator<Item = &'n N>,
    text: impl Fn(&N) -> &str,
) -> Option<&'n N> {
    let distances = names.map(|one| (edits(name, text(one)), one));
    let slips = distances.filter(|(edits, one)| *edits <= name.len().max(text(one).len()) / 3);
    slips.min_by_key(|(edits, _)| *edits).map(|(_, one)| one)
}

/// How many letters have to go, come or change until `one` is `other` (Levenshtein).
fn edits(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut next = vec![at + 1];
        for (to, wanted) in other.bytes().enumerate() {
            let changed = row[to] + usize::from(letter != wanted);
            next.push(changed.min(row[to + 1] + 1).min(next[to] + 1));
        }
        row = next;
    }
    row[other.len()]
}

/// The highest version number that a generation can have.
const fn highest_of(generation: u32) -> u32 {
    let size = VersionRule::GENERATION_SIZE;
    generation.saturating_mul(size).saturating_add(size - 1)
}

fn master_key(seal: &PromisedSeal) -> MasterKey<'_> {
    let in_hsm = (seal.hsm_label(), seal.hsm_ids().first().map(Vec::as_slice));
    let static_id = seal.static_keys.first().map(|(id, _)| id);
    (static_id.or(seal.offline_id.as_ref()), seal.distant_key.clone(), in_hsm)
}
