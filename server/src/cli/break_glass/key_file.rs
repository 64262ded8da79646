//! The private key in its file, and the passphrase it is under.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use selkie_config::{BreakGlassSeal, Sources, SystemSources};
use selkie_crypto::{EcPrivateKey, KekId, PublicKey};
use zeroize::Zeroizing;

use super::BreakGlassError;
use crate::cli::CommandError;

const SHORTEST_PASSPHRASE: usize = 12;

/// The private key that a command works with.
#[derive(Debug, clap::Args)]
pub(super) struct KeyArguments {
    /// The file with the private key.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

/// Where the passphrase comes from.
#[derive(Debug, clap::Args)]
pub(super) struct PassphraseArguments {
    /// A file with the passphrase on one line; by default it is asked for at the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

/// An unlocked private key.
#[derive(Debug)]
pub(super) struct Unlocked {
    pub(super) private_key: EcPrivateKey,
    pub(super) public_key: PublicKey,
    /// Its id in an envelope.
    pub(super) kek: KekId,
}

impl KeyArguments {
    /// The key; `None` if none was named.
    pub(super) fn unlock(&self) -> Result<Option<Unlocked>, CommandError> {
        let Some(path) = &self.key else { return Ok(None) };
        let text = fs::read_to_string(path);
        let text = text.map_err(|source| CommandError::File { path: path.clone(), source })?;
        let passphrase = self.passphrase.ask(&format!("Passphrase of {}: ", path.display()))?;
        let private_key = EcPrivateKey::unprotect(&text, passphrase.as_bytes())
            .map_err(|source| BreakGlassError::KeyFile { path: path.clone(), source })?;
        Unlocked::new(private_key).map(Some)
    }
}

impl Unlocked {
    pub(super) fn new(private_key: EcPrivateKey) -> Result<Self, CommandError> {
        let public_key = PublicKey::from_spki_der(private_key.public_key().spki_der())
            .map_err(BreakGlassError::from)?;
        let kek = BreakGlassSeal::kek_of(&public_key).ok_or(BreakGlassError::NoBlob)?;
        Ok(Self { private_key, public_key, kek })
    }
}

impl PassphraseArguments {
    fn ask(&self, prompt: &str) -> Result<Zeroizing<String>, CommandError> {
        let Some(path) = &self.passphrase_file else {
            let asked =
                rpassword::prompt_password(prompt).map_err(BreakGlassError::NoPassphrase)?;
            return Ok(Zeroizing::new(asked));
        };
        let unreadable = |source| CommandError::Unreadable { path: path.clone(), source };
        let bytes = SystemSources.secret_file(path).map_err(unreadable)?;
        let text = str::from_utf8(&bytes);
        let text = text.map_err(|_bytes| unreadable(selkie_config::SourceError::NotText))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }

    /// A passphrase for a new file, asked for twice at a terminal.
    pub(super) fn choose(&self, of: &str) -> Result<Zeroizing<String>, CommandError> {
        let chosen = self.ask(&format!("New passphrase of {of}: "))?;
        if chosen.chars().count() < SHORTEST_PASSPHRASE {
            return Err(BreakGlassError::ShortPassphrase.into());
        }
        if *self.ask("The same again: ")? != *chosen {
            return Err(BreakGlassError::PassphrasesDiffer.into());
        }
        Ok(chosen)
    }
}

/// Writes what only its owner may read, where nothing is yet; nothing is left if that fails.
pub(super) fn create(path: &Path, bytes: &[u8]) -> Result<(), CommandError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AlreadyExists => BreakGlassError::Exists { path: path.to_owned() }.into(),
        _ => CommandError::File { path: path.to_owned(), source },
    };
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|source| {
        let _left = fs::remove_file(path);
        failed(source)
    })
}
