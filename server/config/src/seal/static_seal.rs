//! `seal "static"`: a master key in our own memory.

use selkie_crypto::{Kek, KekId};
use selkie_hcl::{Located, Place, Section};

use super::SealError;
use crate::secret::Reading;

/// A master key in our own memory, by its versions.
#[derive(Debug)]
pub struct StaticSeal {
    /// The version that wraps.
    pub current: StaticKey,
    /// Versions that only unwrap.
    pub previous: Vec<StaticKey>,
}

/// One version of a static seal.
#[derive(Debug)]
pub struct StaticKey {
    /// Its id, which never comes to mean another key.
    pub id: KekId,
    /// The key.
    pub key: Kek,
}

impl StaticSeal {
    /// All versions, the current one first.
    pub fn keys(&self) -> impl Iterator<Item = &StaticKey> {
        std::iter::once(&self.current).chain(&self.previous)
    }
}

/// The seal and where each of its keys is named, the current one first.
pub(super) fn decode<'d>(
    section: &mut Section<'d>,
    reading: &Reading<'_>,
) -> Option<(StaticSeal, Vec<Place<'d>>)> {
    let (current, previous) = keys(section, reading);
    let keys = std::iter::once(current?).chain(previous);
    let (places, mut keys): (Vec<_>, Vec<_>) = keys.map(|key| (key.place, key.value)).unzip();
    if keys.is_empty() {
        return None;
    }
    let current = keys.remove(0);
    Some((StaticSeal { current, previous: keys }, places))
}

type Key<'d> = Located<'d, StaticKey>;

/// The current key of a static seal, if it is sound, and the sound ones before it.
fn keys<'d>(section: &mut Section<'d>, reading: &Reading<'_>) -> (Option<Key<'d>>, Vec<Key<'d>>) {
    let id = section.field("current_key_id").required().string();
    let key = section.field("current_key").required().string();
    let current = static_key(("current_key_id", id), ("current_key", key), reading);
    let mut keys = Vec::new();

    let id = section.field("previous_key_id");
    let key = section.field("previous_key");
    match (id.place(), key.place()) {
        (None, None) => {}
        (Some(place), None) => {
            place.report(SealError::HalfAPreviousKey { missing: "previous_key" });
        }
        (None, Some(place)) => {
            place.report(SealError::HalfAPreviousKey { missing: "previous_key_id" });
        }
        (Some(_), Some(_)) => {
            let (id, key) = (("previous_key_id", id.string()), ("previous_key", key.string()));
            keys.extend(static_key(id, key, reading));
        }
    }
    for (id, mut previous) in section.labelled("previous") {
        let key = previous.field("key").required().string();
        keys.extend(static_key(("previous", Some(id)), ("key", key), reading));
        previous.finish();
    }
    (current, keys)
}

type Text<'d> = (&'static str, Option<Located<'d, String>>);

fn static_key<'d>(
    (id_field, id): Text<'d>,
    (key_field, reference): Text<'d>,
    reading: &Reading<'_>,
) -> Option<Located<'d, StaticKey>> {
    let id = id.and_then(|id| {
        id.try_map(|text| {
            KekId::new(&text).map_err(|source| SealError::KeyId { field: id_field, source })
        })
    });
    let key = reference.and_then(|reference| {
        let keep = |bytes: &[u8; 32]| Kek::init_with(|page| page.copy_from_slice(bytes));
        reading.key(key_field, &reference, keep)
    });
    let (id, key) = (id?, key?);
    Some(id.map(|id| StaticKey { id, key }))
}
