//! Sources for tests: a configuration may refer to any key.

use std::path::Path;

use selkie_config::{Exposure, SourceError, Sources};
use zeroize::Zeroizing;

/// Gives each reference its own key, and has nothing else.
pub(crate) struct KeyPerReference;

impl Sources for KeyPerReference {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        Some(Zeroizing::new(selkie_crypto::sha256(name.as_bytes()).to_vec()))
    }

    fn ambient(&self, _name: &str) -> Option<Zeroizing<Vec<u8>>> {
        None
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        let name = path.as_os_str().as_encoded_bytes();
        Ok(Zeroizing::new(selkie_crypto::sha256(name).to_vec()))
    }

    fn text_file(&self, _path: &Path) -> Result<String, SourceError> {
        Err(SourceError::Missing)
    }

    fn exposure(&self, _path: &Path) -> Option<Exposure> {
        None
    }
}
