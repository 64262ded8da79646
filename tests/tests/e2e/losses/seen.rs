//! What becomes of a Vault, and how long that takes, for people.

use std::time::Duration;

/// What becomes of a Vault that restarts while something is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It unseals as ever.
    Unseals,
    /// It starts, and stays sealed.
    StaysSealed,
    /// It ends with exit code 1, as its test encryption was not answered.
    Exits,
}

impl Fate {
    /// In the document's words.
    pub(super) const fn told(self) -> &'static str {
        match self {
            Self::Unseals => "unseals by itself",
            Self::StaysSealed => "starts, stays sealed, and keeps trying",
            Self::Exits => "**ends with exit code 1**, until a service manager starts it again",
        }
    }

    /// What a Vault does once what was lost is there again.
    pub(super) const fn return_told(self) -> &'static str {
        match self {
            Self::Unseals => "was never away",
            Self::StaysSealed => "unseals by itself",
            Self::Exits => "unseals at its next start",
        }
    }
}

/// What came of a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) fate: Fate,
    /// From its start until it was unsealed or gone; for one that stayed sealed, how long that was
    /// watched.
    pub(super) restart: Duration,
    /// From the beginning of the cure until it was unsealed.
    pub(super) back: Duration,
}

impl Seen {
    /// How long the Vault was without its seal, as far as that is not the watcher's choice.
    pub(super) fn took(&self) -> String {
        match self.fate {
            Fate::Unseals => format!("restart {}", coarse(self.restart)),
            Fate::StaysSealed => format!("back {}", coarse(self.back)),
            Fate::Exits => {
                format!("gone after {}, back {}", coarse(self.restart), coarse(self.back))
            }
        }
    }
}

/// A time that is not another one at each run.
fn coarse(time: Duration) -> String {
    let steps = [1, 2, 5, 10, 20, 30, 60, 120];
    let bound = steps.into_iter().find(|step| time <= Duration::from_secs(*step));
    bound.map_or_else(|| "> 120 s".to_owned(), |bound| format!("≤ {bound} s"))
}
