//! `selkie break-glass open`: one ciphertext into its plaintext, without a server.

use std::io::{IsTerminal, Write, stdout};
use std::path::{Path, PathBuf};

use selkie_crypto::envelope::Aad;
use selkie_crypto::{Plaintext, base64};
use zeroize::Zeroizing;

use super::BreakGlassError;
use super::blob::{Blob, choose, read};
use super::key_file::{KeyArguments, create};
use crate::backup::offline;
use crate::cli::{CommandError, multi_threaded, read_config};

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("opener").required(true).args(["key", "seal_config"])))]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
    /// Instead of the offline key: a configuration file, of which any one seal opens it.
    #[arg(long, value_name = "FILE")]
    seal_config: Option<PathBuf>,
    /// Where the plaintext goes; by default it is written to the standard output as it is.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the plaintext as base64.
    #[arg(long)]
    base64: bool,
    /// Print the plaintext even on a terminal.
    #[arg(long)]
    yes_print: bool,
    /// Of several ciphertexts, the one of this name, such as core/recovery-key.
    #[arg(long, value_name = "NAME")]
    record: Option<String>,
    /// What the client gave as "associated_data", in base64; a Vault's seal gives none.
    #[arg(long, value_name = "BASE64", value_parser = decoded)]
    associated_data: Option<Vec<u8>>,
    /// What the client gave as "context", in base64; a Vault's seal gives none.
    #[arg(long, value_name = "BASE64", value_parser = decoded)]
    context: Option<Vec<u8>>,
    /// The ciphertext, a file with one or with the output of "selkie extract", or "-".
    blob: String,
}

/// A text is no base64.
#[derive(Debug, thiserror::Error)]
#[error("expected base64")]
struct NotBase64;

fn decoded(text: &str) -> Result<Vec<u8>, NotBase64> {
    let decoded = base64::decode_secret(text.as_bytes()).map_err(|_error| NotBase64)?;
    Ok(decoded.expose_for_own_use().to_vec())
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    if arguments.out.is_none() && !arguments.yes_print && stdout().is_terminal() {
        return Err(BreakGlassError::Terminal.into());
    }
    let blob = choose(read(&arguments.blob)?, arguments.record.as_deref())?;
    write!(errors, "{blob}").map_err(CommandError::Output)?;
    let aad = Aad {
        associated_data: arguments.associated_data.as_deref().unwrap_or_default(),
        context: arguments.context.as_deref().unwrap_or_default(),
    };
    let plaintext = match &arguments.seal_config {
        None => blob.open(&arguments.key.unlock()?, aad)?,
        Some(config) => open_by_seals(&blob, aad, config)?,
    };
    let text = match arguments.base64 {
        false => Zeroizing::new(plaintext.expose_for_reply().to_vec()),
        true => {
            let mut text =
                Zeroizing::new(Vec::with_capacity(2 * plaintext.expose_for_reply().len() + 8));
            base64::encode_into(plaintext.expose_for_reply(), &mut *text);
            text.push(b'\n');
            text
        }
    };
    match &arguments.out {
        Some(path) => create(path, &text),
        None => output.write_all(&text).map_err(CommandError::Output),
    }
}

fn open_by_seals(blob: &Blob, aad: Aad<'_>, config: &Path) -> Result<Plaintext, CommandError> {
    let config = read_config(config)?;
    let runtime = multi_threaded()?;
    runtime.block_on(async {
        let transit = offline(config).await?;
        let opened = transit.deployment.seals.decrypt(&blob.envelope, aad, &transit).await;
        let failed = |source| BreakGlassError::Seals { record: blob.name.clone(), source };
        Ok(opened.map_err(failed)?)
    })
}
