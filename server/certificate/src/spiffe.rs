//! SPIFFE ids, of which only those that name one workload count.

use std::fmt;
use std::str::FromStr;

/// `spiffe://TRUST-DOMAIN/PATH`, which names one workload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(Box<str>);

/// A text is no SPIFFE id of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected spiffe://TRUST-DOMAIN/PATH: the domain of a-z 0-9 . _ -, the path of segments of A-Z \
     a-z 0-9 . _ - that are not empty, \".\" or \"..\""
)]
pub struct InvalidSpiffeId;

/// The longest that the SPIFFE standard asks to support.
const LONGEST: usize = 2048;

impl SpiffeId {
    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        let is_common = |byte: u8| byte.is_ascii_digit() || b"._-".contains(&byte);
        let is_domain = |byte: u8| byte.is_ascii_lowercase() || is_common(byte);
        let is_segment = |byte: u8| byte.is_ascii_alphabetic() || is_common(byte);
        let rest = text.strip_prefix("spiffe://").ok_or(InvalidSpiffeId)?;
        let (domain, path) = rest.split_once('/').ok_or(InvalidSpiffeId)?;
        let fits = text.len() <= LONGEST
            && !domain.is_empty()
            && domain.bytes().all(is_domain)
            && path.split('/').all(|segment| {
                !matches!(segment, "" | "." | "..") && segment.bytes().all(is_segment)
            });
        if fits { Ok(Self(text.into())) } else { Err(InvalidSpiffeId) }
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_standard_allows_is_an_id() {
        for text in ["spiffe://example.org/vault", "spiffe://a-b.c_d/ns/prod/sa/Vault.1"] {
            assert!(text.parse::<SpiffeId>().is_ok(), "{text}");
        }
        for text in [
            "",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///vault",
            "SPIFFE://example.org/a",
            "spiffe://Example.org/a",
            "spiffe://a/b//c",
            "spiffe://a/b/",
            "spiffe://a/../c",
            "spiffe://a:1/b",
            "spiffe://a/b?c",
            "spiffe://a/*",
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(InvalidSpiffeId), "{text}");
        }
        let long = format!("spiffe://a/{}", "b".repeat(2048));
        assert_eq!(long.parse::<SpiffeId>(), Err(InvalidSpiffeId));
    }

    #[test]
    fn no_segment_leads_elsewhere_and_an_id_is_told_as_it_was_read() {
        for text in ["spiffe://a/./c", "spiffe://a/b/..", "spiffe://a/b c"] {
            assert_eq!(text.parse::<SpiffeId>(), Err(InvalidSpiffeId), "{text}");
        }
        let longest = format!("spiffe://a/{}", "b".repeat(LONGEST - 11));
        let id: SpiffeId = longest.parse().unwrap();
        assert_eq!((id.as_str(), id.to_string()), (&*longest, longest.clone()));
        assert_eq!(format!("{longest}b").parse::<SpiffeId>(), Err(InvalidSpiffeId));
    }
}
