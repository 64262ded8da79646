//! `seal`: the master keys.

mod azure;
mod pkcs11;
mod static_seal;

use std::collections::BTreeSet;

use selkie_crypto::{KekId, NameError, SealName};
use selkie_hcl::{Located, Place, Section};
use url::Url;

pub(crate) use self::azure::decode_proxies;
pub use self::azure::{
    AzureCertificate, AzureIdentity, AzureKeyVaultSeal, IdentityReason, Origin, ProxyUrl,
    PublicKeyFingerprint, UserAssignedIdentity, WrapPlace,
};
pub use self::pkcs11::{Pkcs11Mechanism, Pkcs11Seal};
pub use self::static_seal::{StaticKey, StaticSeal};
use crate::pins::PinKeeping;
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
    /// `seal "azurekeyvault"`.
    AzureKeyVault(Box<AzureKeyVaultSeal>),
    /// `seal "pkcs11"`.
    Pkcs11(Box<Pkcs11Seal>),
}

/// What is wrong with a seal.
#[derive(Debug, thiserror::Error)]
enum SealError {
    #[error("no seal is declared: write seal \"azurekeyvault\" {{ ... }}")]
    NoSeal,
    #[error("all seals are disabled: nothing could be encrypted")]
    AllDisabled,
    #[error(
        "seal type {found:?} is not in this build yet: there are \"azurekeyvault\", \"pkcs11\" and \
         \"static\""
    )]
    NotBuilt { found: String },
    #[error(
        "seal type {found:?} does not exist: there are \"azurekeyvault\", \"pkcs11\" and \"static\""
    )]
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
    #[error("the seal {name:?} has this master key already")]
    RepeatedMasterKey { name: String },
}

const STATIC: &str = "static";
const AZURE: &str = "azurekeyvault";
const PKCS11: &str = "pkcs11";

/// Vault's and OpenBao's other seal types.
const NOT_BUILT: [&str; 6] = ["alicloudkms", "awskms", "gcpckms", "kmip", "ocikms", "transit"];

/// All `seal` stanzas that are sound, in order of priority, and the names that keys may list: those
/// of all stanzas, so that one mistake in a seal is not reported at every key again.
pub(crate) fn decode(
    root: &mut Section<'_>,
    pins: PinKeeping,
    reading: &Reading<'_>,
) -> (Vec<Seal>, BTreeSet<String>) {
    let stanzas = root.labelled("seal");
    if stanzas.is_empty() {
        root.place().report(SealError::NoSeal);
    }
    let count = stanzas.len();
    let mut names = BTreeSet::new();
    let (mut in_azure, mut in_hsms) = (Vec::new(), Vec::new());
    let mut seals: Vec<Seal> = Vec::new();
    for (kind, mut section) in stanzas {
        let place = kind.place;
        let name = section.field("name").string();
        let given_name = name.as_ref().unwrap_or(&kind).value.clone();
        match kind.value.as_str() {
            AZURE => in_azure.push((given_name.clone(), place)),
            PKCS11 => in_hsms.push((given_name.clone(), place)),
            _ => {}
        }
        names.insert(given_name);
        let Some((seal, key_places)) = seal(kind, name, section, count == 1, reading) else {
            continue;
        };
        pins.warn_of(&seal, place, reading);
        refuse_repeated(&seals, &seal, place);
        refuse_repeated_keys(&seals, &seal, &key_places);
        seals.push(seal);
    }
    pkcs11::refuse_shared(&in_hsms, reading);
    if !azure::refuse_shared(&in_azure, reading) {
        refuse_repeated_master_keys(&seals, &in_azure);
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
    if ![STATIC, AZURE, PKCS11].contains(&kind.value.as_str()) {
        refuse_type(kind);
        return None;
    }
    let priority = priority(&mut section, is_only_one);
    let disabled = section.field("disabled").boolean().is_some_and(|flag| flag.value);
    let decoded = match kind.value.as_str() {
        AZURE => azure::decode(&mut section, reading)
            .map(|seal| (SealKind::AzureKeyVault(Box::new(seal)), Vec::new())),
        PKCS11 => pkcs11::decode(&mut section, reading)
            .map(|seal| (SealKind::Pkcs11(Box::new(seal)), Vec::new())),
        _ => static_seal::decode(&mut section, reading)
            .map(|(seal, places)| (SealKind::Static(seal), places)),
    };
    section.finish();
    let name = name
        .unwrap_or(kind)
        .try_map(|text| SealName::new(&text).map_err(|source| SealError::Name { source }))?;
    let (kind, places) = decoded?;
    Some((Seal { name: name.value, priority: priority?, disabled, kind }, places))
}

fn refuse_type(kind: Located<'_, String>) {
    let is_known = NOT_BUILT.contains(&kind.value.as_str());
    let found = kind.value;
    kind.place.report(match is_known {
        true => SealError::NotBuilt { found },
        false => SealError::UnknownType { found },
    });
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

fn refuse_repeated(earlier: &[Seal], seal: &Seal, place: Place<'_>) {
    if earlier.iter().any(|other| other.name == seal.name) {
        place.report(SealError::RepeatedName { name: seal.name.to_string() });
    }
    let priority = seal.priority;
    if earlier.iter().any(|other| other.priority == priority) {
        place.report(SealError::RepeatedPriority { priority });
    }
}

fn refuse_repeated_master_keys(seals: &[Seal], places: &[(String, Place<'_>)]) {
    let mut seen: Vec<&Seal> = Vec::new();
    for seal in seals.iter().filter(|seal| seal.key_vault_key().is_some()) {
        let same = seen.iter().find(|other| other.key_vault_key() == seal.key_vault_key());
        let stanza = places.iter().find(|(name, _)| name == seal.name.as_str());
        if let (Some(other), Some((_, place))) = (same, stanza) {
            place.report(SealError::RepeatedMasterKey { name: other.name.to_string() });
        }
        seen.push(seal);
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
    let keys = match &seal.kind {
        SealKind::Static(seal) => Some(seal.keys()),
        SealKind::AzureKeyVault(_) | SealKind::Pkcs11(_) => None,
    };
    keys.into_iter().flatten()
}

impl Seal {
    /// The key in Key Vault, by vault and name, if it is one.
    pub(crate) fn key_vault_key(&self) -> Option<(&Url, &str)> {
        match &self.kind {
            SealKind::Static(_) | SealKind::Pkcs11(_) => None,
            SealKind::AzureKeyVault(seal) => Some((&seal.endpoint, &seal.key_name)),
        }
    }

    /// The `CKA_ID` of each version in an HSM that is declared by it, the current one first.
    pub(crate) fn hsm_ids(&self) -> impl Iterator<Item = &[u8]> {
        let seal = self.in_hsm().into_iter();
        seal.flat_map(|seal| seal.key_id.iter().chain(&seal.previous_key_ids)).map(Vec::as_slice)
    }

    /// The `CKA_LABEL` of the versions in an HSM.
    pub(crate) fn hsm_label(&self) -> Option<&str> {
        self.in_hsm()?.key_label.as_deref()
    }

    fn in_hsm(&self) -> Option<&Pkcs11Seal> {
        match &self.kind {
            SealKind::Pkcs11(seal) => Some(seal),
            SealKind::Static(_) | SealKind::AzureKeyVault(_) => None,
        }
    }

    /// The versions that are in our own memory, by their ids, the current one first.
    pub(crate) fn static_ids(&self) -> impl Iterator<Item = &KekId> {
        keys_of(self).map(|key| &key.id)
    }
}
