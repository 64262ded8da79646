//! `selkie validate`: everything that starting a server checks, short of opening a socket.

mod hints;
mod places;

use std::io::Write;
use std::path::{Path, PathBuf};

use selkie_config::{Listener, Problems, Promises, SandboxMode};

use self::hints::hints;
pub use self::places::UnfitPlace;
use super::arguments::ConfigFile;
use super::{CommandError, print, read_config, read_text};
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::listener_certificates::Notice;
use crate::serve::{EndpointName, Inventory, load_tls};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
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
    let path = arguments.file.path();
    let config = read_config(path)?;
    for warning in &config.warnings {
        writeln!(errors, "{warning}").map_err(CommandError::Output)?;
    }
    for hint in hints(&config) {
        writeln!(errors, "{}: warning: {hint}", path.display()).map_err(CommandError::Output)?;
    }
    let (grave, others): (Vec<_>, Vec<_>) =
        places::unfit(&config).into_iter().partition(UnfitPlace::is_grave);
    for place in others {
        writeln!(errors, "{}: warning: {place}", path.display()).map_err(CommandError::Output)?;
    }
    if !grave.is_empty() {
        return Err(CommandError::UnfitPlaces(grave));
    }
    if let Some(previous) = &arguments.previous {
        check_against(previous, path)?;
    }
    for listener in &config.listeners {
        check_certificate(listener, errors)?;
    }
    let sandbox = match config.sandbox {
        SandboxMode::Auto => "auto: whatever this kernel supports (see selkie doctor)",
        SandboxMode::Required => {
            "required: without landlock and seccomp the server refuses to start"
        }
        SandboxMode::Off => "off",
    };
    let promises = match &config.data_dir {
        Some(data_dir) => format!("recorded in {}", data_dir.display()),
        None => "not recorded without \"data_dir\": a restart cannot say what is lost".into(),
    };
    let inventory = Inventory::of(&config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(CommandError::Runtime)?;
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let summary = format!("{}: valid\n", path.display());
    let lines = inventory.lines(&deployment).into_iter();
    let lines: String = lines.map(|line| format!("  {line}\n")).collect();
    let sandbox = format!("  sandbox   {sandbox}\n");
    let promises = format!("  promises  {promises}\n");
    print(output, &(summary + &lines + &promises + &sandbox))
}

/// Reads the files of a listener's TLS. A server starts with a certificate that clients refuse, for
/// they may not look; whoever asks before shall know.
fn check_certificate(listener: &Listener, errors: &mut dyn Write) -> Result<(), CommandError> {
    let validity = load_tls(listener)?.and_then(|material| material.validity());
    let now = SystemClock.unix_seconds();
    let Some(notice) = validity.and_then(|validity| Notice::of(validity, now)) else {
        return Ok(());
    };
    let endpoint = EndpointName::from(listener.endpoint.clone());
    if notice.is_refused() {
        return Err(CommandError::ListenerCertificate { endpoint, notice });
    }
    writeln!(errors, "listener {endpoint}: {notice}: {}", notice.advice())
        .map_err(CommandError::Output)
}

/// Keys are compared where they can be read, else the references to them: those of the previous file
/// may be gone by now.
fn check_against(previous: &Path, file: &Path) -> Result<(), CommandError> {
    let texts = [(file, read_text(file)?), (previous, read_text(previous)?)];
    let both = |parse: fn(&str, &str) -> Result<Promises, Problems>| {
        let [now, was] = &texts;
        let parse = |(path, text): &(&Path, String)| parse(&path.display().to_string(), text);
        Ok::<_, Problems>((parse(now)?, parse(was)?))
    };
    let by_reference = both(Promises::parse_by_reference).map_err(CommandError::Config)?;
    // What was readable once may be no key any more: then references must do for all.
    let read = both(Promises::parse_where_readable);
    let (now, was) = read.as_ref().unwrap_or(&by_reference);
    let told = now.check_against_previous(was).into_iter();
    let told: Vec<_> = told.map(|told| told.as_far_as_read(was, &by_reference.1)).collect();
    if told.is_empty() { Ok(()) } else { Err(CommandError::Regressions(told)) }
}
