//! `selkie completion`: what lets a shell complete commands and options.

use std::io::Write;

use clap::{Command, ValueEnum};
use clap_complete::generate;
use clap_complete::shells::{Bash, Fish, Zsh};

use super::CommandError;

/// As people call the program.
const NAME: &str = "selkie";

/// For bash put it into ~/.local/share/bash-completion/completions/selkie, for zsh into a file _selkie
/// in a folder of $fpath, for fish into ~/.config/fish/completions/selkie.fish.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

pub(super) fn run(
    arguments: &Arguments,
    command: &Command,
    output: &mut dyn Write,
) -> Result<(), CommandError> {
    // The library would tell of what is hidden.
    let shown = command.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    let version = env!("CARGO_PKG_VERSION");
    let mut command = Command::new(NAME).version(version).subcommands(shown);
    // Not into the output, as the library panics where it cannot be written.
    let mut script = Vec::new();
    match arguments.shell {
        Shell::Bash => generate(Bash, &mut command, NAME, &mut script),
        Shell::Zsh => generate(Zsh, &mut command, NAME, &mut script),
        Shell::Fish => generate(Fish, &mut command, NAME, &mut script),
    }
    output.write_all(&script).map_err(CommandError::Output)
}
