//! What goes wrong at a master key by a script.

use std::time::Duration;

use selkie_crypto::SealName;
use selkie_hcl::Section;

use super::when::{self, When};
use super::{FaultError, words};

/// `seal_fault "NAME"`: what we meet at a master key.
#[derive(Clone, Debug, PartialEq)]
pub struct SealFault {
    /// Its name, in logs and metrics.
    pub name: String,
    /// `seal`: the name of the seal; all without it.
    pub seal: Option<SealName>,
    /// `on`: the operations; all if empty.
    pub on: Vec<SealOperation>,
    /// When.
    pub when: When,
    /// `delay`: how long the answer waits.
    pub delay: Duration,
    /// What then comes.
    pub outcome: SealOutcome,
}

/// What is asked of a master key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOperation {
    /// `describe`: which versions there are.
    Describe,
    /// `wrap`: a DEK, where that is not done by ourselves.
    Wrap,
    /// `unwrap`: a DEK.
    Unwrap,
}

/// What a master key answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    /// The truth.
    Answer,
    /// `answer = "away"`: nothing is there.
    Away,
    /// `answer = "throttled"`: too many calls.
    Throttled,
    /// `answer = "denied"`: we may not.
    Denied,
    /// `answer = "hang"`: nothing, for as long as is waited.
    Hang,
    /// `answer = "wrong"`: another DEK than was wrapped, or a damaged wrap.
    Wrong,
}

const OPERATIONS: &str = "\"describe\", \"wrap\", \"unwrap\" and \"any\"";
const ANSWERS: &str = "\"away\", \"throttled\", \"denied\", \"hang\" and \"wrong\"";

pub(super) fn decode(name: String, section: &mut Section<'_>) -> Option<SealFault> {
    let seal = section.field("seal").string().and_then(|text| {
        text.try_map(|text| SealName::new(&text).map_err(|_not_a_name| FaultError::NotASeal))
    });
    let word = |word: &str| {
        Some(Some(match word {
            "describe" => SealOperation::Describe,
            "wrap" => SealOperation::Wrap,
            "unwrap" => SealOperation::Unwrap,
            "any" => return Some(None),
            _ => return None,
        }))
    };
    let on = words(section, "on", OPERATIONS, word);
    let delay = when::time(section, "delay");
    let outcome = outcome(section);
    if delay.is_none() && outcome.is_none() && !section.place().document().has_problems() {
        section.place().report(FaultError::Nothing { fields: "\"delay\" or \"answer\"" });
    }
    Some(SealFault {
        name,
        seal: seal.map(|seal| seal.value),
        on: on.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default(),
        when: when::decode(section),
        delay: delay.map_or(Duration::ZERO, |delay| delay.value),
        outcome: outcome.unwrap_or(SealOutcome::Answer),
    })
}

fn outcome(section: &mut Section<'_>) -> Option<SealOutcome> {
    let field = "answer";
    let answer = section.field(field).string()?.try_map(|word| match word.as_str() {
        "away" => Ok(SealOutcome::Away),
        "throttled" => Ok(SealOutcome::Throttled),
        "denied" => Ok(SealOutcome::Denied),
        "hang" => Ok(SealOutcome::Hang),
        "wrong" => Ok(SealOutcome::Wrong),
        _ => Err(FaultError::UnknownWord { field, known: ANSWERS }),
    });
    answer.map(|answer| answer.value)
}
