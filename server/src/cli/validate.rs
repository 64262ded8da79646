//! `selkie validate`: everything that starting a server checks, short of opening a socket.

mod hints;
mod places;
mod report;

use std::io::Write;
use std::path::{Path, PathBuf};

use selkie_config::{Listener, Problems, Promises, SandboxMode};

use self::hints::hints;
pub use self::places::UnfitPlace;
use self::report::Remark;
use super::arguments::{ConfigFile, Format};
use super::{CommandError, print, read_config, read_text, single_threaded};
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
    /// How the report is printed; what is wrong goes to standard error as well.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let file = arguments.file.path().display().to_string();
    let mut warnings = Vec::new();
    let checked = check(arguments, &file, &mut warnings);
    match (arguments.format, &checked) {
        (Format::Json, _) => print(output, &report::json(&file, &checked, &warnings))?,
        (Format::Table, checked) => {
            for warning in &warnings {
                writeln!(errors, "{warning}").map_err(CommandError::Output)?;
            }
            if let Ok(lines) = checked {
                let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
                print(output, &format!("{file}: valid\n{lines}"))?;
            }
        }
    }
    checked.map(drop)
}

/// What the file comes to, in lines.
fn check(
    arguments: &Arguments,
    file: &str,
    warnings: &mut Vec<Remark>,
) -> Result<Vec<String>, CommandError> {
    let path = arguments.file.path();
    let config = read_config(path)?;
    warnings.extend(config.warnings.iter().map(Remark::from));
    warnings.extend(hints(&config).iter().map(|hint| Remark::on(file, hint)));
    let (grave, others): (Vec<_>, Vec<_>) =
        places::unfit(&config).into_iter().partition(UnfitPlace::is_grave);
    warnings.extend(others.iter().map(|place| Remark::on(file, place)));
    if !grave.is_empty() {
        return Err(CommandError::UnfitPlaces(grave));
    }
    if let Some(previous) = &arguments.previous {
        check_against(previous, path)?;
    }
    for listener in &config.listeners {
        warnings.extend(check_certificate(listener)?);
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
    let runtime = single_threaded()?;
    let deployment = runtime.block_on(Deployment::connect(config))?;
    let mut lines = inventory.lines(&deployment);
    lines.push(format!("promises  {promises}"));
    lines.push(format!("sandbox   {sandbox}"));
    Ok(lines)
}

/// Reads the files of a listener's TLS. A server starts with a certificate that clients refuse, for
/// they may not look; whoever asks before shall know.
fn check_certificate(listener: &Listener) -> Result<Option<Remark>, CommandError> {
    let validity = load_tls(listener)?.and_then(|material| material.validity());
    let now = SystemClock.unix_seconds();
    let Some(notice) = validity.and_then(|validity| Notice::of(validity, now)) else {
        return Ok(None);
    };
    let endpoint = EndpointName::from(listener.endpoint.clone());
    if notice.is_refused() {
        return Err(CommandError::ListenerCertificate { endpoint, notice });
    }
    let advice = notice.advice();
    Ok(Some(Remark::beside(format!("listener {endpoint}: {notice}: {advice}"))))
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
