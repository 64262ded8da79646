//! Which keys of a token are the versions of the master key, what they are called, and how they
//! wrap.

use std::sync::Arc;

use base16ct::lower::encode_string as hex;
use selkie_crypto::{
    KekId, PublicKey, RsaPublicKey, RsaPublicKeyError, WRAPPED_DEK_BYTES, WrapAlgorithm,
};
use selkie_pkcs11_protocol::{
    Class, KeyFacts, KeyKind, KeyName, Mechanism, NONCE_BYTES, Selector, Stage, Token, Witness,
};

use super::Pkcs11Settings;
use super::diagnosis::{Diagnosis, Fault, Unsuitable};
use super::probe::Probe;
use crate::{KekDescription, KekState, KekVersion, KmsError, Wrapping};

/// Of AES-GCM: nonce, ciphertext, tag.
const GCM_WRAPPED_BYTES: usize = NONCE_BYTES + 32 + 16;
const AES_256_BYTES: u16 = 32;

/// The versions of the master key as they were found.
#[derive(Debug)]
pub(super) struct Keys {
    /// Oldest first.
    previous: Vec<Key>,
    current: Key,
    /// Previous versions of which not even the label is known.
    nameless: Vec<Diagnosis>,
}

/// One version.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// `pkcs11:serial=SERIAL;object=LABEL;id=ID`, a PKCS#11 URI (RFC 7512).
    pub(super) id: KekId,
    pub(super) name: KeyName,
    pub(super) wrapping: Wrapping,
    pub(super) extractable: bool,
    /// Why it opens nothing, of a previous version.
    trouble: Option<Diagnosis>,
    /// Why the last look at it found nothing, of a previous version that is used as it was found
    /// before.
    missed: Option<Diagnosis>,
}

/// What was found for the id of a previous version.
#[derive(Debug)]
pub(super) enum Previous {
    /// One key.
    Found(KeyFacts),
    /// One that was found before; that it is not there any more is not sure.
    Kept(Key),
    /// None, several, or one that the token says nothing of.
    Bad {
        /// What it is called, if that can be known.
        name: Option<KeyName>,
        /// The diagnosis.
        why: Diagnosis,
    },
}

/// What is to be looked for: one selector for each version, the previous ones oldest first, and that
/// of the current one.
pub(super) fn selectors(settings: &Pkcs11Settings) -> (Vec<Selector>, Selector) {
    let label = || settings.key_label.as_ref().map(|label| label.as_bytes().to_vec());
    let of = |id| Selector { label: label(), id };
    let previous = settings.previous_key_ids.iter().cloned().map(Some);
    (previous.map(of).collect(), of(settings.key_id.clone()))
}

/// What became of the search for a previous version, of which `before` was found. What says nothing
/// of this one key is an error.
pub(super) fn previous(
    found: Result<Vec<KeyFacts>, KmsError>,
    selector: &Selector,
    before: Option<&Keys>,
) -> Result<Previous, KmsError> {
    let found = looked_for(found, selector)?;
    let Previous::Bad { why, .. } = &found else { return Ok(found) };
    let kept = before.and_then(|keys| keys.kept(selector, why));
    Ok(kept.map_or(found, Previous::Kept))
}

fn looked_for(
    found: Result<Vec<KeyFacts>, KmsError>,
    selector: &Selector,
) -> Result<Previous, KmsError> {
    let name = |label| Some(KeyName { label, id: selector.id.clone()? });
    let wanted = || selector.label.clone().and_then(name);
    match found {
        Ok(found) => {
            let labels = found.first().map(|first| first.name.label.clone());
            let labels = labels.filter(|one| found.iter().all(|key| key.name.label == *one));
            let name = wanted().or_else(|| labels.and_then(name));
            Ok(match only(found, selector) {
                Ok(facts) => Previous::Found(facts),
                Err(why) => Previous::Bad { name, why },
            })
        }
        Err(error) => match Diagnosis::of(&error) {
            Some(why) if is_of_the_key(why.fault) => {
                Ok(Previous::Bad { name: wanted(), why: why.clone() })
            }
            _ => Err(error),
        },
    }
}

const fn is_of_the_key(fault: Fault) -> bool {
    use Class::{Failed, NoKey, NotPermitted, SeveralKeys, Unfit};
    matches!(fault, Fault::Token(Failed | NoKey | NotPermitted | SeveralKeys | Unfit))
}

/// The one key among those found for a selector.
pub(super) fn only(mut found: Vec<KeyFacts>, selector: &Selector) -> Result<KeyFacts, Diagnosis> {
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(last), false) => {
            found.push(last);
            let ids = found.iter().map(|key| shown(&key.name));
            let said = Some(ids.collect::<Vec<_>>().join(", "));
            let fault = Fault::Token(Class::SeveralKeys);
            Err(Diagnosis { said, ..Diagnosis::new(Stage::Key, fault) })
        }
        (None, _) => {
            let label = selector.label.as_deref().map(percent_but_unreserved);
            let parts = [("label", label), ("id", selector.id.as_deref().map(hex))];
            let parts = parts.into_iter().filter_map(|(name, value)| Some((name, value?)));
            let parts: Vec<_> = parts.map(|(name, value)| format!("{name} {value}")).collect();
            let fault = Fault::Token(Class::NoKey);
            Err(Diagnosis { said: Some(parts.join(", ")), ..Diagnosis::new(Stage::Key, fault) })
        }
    }
}

fn shown(name: &KeyName) -> String {
    format!("label {} id {}", percent_but_unreserved(&name.label), hex(&name.id))
}

impl Keys {
    /// The versions of these facts, the previous ones oldest first. The current one has to suit; of
    /// the others each that does not is one that opens nothing.
    pub(super) fn new(
        previous: Vec<Previous>,
        current: KeyFacts,
        token: &Token,
        wanted: Option<Mechanism>,
    ) -> Result<Self, Diagnosis> {
        let current = Key::current(current, token, wanted)?;
        let (mut keys, mut nameless) = (Vec::<Key>::new(), Vec::new());
        for one in previous {
            let key = match one {
                Previous::Found(facts) => Key::previous(facts, token, current.algorithm())?,
                Previous::Kept(key) => Key { id: kek_id(&key.name, token)?, ..key },
                Previous::Bad { name: Some(name), why } => {
                    Key::bad(name, token, current.algorithm(), why)?
                }
                Previous::Bad { name: None, why } => {
                    nameless.push(why);
                    continue;
                }
            };
            if key.name == current.name || keys.iter().any(|earlier| earlier.name == key.name) {
                return Err(Diagnosis::new(Stage::Key, Fault::SameKey));
            }
            keys.push(key);
        }
        Ok(Self { previous: keys, current, nameless })
    }

    pub(super) const fn current(&self) -> &Key {
        &self.current
    }

    /// The previous version that `selector` is for, if it was good before a look at it came to `why`,
    /// and that may be a hiccup: a result that no rule is known for, or once that it is not there.
    fn kept(&self, selector: &Selector, why: &Diagnosis) -> Option<Key> {
        let is_it = |key: &&Key| {
            selector.id.as_ref() == Some(&key.name.id)
                && selector.label.as_ref().is_none_or(|label| *label == key.name.label)
        };
        let key = self.previous.iter().find(is_it).filter(|key| key.trouble.is_none())?;
        let may_be_there = match why.fault {
            Fault::Token(Class::Failed) => true,
            Fault::Token(Class::NoKey) => {
                key.missed.as_ref().is_none_or(|was| was.fault != why.fault)
            }
            _ => false,
        };
        may_be_there.then(|| Key { missed: Some(why.clone()), ..key.clone() })
    }

    /// Whether a previous version opens nothing as it was found, so that another look may help.
    pub(super) fn lacks(&self, kek: &KekId) -> bool {
        let found = self.named(kek);
        found.map_or(!self.nameless.is_empty(), |key| key.trouble.is_some())
    }

    /// Why nobody can say that a key does not exist: it may be a previous version of which not even
    /// the label is known, and no rule for what the token says of it.
    pub(super) fn unsure(&self) -> Option<Diagnosis> {
        let unsure = self.nameless.iter().find(|why| why.fault == Fault::Token(Class::Failed));
        unsure.cloned().map(Diagnosis::of_previous)
    }

    /// Why the last look at previous versions that are used all the same found nothing.
    pub(super) fn missed(&self) -> impl Iterator<Item = &Diagnosis> {
        self.previous.iter().filter_map(|key| key.missed.as_ref())
    }

    /// Why previous versions open nothing.
    pub(super) fn troubles(&self) -> impl Iterator<Item = &Diagnosis> {
        self.previous.iter().filter_map(|key| key.trouble.as_ref()).chain(&self.nameless)
    }

    pub(super) fn description(&self) -> Result<KekDescription, Diagnosis> {
        let versions = self.previous.iter().chain([&self.current]).map(Key::version).collect();
        let description = KekDescription::new(versions, &self.current.id)
            .or(Err(Diagnosis::new(Stage::Key, Fault::Nonsense)))?;
        // A version without a name cannot be listed; what was known of it before is kept so.
        Ok(if self.nameless.is_empty() { description } else { description.incomplete() })
    }

    /// What a failed unwrap under `key` is judged by here: a pair, whose public key we have. One that
    /// is current also serves a key before it, which may wrap nothing itself.
    pub(super) fn probe(&self, key: &Key) -> Option<Probe> {
        key.probe().or_else(|| self.current.probe())
    }

    /// What it is judged by in the child where `key` wraps nothing, as one that is retired, or one
    /// that was named with a mechanism of somebody else's choice: the current key, which has to wrap.
    pub(super) fn witness(&self, key: &Key, by: Mechanism) -> Option<Witness> {
        let mechanism = mechanism(self.current.algorithm())?;
        // A pair is judged by its probe.
        let is_other =
            by != Mechanism::RsaOaepSha256 && (&key.name, by) != (&self.current.name, mechanism);
        is_other.then(|| Witness { key: self.current.name.clone(), mechanism })
    }

    /// The key that `kek` names. On which token it was does not count: an HSM that is replaced by
    /// one with the same keys has another serial number.
    pub(super) fn named(&self, kek: &KekId) -> Option<&Key> {
        let wanted = without_serial(kek)?;
        let mut keys = self.previous.iter().chain([&self.current]);
        keys.find(|key| without_serial(&key.id) == Some(wanted))
    }
}

/// Whether two ids are of keys with the same label and id on tokens with different serial numbers.
#[must_use]
pub fn differ_in_serial_alone(one: &KekId, other: &KekId) -> bool {
    let name = without_serial(one);
    name.is_some() && name == without_serial(other) && one != other
}

/// Label and id in an id of ours.
pub(super) fn without_serial(kek: &KekId) -> Option<&str> {
    let (_, rest) = kek.as_str().strip_prefix("pkcs11:serial=")?.split_once(';')?;
    Some(rest)
}

impl Key {
    fn current(
        facts: KeyFacts,
        token: &Token,
        wanted: Option<Mechanism>,
    ) -> Result<Self, Diagnosis> {
        let id = kek_id(&facts.name, token)?;
        let wrapping = wrapping(&facts, token, wanted).map_err(|why| unsuitable(&facts, why))?;
        let KeyFacts { name, extractable, .. } = facts;
        Ok(Self { id, name, wrapping, extractable, trouble: None, missed: None })
    }

    /// One that has to decrypt or unwrap alone, by whatever mechanism.
    fn previous(
        mut facts: KeyFacts,
        token: &Token,
        unknown: WrapAlgorithm,
    ) -> Result<Self, Diagnosis> {
        facts.uses.encrypt |= facts.uses.decrypt;
        facts.uses.wrap |= facts.uses.unwrap;
        match wrapping(&facts, token, None) {
            Ok(_) => Self::current(facts, token, None),
            Err(why) => {
                let why = unsuitable(&facts, why);
                Self::bad(facts.name, token, unknown, why)
            }
        }
    }

    /// One that opens nothing, so that its algorithm does not count.
    fn bad(
        name: KeyName,
        token: &Token,
        algorithm: WrapAlgorithm,
        why: Diagnosis,
    ) -> Result<Self, Diagnosis> {
        let (id, wrapping) = (kek_id(&name, token)?, Wrapping::Remote(algorithm));
        let trouble = Some(why.of_previous());
        Ok(Self { id, name, wrapping, extractable: false, trouble, missed: None })
    }

    const fn algorithm(&self) -> WrapAlgorithm {
        self.wrapping.algorithm()
    }

    /// An error for one that opens nothing: to be tried again where no rule is known for what the
    /// token says of it.
    pub(super) fn usable(&self) -> Result<(), KmsError> {
        let Some(why) = self.trouble.clone() else { return Ok(()) };
        Err(match why.fault {
            Fault::Token(Class::Failed) => why.into(),
            _ => KmsError::Disabled(Some(Arc::new(why))),
        })
    }

    /// For an RSA key, whose unwraps nothing else can be compared with.
    fn probe(&self) -> Option<Probe> {
        let Wrapping::Local(public) = &self.wrapping else { return None };
        Some(Probe { key: self.name.clone(), public: public.clone() })
    }

    fn version(&self) -> KekVersion {
        KekVersion {
            id: self.id.clone(),
            wrapping: self.wrapping.clone(),
            state: if self.trouble.is_none() { KekState::Enabled } else { KekState::Disabled },
            created: None,
            expires: None,
        }
    }

    /// How the token unwraps what `algorithm` has wrapped, if it is of such a length. Both of AES
    /// fit an AES key, whichever new DEKs are wrapped by: a changed `mechanism` loses nothing.
    pub(super) fn unwraps(&self, algorithm: WrapAlgorithm, bytes: usize) -> Option<Mechanism> {
        match (&self.wrapping, algorithm, bytes) {
            (Wrapping::Local(PublicKey::Rsa(key)), WrapAlgorithm::RsaOaep256, bytes)
                if bytes * 8 == key.bits() =>
            {
                Some(Mechanism::RsaOaepSha256)
            }
            (Wrapping::Remote(_), WrapAlgorithm::A256GcmKw, GCM_WRAPPED_BYTES) => {
                Some(Mechanism::AesGcm)
            }
            (Wrapping::Remote(_), WrapAlgorithm::A256Kw, WRAPPED_DEK_BYTES) => {
                Some(Mechanism::AesKeyWrap)
            }
            _ => None,
        }
    }
}

fn kek_id(name: &KeyName, token: &Token) -> Result<KekId, Diagnosis> {
    let id = format!(
        "pkcs11:serial={};object={};id={}",
        percent_but_unreserved(token.serial.as_bytes()),
        percent_but_unreserved(&name.label),
        percent(&name.id),
    );
    KekId::new(&id).or(Err(Diagnosis::new(Stage::Key, Fault::Nonsense)))
}

fn unsuitable(facts: &KeyFacts, why: Unsuitable) -> Diagnosis {
    let said = Some(shown(&facts.name));
    Diagnosis { said, ..Diagnosis::new(Stage::Key, Fault::Unsuitable(why)) }
}

/// The mechanism behind an algorithm of a token's.
pub(super) const fn mechanism(algorithm: WrapAlgorithm) -> Option<Mechanism> {
    match algorithm {
        WrapAlgorithm::A256GcmKw => Some(Mechanism::AesGcm),
        WrapAlgorithm::A256Kw => Some(Mechanism::AesKeyWrap),
        _ => None,
    }
}

fn wrapping(
    facts: &KeyFacts,
    token: &Token,
    wanted: Option<Mechanism>,
) -> Result<Wrapping, Unsuitable> {
    match &facts.kind {
        KeyKind::Aes { bytes: AES_256_BYTES } => aes(facts, token, wanted).map(Wrapping::Remote),
        KeyKind::Aes { .. } => Err(Unsuitable::AesSize),
        KeyKind::Rsa { modulus, exponent, oaep_sha256 } => {
            let is_wanted = wanted.is_none_or(|one| one == Mechanism::RsaOaepSha256);
            match (is_wanted, token.rsa_oaep && facts.uses.decrypt, oaep_sha256) {
                (false, _, _) => Err(Unsuitable::OtherMechanism),
                (true, false, _) => Err(Unsuitable::NoMechanism),
                (true, true, false) => Err(Unsuitable::OaepSha1Alone),
                (true, true, true) => rsa(modulus, exponent),
            }
        }
        KeyKind::Other => Err(Unsuitable::KeyType),
    }
}

/// AES-GCM where it can be had, since every HSM that has both is quicker with it: AES key wrap
/// makes an object of each DEK.
fn aes(
    facts: &KeyFacts,
    token: &Token,
    wanted: Option<Mechanism>,
) -> Result<WrapAlgorithm, Unsuitable> {
    let uses = facts.uses;
    let gcm = token.aes_gcm && uses.encrypt && uses.decrypt;
    let key_wrap = token.aes_key_wrap && uses.wrap && uses.unwrap;
    match (wanted, gcm, key_wrap) {
        (None | Some(Mechanism::AesGcm), true, _) => Ok(WrapAlgorithm::A256GcmKw),
        (None | Some(Mechanism::AesKeyWrap), _, true) => Ok(WrapAlgorithm::A256Kw),
        (None, false, false) => Err(Unsuitable::NoMechanism),
        (Some(_), _, _) => Err(Unsuitable::OtherMechanism),
    }
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Wrapping, Unsuitable> {
    match RsaPublicKey::from_components(modulus, exponent) {
        Ok(key) => Ok(Wrapping::Local(Arc::new(key).into())),
        Err(RsaPublicKeyError::Size { .. }) => Err(Unsuitable::RsaSize),
        Err(RsaPublicKeyError::Malformed) => Err(Unsuitable::KeyType),
    }
}

/// Every byte as RFC 7512 recommends it for ids.
pub(super) fn percent(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

/// Letters, digits and `-._~` as they are, the rest as [`percent`].
pub(super) fn percent_but_unreserved(bytes: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let one = |byte: &u8| match plain(*byte) {
        true => char::from(*byte).to_string(),
        false => percent(&[*byte]),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests;
