//! What became of the last reload. A file that was refused is told of until one is taken: the next
//! start, perhaps weeks later, reads the same file.

use std::sync::{Mutex, PoisonError};

/// As much of a reason is kept as fits a line of `status`.
const LONGEST_REASON: usize = 500;

/// What became of the last reload.
#[derive(Debug)]
pub struct LastReload(Mutex<ReloadStanding>);

/// Whether the server runs what its file says, as far as it was told to read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadStanding {
    /// When a configuration was last put to work, in Unix seconds; the start counts.
    pub succeeded: u64,
    /// The last reload, if it was refused.
    pub refused: Option<RefusedReload>,
}

/// A reload that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedReload {
    /// When, in Unix seconds.
    pub at: u64,
    /// The first line of the reason.
    pub reason: String,
    /// What helps.
    pub remedy: Remedy,
}

/// What an operator does about a file that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It is wrong, also for a restart.
    Correct,
    /// Only a restart could take it in, and nobody has checked whether it would.
    Restart,
    /// The same of a file that names another storage: a slip there is a start with an empty one.
    OtherStorage,
}

impl Remedy {
    /// In words.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Correct => {
                "see the log, correct the file and send SIGHUP again, before a restart reads it"
            }
            Self::Restart => {
                "put back what only a restart can change (a file: to where such files were at the \
                 start), and send SIGHUP; only a restart could take this file in: first `selkie \
                 validate --previous OLD NEW` and `selkie doctor NEW`"
            }
            Self::OtherStorage => {
                "put the storage back as it was and send SIGHUP; or restart if you mean another one: \
                 first `selkie validate --previous OLD NEW` and `selkie doctor NEW`, since a start may \
                 make it anew, empty"
            }
        }
    }
}

impl LastReload {
    /// None since the start, which was at `started`.
    pub(crate) const fn none_since(started: u64) -> Self {
        Self(Mutex::new(ReloadStanding { succeeded: started, refused: None }))
    }

    /// A reload at `now` was taken, or refused for a reason, against which something helps.
    pub(crate) fn note(&self, now: u64, refused: Option<(&str, Remedy)>) {
        let mut standing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = |reason: &str| reason.lines().next().unwrap_or_default().to_owned();
        let first = |reason| first(reason).chars().take(LONGEST_REASON).collect();
        standing.refused = refused.map(|(reason, remedy)| {
            let reason = first(reason);
            RefusedReload { at: now, reason, remedy }
        });
        if refused.is_none() {
            standing.succeeded = now;
        }
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> ReloadStanding {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_reload_counts_until_one_is_taken() {
        let reload = LastReload::none_since(5);
        assert_eq!(reload.standing(), ReloadStanding { succeeded: 5, refused: None });
        reload.note(7, Some(("one\ntwo", Remedy::Restart)));
        let (reason, remedy) = ("one".to_owned(), Remedy::Restart);
        let refused = Some(RefusedReload { at: 7, reason, remedy });
        assert_eq!(reload.standing(), ReloadStanding { succeeded: 5, refused });
        reload.note(9, None);
        assert_eq!(reload.standing(), ReloadStanding { succeeded: 9, refused: None });
    }
}
