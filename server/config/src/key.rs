//! `key`: declared transit keys, which need no storage (I6).

use std::collections::BTreeSet;

use selkie_access::{KeyName, MountPath, NameError};
use selkie_crypto::envelope::{MAX_RECIPIENTS, Quorum, QuorumError};
use selkie_crypto::{KeyVersion, SealName};
use selkie_hcl::{Located, Place, Section};

use crate::listener::Listener;
use crate::mount::Mount;
use crate::quantity::number;
use crate::seal::Declared;
use crate::secret::Reading;
use crate::takeover::{self, Takeover};
use crate::warning::WarningKind;

/// A declared transit key. It cannot be changed through the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredKey {
    /// Its name.
    pub name: KeyName,
    /// The mount it is in.
    pub mount: MountPath,
    /// The seals that each of its envelopes is made for, in order of priority; never empty.
    pub seals: Vec<SealName>,
    /// How many of them must unwrap to open an envelope; 1: any one does.
    pub quorum: u8,
    /// Where its version number comes from.
    pub version: VersionRule,
    /// The oldest version that is decrypted.
    pub min_decryption_version: KeyVersion,
    /// The oldest version that may be asked for when encrypting; `None` leaves the choice to the
    /// latest, as Vault's 0 does.
    pub min_encryption_version: Option<KeyVersion>,
}

/// Where the version number of a declared key comes from; `docs/design.md`,
/// "Declared and managed keys, and their version numbers", says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionRule {
    /// `generation x 10,000 +` the number of versions that its seals list.
    Counted {
        /// Raised by the operator when the seals or their current keys change and the number of
        /// versions does not rise by itself.
        generation: u32,
    },
    /// `version`: stated by hand, where a seal's versions cannot be listed.
    Stated(KeyVersion),
}

impl VersionRule {
    /// Versions of seals that fit into one generation.
    pub const GENERATION_SIZE: u32 = 10_000;

    /// The highest generation whose versions all fit into 32 bits.
    pub const LAST_GENERATION: u32 = u32::MAX / Self::GENERATION_SIZE - 1;
}

/// What is wrong with a key.
#[derive(Debug, thiserror::Error)]
enum KeyError {
    #[error("key {name:?}: {source}")]
    Name { name: String, source: NameError },
    #[error("with more than one mount each key says which it is in: missing field \"mount\"")]
    NoMount,
    #[error("mount {path:?} is not declared")]
    UnknownMount { path: String },
    #[error("key {name:?} is declared twice in the mount {mount:?}")]
    Repeated { name: String, mount: String },
    #[error("seal {name:?} is not declared")]
    UnknownSeal { name: String },
    #[error("seal {name:?} is disabled: it wraps nothing")]
    DisabledSeal { name: String },
    #[error("seal {name:?} is revoked: it wraps nothing, and opens nothing any more")]
    RevokedSeal { name: String },
    #[error("seal {name:?} is listed twice")]
    RepeatedSeal { name: String },
    #[error("field \"seals\": at least one seal is needed")]
    NoSeals,
    #[error("field \"seals\": a break-glass seal alone will not do: no server decrypts for it")]
    NoSealThatDecrypts,
    #[error(
        "field \"quorum\": {quorum} of {seals} seals can never be met; it must be from 1 to {seals}"
    )]
    QuorumNeverMet { quorum: u64, seals: usize },
    #[error("{seals} seals are more than the {MAX_RECIPIENTS} that an envelope has room for")]
    TooManySeals { seals: usize },
    #[error("fields \"generation\" and \"version\" exclude each other")]
    GenerationAndVersion,
    #[error("field \"min_encryption_version\": is below \"min_decryption_version\"")]
    EncryptsWhatItWillNotDecrypt,
    #[error("exportable keys do not exist here: the master keys never leave their seals")]
    Exportable,
}

/// What a key is read beside.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'s> {
    pub(crate) mounts: &'s [Mount],
    pub(crate) seals: &'s Declared,
    pub(crate) listeners: &'s [Listener],
    pub(crate) reading: &'s Reading<'s>,
}

/// All `key` stanzas, and what they take over, without those that have problems of their own.
pub(crate) fn decode(
    root: &mut Section<'_>,
    surroundings: Surroundings<'_>,
) -> (Vec<DeclaredKey>, Vec<Takeover>) {
    let Surroundings { seals, reading, .. } = surroundings;
    let mut seen = BTreeSet::new();
    let (mut keys, mut takeovers) = (Vec::new(), Vec::new());
    for (label, section) in root.labelled("key") {
        let place = label.place;
        let Some((key, takeover)) = key(label, section, surroundings) else {
            continue;
        };
        if key.quorum > 1 && usize::from(key.quorum) == declared_asked(&key.seals, seals) {
            reading.warn(place, WarningKind::QuorumWithoutSpare { quorum: key.quorum });
        }
        if !seen.insert((key.mount.clone(), key.name.clone())) {
            let (name, mount) = (key.name.to_string(), key.mount.to_string());
            place.report(KeyError::Repeated { name, mount });
        }
        keys.push(key);
        takeovers.extend(takeover);
    }
    (keys, takeovers)
}

fn key(
    label: Located<'_, String>,
    mut section: Section<'_>,
    surroundings: Surroundings<'_>,
) -> Option<(DeclaredKey, Option<Takeover>)> {
    let Surroundings { mounts, seals: declared, .. } = surroundings;
    let name =
        label.try_map(|text| text.parse().map_err(|source| KeyError::Name { name: text, source }));
    let mount = mount(&mut section, mounts);
    let seals = key_seals(&mut section, declared);
    if let Some(names) = seals.as_ref().filter(|names| names.len() > MAX_RECIPIENTS) {
        section.place().report(KeyError::TooManySeals { seals: names.len() });
    }
    let asked = seals.as_ref().map(|names| declared_asked(names, declared));
    let asked = asked.filter(|_| declared.has_all_asked());
    let quorum = quorum(&mut section, asked);
    let version = version_rule(&mut section);
    let min_decryption_version = min_version(&mut section, "min_decryption_version");
    let min_encryption_version = min_version(&mut section, "min_encryption_version");
    if let (Some(decryption), Some(encryption)) = (&min_decryption_version, &min_encryption_version)
        && encryption.value < decryption.value
    {
        encryption.place.report(KeyError::EncryptsWhatItWillNotDecrypt);
    }
    if let Some(Located { value: true, place }) = section.field("exportable").boolean() {
        place.report(KeyError::Exportable);
    }
    let name = name.map(|name| name.value);
    let takeover = section.block("takeover").and_then(|stanza| {
        let ours = mount.as_ref().zip(name.as_ref());
        takeover::decode(stanza, ours, version, surroundings)
    });
    section.finish();
    let key = DeclaredKey {
        name: name?,
        mount: mount?,
        seals: seals?,
        quorum: quorum?,
        version,
        min_decryption_version: min_decryption_version.map_or(KeyVersion::FIRST, |v| v.value),
        min_encryption_version: min_encryption_version.map(|v| v.value),
    };
    Some((key, takeover))
}

fn mount(section: &mut Section<'_>, mounts: &[Mount]) -> Option<MountPath> {
    let field = section.field("mount");
    if field.place().is_none() {
        if let [only] = mounts {
            return Some(only.path.clone());
        }
        section.place().report(KeyError::NoMount);
    }
    let mount = field.string()?.try_map(|text| {
        let path = text.parse::<MountPath>().ok();
        let is_declared = |path: &MountPath| mounts.iter().any(|mount| mount.path == *path);
        path.filter(is_declared).ok_or(KeyError::UnknownMount { path: text })
    });
    mount.map(|mount| mount.value)
}

/// The seals of a key in order of priority, in which `seals` come.
fn key_seals(section: &mut Section<'_>, declared: &Declared) -> Option<Vec<SealName>> {
    let field = section.field("seals");
    let enabled = declared.choices().filter(|seal| !seal.is_disabled);
    if field.place().is_none() {
        return Some(enabled.map(|seal| seal.name.clone()).collect());
    }
    let list = field.strings()?;
    let list_place = list.place;
    if list.value.is_empty() {
        list.place.report(KeyError::NoSeals);
    }
    let mut listed = BTreeSet::new();
    for Located { value: name, place } in list.value {
        refuse_seal(declared, &name, place);
        if !listed.insert(name.clone()) {
            place.report(KeyError::RepeatedSeal { name });
        }
    }
    let chosen = enabled.filter(|seal| listed.contains(seal.name.as_str()));
    let chosen: Vec<_> = chosen.collect();
    let is_whole = declared.has_all_asked() && !chosen.is_empty();
    if is_whole && chosen.iter().all(|seal| seal.is_offline) {
        list_place.report(KeyError::NoSealThatDecrypts);
    }
    Some(chosen.into_iter().map(|seal| seal.name.clone()).collect())
}

fn refuse_seal(declared: &Declared, name: &str, place: Place<'_>) {
    let seal = declared.choices().find(|seal| seal.name.as_str() == name);
    let name = || name.to_owned();
    if seal.is_some_and(|seal| seal.is_disabled) {
        place.report(KeyError::DisabledSeal { name: name() });
    } else if declared.revoked.iter().any(|seal| seal.names().any(|one| one.as_str() == name())) {
        place.report(KeyError::RevokedSeal { name: name() });
    } else if !declared.names.contains(&name()) {
        place.report(KeyError::UnknownSeal { name: name() });
    }
}

/// How many of these seals a server can ask: it gets no share from the others.
fn declared_asked(names: &[SealName], declared: &Declared) -> usize {
    let is_offline =
        |name: &&SealName| declared.choices().any(|seal| seal.name == *name && seal.is_offline);
    names.iter().filter(|name| !is_offline(name)).count()
}

/// How many of the `asked` seals must unwrap; `None` if it can never be met.
fn quorum(section: &mut Section<'_>, asked: Option<usize>) -> Option<u8> {
    let field = section.field("quorum");
    if field.place().is_none() {
        return Some(1);
    }
    let Located { value: quorum, place } = field.unsigned()?;
    let seals = asked?;
    let needed = u8::try_from(quorum).unwrap_or(u8::MAX);
    match Quorum::new(needed, seals) {
        Ok(_) => return Some(needed),
        // So has the key, which was reported there.
        Err(QuorumError::TooMany { .. }) => {}
        // The seals are counted as they stand: a mistake in one was reported there.
        Err(_) => place.report(KeyError::QuorumNeverMet { quorum, seals }),
    }
    None
}

fn version_rule(section: &mut Section<'_>) -> VersionRule {
    let last = u64::from(VersionRule::LAST_GENERATION);
    let generation = number::<u32>(section, "generation", 0..=last);
    let stated = version(section, "version", 1);
    match (generation, stated) {
        (Some(_), Some(stated)) => {
            stated.place.report(KeyError::GenerationAndVersion);
            VersionRule::Stated(stated.value)
        }
        (None, Some(stated)) => VersionRule::Stated(stated.value),
        (generation, None) => {
            VersionRule::Counted { generation: generation.map_or(0, |located| located.value) }
        }
    }
}

/// Vault reads a minimum of 0 as "not set".
fn min_version<'d>(
    section: &mut Section<'d>,
    field: &'static str,
) -> Option<Located<'d, KeyVersion>> {
    version(section, field, 0)
}

fn version<'d>(
    section: &mut Section<'d>,
    field: &'static str,
    least: u64,
) -> Option<Located<'d, KeyVersion>> {
    let Located { value, place } = number(section, field, least..=u64::from(u32::MAX))?;
    KeyVersion::new(value).map(|value| Located { value, place })
}
