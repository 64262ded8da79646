//! What the KMS last answered when it was to wrap, and to unwrap.

use selkie_crypto::KekId;
use selkie_kms::KmsError;

use super::Connection;
use crate::seal::error::SealFault;
use crate::seal::known::{Known, Trust};

/// What a KMS last said when it was to do something with its key, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LastAnswer {
    /// Nothing yet.
    #[default]
    None,
    /// It did it.
    Done,
    /// It refused, for a reason that does not pass by itself.
    Refused,
}

/// Whether all versions unwrap no more if `kek` does not, with this `error`: it is the only one, or
/// the one in use and did so in this process.
pub(in crate::seal) fn speaks_for_all(known: &Known, kek: &KekId, error: &KmsError) -> bool {
    let is_alone = known.keks.versions().len() == 1;
    let is_telling = if is_of_one_version(known, error) {
        is_alone && known.keks.is_complete()
    } else {
        is_alone || known.current_trust() >= Some(Trust::Confirmed)
    };
    known.keks.current().id == *kek && is_telling
}

/// Whether a refusal says nothing of other versions. Each is disabled by itself; and where the KMS
/// contradicts what was known, one may be gone, or another key, and the others be there.
pub(in crate::seal) fn is_of_one_version(known: &Known, error: &KmsError) -> bool {
    match error {
        KmsError::Disabled(_) => true,
        KmsError::Rejected(_) | KmsError::UnknownKek(_) => known.contradiction.is_some(),
        _ => false,
    }
}

/// The last answers of one KMS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastAnswers {
    wrap: LastAnswer,
    unwrap: LastAnswer,
    /// A client was refused what the KMS does, as far as was known.
    is_suspect: bool,
}

impl LastAnswer {
    /// What `answer` changes; `None` if it says nothing, as silence does.
    pub(in crate::seal) fn of<T>(answer: &Result<T, KmsError>) -> Option<Self> {
        match answer {
            Ok(_) => Some(Self::Done),
            Err(error) if error.is_transient() => None,
            Err(_) => Some(Self::Refused),
        }
    }
}

impl Connection {
    /// Notes what came of a wrap under the version `kek`. That one version does something shows that
    /// the way and the rights are there. That one does not says something of all only if it is the
    /// one in use.
    pub(in crate::seal) fn note_wrap<T>(&self, kek: &KekId, answer: &Result<T, KmsError>) {
        let Some(answer) = LastAnswer::of(answer) else { return };
        let mut state = self.state();
        let is_current = state.known.as_ref().is_none_or(|known| known.keks.current().id == *kek);
        if is_current || answer == LastAnswer::Done {
            state.answers.wrap = answer;
        }
    }

    /// Notes what came of an unwrap of what was wrapped under the version `kek`. Of what clients
    /// send, no refusal may come here: it may be refused for its own sake.
    pub(in crate::seal) fn note_unwrap<T>(&self, kek: &KekId, answer: &Result<T, KmsError>) {
        let mut state = self.state();
        let known = state.known.as_deref();
        match answer {
            Ok(_) => {
                let is_current = known.is_none_or(|known| known.keks.current().id == *kek);
                state.answers.unwrap = LastAnswer::Done;
                // That the version in use unwraps is what was doubted.
                state.answers.is_suspect &= !is_current;
            }
            Err(error) if error.is_transient() => {}
            Err(error) => {
                if known.is_some_and(|known| speaks_for_all(known, kek, error)) {
                    state.answers.unwrap = LastAnswer::Refused;
                }
            }
        }
    }

    /// Notes that all versions were tried, and that none unwraps.
    pub(in crate::seal) fn note_unwraps_nothing(&self) {
        self.state().answers.unwrap = LastAnswer::Refused;
    }

    /// Notes that the KMS refused what a client wanted of the version `kek`. That is no verdict, as
    /// clients choose what they send: it has the seal tried soon, if it was thought to unwrap.
    pub(in crate::seal) fn suspect(&self, kek: &KekId, error: &KmsError) {
        let mut state = self.state();
        // Those that stop encryption alone.
        let is_unwrapping = matches!(
            state.health.fault,
            None | Some(
                SealFault::Unlisted | SealFault::NotUsable { .. } | SealFault::Contradicted(_)
            )
        );
        let Some(known) = state.known.as_ref().filter(|_| is_unwrapping && !self.is_fixed) else {
            return;
        };
        let says_much = match error {
            KmsError::Denied(_) | KmsError::UnknownKek(_) => known.keks.version(kek).is_some(),
            // An older version may be disabled for good.
            KmsError::Disabled(_) => known.keks.current().id == *kek,
            _ => false,
        };
        if says_much {
            state.answers.is_suspect = true;
            drop(state);
            self.suspicion.notify_one();
        }
    }

    /// Waits until a client is refused what the KMS does, as far as is known.
    pub(in crate::seal) async fn suspected(&self) {
        self.suspicion.notified().await;
    }

    /// Whether a client was refused something while all was thought to be well, and nothing has
    /// come of it yet.
    pub(in crate::seal) fn is_suspect(&self) -> bool {
        let state = self.state();
        let is_well = matches!(state.health.fault, None | Some(SealFault::Unlisted));
        state.answers.is_suspect && is_well
    }

    /// Whether it must show that it does what it did before.
    pub(in crate::seal) fn is_in_doubt(&self) -> bool {
        let LastAnswers { wrap, unwrap, is_suspect } = self.state().answers;
        is_suspect || wrap == LastAnswer::Refused || unwrap == LastAnswer::Refused
    }

    /// What it last answered when it was to wrap.
    pub(crate) fn last_wrap(&self) -> LastAnswer {
        self.state().answers.wrap
    }

    /// What it last answered when it was to unwrap.
    pub(crate) fn last_unwrap(&self) -> LastAnswer {
        self.state().answers.unwrap
    }
}
