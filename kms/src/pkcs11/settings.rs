//! What has to be known to reach a master key in an HSM.

use std::fmt;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use selkie_crypto::sha256;
use selkie_pkcs11_protocol::{Mechanism, SlotChoice};
use zeroize::Zeroizing;

use super::{Launcher, Pin};

/// Which library, token and keys, and how they are used.
pub struct Pkcs11Settings {
    /// The program `selkie-pkcs11`.
    pub program: PathBuf,
    /// The maker's library.
    pub library: PathBuf,
    /// Which of its tokens.
    pub slot: SlotChoice,
    /// The user's PIN.
    pub pin: Pin,
    /// `CKA_LABEL` of all versions; with `None` the ids alone count.
    pub key_label: Option<String>,
    /// `CKA_ID` of the current version; with `None` the label must name one key alone.
    pub key_id: Option<Vec<u8>>,
    /// `CKA_ID` of the versions before it, oldest first.
    pub previous_key_ids: Vec<Vec<u8>>,
    /// How DEKs are wrapped; with `None` as key and token allow.
    pub mechanism: Option<Mechanism>,
    /// How many sessions there are, each for one call at a time.
    pub max_sessions: NonZeroU16,
    /// How long the library may take for one call; then its process is ended.
    pub call_time: Duration,
    /// The only environment variables that the library sees, beside that for glibc.
    pub environment: Vec<(String, String)>,
}

impl Pkcs11Settings {
    /// Tells these settings from others, the PIN included: SHA-256 over all of them.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let mut text = Text(Zeroizing::new(Vec::new()));
        text.add(self.program.as_os_str().as_encoded_bytes());
        text.add(self.library.as_os_str().as_encoded_bytes());
        text.option(self.slot.id.map(u64::to_be_bytes));
        text.option(self.slot.token_label.as_ref());
        text.option(self.slot.serial.as_ref());
        text.add(self.pin.expose());
        text.option(self.key_label.as_ref());
        text.option(self.key_id.as_ref());
        text.list(self.previous_key_ids.iter());
        text.add(format!("{:?}", self.mechanism));
        text.add(self.max_sessions.get().to_be_bytes());
        text.add(self.call_time.as_nanos().to_be_bytes());
        text.list(self.environment.iter().map(|(name, _)| name));
        text.list(self.environment.iter().map(|(_, value)| value));
        sha256(&text.0)
    }

    /// What has to be started for them.
    #[must_use]
    pub fn launcher(&self) -> Launcher {
        Launcher {
            program: self.program.clone(),
            library: self.library.clone(),
            environment: self.environment.clone(),
        }
    }

    /// Tells a PIN of a token from others, whatever else is set.
    pub(super) fn pin_digest(&self) -> [u8; 32] {
        let mut text = Text(Zeroizing::new(Vec::new()));
        text.add(self.library.as_os_str().as_encoded_bytes());
        text.option(self.slot.id.map(u64::to_be_bytes));
        text.option(self.slot.token_label.as_ref());
        text.option(self.slot.serial.as_ref());
        text.add(self.pin.expose());
        sha256(&text.0)
    }

    /// Where the key is, for people: the token as it was chosen, and the key's label or id.
    #[must_use]
    pub fn target(&self) -> String {
        let SlotChoice { id, token_label, serial } = &self.slot;
        let id = id.map(|id| id.to_string());
        let token = [("serial", serial), ("token", token_label), ("slot-id", &id)];
        let named = [("object", self.key_label.as_deref().map(escaped))];
        let token = token.into_iter().map(|(name, value)| (name, value.as_deref().map(escaped)));
        let parts = token.chain(named).filter_map(|(name, value)| Some((name, value?)));
        let parts: Vec<_> = parts.map(|(name, value)| format!("{name}={value}")).collect();
        let id = self.key_id.as_ref().filter(|_| self.key_label.is_none());
        let id = id.map(|id| format!(";id={}", super::keys::percent(id))).unwrap_or_default();
        format!("pkcs11:{}{id}", parts.join(";"))
    }
}

impl fmt::Debug for Pkcs11Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pkcs11Settings").field("target", &self.target()).finish_non_exhaustive()
    }
}

fn escaped(text: &str) -> String {
    super::keys::percent_but_unreserved(text.as_bytes())
}

/// Parts of settings, each with its length in front, so that no two lists read alike.
struct Text(Zeroizing<Vec<u8>>);

impl Text {
    fn add(&mut self, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.extend_from_slice(&value.len().to_be_bytes());
        self.0.extend_from_slice(value);
    }

    fn list<T: AsRef<[u8]>>(&mut self, values: impl ExactSizeIterator<Item = T>) {
        self.0.extend_from_slice(&values.len().to_be_bytes());
        values.for_each(|value| self.add(value));
    }

    fn option<T: AsRef<[u8]>>(&mut self, value: Option<T>) {
        self.list(value.into_iter());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::pkcs11) fn settings() -> Pkcs11Settings {
        Pkcs11Settings {
            program: "/usr/bin/selkie-pkcs11".into(),
            library: "/usr/lib/hsm.so".into(),
            slot: SlotChoice { token_label: Some("vault hsm".into()), ..SlotChoice::default() },
            pin: Zeroizing::new("1234".to_owned()).into(),
            key_label: Some("unseal".into()),
            key_id: None,
            previous_key_ids: Vec::new(),
            mechanism: None,
            max_sessions: NonZeroU16::MIN,
            call_time: Duration::from_secs(5),
            environment: Vec::new(),
        }
    }

    #[test]
    fn every_setting_counts_in_the_digest() {
        let changes: [fn(&mut Pkcs11Settings); 12] = [
            |_| {},
            |one| one.program = "/other".into(),
            |one| one.library = "/other".into(),
            |one| one.slot.id = Some(1),
            |one| one.slot.serial = Some("1".into()),
            |one| one.pin = Zeroizing::new("1235".to_owned()).into(),
            |one| one.key_label = None,
            |one| one.key_id = Some(vec![]),
            |one| one.previous_key_ids = vec![vec![1]],
            |one| one.mechanism = Some(Mechanism::AesGcm),
            |one| one.max_sessions = NonZeroU16::MAX,
            |one| one.environment = vec![("A".into(), "b".into())],
        ];
        let digest = |change: &fn(&mut Pkcs11Settings)| {
            let mut changed = settings();
            change(&mut changed);
            changed.digest()
        };
        let digests: std::collections::BTreeSet<_> = changes.iter().map(digest).collect();
        assert_eq!(digests.len(), changes.len());
    }

    #[test]
    fn the_target_is_a_uri_of_what_was_chosen() {
        assert_eq!(settings().target(), "pkcs11:token=vault%20hsm;object=unseal");
        let slot = SlotChoice { id: Some(3), ..SlotChoice::default() };
        let (key_label, key_id) = (None, Some(vec![1, 0xAB]));
        let by_id = Pkcs11Settings { slot, key_label, key_id, ..settings() };
        assert_eq!(by_id.target(), "pkcs11:slot-id=3;id=%01%AB");
    }

    #[test]
    fn the_pin_is_not_printed() {
        assert!(!format!("{:?}", settings()).contains("1234"));
    }
}
