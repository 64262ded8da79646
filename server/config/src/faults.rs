//! The file of `selkie server --faults`: what is to go wrong, for whom, and when. It is a script for
//! tests; a configuration has to allow it by name.

mod request;
mod seal;
mod when;

use selkie_hcl::{Document, Located, Problems, Section};

pub use self::request::{FaultyOperation, RequestFault, RequestOutcome};
pub use self::seal::{SealFault, SealOperation, SealOutcome};
pub use self::when::{Calls, When, Window};

/// More rules than a person can follow.
const MOST_FAULTS: usize = 100;

/// A script of faults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// `seed`: the same one makes the same choices; 0 by default.
    pub seed: u64,
    /// `fault`: what clients meet, in the order of the file.
    pub requests: Vec<RequestFault>,
    /// `seal_fault`: what we meet at the master keys, in the order of the file.
    pub seals: Vec<SealFault>,
}

/// What is wrong with the file.
#[derive(Debug, thiserror::Error)]
enum FaultError {
    #[error("a fault's name has 1 to 64 of the characters a-z 0-9 - _")]
    NotAName,
    #[error("there may be {MOST_FAULTS} faults at most")]
    TooMany,
    #[error("nothing goes wrong here: set {fields}")]
    Nothing { fields: &'static str },
    #[error("{one:?} and {other:?} exclude each other")]
    Conflict { one: &'static str, other: &'static str },
    #[error("{field:?} needs {needed:?}")]
    Alone { field: &'static str, needed: &'static str },
    #[error("{field:?} needs {operation:?} alone in \"on\"")]
    OtherOperation { field: &'static str, operation: &'static str },
    #[error("field {field:?}: there are {known}")]
    UnknownWord { field: &'static str, known: &'static str },
    #[error("field {field:?}: counted from 1")]
    Zero { field: &'static str },
    #[error("field {field:?}: must be above 0 and at most 1")]
    NotAProbability { field: &'static str },
    #[error("field {field:?}: must be at most {most} seconds")]
    TooLong { field: &'static str, most: u64 },
    #[error("field {field:?}: must be later than {earlier:?}")]
    NotLater { field: &'static str, earlier: &'static str },
    #[error("field {field:?}: must not be empty")]
    Empty { field: &'static str },
    #[error("field \"status\": there are 400 403 404 412 429 500 501 502 503 504")]
    UnknownStatus,
    #[error("field \"key\": not the name of a key")]
    NotAKey,
    #[error("field \"seal\": not the name of a seal")]
    NotASeal,
}

impl Faults {
    /// Reads the text of a file; `file` is the name its problems are reported under.
    ///
    /// # Errors
    ///
    /// Everything that is wrong, in order of position.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let document = Document::parse(file, text)?;
        let faults = decode(document.root());
        document.finish()?;
        Ok(faults)
    }
}

fn decode(mut root: Section<'_>) -> Faults {
    let seed = root.field("seed").unsigned().map_or(0, |seed| seed.value);
    let requests = faults(&mut root, "fault", request::decode);
    let seals = faults(&mut root, "seal_fault", seal::decode);
    if requests.is_empty() && seals.is_empty() && !root.place().document().has_problems() {
        let fields = "\"fault\" or \"seal_fault\"";
        root.place().report(FaultError::Nothing { fields });
    }
    root.finish();
    Faults { seed, requests, seals }
}

fn faults<'d, F>(
    root: &mut Section<'d>,
    block: &'static str,
    decode: impl Fn(String, &mut Section<'d>) -> Option<F>,
) -> Vec<F> {
    let mut found = Vec::new();
    for (name, mut section) in root.uniquely_labelled(block) {
        if found.len() >= MOST_FAULTS {
            name.place.report(FaultError::TooMany);
            section.finish();
            break;
        }
        let fault = decode(name.value.clone(), &mut section);
        section.finish();
        if checked(name).is_some() {
            found.extend(fault);
        }
    }
    found
}

/// The name goes into metrics and logs.
fn checked(name: Located<'_, String>) -> Option<String> {
    let named = name.try_map(|text| {
        let fits =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        let is_one = (1..=64).contains(&text.len()) && text.bytes().all(fits);
        if is_one { Ok(text) } else { Err(FaultError::NotAName) }
    });
    named.map(|name| name.value)
}

/// Each of the words of a list, as `word` knows it.
fn words<T>(
    section: &mut Section<'_>,
    field: &'static str,
    known: &'static str,
    word: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    let Some(list) = section.field(field).string_or_strings() else { return Vec::new() };
    if list.value.is_empty() {
        list.place.report(FaultError::Empty { field });
    }
    let unknown = || FaultError::UnknownWord { field, known };
    let known = list.value.into_iter().filter_map(|text| {
        let word = text.try_map(|text| word(&text).ok_or_else(unknown))?;
        Some(word.value)
    });
    known.collect()
}
