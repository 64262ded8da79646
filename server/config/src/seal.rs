//! `seal`: the master keys.

use std::collections::BTreeSet;

use selkie_crypto::{Kek, KekId, NameError, SealName};
use selkie_hcl::{Located, Place, Section};

use crate::quantity::limited;
use crate::secret::Reading;

/// A configured master key.
#[derive(Debug)]
pub struct Seal {
    /// `name`, by default the type. Envelopes name their recipients by it.
    pub name: SealName,
    /// `priority`: the seal with the lowest is asked first.
    pub priority: u32,
    /// `disabled`: it still opens what it wrapped, and wraps nothing more.
    pub disabled: bool,
    /// What holds the key.
    pub kind: SealKind,
}

/// What holds a master key.
#[derive(Debug)]
pub enum SealKind {
    /// `seal "static"`.
    Static(StaticSeal),
}

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

/// What is wrong with a seal.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("no seal is declared: write seal \"static\" {{ ... }}")]
    NoSeal,
    #[error("all seals are disabled: nothing could be encrypted")]
    AllDisabled,
    #[error("seal type {found:?} is not in this build yet: there is \"static\"")]
    NotBuilt { found: String },
    #[error("seal type {found:?} does not exist: there is \"static\"")]
    UnknownType { found: String },
    #[error("another seal has the name {name:?} already; set \"name\"")]
    RepeatedName { name: String },
    #[error(
        "with more than one seal each needs a \"priority\" of its own, the lowest is asked first"
    )]
    NoPriority,
    #[error("another seal has the priority {priority} already")]
    RepeatedPriority { priority: u32 },
    #[error("field \"name\": a seal's name has 1 to 64 of the characters A-Z a-z 0-9 _ - .")]
    Name { source: NameError },
    #[error(
        "{field:?}: a key id has 1 to 512 visible ASCII characters without quote and backslash"
    )]
    KeyId { field: &'static str, source: NameError },
    #[error("missing field {missing:?}: \"previous_key_id\" and \"previous_key\" belong together")]
    HalfAPreviousKey { missing: &'static str },
    #[error("this key id is used for another key already")]
    RepeatedKeyId,
    #[error("this key is declared already, under another id or in another seal")]
    RepeatedKey,
}

/// Vault's and OpenBao's other seal types.
const NOT_BUILT: [&str; 8] =
    ["alicloudkms", "awskms", "azurekeyvault", "gcpckms", "kmip", "ocikms", "pkcs11", "transit"];

/// All `seal` stanzas that are sound, in order of priority, and the names that keys may list: those
/// of all stanzas, so that one mistake in a seal is not reported at every key again.
pub(crate) fn decode(
    root: &mut Section<'_>,
    reading: &Reading<'_>,
) -> (Vec<Seal>, BTreeSet<String>) {
    let stanzas = root.labelled("seal");
    if stanzas.is_empty() {
        root.place().report(SealError::NoSeal);
    }
    let count = stanzas.len();
    let mut names = BTreeSet::new();
    let mut seals: Vec<Seal> = Vec::new();
    for (kind, mut section) in stanzas {
        let place = kind.place;
        let name = section.field("name").string();
        names.insert(name.as_ref().unwrap_or(&kind).value.clone());
        let Some((seal, key_places)) = seal(kind, name, section, count == 1, reading) else {
            continue;
        };
        refuse_repeated(&seals, &seal, place);
        refuse_repeated_keys(&seals, &seal, &key_places);
        seals.push(seal);
    }
    if count > 0 && seals.len() == count && seals.iter().all(|seal| seal.disabled) {
        root.place().report(SealError::AllDisabled);
    }
    seals.sort_by_key(|seal| seal.priority);
    (seals, names)
}

fn seal<'d>(
    kind: Located<'d, String>,
    name: Option<Located<'d, String>>,
    mut section: Section<'d>,
    is_only_one: bool,
    reading: &Reading<'_>,
) -> Option<(Seal, Vec<Place<'d>>)> {
    if kind.value != "static" {
        let is_known = NOT_BUILT.contains(&kind.value.as_str());
        let found = kind.value;
        kind.place.report(match is_known {
            true => SealError::NotBuilt { found },
            false => SealError::UnknownType { found },
        });
        return None;
    }
    let priority = priority(&mut section, is_only_one);
    let disabled = section.field("disabled").boolean().is_some_and(|flag| flag.value);
    let keys = static_keys(&mut section, reading);
    section.finish();
    let name = name
        .unwrap_or(kind)
        .try_map(|text| SealName::new(&text).map_err(|source| SealError::Name { source }))?;
    let (places, mut keys): (Vec<_>, Vec<_>) =
        keys?.into_iter().map(|key| (key.place, key.value)).unzip();
    let current = if keys.is_empty() {
        return None;
    } else {
        keys.remove(0)
    };
    let kind = SealKind::Static(StaticSeal { current, previous: keys });
    Some((Seal { name: name.value, priority: priority?, disabled, kind }, places))
}

fn priority(section: &mut Section<'_>, is_only_one: bool) -> Option<u32> {
    let field = section.field("priority");
    if field.place().is_none() {
        if !is_only_one {
            section.place().report(SealError::NoPriority);
        }
        return is_only_one.then_some(1);
    }
    let priority = limited(field.unsigned_or_text()?, "priority", 1..=u64::from(u32::MAX))?;
    Some(priority.value)
}

/// The keys of a static seal, the current one first; `None` if one of them is not sound.
fn static_keys<'d>(
    section: &mut Section<'d>,
    reading: &Reading<'_>,
) -> Option<Vec<Located<'d, StaticKey>>> {
    let id = section.field("current_key_id").required().string();
    let key = section.field("current_key").required().string();
    let mut keys = vec![static_key(("current_key_id", id), ("current_key", key), reading)];

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
            keys.push(static_key(id, key, reading));
        }
    }
    for (id, mut previous) in section.labelled("previous") {
        let key = previous.field("key").required().string();
        keys.push(static_key(("previous", Some(id)), ("key", key), reading));
        previous.finish();
    }
    keys.into_iter().collect()
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

fn refuse_repeated(earlier: &[Seal], seal: &Seal, place: Place<'_>) {
    if earlier.iter().any(|other| other.name == seal.name) {
        place.report(SealError::RepeatedName { name: seal.name.to_string() });
    }
    let priority = seal.priority;
    if earlier.iter().any(|other| other.priority == priority) {
        place.report(SealError::RepeatedPriority { priority });
    }
}

/// One key under two ids, or in two seals, would count as two where there is one.
fn refuse_repeated_keys(earlier: &[Seal], seal: &Seal, places: &[Place<'_>]) {
    let mut ids = BTreeSet::new();
    let mut seen: Vec<&StaticKey> = earlier.iter().flat_map(keys_of).collect();
    for (key, place) in keys_of(seal).zip(places) {
        if !ids.insert(&key.id) {
            place.report(SealError::RepeatedKeyId);
        }
        if seen.iter().any(|other| other.key.is_same_key(&key.key)) {
            place.report(SealError::RepeatedKey);
        }
        seen.push(key);
    }
}

fn keys_of(seal: &Seal) -> impl Iterator<Item = &StaticKey> {
    let SealKind::Static(seal) = &seal.kind;
    seal.keys()
}
