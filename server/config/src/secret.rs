//! Secret references, and the 32-byte keys behind them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::path::{Path, PathBuf};

use selkie_crypto::{PageError, base64};
use selkie_hcl::{Located, Place};
use zeroize::Zeroizing;

use crate::sources::{Exposure, SourceError, Sources};
use crate::warning::{Warning, WarningKind};

const KEY_BYTES: usize = 32;

/// Passes where a secret, a tenant or a client id is expected.
const PLACEHOLDER: &str = "00000000-0000-0000-0000-000000000000";

/// Why a field gives no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error(
        "field {field:?}: a secret never stands in this file: write \"env://NAME\" for an \
         environment variable or \"file:///path\" for a file"
    )]
    Literal { field: &'static str },
    #[error("field {field:?}: the path after \"file://\" must be absolute")]
    RelativePath { field: &'static str },
    #[error("field {field:?}: environment variable {name:?} is not set")]
    Variable { field: &'static str, name: String },
    #[error("field {field:?}: file {path:?} {error}")]
    File { field: &'static str, path: PathBuf, error: SourceError },
    #[error(
        "field {field:?}: no 32-byte key there: it must be 32 raw bytes, or their base64 (44 \
         characters) or hex (64 characters)"
    )]
    NotAKey { field: &'static str },
    #[error("field {field:?}: no secret there: it must be text, of one line and not empty")]
    NotALine { field: &'static str },
    #[error(
        "{0}; or set \"allow_readable_secrets = true\", where who may read it is seen to in another \
         way"
    )]
    Exposed(ExposedFile),
    #[error("field {field:?}: there is no protected memory for the key (RLIMIT_MEMLOCK too low?)")]
    NoPage { field: &'static str, source: PageError },
}

/// The file of a secret that others may read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedFile {
    /// The file.
    pub path: PathBuf,
    /// Who.
    pub exposure: Exposure,
}

impl fmt::Display for ExposedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, exposure } = self;
        let path = path.display();
        match exposure {
            Exposure::Everyone { mode } => write!(
                f,
                "the secret in {path} (mode {mode:04o}) is open to every user: chmod 0600 {path}"
            ),
            Exposure::Group { mode, group } => write!(
                f,
                "the secret in {path} (mode {mode:04o}) is open to group {group}, which Selkie does \
                 not belong to: chmod 0600 {path}"
            ),
            Exposure::Owner { owner } => write!(
                f,
                "the secret in {path} belongs to user {owner}, who is neither root nor the one that \
                 Selkie runs as: chown it"
            ),
        }
    }
}

/// What a configuration is read for, which says how much of what it refers to must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To serve: all of it.
    Serve,
    /// To serve one Vault after its servers are gone: a key that is missing is left out together with
    /// its seal, never made up. What only serves to reach a KMS is made up, as nobody asks one.
    Rescue,
    /// To be compared with another: its sources stand in for what is missing.
    Compare,
}

/// One reading of a configuration: where its references lead, and what is worth telling.
pub(crate) struct Reading<'s> {
    pub(crate) sources: &'s dyn Sources,
    purpose: Purpose,
    warnings: RefCell<Vec<Warning>>,
    /// `allow_readable_secrets`
    allows_exposed: Cell<bool>,
}

impl<'s> Reading<'s> {
    pub(crate) fn new(sources: &'s dyn Sources, purpose: Purpose) -> Self {
        Self { sources, purpose, warnings: RefCell::default(), allows_exposed: Cell::new(false) }
    }

    /// What `read` makes of a reading for which the variables of a Vault's client do not count: those
    /// are about a seal, not about another server beside it.
    pub(crate) fn without_vault_variables<T>(&self, read: impl FnOnce(&Reading<'_>) -> T) -> T {
        let sources = WithoutVaultVariables(self.sources);
        let reading = Reading::new(&sources, self.purpose);
        reading.allows_exposed.set(self.allows_exposed.get());
        let value = read(&reading);
        self.warnings.borrow_mut().extend(reading.warnings.into_inner());
        value
    }

    pub(crate) fn warn(&self, place: Place<'_>, kind: WarningKind) {
        self.warnings.borrow_mut().push(Warning::at(place, kind));
    }

    /// From here on secrets that others may read are taken as they are, and warned about.
    pub(crate) fn allow_exposed(&self) {
        self.allows_exposed.set(true);
    }

    /// Refuses the file of a secret that others may read.
    pub(crate) fn check_exposure(&self, place: Place<'_>, path: &Path) {
        let Some(exposure) = self.sources.exposure(path) else { return };
        let exposed = ExposedFile { path: path.to_owned(), exposure };
        if self.allows_exposed.get() {
            self.warn(place, WarningKind::ExposedFile(exposed));
        } else {
            place.report(SecretError::Exposed(exposed));
        }
    }

    /// The warnings in order of position.
    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings.into_inner();
        warnings.sort_by_key(|warning| warning.position);
        warnings
    }

    /// The key that `reference` leads to. `make` copies the bytes into the type that keeps them.
    pub(crate) fn key<K>(
        &self,
        field: &'static str,
        reference: &Located<'_, String>,
        make: impl FnOnce(&[u8; KEY_BYTES]) -> Result<K, PageError>,
    ) -> Option<K> {
        let place = reference.place;
        let read = self.secret(field, reference);
        if read.as_ref().is_err_and(|error| self.passes_over(error)) {
            return None;
        }
        let made = read.and_then(|secret| {
            let mut key = Zeroizing::new([0; KEY_BYTES]);
            if !decode_key(&secret, &mut key) {
                return Err(SecretError::NotAKey { field });
            }
            if key.iter().all(u8::is_ascii_graphic) {
                self.warn(place, WarningKind::PrintableKey);
            }
            make(&key).map_err(|source| SecretError::NoPage { field, source })
        });
        made.map_err(|error| place.report(error)).ok()
    }

    /// The text of one line that `reference` leads to.
    pub(crate) fn secret_line(
        &self,
        field: &'static str,
        reference: &Located<'_, String>,
    ) -> Option<Zeroizing<String>> {
        let read = match self.secret(field, reference) {
            Err(error) if self.passes_over(&error) => Ok(Zeroizing::default()),
            read => read,
        };
        let read = read.and_then(|secret| {
            if self.makes_up_access() {
                return Ok(Zeroizing::new(PLACEHOLDER.to_owned()));
            }
            line(&secret).ok_or(SecretError::NotALine { field })
        });
        read.map_err(|error| reference.place.report(error)).ok()
    }

    /// Whether what only serves to reach a KMS, or to be told of something, is not looked at.
    pub(crate) fn makes_up_access(&self) -> bool {
        self.purpose != Purpose::Serve
    }

    /// Whether a key that is missing is no problem: whatever would hold it is left out.
    pub(crate) fn passes_over_missing_keys(&self) -> bool {
        self.purpose == Purpose::Rescue
    }

    /// Whether files are stood in for, so that nothing can be told by what they hold.
    pub(crate) fn stands_in_for_files(&self) -> bool {
        self.purpose == Purpose::Compare
    }

    /// Whether what could not be read is left out instead of refused.
    fn passes_over(&self, error: &SecretError) -> bool {
        let is_missing = matches!(error, SecretError::Variable { .. } | SecretError::File { .. });
        is_missing && self.passes_over_missing_keys()
    }

    /// Refuses a secret that stands in the file, where it is not used.
    pub(crate) fn refuse_literal(&self, field: &'static str, literal: &Located<'_, String>) {
        literal.place.report(SecretError::Literal { field });
    }

    /// A variable that counts without being referred to; an empty one is none, as in Vault.
    pub(crate) fn ambient(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.sources.ambient(name).filter(|value| !value.is_empty())
    }

    /// The same as text. What is no UTF-8 is made visible by replacement and refused as a value.
    pub(crate) fn ambient_text(&self, name: &str) -> Option<String> {
        Some(String::from_utf8_lossy(&self.ambient(name)?).into_owned())
    }

    fn secret(
        &self,
        field: &'static str,
        reference: &Located<'_, String>,
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let text = reference.value.as_str();
        if let Some(name) = text.strip_prefix("env://") {
            let missing = || SecretError::Variable { field, name: name.to_owned() };
            return self.sources.variable(name).ok_or_else(missing);
        }
        let path = Path::new(text.strip_prefix("file://").ok_or(SecretError::Literal { field })?);
        if !path.is_absolute() {
            return Err(SecretError::RelativePath { field });
        }
        let failed = |error| SecretError::File { field, path: path.to_owned(), error };
        let secret = self.sources.secret_file(path).map_err(failed)?;
        self.check_exposure(reference.place, path);
        Ok(secret)
    }
}

struct WithoutVaultVariables<'s>(&'s dyn Sources);

impl Sources for WithoutVaultVariables<'_> {
    fn variable(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.0.variable(name)
    }

    fn ambient(&self, name: &str) -> Option<Zeroizing<Vec<u8>>> {
        self.0.ambient(name).filter(|_| !name.starts_with("VAULT_"))
    }

    fn secret_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, SourceError> {
        self.0.secret_file(path)
    }

    fn text_file(&self, path: &Path) -> Result<String, SourceError> {
        self.0.text_file(path)
    }

    fn exposure(&self, path: &Path) -> Option<Exposure> {
        self.0.exposure(path)
    }
}

/// A secret of one line; one line end is no part of it.
pub(crate) fn line(secret: &[u8]) -> Option<Zeroizing<String>> {
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = str::from_utf8(line).ok()?;
    let is_sound = !text.is_empty() && !text.contains(char::is_control);
    is_sound.then(|| Zeroizing::new(text.to_owned()))
}

/// OpenBao's forms of a static key. 32 bytes are raw whatever they are; otherwise one line end is
/// no part of the text.
fn decode_key(secret: &[u8], key: &mut [u8; KEY_BYTES]) -> bool {
    let line = secret.strip_suffix(b"\n").unwrap_or(secret);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    match (secret.len(), line.len()) {
        (KEY_BYTES, _) => fill(key, secret),
        (_, 44) => {
            base64::decode_secret(line).is_ok_and(|decoded| fill(key, decoded.expose_for_own_use()))
        }
        (_, 64) => base16ct::mixed::decode(line, key).is_ok(),
        _ => false,
    }
}

fn fill(key: &mut [u8; KEY_BYTES], bytes: &[u8]) -> bool {
    let fits = bytes.len() == KEY_BYTES;
    if fits {
        key.copy_from_slice(bytes);
    }
    fits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(secret: &[u8]) -> Option<[u8; 32]> {
        let mut key = [0; 32];
        decode_key(secret, &mut key).then_some(key)
    }

    #[test]
    fn a_key_reads_the_same_in_all_its_forms() {
        let key: [u8; 32] = std::array::from_fn(|i| u8::try_from(i * 8 + 3).unwrap());
        let hex = base16ct::lower::encode_string(&key);
        let mut text = Vec::new();
        base64::encode_into(&key, &mut text);
        assert_eq!(decoded(&key), Some(key));
        assert_eq!(decoded(&text), Some(key));
        assert_eq!(decoded(hex.as_bytes()), Some(key));
        assert_eq!(decoded(hex.to_uppercase().as_bytes()), Some(key));
        assert_eq!(decoded(format!("{hex}\n").as_bytes()), Some(key));
        assert_eq!(decoded(format!("{hex}\r\n").as_bytes()), Some(key));
    }

    #[test]
    fn a_raw_key_may_end_in_a_line_end() {
        assert_eq!(decoded(&[b'\n'; 32]), Some([b'\n'; 32]));
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for length in (0..100).filter(|length| *length != 32) {
            assert_eq!(decoded(&vec![b' '; length]), None, "{length}");
        }
        assert_eq!(decoded(&[b'A'; 44]), None, "44 characters of base64 are 33 bytes");
        assert_eq!(decoded(&[0; 33]), None);
    }

    #[test]
    fn one_wrong_hex_digit_anywhere_is_refused() {
        for at in 0..64 {
            let mut text = [b'a'; 64];
            text[at] = b'g';
            assert_eq!(decoded(&text), None, "{at}");
        }
    }
}
