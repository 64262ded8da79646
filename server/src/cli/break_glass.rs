//! `selkie break-glass`: what a person does with the offline private key, on a machine of his own
//! and with nothing else alive.

mod blob;
mod error;
mod key_file;
mod keygen;
mod open;
mod recipients;
mod serve;
mod share;
#[cfg(test)]
mod tests;
mod wrapping;

use std::io::Write;

use clap::Subcommand;

use super::CommandError;

pub use self::error::{BreakGlassError, WrapObstacle};
pub(super) use self::key_file::KeyArguments;

#[derive(Debug, Subcommand)]
pub(super) enum BreakGlassCommand {
    /// Make a key pair, keep the private key under a passphrase, and print the stanza for the public
    /// one.
    Keygen(keygen::Arguments),
    /// Turn one ciphertext into its plaintext.
    Open(open::Arguments),
    /// Be the transit server of one Vault for some minutes, so that it starts and unseals.
    Serve(serve::Arguments),
}

pub(super) fn run(
    command: BreakGlassCommand,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    match command {
        BreakGlassCommand::Keygen(arguments) => keygen::run(&arguments, output),
        BreakGlassCommand::Open(arguments) => open::run(&arguments, output, errors),
        BreakGlassCommand::Serve(arguments) => serve::run(&arguments, output, errors),
    }
}
