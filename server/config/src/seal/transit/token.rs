//! `token`: who we are at the upstream.

use std::fmt;
use std::path::PathBuf;

use selkie_hcl::{Located, Section};
use zeroize::Zeroizing;

use crate::seal::setting::{Name, Origin, Setting, is_reference};
use crate::secret::{self, Reading};
use crate::warning::WarningKind;

/// Where the token for the upstream is.
pub enum UpstreamToken {
    /// There is none: a client certificate, or an agent on the way, says who we are.
    Nowhere,
    /// `env://NAME`, or `VAULT_TOKEN`.
    Given(Zeroizing<String>),
    /// `file://PATH`: it is read when it is needed and whenever it changes, as an agent writes it,
    /// and may not be there yet.
    File(PathBuf),
}

impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("Nowhere"),
            Self::Given(_) => f.write_str("Given"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// What is wrong with a token.
#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error("a token is text of one line and not empty")]
    NotALine,
    #[error("the path after \"file://\" must be absolute")]
    RelativePath,
}

/// `None` if it was reported to be wrong. The variable wins, but a literal in the file is refused all
/// the same.
pub(super) fn decode(
    section: &mut Section<'_>,
    name: Name,
    reading: &Reading<'_>,
) -> Option<UpstreamToken> {
    let place = section.place();
    let field = section.field(name.field);
    let is_set = field.place().is_some();
    let reference = field.string();
    let variable = name.variables.first().copied();
    let Some((variable, bytes)) = variable.and_then(|one| Some((one, reading.ambient(one)?)))
    else {
        return match reference {
            Some(reference) => of_reference(name, &reference, reading),
            None if is_set => None,
            None => Some(UpstreamToken::Nowhere),
        };
    };
    if let Some(reference) = reference {
        if is_reference(&reference.value) {
            let kind = WarningKind::VariableWins { variable, field: name.field };
            reading.warn(reference.place, kind);
        } else {
            reading.refuse_literal(name.field, &reference);
            return None;
        }
    }
    let setting = Setting { value: bytes, origin: Origin::Variable(variable), place };
    let line = setting.try_map(|bytes| secret::line(&bytes).ok_or(TokenError::NotALine));
    line.map(|line| UpstreamToken::Given(line.value))
}

fn of_reference(
    name: Name,
    reference: &Located<'_, String>,
    reading: &Reading<'_>,
) -> Option<UpstreamToken> {
    let Some(path) = reference.value.strip_prefix("file://") else {
        return reading.secret_line(name.field, reference).map(UpstreamToken::Given);
    };
    let path = PathBuf::from(path);
    reading.check_exposure(reference.place, &path);
    let origin = Origin::Field(name.field);
    let setting = Setting { value: path, origin, place: reference.place };
    let path = setting.try_map(|path| match path.is_absolute() {
        true => Ok(path),
        false => Err(TokenError::RelativePath),
    });
    path.map(|path| UpstreamToken::File(path.value))
}
