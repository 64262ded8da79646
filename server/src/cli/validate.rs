//! `selkie validate`: everything that starting a server checks, short of opening a socket.

use std::io::Write;
use std::path::{Path, PathBuf};

use selkie_config::{Config, Placeholders, SandboxMode};

use super::{CommandError, print, read_config, read_text};
use crate::deployment::Deployment;
use crate::serve::{Inventory, load_tls};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file.
    file: PathBuf,
    /// The configuration file that is in use: also check that nothing encrypted under it is lost
    /// and that key versions rise where they must.
    #[arg(long, value_name = "OLD")]
    previous: Option<PathBuf>,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let config = read_config(&arguments.file)?;
    for warning in &config.warnings {
        writeln!(errors, "{warning}").map_err(CommandError::Output)?;
    }
    if let Some(previous) = &arguments.previous {
        check_against(previous, &arguments.file)?;
    }
    for listener in &config.listeners {
        load_tls(listener)?;
    }
    let sandbox = match config.sandbox {
        SandboxMode::Auto => "as far as the kernel has it (selkie doctor tells)",
        SandboxMode::Required => "required: without landlock and seccomp it does not start",
        SandboxMode::Off => "off",
    };
    let inventory = Inventory::of(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let summary = format!("{}: valid\n", arguments.file.display());
    let lines = inventory.lines(&deployment).into_iter();
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    let sandbox = format!("  sandbox   {sandbox}\n");
    print(output, &(summary + &lines + &sandbox))
}

/// By references on both sides: the keys of the previous file may be gone by now.
fn check_against(previous: &Path, file: &Path) -> Result<(), CommandError> {
    let read = |file: &Path| {
        let text = read_text(file)?;
        Config::parse(&file.display().to_string(), &text, &Placeholders)
            .map_err(CommandError::Config)
    };
    let regressions = read(file)?.check_against_previous(&read(previous)?);
    if regressions.is_empty() { Ok(()) } else { Err(CommandError::Regressions(regressions)) }
}
