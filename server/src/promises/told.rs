//! What the log says of promises.

use selkie_config::{Promises, Regression};

use super::{Outlook, PromiseFile, PromiseFileError};
use crate::telemetry::WithCauses;

/// What an operator does about a loss.
pub(crate) fn advice(loss: &Regression) -> String {
    format!(
        "{}, and send SIGHUP, or restart if that is refused; or, if nothing encrypted before is needed, let it go: selkie accept-losses \
         FILE, then send SIGHUP",
        loss.remedy()
    )
}

/// A file that is not used. What can be moved is kept aside, and what it said is told once more: the
/// local key may have been changed, but then it is ours all the same.
pub(super) fn unused(file: &PromiseFile, error: &PromiseFileError, now: &Promises) {
    if matches!(error, PromiseFileError::Unreadable(_)) {
        tracing::warn!(
            file = %file.path().display(),
            reason = %WithCauses(error),
            advice = "make it readable for this user, or remove it to begin anew",
            "what earlier configurations promised cannot be read, so nothing tells what this one loses"
        );
        return;
    }
    // What cannot even be moved is told of when it cannot be replaced.
    let _kept = file.set_aside();
    tracing::warn!(
        file = %file.path().display(),
        reason = %WithCauses(error),
        advice = "compare the configuration with the one before: selkie validate FILE --previous OLD",
        "what earlier configurations promised is not believed: the file is kept as .refused, and this \
         configuration is remembered from now on"
    );
    if let PromiseFileError::WrongMac { said } = error {
        for loss in Outlook::of(now, said.clone()).losses {
            tracing::warn!(
                %loss,
                advice = "ignore it if the file is another server's; else put it back: this is told once",
                "the file that is not believed promised what this configuration does not keep"
            );
        }
    }
}

pub(super) fn unwritten(file: &PromiseFile, error: &PromiseFileError) {
    tracing::warn!(
        file = %file.path().display(),
        reason = %WithCauses(error),
        advice = "make data_dir writable: without the file a restart cannot tell what its \
                  configuration loses",
        "what the configuration promises cannot be remembered"
    );
}

pub(super) fn losses(losses: &[Regression]) {
    for loss in losses {
        tracing::error!(
            %loss,
            advice = advice(loss),
            "ciphertexts may be lost: the configuration does not keep what an earlier one promised"
        );
    }
}

pub(super) fn mended() {
    tracing::info!("the configuration keeps all that earlier ones promised to ciphertexts again");
}

pub(super) fn doubts(doubts: &[Regression]) {
    for problem in doubts {
        tracing::warn!(
            %problem,
            advice = problem.remedy(),
            "the configuration changed in a way that a reload would refuse"
        );
    }
}
