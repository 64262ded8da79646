//! What `validate` has found, for people and for programs.

use std::fmt;

use selkie_config::{Position, Problem, Warning};
use serde_json::{Value, json};

use crate::cli::CommandError;
use crate::telemetry::WithCauses;

/// Something that is wrong or worth telling, and where it stands as far as that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    file: Option<String>,
    position: Option<Position>,
    text: String,
}

impl Remark {
    /// Of the whole of `file`.
    pub(super) fn on(file: &str, text: &dyn fmt::Display) -> Self {
        Self { file: Some(file.to_owned()), position: None, text: text.to_string() }
    }

    /// Of something else than a line of the file, which `text` names.
    pub(super) fn beside(text: String) -> Self {
        Self { file: None, position: None, text }
    }

    /// All that `error` says.
    fn all_of(error: &CommandError) -> Vec<Self> {
        match error {
            CommandError::Config(problems) => {
                let more = match problems.omitted() {
                    0 => None,
                    more => Some(Self::beside(format!("and {more} more"))),
                };
                problems.iter().map(Self::from).chain(more).collect()
            }
            CommandError::Regressions(all) => {
                all.iter().map(|one| Self::beside(one.to_string())).collect()
            }
            CommandError::UnfitPlaces(all) => {
                all.iter().map(|one| Self::beside(one.to_string())).collect()
            }
            other => vec![Self::beside(WithCauses(other).to_string())],
        }
    }

    fn json(&self) -> Value {
        let Self { file, position, text } = self;
        let (line, column) = (position.map(|at| at.line), position.map(|at| at.column));
        json!({ "file": file, "line": line, "column": column, "text": text })
    }
}

impl From<&Warning> for Remark {
    fn from(Warning { file, position, kind }: &Warning) -> Self {
        Self { file: Some(file.to_string()), position: Some(*position), text: kind.to_string() }
    }
}

impl From<&Problem> for Remark {
    fn from(Problem { file, position, kind }: &Problem) -> Self {
        Self { file: Some(file.to_string()), position: Some(*position), text: kind.to_string() }
    }
}

/// As a warning.
impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { file: Some(file), position: Some(at), text } => {
                write!(f, "{file}:{at}: warning: {text}")
            }
            Self { file: Some(file), position: None, text } => write!(f, "{file}: warning: {text}"),
            Self { file: None, text, .. } => f.write_str(text),
        }
    }
}

/// All of it for a program; `checked` is what a good file comes to.
pub(super) fn json(
    file: &str,
    checked: &Result<Vec<String>, CommandError>,
    warnings: &[Remark],
) -> String {
    let json = |remarks: &[Remark]| remarks.iter().map(Remark::json).collect::<Vec<_>>();
    let errors = checked.as_ref().err().map(Remark::all_of).unwrap_or_default();
    let report = json!({
        "ok": checked.is_ok(),
        "file": file,
        "errors": json(&errors),
        "warnings": json(warnings),
        "summary": checked.as_deref().unwrap_or_default(),
    });
    format!("{report:#}\n")
}
