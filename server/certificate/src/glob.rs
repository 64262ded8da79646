//! Vault's patterns for names in a certificate.

use std::fmt;

/// A text in which each `*` stands for any characters, none included: Vault's rule for the names
/// of its `cert` auth method. Case counts, and there is no way to write a literal `*`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// `pattern` as it stands.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.into())
    }

    /// The pattern.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is of this form.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return *self.0 == *text };
        let Some(text) = text.strip_prefix(first) else { return false };
        let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        let Some(mut text) = text.strip_suffix(last) else { return false };
        // The first place where a piece fits leaves most to the others.
        middle.split('*').all(|piece| match text.split_once(piece) {
            _ if piece.is_empty() => true,
            Some((_, after)) => {
                text = after;
                true
            }
            None => false,
        })
    }

    /// Whether every text that `other` matches is matched by this as well. A `*` of `other` can
    /// only be met by one of ours, so that reading `other` as a text says it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.matches(&other.0)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By definition: the first character of the pattern either stands for itself or for a text.
    fn by_definition(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| by_definition(rest, &text[at..])),
            Some((byte, rest)) => text.first() == Some(byte) && by_definition(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_what_its_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let matches = Glob::new(&pattern).matches(&text);
            prop_assert_eq!(matches, by_definition(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn what_is_covered_is_matched(a in "[ab*]{0,6}", b in "[ab*]{0,6}", text in "[ab]{0,6}") {
            let (a, b) = (Glob::new(&a), Glob::new(&b));
            prop_assert!(!(a.covers(&b) && b.matches(&text)) || a.matches(&text));
        }
    }

    #[test]
    fn case_counts_and_a_dot_is_a_dot() {
        assert!(Glob::new("*.example.com").matches("a.b.example.com"));
        assert!(!Glob::new("*.example.com").matches("a.EXAMPLE.com"));
        assert!(!Glob::new("*.example.com").matches("axexample.com"));
        assert!(!Glob::new("").matches("x"));
    }

    #[test]
    fn a_pattern_is_told_as_it_was_written() {
        let glob = Glob::new("*.example.com");
        assert_eq!((glob.as_str(), glob.to_string().as_str()), ("*.example.com", "*.example.com"));
    }
}
