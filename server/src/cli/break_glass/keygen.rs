//! `selkie break-glass keygen`: the pair, made where the private half stays.

use std::io::Write;
use std::path::{Path, PathBuf};

use selkie_crypto::envelope::Quorum;
use selkie_crypto::{EcCurve, EcPrivateKey, PublicKey, base64, os_random};

use super::BreakGlassError;
use super::key_file::{PassphraseArguments, Unlocked, create_all};
use super::share::Title;
use crate::cli::{CommandError, print};

/// Run it on a machine that is no server. Then copy the file to media that you lock away, at two
/// places; whoever has it and its passphrase opens everything.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Where the private key goes, under a passphrase; nothing is overwritten. Shares go to FILE.1,
    /// FILE.2 and so on.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// An X25519 key instead of one on P-256, which cards and more tools know.
    #[arg(long)]
    x25519: bool,
    /// Split the private key among so many people, each with a file and a passphrase of their own;
    /// 2 to 16.
    #[arg(long, value_name = "N", requires = "needed", value_parser = clap::value_parser!(u8).range(2..=16))]
    shares: Option<u8>,
    /// How many of them are needed.
    #[arg(long, value_name = "K", requires = "shares", value_parser = clap::value_parser!(u8).range(2..=16))]
    needed: Option<u8>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let Arguments { out, x25519, passphrase, .. } = arguments;
    let quorum = arguments.quorum()?;
    let paths: Vec<_> = match quorum {
        None => vec![out.clone()],
        Some(quorum) => (1..=quorum.of()).map(|index| numbered(out, index)).collect(),
    };
    if let Some(path) = paths.iter().find(|path| path.exists()) {
        return Err(BreakGlassError::Exists { path: path.clone() }.into());
    }
    let curve = if *x25519 { EcCurve::X25519 } else { EcCurve::P256 };
    let key = EcPrivateKey::generate(curve, &os_random).map_err(BreakGlassError::from)?;
    let key = Unlocked::new(key)?;
    let parts = match quorum {
        None => Vec::new(),
        Some(quorum) => key.private_key.split(quorum, &os_random).map_err(BreakGlassError::from)?,
    };
    let (whole, split) = (std::slice::from_ref(&key.private_key), &parts[..]);
    let secrets = if split.is_empty() { whole } else { split };
    let mut files = Vec::new();
    for (turn, (path, secret)) in paths.iter().zip(secrets).enumerate() {
        let chosen = passphrase.choose(turn, path)?;
        let index = u8::try_from(turn.saturating_add(1)).unwrap_or(u8::MAX);
        let title = |quorum: Quorum| {
            Title { index, needed: quorum.needed(), curve, kek: key.kek.clone() }.line()
        };
        let protected = secret.protect(chosen.as_bytes(), &os_random)?;
        files.push((path.as_path(), quorum.map(title).unwrap_or_default() + &protected));
    }
    create_all(&files)?;
    print(output, &told(&paths, &key, quorum))
}

impl Arguments {
    fn quorum(&self) -> Result<Option<Quorum>, BreakGlassError> {
        let (Some(of), Some(needed)) = (self.shares, self.needed) else { return Ok(None) };
        Ok(Some(Quorum::new(needed, usize::from(of))?))
    }
}

fn numbered(path: &Path, index: u8) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{index}"));
    name.into()
}

fn told(paths: &[PathBuf], key: &Unlocked, quorum: Option<Quorum>) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    let names = names.join(", ");
    let where_it_is = match quorum {
        None => format!("# The private key is in {names}, under its passphrase."),
        Some(quorum) => format!(
            "# The private key is nowhere as a whole: any {} of {names} give it back.",
            quorum.needed()
        ),
    };
    format!(
        "{where_it_is}\n# Keep that away from every server, and try it now and then: selkie \
         break-glass open.\n# For Selkie's configuration file (nothing here is secret); the key's \
         fingerprint is\n# {}\n\n{}",
        key.kek,
        stanza(&key.public_key),
    )
}

fn stanza(key: &PublicKey) -> String {
    let mut line = Vec::new();
    base64::encode_into(key.spki_der(), &mut line);
    let line = String::from_utf8(line).unwrap_or_default();
    format!("seal \"break-glass\" {{\n  public_key = \"{line}\"\n}}\n")
}
