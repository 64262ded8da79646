//! Sources that do not have all that a configuration refers to. They stay in this crate: what is read
//! with them leaves it as [`Promises`](crate::Promises), which hold no key, or as
//! [`ConfigAtHand`](crate::ConfigAtHand), in which no key is made up.

use std::ffi::OsStr;
use std::path::Path;

use zeroize::Zeroizing;

use super::{Exposure, SourceError, Sources, SystemSources};

/// Stands in for what a *previous* configuration referred to, which may be gone by now: a
/// different key for each reference, policies without rules, no certificate.
///
/// Variables that count without being referred to are those of this process: the two
/// configurations that are compared stand in the same environment.
pub(crate) struct Placeholders;

impl Placeholders {
    fn key_for(scheme: &str, name: &OsStr) -> Zeroizing<Vec<u8>> {
        let mut reference = scheme.as_bytes().to_vec();
        reference.extend_from_slice(name.as_encoded_bytes());
        Zeroizing::new(selkie_crypto::sha256(&reference).to_vec())
    }
}

impl Sources for Placeholders {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        Some(Self::key_for("env", OsStr::new(name)))
    }

    fn ambient(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        SystemSources.variable(name)
    }

    fn text_file(&self, _path: &Path) -> Result<String, SourceError> {
        Ok(String::new())
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        Ok(Self::key_for("file", path.as_os_str()))
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}

/// The keys of a *previous* configuration where they can be read, and [`Placeholders`] for all else.
pub(crate) struct WhereReadable;

impl Sources for WhereReadable {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        SystemSources.variable(name).or_else(|| Placeholders.variable(name))
    }

    fn ambient(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        SystemSources.variable(name)
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        SystemSources.secret_file(path).or_else(|_unreadable| Placeholders.secret_file(path))
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        Placeholders.text_file(path)
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}

/// What can be read of a configuration whose servers are gone.
pub(crate) struct AtHand;

impl Sources for AtHand {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        SystemSources.variable(name)
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        SystemSources.secret_file(path)
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        SystemSources.text_file(path)
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_give_each_reference_its_own_key() {
        let (a, b) = (Path::new("/a"), Path::new("/b"));
        let key = |path| Placeholders.secret_file(path).unwrap().to_vec();
        assert_eq!(key(a).len(), 32);
        assert_eq!(key(a), key(a));
        assert_ne!(key(a), key(b));
        assert_ne!(key(a), Placeholders.variable("/a").unwrap().to_vec());
    }
}
