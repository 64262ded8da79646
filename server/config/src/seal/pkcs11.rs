//! `seal "pkcs11"`: a master key in an HSM, with the fields and the environment variables of Vault's
//! own stanza.

mod setting;

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use selkie_hcl::{Place, Section};
use zeroize::Zeroizing;

use self::setting::{NAMES, Name, required, text};
use super::PublicKeyFingerprint;
use super::azure::fingerprint;
use crate::quantity::{duration, limited};
use crate::secret::Reading;

/// Keys of one token, and how they are reached.
pub struct Pkcs11Seal {
    /// `lib`: the library of the HSM's maker, an absolute path.
    pub library: PathBuf,
    /// `program`: where `selkie-pkcs11` is, an absolute path; `None` for beside our own program.
    pub program: Option<PathBuf>,
    /// `slot`: the slot's number.
    pub slot: Option<u64>,
    /// `token_label`.
    pub token_label: Option<String>,
    /// `serial`: the token's serial number.
    pub serial: Option<String>,
    /// `pin`.
    pub pin: Zeroizing<String>,
    /// `key_label`: the `CKA_LABEL` of all versions.
    pub key_label: Option<String>,
    /// `key_id`: the `CKA_ID` of the current version.
    pub key_id: Option<Vec<u8>>,
    /// `previous_key_ids`: those of the versions before it, oldest first.
    pub previous_key_ids: Vec<Vec<u8>>,
    /// `mechanism`; `None` leaves it to key and token.
    pub mechanism: Option<Pkcs11Mechanism>,
    /// `max_parallel`: how many sessions there are, 1 to 256.
    pub max_parallel: NonZeroU16,
    /// `timeout`: how long the library may take for one call.
    pub timeout: Duration,
    /// `environment`: all that the library sees of one.
    pub environment: Vec<(String, String)>,
    /// `poll_interval`: how often the token is asked for its keys.
    pub poll_interval: Duration,
    /// `public_key_sha256`: fingerprints of public keys that may be used without the token's word.
    pub public_keys: Vec<PublicKeyFingerprint>,
}

/// By what a token is chosen; what is given must all fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenChoice {
    pub(crate) slot: Option<u64>,
    pub(crate) label: Option<String>,
    pub(crate) serial: Option<String>,
}

impl Pkcs11Seal {
    /// How its token is chosen.
    pub(crate) fn token(&self) -> TokenChoice {
        TokenChoice {
            slot: self.slot,
            label: self.token_label.clone(),
            serial: self.serial.clone(),
        }
    }

    /// The same, as the stanza says it.
    pub(crate) fn token_in_words(&self) -> String {
        let slot = self.slot.map(|slot| format!("slot {slot}"));
        let label = self.token_label.as_ref().map(|label| format!("token_label {label:?}"));
        let serial = self.serial.as_ref().map(|serial| format!("serial {serial:?}"));
        [slot, label, serial].into_iter().flatten().collect::<Vec<_>>().join(" and ")
    }

    /// Whether both name one key of one token in the same words. A label without an id names one key
    /// alone, which is then the one that the other has under this label.
    pub(super) fn shares_a_key_with(&self, other: &Self) -> bool {
        if self.library != other.library || self.token() != other.token() {
            return false;
        }
        let (label, other_label) = (&self.key_label, &other.key_label);
        if self.key_id.is_none() || other.key_id.is_none() {
            return label.is_some() && label == other_label;
        }
        let is_other_label = label.is_some() && other_label.is_some() && label != other_label;
        !is_other_label && self.ids().any(|id| other.ids().any(|other| other == id))
    }

    /// The `CKA_ID` of each version, the current one first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.key_id.iter().chain(&self.previous_key_ids).map(Vec::as_slice)
    }
}

impl fmt::Debug for Pkcs11Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Seal").field("library", &self.library).finish_non_exhaustive()
    }
}

/// How a token wraps DEKs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pkcs11Mechanism {
    /// `CKM_AES_GCM`.
    AesGcm,
    /// `CKM_AES_KEY_WRAP`.
    AesKeyWrap,
    /// `CKM_RSA_PKCS_OAEP`, with SHA-256.
    RsaOaep,
}

/// What is wrong with the stanza.
#[derive(Debug, thiserror::Error)]
enum Pkcs11Error {
    #[error("field {field:?}: must be an absolute path")]
    RelativePath { field: &'static str },
    #[error("{name}: expected a number such as 0 or \"0x1f\"")]
    NotASlot { name: Name },
    #[error("name the token by {}, {} or \"serial\"", NAMES.slot, NAMES.token_label)]
    NoToken,
    #[error("name the key by {}, {} or both", NAMES.key_label, NAMES.key_id)]
    NoKey,
    #[error("{field:?}: must have 1 to 64 bytes")]
    Length { field: &'static str },
    #[error("field {field:?}: expected a CKA_ID as 1 to 64 bytes of hex, such as \"01\"")]
    NotAnId { field: &'static str },
    #[error("\"previous_key_ids\" has no meaning without {}", NAMES.key_id)]
    PreviousAlone,
    #[error("field \"previous_key_ids\": {id:?} is listed twice, or is the current one")]
    RepeatedId { id: String },
    #[error("{name}: there are \"CKM_AES_GCM\", \"CKM_AES_KEY_WRAP\" and \"CKM_RSA_PKCS_OAEP\"")]
    UnknownMechanism { name: Name },
    #[error("{name}: expected a whole number")]
    NotANumber { name: Name },
    #[error(
        "field \"environment\": a name has A-Z a-z 0-9 and _, each one value, and GLIBC_TUNABLES is \
         ours"
    )]
    Environment,
    #[error(
        "Selkie never makes a key: pkcs11-tool --keygen --key-type AES:32 --label LABEL --id 01"
    )]
    NeverMade,
    #[error("no second key is needed: what is wrapped is authenticated by the mechanism itself")]
    NoHmac,
    #[error(
        "environment variable {variable} would apply to the seals {first:?} and {second:?} alike: \
         set it empty and write {field:?} in each"
    )]
    SharedVariable { variable: &'static str, first: String, second: String, field: &'static str },
}

const DEFAULT_PARALLEL: u64 = 4;
const MOST_PARALLEL: u64 = 256;
const TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_secs(300);
const LONGEST_POLL_INTERVAL: Duration = Duration::from_secs(86_400);
const MOST_BYTES: usize = 64;

/// Refuses variables that say something about one seal where they would apply to two, and tells
/// whether there were any.
pub(super) fn refuse_shared(seals: &[(String, Place<'_>)], reading: &Reading<'_>) -> bool {
    let [(first, _), (second, place), ..] = seals else { return false };
    let mut any = false;
    for Name { field, variable } in NAMES.all() {
        if reading.ambient(variable).is_some() {
            let (first, second) = (first.clone(), second.clone());
            place.report(Pkcs11Error::SharedVariable { variable, first, second, field });
            any = true;
        }
    }
    any
}

/// The seal; `None` if something was reported to be wrong.
pub(super) fn decode(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Pkcs11Seal> {
    section.refuse("generate_key", || Pkcs11Error::NeverMade);
    for field in ["hmac_key_label", "hmac_key_id", "default_hmac_key_label", "hmac_mechanism"] {
        section.refuse(field, || Pkcs11Error::NoHmac);
    }
    let library = required(section, NAMES.lib, reading)
        .and_then(|text| text.try_map(|text| absolute(text, NAMES.lib.field)));
    let program = program(section);
    let token = token(section, reading);
    let pin = setting::pin(section, NAMES.pin, reading);
    let keys = keys(section, reading);
    let mechanism = mechanism(section, reading);
    let max_parallel = max_parallel(section, reading);
    let timeout = duration(section, "timeout", LONGEST_TIMEOUT);
    let environment = environment(section);
    let poll_interval = duration(section, "poll_interval", LONGEST_POLL_INTERVAL);
    let public_keys = fingerprint::decode(section.field("public_key_sha256"));
    let (token, keys) = (token?, keys?);
    Some(Pkcs11Seal {
        library: library?.value,
        program: program?,
        slot: token.slot,
        token_label: token.label,
        serial: token.serial,
        pin: pin?,
        key_label: keys.label,
        key_id: keys.id,
        previous_key_ids: keys.previous,
        mechanism: mechanism?,
        max_parallel: max_parallel?,
        timeout: timeout.unwrap_or(TIMEOUT),
        environment: environment?,
        poll_interval: poll_interval.unwrap_or(POLL_INTERVAL),
        public_keys: public_keys?,
    })
}

fn absolute(text: String, field: &'static str) -> Result<PathBuf, Pkcs11Error> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err(Pkcs11Error::RelativePath { field }) }
}

fn program(section: &mut Section<'_>) -> Option<Option<PathBuf>> {
    let field = section.field("program");
    if field.place().is_none() {
        return Some(None);
    }
    let path = field.string()?.try_map(|text| absolute(text, "program"))?;
    Some(Some(path.value))
}

struct Token {
    slot: Option<u64>,
    label: Option<String>,
    serial: Option<String>,
}

fn token(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Token> {
    let slot = text(section, NAMES.slot, reading)?;
    let label = text(section, NAMES.token_label, reading)?;
    let serial_field = section.field("serial");
    let serial = match serial_field.place() {
        None => None,
        Some(_) => Some(serial_field.string()?.value),
    };
    if slot.is_none() && label.is_none() && serial.is_none() {
        section.place().report(Pkcs11Error::NoToken);
        return None;
    }
    let slot = match slot {
        None => None,
        Some(slot) => Some(slot.try_map(|text| slot_number(&text))?.value),
    };
    Some(Token { slot, label: label.map(|label| label.value), serial })
}

fn slot_number(text: &str) -> Result<u64, Pkcs11Error> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.or(Err(Pkcs11Error::NotASlot { name: NAMES.slot }))
}

struct Keys {
    label: Option<String>,
    id: Option<Vec<u8>>,
    previous: Vec<Vec<u8>>,
}

fn keys(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Keys> {
    let label = text(section, NAMES.key_label, reading)?;
    let id = text(section, NAMES.key_id, reading)?;
    let previous = previous(section)?;
    if label.is_none() && id.is_none() {
        section.place().report(Pkcs11Error::NoKey);
        return None;
    }
    if id.is_none() && !previous.is_empty() {
        section.place().report(Pkcs11Error::PreviousAlone);
        return None;
    }
    let label = match label {
        None => None,
        Some(label) => Some(label.try_map(|label| fitting(label, NAMES.key_label.field))?.value),
    };
    let id = match id {
        None => None,
        Some(id) => Some(id.try_map(|id| key_id(&id, NAMES.key_id.field))?.value),
    };
    let mut seen: BTreeSet<&[u8]> = id.as_deref().into_iter().collect();
    for (text, bytes, place) in &previous {
        if !seen.insert(bytes) {
            place.report(Pkcs11Error::RepeatedId { id: text.clone() });
            return None;
        }
    }
    let previous = previous.iter().map(|(_, bytes, _)| bytes.clone()).collect();
    Some(Keys { label, id, previous })
}

fn fitting(text: String, field: &'static str) -> Result<String, Pkcs11Error> {
    if (1..=MOST_BYTES).contains(&text.len()) {
        Ok(text)
    } else {
        Err(Pkcs11Error::Length { field })
    }
}

type PreviousId<'d> = (String, Vec<u8>, Place<'d>);

fn previous<'d>(section: &mut Section<'d>) -> Option<Vec<PreviousId<'d>>> {
    let field = section.field("previous_key_ids");
    if field.place().is_none() {
        return Some(Vec::new());
    }
    let ids = field.strings()?.value.into_iter().map(|text| {
        let (place, shown) = (text.place, text.value.clone());
        let id = text.try_map(|text| key_id(&text, "previous_key_ids"))?;
        Some((shown, id.value, place))
    });
    // All that is wrong is reported, not only the first.
    ids.collect::<Vec<_>>().into_iter().collect()
}

/// Hex, as Vault and pkcs11-tool have it: an odd digit stands for a byte.
fn key_id(text: &str, field: &'static str) -> Result<Vec<u8>, Pkcs11Error> {
    let not_an_id = || Pkcs11Error::NotAnId { field };
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    let bytes = base16ct::mixed::decode_vec(padded).ok();
    bytes.filter(|bytes| (1..=MOST_BYTES).contains(&bytes.len())).ok_or_else(not_an_id)
}

fn mechanism(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<Option<Pkcs11Mechanism>> {
    let Some(text) = text(section, NAMES.mechanism, reading)? else { return Some(None) };
    let mechanism = text.try_map(|text| match text.as_str() {
        "CKM_AES_GCM" | "AES_GCM" | "0x1087" => Ok(Pkcs11Mechanism::AesGcm),
        "CKM_AES_KEY_WRAP" | "AES_KEY_WRAP" | "0x2109" => Ok(Pkcs11Mechanism::AesKeyWrap),
        "CKM_RSA_PKCS_OAEP" | "RSA_PKCS_OAEP" | "0x9" | "0x0009" => Ok(Pkcs11Mechanism::RsaOaep),
        _ => Err(Pkcs11Error::UnknownMechanism { name: NAMES.mechanism }),
    });
    Some(Some(mechanism?.value))
}

fn max_parallel(section: &mut Section<'_>, reading: &Reading<'_>) -> Option<NonZeroU16> {
    let default = || u16::try_from(DEFAULT_PARALLEL).ok().and_then(NonZeroU16::new);
    let Some(text) = text(section, NAMES.max_parallel, reading)? else { return default() };
    let number = text.try_map(|text| {
        text.parse().or(Err(Pkcs11Error::NotANumber { name: NAMES.max_parallel }))
    })?;
    let number = limited::<u16>(number, NAMES.max_parallel.field, 1..=MOST_PARALLEL)?;
    NonZeroU16::new(number.value)
}

fn environment(section: &mut Section<'_>) -> Option<Vec<(String, String)>> {
    let field = section.field("environment");
    let Some(place) = field.place() else { return Some(Vec::new()) };
    let is_name = |name: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        !name.is_empty() && name.bytes().all(fits) && name != "GLIBC_TUNABLES"
    };
    let mut environment = Vec::new();
    for (name, values) in field.texts_by_name()?.value {
        let is_new = environment.iter().all(|(known, _)| *known != name);
        let [value] = &values[..] else {
            place.report(Pkcs11Error::Environment);
            return None;
        };
        if !is_name(&name) || !is_new || value.value.contains('\0') {
            place.report(Pkcs11Error::Environment);
            return None;
        }
        environment.push((name, value.value.clone()));
    }
    Some(environment)
}
