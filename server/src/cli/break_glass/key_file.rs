//! The private key in its file, or in the files of several people, and the passphrases they are
//! under.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use selkie_config::{BreakGlassSeal, Seal, SourceError, Sources, SystemSources};
use selkie_crypto::{EcPrivateKey, KekId, PublicKey};
use zeroize::Zeroizing;

use super::BreakGlassError;
use super::blob::Blob;
use super::recipients::own_names;
use super::share::Share;
use super::wrapping::unlocked;
use crate::cli::CommandError;

const SHORTEST_PASSPHRASE: usize = 12;

/// The private keys that a command works with.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct KeyArguments {
    /// The file with the break-glass private key, or each of the files with as many of its shares as
    /// are needed.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

/// Where the passphrases come from.
#[derive(Debug, clap::Args)]
pub(super) struct PassphraseArguments {
    /// A file with the passphrase on one line, for all keys or once for each; by default it is asked
    /// for at the terminal.
    #[arg(long, value_name = "FILE")]
    passphrase_file: Vec<PathBuf>,
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
    /// Whether a file was named.
    pub(in crate::cli) const fn is_given(&self) -> bool {
        !self.key.is_empty()
    }

    /// The keys as seals that open the envelope `json` of a `record`, by the names that they have
    /// there, and wrap for nothing: what else is declared may do that.
    pub(in crate::cli) fn seals_for(
        &self,
        record: &str,
        json: &[u8],
    ) -> Result<Vec<Seal>, CommandError> {
        let keys = self.unlock()?;
        let blobs = [Blob::of_json(record, json)?];
        let seal = |key: Unlocked| {
            for blob in &blobs {
                let _opened = blob.unwrap(&key)?;
            }
            let names = own_names(&blobs, &key.kek, None);
            Ok::<_, BreakGlassError>(Seal { disabled: true, ..unlocked(key, names)? })
        };
        Ok(keys.into_iter().map(seal).collect::<Result<_, _>>()?)
    }

    /// The keys; none if no file was named.
    pub(super) fn unlock(&self) -> Result<Vec<Unlocked>, CommandError> {
        let (mut keys, mut shares) = (Vec::new(), Vec::new());
        for (turn, path) in self.key.iter().enumerate() {
            let text = fs::read_to_string(path);
            let text = text.map_err(|source| CommandError::File { path: path.clone(), source })?;
            let (title, protected) = Share::split_title(&text);
            let passphrase =
                self.passphrase.ask(turn, &format!("Passphrase of {}: ", path.display()))?;
            let key = EcPrivateKey::unprotect(protected, passphrase.as_bytes())
                .map_err(|source| BreakGlassError::KeyFile { path: path.clone(), source })?;
            match title {
                None => keys.push(Unlocked::new(key)?),
                Some(title) => shares.push(Share::new(title, key, path)?),
            }
        }
        if !shares.is_empty() {
            keys.push(Unlocked::new(Share::combine(&shares)?)?);
        }
        Ok(keys)
    }
}

impl Unlocked {
    pub(super) fn new(private_key: EcPrivateKey) -> Result<Self, BreakGlassError> {
        let public_key = PublicKey::from_spki_der(private_key.public_key().spki_der())?;
        let kek = BreakGlassSeal::kek_of(&public_key);
        let kek = kek.ok_or(BreakGlassError::NoKey)?;
        Ok(Self { private_key, public_key, kek })
    }
}

impl PassphraseArguments {
    fn ask(&self, turn: usize, prompt: &str) -> Result<Zeroizing<String>, CommandError> {
        let Some(path) = self.passphrase_file.get(turn).or(self.passphrase_file.last()) else {
            let asked =
                rpassword::prompt_password(prompt).map_err(BreakGlassError::NoPassphrase)?;
            return Ok(Zeroizing::new(asked));
        };
        let unreadable = |source| CommandError::Unreadable { path: path.clone(), source };
        let bytes = SystemSources.secret_file(path).map_err(unreadable)?;
        let text = str::from_utf8(&bytes).map_err(|_bytes| unreadable(SourceError::NotText))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
    }

    /// A passphrase for a new file, asked for twice at a terminal.
    pub(super) fn choose(&self, turn: usize, of: &Path) -> Result<Zeroizing<String>, CommandError> {
        let chosen = self.ask(turn, &format!("New passphrase of {}: ", of.display()))?;
        if chosen.chars().count() < SHORTEST_PASSPHRASE {
            return Err(BreakGlassError::ShortPassphrase.into());
        }
        if *self.ask(turn, "The same again: ")? != *chosen {
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
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // Without its name on the disk the file is nothing after a power cut.
    written.and_then(|()| sync_directory_of(path)).map_err(|source| {
        let _left = fs::remove_file(path);
        failed(source)
    })
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Writes all of these or none: half a set of shares is worth nothing.
pub(super) fn create_all(files: &[(&Path, String)]) -> Result<(), CommandError> {
    for (done, (path, text)) in files.iter().enumerate() {
        let Err(error) = create(path, text.as_bytes()) else { continue };
        for (path, _) in files.iter().take(done) {
            let _left = fs::remove_file(path);
        }
        return Err(error);
    }
    Ok(())
}
