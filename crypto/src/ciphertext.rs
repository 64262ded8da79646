//! The text form outside of an envelope. What is wrong here is no secret, so that Vault's own words
//! may say it (invariant I4).

use std::fmt::{self, Write as _};

use crate::{KeyVersion, base64};

const PREFIX: &str = "vault:v";
/// Room for that, a version and a colon.
const LONGEST_HEAD: usize = 24;

/// The text form `vault:v<N>:<base64>` of a ciphertext, split but not yet opened.
///
/// Checks come in Vault's order: prefix, fields, version; then the caller's own (too new, too
/// old); then, with [`Ciphertext::into_envelope_bytes`], the base64.
#[derive(Clone, Copy, Debug)]
pub struct Ciphertext<'a> {
    version: i64,
    version_text: &'a str,
    body: &'a str,
}

/// What is wrong outside the envelope; the client is told in Vault's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiphertextError {
    /// It does not begin with `vault:v`.
    NoPrefix,
    /// There is no second colon.
    WrongNumberOfFields,
    /// The version is not a decimal number.
    VersionNotANumber,
    /// What follows is not standard, padded base64.
    BadBase64,
}

impl<'a> Ciphertext<'a> {
    /// Splits `text`.
    ///
    /// # Errors
    ///
    /// The first three of [`CiphertextError`].
    #[expect(clippy::map_err_ignore, reason = "the variant says it all")]
    pub fn parse(text: &'a str) -> Result<Self, CiphertextError> {
        let rest = text.strip_prefix(PREFIX).ok_or(CiphertextError::NoPrefix)?;
        let (version_text, body) =
            rest.split_once(':').ok_or(CiphertextError::WrongNumberOfFields)?;
        let version = version_text.parse().map_err(|_| CiphertextError::VersionNotANumber)?;
        Ok(Self { version, version_text, body })
    }

    /// The version as Vault reads it: any number, and 0 for 1.
    #[must_use]
    pub const fn version(&self) -> i64 {
        if self.version == 0 { 1 } else { self.version }
    }

    /// The version, if it is one that Selkie writes: no sign, no leading zero, not `v0`.
    #[must_use]
    pub fn canonical_version(&self) -> Option<KeyVersion> {
        let version = u32::try_from(self.version).ok().and_then(KeyVersion::new)?;
        (version.to_string() == self.version_text).then_some(version)
    }

    /// The envelope inside.
    ///
    /// # Errors
    ///
    /// [`CiphertextError::BadBase64`].
    #[expect(clippy::map_err_ignore, reason = "the variant says it all")]
    pub fn into_envelope_bytes(self) -> Result<Vec<u8>, CiphertextError> {
        base64::decode_public(self.body.as_bytes()).map_err(|_| CiphertextError::BadBase64)
    }

    /// The text form of `envelope` under key version `version`.
    #[must_use]
    pub fn print(version: KeyVersion, envelope: &[u8]) -> String {
        let length = base64::encoded_len(envelope.len()).saturating_add(LONGEST_HEAD);
        let mut text = String::with_capacity(length);
        // Writing into a String cannot fail.
        let _ = write!(text, "{PREFIX}{version}:");
        base64::push_public(envelope, &mut text);
        text
    }
}

impl fmt::Display for CiphertextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPrefix => "invalid ciphertext: no prefix",
            Self::WrongNumberOfFields => "invalid ciphertext: wrong number of fields",
            Self::VersionNotANumber => "invalid ciphertext: version number could not be decoded",
            Self::BadBase64 => "invalid ciphertext: could not decode base64",
        })
    }
}

impl std::error::Error for CiphertextError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_fault_outside_the_envelope_has_its_own_answer() {
        use CiphertextError as E;
        for (text, error) in [
            ("", E::NoPrefix),
            ("vault:1:AAAA", E::NoPrefix),
            ("bao:v1:AAAA", E::NoPrefix),
            ("vault:v1", E::WrongNumberOfFields),
            ("vault:v:AAAA", E::VersionNotANumber),
            ("vault:vx:AAAA", E::VersionNotANumber),
            ("vault:v99999999999999999999:AAAA", E::VersionNotANumber),
        ] {
            assert_eq!(Ciphertext::parse(text).unwrap_err(), error, "{text}");
        }
        for body in ["A", "AAA", "AA-_", "AA:A", "AAAA\n", "YR=="] {
            let text = format!("vault:v1:{body}");
            let parsed = Ciphertext::parse(&text).unwrap();
            assert_eq!(parsed.into_envelope_bytes().unwrap_err(), E::BadBase64, "{text}");
        }
    }

    #[test]
    fn version_zero_reads_as_one_but_is_not_ours() {
        let parsed = Ciphertext::parse("vault:v0:AAAA").unwrap();
        assert_eq!(parsed.version(), 1);
        assert_eq!(parsed.canonical_version(), None);
    }

    #[test]
    fn other_spellings_of_a_version_are_not_ours() {
        for text in ["vault:v+1:", "vault:v01:", "vault:v-1:", "vault:v4294967296:"] {
            assert_eq!(Ciphertext::parse(text).unwrap().canonical_version(), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parse_inverts_print(number in 1..=u32::MAX, envelope: Vec<u8>) {
            let version = KeyVersion::new(number).unwrap();
            let text = Ciphertext::print(version, &envelope);
            let parsed = Ciphertext::parse(&text).unwrap();
            prop_assert_eq!(parsed.canonical_version(), Some(version));
            prop_assert_eq!(parsed.version(), i64::from(number));
            prop_assert_eq!(parsed.into_envelope_bytes().unwrap(), envelope);
        }

        #[test]
        fn print_inverts_parse(text in "vault:v[0-9]{1,3}:[A-Za-z0-9+/=]{0,12}") {
            let parsed = Ciphertext::parse(&text).unwrap();
            let version = parsed.canonical_version();
            if let (Some(version), Ok(bytes)) = (version, parsed.into_envelope_bytes()) {
                prop_assert_eq!(Ciphertext::print(version, &bytes), text);
            }
        }
    }
}
