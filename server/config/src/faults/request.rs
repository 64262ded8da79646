//! What goes wrong for clients by a script.

use std::num::NonZeroU32;
use std::time::Duration;

use selkie_access::KeyName;
use selkie_hcl::{Place, Section};

use super::when::{self, When};
use super::{FaultError, words};

/// What may be answered in place of the truth.
const STATUSES: [u64; 10] = [400, 403, 404, 412, 429, 500, 501, 502, 503, 504];

/// `fault "NAME"`: what a client meets.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestFault {
    /// Its name, in logs and metrics.
    pub name: String,
    /// `on`: the operations; all if empty.
    pub on: Vec<FaultyOperation>,
    /// `key`: the transit key, on whichever mount; all without it.
    pub key: Option<KeyName>,
    /// `client`: the name of a declared client, or the display name of a token; all without it.
    pub client: Option<String>,
    /// `accessor`: of the client's token; all without it.
    pub accessor: Option<String>,
    /// When.
    pub when: When,
    /// `delay`: how long all else waits.
    pub delay: Duration,
    /// What then comes.
    pub outcome: RequestOutcome,
}

/// What a client can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultyOperation {
    /// `encrypt`
    Encrypt,
    /// `decrypt`
    Decrypt,
    /// `rewrap`
    Rewrap,
    /// `renew-self`
    RenewSelf,
    /// `lookup-self`
    LookupSelf,
    /// `health`: `sys/health`
    Health,
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestOutcome {
    /// The true answer.
    Answer,
    /// `status`, and nothing is done.
    Status {
        /// The status.
        status: u16,
        /// `error`: the text; Vault's own without it.
        error: Option<String>,
    },
    /// `sealed = true`: what a sealed Vault answers, and nothing is done.
    Sealed,
    /// `connection = "close"`: no answer, and nothing is done.
    Close,
    /// `connection = "hang"`: neither an answer nor an end, and nothing is done.
    Hang,
    /// `body = "truncated"`: half of the true answer, and then the connection ends.
    Truncated,
    /// `body = "garbage"`: status 200 and the page of some proxy.
    Garbage,
    /// `body = "empty"`: status 200 and nothing.
    Empty,
    /// `plaintext = "wrong"`: another plaintext of the same length.
    WrongPlaintext,
    /// `version`: the ciphertext says that it is of this version. It never opens again.
    Version(NonZeroU32),
}

const OPERATIONS: &str =
    "\"encrypt\", \"decrypt\", \"rewrap\", \"renew-self\", \"lookup-self\", \"health\" and \"any\"";
const OUTCOMES: &str =
    "\"delay\", \"status\", \"sealed\", \"connection\", \"body\", \"plaintext\" or \"version\"";

pub(super) fn decode(name: String, section: &mut Section<'_>) -> Option<RequestFault> {
    let on = on(section);
    let key = section.field("key").string().and_then(|text| {
        text.try_map(|text| text.parse::<KeyName>().map_err(|_not_a_name| FaultError::NotAKey))
    });
    let delay = when::time(section, "delay");
    let outcome = outcome(section, &on);
    if delay.is_none() && outcome.is_none() && !section.place().document().has_problems() {
        section.place().report(FaultError::Nothing { fields: OUTCOMES });
    }
    Some(RequestFault {
        name,
        on,
        key: key.map(|key| key.value),
        client: non_empty(section, "client"),
        accessor: non_empty(section, "accessor"),
        when: when::decode(section),
        delay: delay.map_or(Duration::ZERO, |delay| delay.value),
        outcome: outcome.unwrap_or(RequestOutcome::Answer),
    })
}

fn on(section: &mut Section<'_>) -> Vec<FaultyOperation> {
    let word = |word: &str| {
        Some(Some(match word {
            "encrypt" => FaultyOperation::Encrypt,
            "decrypt" => FaultyOperation::Decrypt,
            "rewrap" => FaultyOperation::Rewrap,
            "renew-self" => FaultyOperation::RenewSelf,
            "lookup-self" => FaultyOperation::LookupSelf,
            "health" => FaultyOperation::Health,
            "any" => return Some(None),
            _ => return None,
        }))
    };
    let on = words(section, "on", OPERATIONS, word);
    // One "any" makes it all.
    on.into_iter().collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn non_empty(section: &mut Section<'_>, field: &'static str) -> Option<String> {
    let text = section.field(field).string()?;
    let text = text.try_map(|text| match text.is_empty() {
        true => Err(FaultError::Empty { field }),
        false => Ok(text),
    });
    text.map(|text| text.value)
}

/// The one outcome that is set.
fn outcome(section: &mut Section<'_>, on: &[FaultyOperation]) -> Option<RequestOutcome> {
    let error = section.field("error").string();
    if let (Some(error), None) = (&error, section.field("status").place()) {
        error.place.report(FaultError::Alone { field: "error", needed: "status" });
    }
    let status = status(section).map(|(status, place)| {
        let error = error.map(|error| error.value);
        ("status", place, RequestOutcome::Status { status, error })
    });
    let found = [
        status,
        sealed(section),
        word(section, "connection", "\"close\" and \"hang\"", |word| match word {
            "close" => Some(RequestOutcome::Close),
            "hang" => Some(RequestOutcome::Hang),
            _ => None,
        }),
        word(section, "body", "\"truncated\", \"garbage\" and \"empty\"", |word| match word {
            "truncated" => Some(RequestOutcome::Truncated),
            "garbage" => Some(RequestOutcome::Garbage),
            "empty" => Some(RequestOutcome::Empty),
            _ => None,
        }),
        word(section, "plaintext", "\"wrong\"", |word| {
            (word == "wrong").then_some(RequestOutcome::WrongPlaintext)
        }),
        version(section),
    ];
    let mut found = found.into_iter().flatten();
    let (one, place, outcome) = found.next()?;
    if let Some((other, place, _)) = found.next() {
        place.report(FaultError::Conflict { one, other });
    }
    check_operation(&outcome, on, place);
    Some(outcome)
}

type Set<'d> = (&'static str, Place<'d>, RequestOutcome);

fn word<'d>(
    section: &mut Section<'d>,
    field: &'static str,
    known: &'static str,
    meaning: impl Fn(&str) -> Option<RequestOutcome>,
) -> Option<Set<'d>> {
    let unknown = || FaultError::UnknownWord { field, known };
    let word = section.field(field).string()?;
    let word = word.try_map(|word| meaning(&word).ok_or_else(unknown))?;
    Some((field, word.place, word.value))
}

fn status<'d>(section: &mut Section<'d>) -> Option<(u16, Place<'d>)> {
    let status = section.field("status").unsigned()?.try_map(|status| {
        let status = u16::try_from(status).ok().filter(|_| STATUSES.contains(&status));
        status.ok_or(FaultError::UnknownStatus)
    })?;
    Some((status.value, status.place))
}

fn sealed<'d>(section: &mut Section<'d>) -> Option<Set<'d>> {
    let sealed = section.field("sealed").boolean()?;
    sealed.value.then_some(("sealed", sealed.place, RequestOutcome::Sealed))
}

fn version<'d>(section: &mut Section<'d>) -> Option<Set<'d>> {
    let field = "version";
    let version = section.field(field).unsigned()?.try_map(|version| {
        let version = u32::try_from(version).ok().and_then(NonZeroU32::new);
        version.ok_or(FaultError::Zero { field })
    })?;
    Some((field, version.place, RequestOutcome::Version(version.value)))
}

/// Only a decrypt has a plaintext to be wrong, and only an encrypt makes a ciphertext.
fn check_operation(outcome: &RequestOutcome, on: &[FaultyOperation], place: Place<'_>) {
    let (field, needed, operation) = match outcome {
        RequestOutcome::WrongPlaintext => ("plaintext", FaultyOperation::Decrypt, "decrypt"),
        RequestOutcome::Version(_) => ("version", FaultyOperation::Encrypt, "encrypt"),
        _ => return,
    };
    if on != [needed] {
        place.report(FaultError::OtherOperation { field, operation });
    }
}
