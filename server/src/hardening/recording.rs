//! Remembers which files a configuration has read, so that the confinement lets them be read again.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use selkie_config::{Exposure, SourceError, Sources, SystemSources};
use zeroize::Zeroizing;

use super::Confinement;
use super::confinement::is_credential_not_given;

/// The system's sources, which remember the files that were asked for, and tell one that only the
/// confinement hides from one that its owner keeps to himself.
#[derive(Debug)]
pub(crate) struct Recording<'c> {
    confinement: &'c Confinement,
    files: RefCell<Vec<PathBuf>>,
}

impl<'c> Recording<'c> {
    pub(crate) const fn new(confinement: &'c Confinement) -> Self {
        Self { confinement, files: RefCell::new(Vec::new()) }
    }

    /// The files that were asked for.
    pub(crate) fn into_files(self) -> Vec<PathBuf> {
        self.files.into_inner()
    }

    fn note(&self, path: &Path) {
        self.files.borrow_mut().push(path.to_owned());
    }

    fn explain(&self, path: &Path, error: SourceError) -> SourceError {
        match error {
            SourceError::Denied if !self.confinement.covers(path) => SourceError::Outside,
            SourceError::Missing if is_credential_not_given(path) => SourceError::NotGiven,
            error => error,
        }
    }
}

impl Sources for Recording<'_> {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        SystemSources.variable(name)
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        self.note(path);
        SystemSources.secret_file(path).map_err(|error| self.explain(path, error))
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        self.note(path);
        SystemSources.text_file(path).map_err(|error| self.explain(path, error))
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        self.note(path);
        SystemSources.exposure(path)
    }
}
