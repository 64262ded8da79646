//! `selkie break-glass keygen`: the pair, made where the private half stays.

use std::io::Write;
use std::path::PathBuf;

use selkie_crypto::{EcCurve, EcPrivateKey, PublicKey, base64, os_random};

use super::BreakGlassError;
use super::key_file::{PassphraseArguments, Unlocked, create};
use crate::cli::{CommandError, print};

/// Run it on a machine that is no server. Then print the file or copy it to media that you lock
/// away, at two places; whoever has it and its passphrase opens everything.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Where the private key goes, under a passphrase; nothing is overwritten.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// An X25519 key instead of one on P-256, which cards and more tools know.
    #[arg(long)]
    x25519: bool,
    #[command(flatten)]
    passphrase: PassphraseArguments,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let Arguments { out, x25519, passphrase } = arguments;
    if out.exists() {
        return Err(BreakGlassError::Exists { path: out.clone() }.into());
    }
    let curve = if *x25519 { EcCurve::X25519 } else { EcCurve::P256 };
    let passphrase = passphrase.choose(&out.display().to_string())?;
    let key = EcPrivateKey::generate(curve, &os_random).map_err(BreakGlassError::from)?;
    let protected = key.protect(passphrase.as_bytes(), &os_random)?;
    create(out, protected.as_bytes())?;
    let unlocked = Unlocked::new(key)?;
    let text = format!(
        "# The private key is in {}, under its passphrase. Keep both away from every server.\n\
         # For Selkie's configuration file (nothing here is secret); its fingerprint is\n\
         # {}\n\n{}",
        out.display(),
        unlocked.kek,
        stanza(&unlocked.public_key),
    );
    print(output, &text)
}

fn stanza(key: &PublicKey) -> String {
    let mut line = Vec::new();
    base64::encode_into(key.spki_der(), &mut line);
    let line = String::from_utf8(line).unwrap_or_default();
    format!("seal \"break-glass\" {{\n  public_key = \"{line}\"\n}}\n")
}
