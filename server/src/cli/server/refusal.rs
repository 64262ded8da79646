//! How a refused reload is told, and what helps against it.

use std::fmt::Display;

use selkie_config::{Problem, SourceError};
use tracing::error;

use crate::audit::AuditError;
use crate::cli::CommandError;
use crate::continuity::Discontinuity;
use crate::hardening::ConfinementError;
use crate::last_reload::Remedy;
use crate::node::NodeError;
use crate::serve::{ReloadError, ServeError};
use crate::telemetry::WithCauses;

/// Why a reload was refused, as the log has been told already.
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) remedy: Remedy,
}

pub(super) fn refuse_for(error: &CommandError) -> Refused {
    let CommandError::Config(problems) = error else {
        return refuse(&WithCauses(error), Remedy::Correct);
    };
    for problem in problems.iter() {
        error!(%problem, "the configuration is wrong");
    }
    // Where this process alone cannot read a file, nothing in the configuration is wrong.
    let outside = [SourceError::Outside, SourceError::NotGiven].map(|error| error.to_string());
    let ends_with = |text: &str| outside.iter().any(|end| text.ends_with(end));
    let is_outside = |problem: &Problem| ends_with(&problem.to_string());
    let remedy = if problems.iter().all(is_outside) { Remedy::Restart } else { Remedy::Correct };
    let told = refuse(&"the configuration is wrong", remedy);
    let first = problems.iter().next();
    first.map_or(told, |first| Refused { reason: first.to_string(), remedy })
}

/// Whether a file keeps what the one in use promised, so far as files tell.
type Kept = Result<(), Discontinuity>;

/// Where only a restart could take a file in, what it would lose is told first: a start takes any
/// valid file.
fn refuse_before_start(reason: &dyn Display, remedy: Remedy, kept: impl Fn() -> Kept) -> Refused {
    match kept() {
        Ok(()) => refuse(reason, remedy),
        Err(why) => refuse_discontinuity(&why),
    }
}

pub(super) fn refuse_confined(error: &ConfinementError, kept: impl Fn() -> Kept) -> Refused {
    match error {
        ConfinementError::Missing(_) => refuse(error, Remedy::Correct),
        ConfinementError::Outside(_)
        | ConfinementError::NotGiven(_)
        | ConfinementError::NotWritable(_)
        | ConfinementError::Program(_) => refuse_before_start(error, Remedy::Restart, kept),
    }
}

pub(super) fn refuse_reload(error: &ReloadError, kept: impl Fn() -> Kept) -> Refused {
    let reason = WithCauses(error);
    match error {
        ReloadError::Serve(ServeError::Node(NodeError::Discontinuity(why))) => {
            refuse_discontinuity(why)
        }
        ReloadError::OtherStorage { .. }
        | ReloadError::Serve(ServeError::Node(NodeError::StorageChanged)) => {
            refuse_before_start(&reason, Remedy::OtherStorage, kept)
        }
        ReloadError::ListenersChanged
        | ReloadError::NeedsRestart { .. }
        | ReloadError::Serve(ServeError::Node(NodeError::Audit(
            AuditError::OtherKey | AuditError::Off | AuditError::InUse { .. },
        ))) => refuse_before_start(&reason, Remedy::Restart, kept),
        _ => refuse(&reason, Remedy::Correct),
    }
}

/// What would be left behind has a line for each.
fn refuse_discontinuity(why: &Discontinuity) -> Refused {
    let (broken, what) = match why {
        Discontinuity::Regressions(broken) => (broken, "would leave behind what is in use"),
        Discontinuity::StillLost(broken) => (broken, "still loses what earlier ones promised"),
        _ => return refuse(why, Remedy::Correct),
    };
    for problem in broken {
        error!(%problem, "the new configuration {what}");
    }
    let told = format_args!(
        "it {what}; if that is what you want, see what selkie doctor says of it, restart the server \
         with it, and let it go with selkie accept-losses"
    );
    refuse(&told, Remedy::Correct)
}

fn refuse(reason: &dyn Display, remedy: Remedy) -> Refused {
    match remedy {
        Remedy::Correct => error!(
            %reason,
            "reload refused, nothing has changed; correct the file and send SIGHUP again"
        ),
        Remedy::Restart | Remedy::OtherStorage => error!(
            %reason,
            advice = remedy.advice(),
            "reload refused, nothing has changed; only a restart could take the file in"
        ),
    }
    Refused { reason: reason.to_string(), remedy }
}
