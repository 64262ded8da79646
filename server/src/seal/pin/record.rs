//! A pin file's content. What reads as anything but what was written is refused.

use std::time::{Duration, SystemTime};

use base16ct::lower::encode_string;
use selkie_crypto::{KekId, PinKey, PublicKey, SealName, WrapAlgorithm, base64};
use selkie_kms::{KekDescription, KekState, KekVersion, Wrapping};
use serde::{Deserialize, Serialize};

use super::PinError;
use crate::digest_text;
use crate::seal::known::rebuilt;

const FORMAT: u32 = 1;

/// The pin file, as JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    format: u32,
    seal: String,
    key: String,
    current: String,
    is_complete: bool,
    is_purgeable: Option<bool>,
    versions: Vec<Version>,
    /// Of all the rest, under the local key; hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    id: String,
    algorithm: String,
    /// SPKI, DER, base64; absent where only the KMS wraps.
    #[serde(skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
    state: State,
    created: Option<u64>,
    expires: Option<u64>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Enabled,
    Disabled,
    NotYetValid,
    Expired,
}

impl Record {
    pub(super) fn new(
        seal: &SealName,
        target: &str,
        keks: &KekDescription,
        key: Option<&PinKey>,
    ) -> Self {
        let mut record = Self {
            format: FORMAT,
            seal: seal.as_str().to_owned(),
            key: target.to_owned(),
            current: keks.current().id.as_str().to_owned(),
            is_complete: keks.is_complete(),
            is_purgeable: keks.is_purgeable(),
            versions: keks.versions().iter().map(Version::of).collect(),
            mac: None,
        };
        record.mac = key.and_then(|key| Some(encode_string(&key.mac(&record.signed()?))));
        record
    }

    pub(super) fn seal(&self) -> &str {
        &self.seal
    }

    pub(super) fn target(&self) -> &str {
        &self.key
    }

    /// What the MAC is of: the record without it, in its one spelling.
    fn signed(&self) -> Option<Vec<u8>> {
        let Self { format, seal, key, current, is_complete, is_purgeable, versions, mac: _ } = self;
        serde_json::to_vec(&(format, seal, key, current, is_complete, is_purgeable, versions)).ok()
    }

    /// Whether the local key signed it. One without a MAC is merely not signed.
    pub(super) fn is_signed_by(&self, key: Option<&PinKey>) -> Result<bool, PinError> {
        let (Some(mac), Some(key)) = (&self.mac, key) else { return Ok(false) };
        let mac = digest_text::parse(mac).ok_or(PinError::WrongMac)?;
        let signed = self.signed().ok_or(PinError::Malformed(None))?;
        if key.verify(&signed, &mac) { Ok(true) } else { Err(PinError::WrongMac) }
    }

    pub(super) fn into_description(self) -> Option<KekDescription> {
        if self.format != FORMAT {
            return None;
        }
        let versions = self.versions.into_iter().map(Version::into_kek).collect::<Option<_>>()?;
        let current = KekId::new(&self.current).ok()?;
        rebuilt(versions, &current, self.is_complete, self.is_purgeable).ok()
    }
}

impl Version {
    fn of(version: &KekVersion) -> Self {
        let public_key = match &version.wrapping {
            Wrapping::Local(key) => Some(printed(key.spki_der())),
            Wrapping::Remote(_) => None,
        };
        Self {
            id: version.id.as_str().to_owned(),
            algorithm: version.wrapping.algorithm().jose_name().to_owned(),
            public_key,
            state: match version.state {
                KekState::Enabled => State::Enabled,
                KekState::Disabled => State::Disabled,
                KekState::NotYetValid => State::NotYetValid,
                KekState::Expired => State::Expired,
            },
            created: version.created.map(unix_seconds),
            expires: version.expires.map(unix_seconds),
        }
    }

    fn into_kek(self) -> Option<KekVersion> {
        let algorithm = WrapAlgorithm::from_jose_name(&self.algorithm)?;
        let wrapping = match self.public_key {
            Some(key) => {
                let der = base64::decode_secret(key.as_bytes()).ok()?;
                let key = PublicKey::from_spki_der(der.expose_for_own_use()).ok()?;
                Wrapping::Local(key)
            }
            None => Wrapping::Remote(algorithm),
        };
        if wrapping.algorithm() != algorithm {
            return None;
        }
        Some(KekVersion {
            id: KekId::new(&self.id).ok()?,
            wrapping,
            state: match self.state {
                State::Enabled => KekState::Enabled,
                State::Disabled => KekState::Disabled,
                State::NotYetValid => KekState::NotYetValid,
                State::Expired => KekState::Expired,
            },
            created: optional_time(self.created)?,
            expires: optional_time(self.expires)?,
        })
    }
}

/// The time, or `None` for a number that is no time.
fn optional_time(seconds: Option<u64>) -> Option<Option<SystemTime>> {
    match seconds {
        None => Some(None),
        Some(seconds) => SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).map(Some),
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn printed(der: &[u8]) -> String {
    let mut text = Vec::new();
    base64::encode_into(der, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
