//! Names that stand in envelopes unescaped: their types admit no character that JSON would have to
//! escape.

use std::fmt;

/// The name of a seal: 1 to 64 of `A-Z a-z 0-9 _ - .`, as in the configuration's `seal` stanza.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SealName(Box<str>);

/// A KMS's own id of one KEK version, 1 to 512 printable ASCII characters without space, `"` and
/// `\`; for Key Vault the full versioned URL. Through it the right version is found without state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KekId(Box<str>);

/// A name has a character or a length that its type forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameError;

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name has a forbidden character or length")
    }
}

impl std::error::Error for NameError {}

impl SealName {
    /// `name`, checked.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is not of the form above.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        checked(name, 64, allowed).map(Self)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl KekId {
    /// `id`, checked.
    ///
    /// # Errors
    ///
    /// [`NameError`] if it is not of the form above.
    pub fn new(id: &str) -> Result<Self, NameError> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
        checked(id, 512, allowed).map(Self)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn checked(name: &str, longest: usize, allowed: fn(u8) -> bool) -> Result<Box<str>, NameError> {
    let fits = (1..=longest).contains(&name.len());
    if fits && name.bytes().all(allowed) { Ok(name.into()) } else { Err(NameError) }
}

impl fmt::Display for SealName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_json_would_have_to_escape_are_refused() {
        for bad in ["", "a b", "a\"b", "a\\b", "a\nb", "ä"] {
            assert_eq!(KekId::new(bad), Err(NameError), "{bad:?}");
            assert_eq!(SealName::new(bad), Err(NameError), "{bad:?}");
        }
        assert!(KekId::new("https://weu.vault.azure.net/keys/unseal/0123").is_ok());
        assert!(SealName::new("weu/1").is_err());
        assert!(SealName::new(&"a".repeat(65)).is_err());
    }
}
