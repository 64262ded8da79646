//! Names that can stand in a URL as they are: their types admit nothing that would mean something
//! there.

use std::fmt;

/// The longest name or path: a KEK id has to hold both.
const LONGEST: usize = 200;

/// The name of a transit key: what Vault accepts as one, in 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitKeyName(String);

/// The path of a transit mount, without slashes around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitMountPath(String);

impl TransitKeyName {
    /// `name`, if it is one.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        (name.len() <= LONGEST && is_segment(name)).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TransitMountPath {
    /// `path`, if it is one; slashes around it do not count.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let path = path.trim_matches('/');
        let fits = path.len() <= LONGEST && path.split('/').all(is_segment);
        fits.then(|| Self(path.to_owned()))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Vault's `\w(([\w-.]+)?\w)?`: nothing that means something in a URL, and no `..`.
fn is_segment(text: &str) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let bytes = text.as_bytes();
    bytes.first().is_some_and(is_word)
        && bytes.last().is_some_and(is_word)
        && bytes.iter().all(|byte| is_word(byte) || b"-.".contains(byte))
}

impl fmt::Display for TransitKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for TransitMountPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_vault_and_lead_nowhere_else() {
        for good in ["a", "unseal", "_", "a.b-c_9", &"k".repeat(200)] {
            assert!(TransitKeyName::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a?b", "a#b", "a%2f", "-a", "a.", "ä", &"k".repeat(201)]
        {
            assert!(TransitKeyName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn mounts_have_segments_and_no_slashes_around_them() {
        for (given, wanted) in
            [("transit", "transit"), ("transit/", "transit"), ("/a/b/c/", "a/b/c")]
        {
            assert_eq!(TransitMountPath::new(given).unwrap().as_str(), wanted);
        }
        for bad in ["", "/", "a//b", "a/../b", "a/./b", "a b"] {
            assert!(TransitMountPath::new(bad).is_none(), "{bad}");
        }
    }
}
