//! The canaries of a seal, in a file of their own beside its pin file: a release that knows none of
//! them refuses a pin file with a field that it does not know.

use base16ct::lower::encode_string;
use selkie_crypto::{KekId, PinKey, SealName, WrapAlgorithm, base64};
use serde::{Deserialize, Serialize};

use super::PinError;
use crate::digest_text;
use crate::seal::canary::Canary;

const FORMAT: u32 = 1;
/// No pin file begins so, under the same key.
const LABEL: &str = "canaries";

/// The file, as JSON. Of fields that a later release adds it says nothing.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    seal: String,
    canaries: Vec<Entry>,
    /// Of all the rest, under the local key; hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    id: String,
    algorithm: String,
    /// Base64.
    wrapped: String,
    /// Hexadecimal.
    sha256: String,
}

impl Record {
    pub(super) fn new(seal: &SealName, canaries: &[Canary], key: Option<&PinKey>) -> Self {
        let canaries = canaries.iter().map(Entry::of).collect();
        let mut record =
            Self { format: FORMAT, seal: seal.as_str().to_owned(), canaries, mac: None };
        record.mac = key.and_then(|key| Some(encode_string(&key.mac(&record.signed()?))));
        record
    }

    fn signed(&self) -> Option<Vec<u8>> {
        let Self { format, seal, canaries, mac: _ } = self;
        serde_json::to_vec(&(LABEL, format, seal, canaries)).ok()
    }

    /// What it says, if it is of `seal`. One without a MAC is merely not signed.
    pub(super) fn into_canaries(
        self,
        seal: &SealName,
        key: Option<&PinKey>,
    ) -> Result<Vec<Canary>, PinError> {
        if let (Some(mac), Some(key)) = (&self.mac, key) {
            let mac = digest_text::parse(mac).ok_or(PinError::WrongMac)?;
            let signed = self.signed().ok_or(PinError::Malformed(None))?;
            if !key.verify(&signed, &mac) {
                return Err(PinError::WrongMac);
            }
        }
        if self.seal != seal.as_str() {
            return Err(PinError::OtherSeal { found: self.seal });
        }
        let is_known = self.format == FORMAT;
        let canaries = self.canaries.into_iter().map(Entry::into_canary);
        let canaries = canaries.collect::<Option<_>>().filter(|_| is_known);
        canaries.ok_or(PinError::Malformed(None))
    }
}

impl Entry {
    fn of(canary: &Canary) -> Self {
        let mut wrapped = Vec::new();
        base64::encode_into(&canary.wrapped, &mut wrapped);
        Self {
            id: canary.kek.as_str().to_owned(),
            algorithm: canary.algorithm.jose_name().to_owned(),
            wrapped: String::from_utf8_lossy(&wrapped).into_owned(),
            sha256: encode_string(&canary.digest),
        }
    }

    fn into_canary(self) -> Option<Canary> {
        Some(Canary {
            kek: KekId::new(&self.id).ok()?,
            algorithm: WrapAlgorithm::from_jose_name(&self.algorithm)?,
            wrapped: base64::decode_secret(self.wrapped.as_bytes())
                .ok()?
                .expose_for_own_use()
                .to_vec(),
            digest: digest_text::parse(&self.sha256)?,
        })
    }
}
