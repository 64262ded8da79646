//! The files of a test in an environment of its own.

use std::path::Path;

use selkie_config::{Exposure, SourceError, Sources};
use zeroize::Zeroizing;

use crate::sources::TestSources;

/// The files of a test with variables that it chose.
#[derive(Debug, Default)]
pub(crate) struct WithVariables<'v>(pub(crate) Vec<(&'v str, &'v str)>);

impl Sources for WithVariables<'_> {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let value = found.map(|(_, value)| Zeroizing::new(value.as_bytes().to_vec()));
        value.or_else(|| TestSources.variable(name))
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        TestSources.secret_file(path)
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        TestSources.text_file(path)
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        TestSources.exposure(path)
    }
}
