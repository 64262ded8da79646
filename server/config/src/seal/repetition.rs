//! What two seals must not have in common: a quorum of seals counts each once, and a name finds one.

use std::collections::BTreeSet;

use selkie_crypto::SealName;
use selkie_hcl::Place;

use super::{DistantKey, Seal, SealError, StaticKey, azure, pkcs11, setting, transit};
use crate::secret::Reading;

/// Refuses two seals with one master key, of those in an HSM, in Key Vault, upstream, and offline.
pub(super) fn refuse_shared(
    seals: &[Seal],
    [in_hsms, in_azure, in_transit, offline]: &[Vec<(String, Place<'_>)>; 4],
    reading: &Reading<'_>,
) {
    // No server must take the two for two. In an emergency they open as much as one.
    if !reading.makes_up_access() {
        refuse_repeated_master_keys(seals, offline);
    }
    if !pkcs11::refuse_shared(in_hsms, reading) {
        refuse_repeated_master_keys(seals, in_hsms);
    }
    for (names, stanzas) in
        [(&azure::OF_ONE_SEAL[..], in_azure), (&transit::OF_ONE_SEAL[..], in_transit)]
    {
        if !setting::refuse_shared(names, stanzas, reading) {
            refuse_repeated_master_keys(seals, stanzas);
        }
    }
}

/// Refuses a name, an alias or a priority that one of `earlier` has.
pub(super) fn refuse_repeated(earlier: &[Seal], seal: &Seal, place: Place<'_>) {
    let is_taken = |name: &SealName| earlier.iter().any(|other| other.is_known_as(name));
    if is_taken(&seal.name) {
        place.report(SealError::RepeatedName { name: seal.name.to_string() });
    }
    for (index, alias) in seal.aliases.iter().enumerate() {
        let is_own = *alias == seal.name || seal.aliases.iter().take(index).any(|one| one == alias);
        if is_own || is_taken(alias) {
            place.report(SealError::RepeatedAlias { name: alias.to_string() });
        }
    }
    let priority = seal.priority;
    let is_taken = |other: &Seal| !other.is_offline() && other.priority == priority;
    if !seal.is_offline() && earlier.iter().any(is_taken) {
        place.report(SealError::RepeatedPriority { priority });
    }
}

/// One master key under two names would make one seal of the two that a quorum asks for.
fn refuse_repeated_master_keys(seals: &[Seal], places: &[(String, Place<'_>)]) {
    let mut seen: Vec<&Seal> = Vec::new();
    let is_placed = |seal: &Seal| places.iter().any(|(name, _)| name == seal.name.as_str());
    for seal in seals.iter().filter(|seal| is_placed(seal)) {
        let same = seen.iter().find(|other| other.has_master_key_of(seal));
        let stanza = places.iter().find(|(name, _)| name == seal.name.as_str());
        if let (Some(other), Some((_, place))) = (same, stanza) {
            let name = other.name.to_string();
            place.report(match seal.distant_key() {
                Some(DistantKey::Transit { key_id_prefix: prefix }) => {
                    SealError::RepeatedKeyIds { name, prefix }
                }
                _ => SealError::RepeatedMasterKey { name },
            });
        }
        seen.push(seal);
    }
}

/// One key under two ids, or in two seals, would count as two where there is one.
pub(super) fn refuse_repeated_keys(earlier: &[Seal], seal: &Seal, places: &[Place<'_>]) {
    let mut ids = BTreeSet::new();
    let mut seen: Vec<&StaticKey> = earlier.iter().flat_map(Seal::static_keys).collect();
    for (key, place) in seal.static_keys().zip(places) {
        if !ids.insert(&key.id) {
            place.report(SealError::RepeatedKeyId);
        }
        if seen.iter().any(|other| other.key.is_same_key(&key.key)) {
            place.report(SealError::RepeatedKey);
        }
        seen.push(key);
    }
}
