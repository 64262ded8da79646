//! What the KMS last answered when it was to wrap, and to unwrap.

use selkie_crypto::KekId;
use selkie_kms::KmsError;

use super::Connection;

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

/// The last answers of one KMS.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LastAnswers {
    wrap: LastAnswer,
    unwrap: LastAnswer,
}

impl LastAnswer {
    /// What `answer` changes; `None` if it says nothing, as silence does.
    fn of<T>(answer: &Result<T, KmsError>) -> Option<Self> {
        match answer {
            Ok(_) => Some(Self::Done),
            Err(error) if error.is_transient() => None,
            Err(_) => Some(Self::Refused),
        }
    }
}

impl Connection {
    /// Notes what came of a wrap under the version `kek`.
    pub(in crate::seal) fn note_wrap<T>(&self, kek: &KekId, answer: &Result<T, KmsError>) {
        self.note_answer_about(kek, LastAnswer::of(answer), |answers| &mut answers.wrap);
    }

    /// Notes what came of an unwrap of what was wrapped under the version `kek`. Of what clients
    /// send, no refusal may come here: it may be refused for its own sake.
    pub(in crate::seal) fn note_unwrap<T>(&self, kek: &KekId, answer: &Result<T, KmsError>) {
        self.note_answer_about(kek, LastAnswer::of(answer), |answers| &mut answers.unwrap);
    }

    /// That one version does something shows that the way and the rights are there. That one does not
    /// says something of all only if it is the one in use.
    fn note_answer_about(
        &self,
        kek: &KekId,
        answer: Option<LastAnswer>,
        part: impl FnOnce(&mut LastAnswers) -> &mut LastAnswer,
    ) {
        let Some(answer) = answer else { return };
        let mut state = self.state();
        let is_current = state.known.as_ref().is_none_or(|known| known.keks.current().id == *kek);
        if is_current || answer == LastAnswer::Done {
            *part(&mut state.answers) = answer;
        }
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
