//! One setting of the stanza: from the field, or from the environment, which wins as in Vault.

use std::error::Error;
use std::fmt;

use selkie_hcl::{Field, Located, Place, Section};
use url::Url;

use crate::secret::Reading;
use crate::warning::WarningKind;

/// Where a setting comes from; it prints as messages name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A field of the stanza.
    Field(&'static str),
    /// A variable of the environment.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, "field {name:?}"),
            Self::Variable(name) => write!(f, "environment variable {name}"),
        }
    }
}

/// The names of a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) field: &'static str,
    /// Variables that stand for the field; the first that is set counts.
    pub(super) variables: &'static [&'static str],
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.field)?;
        self.variables.first().map_or(Ok(()), |variable| write!(f, " (or {variable})"))
    }
}

pub(super) const fn named(field: &'static str, variables: &'static [&'static str]) -> Name {
    Name { field, variables }
}

/// A field without a variable.
pub(super) const fn field_only(field: &'static str) -> Name {
    named(field, &[])
}

/// What was said, by whom, and where a problem with it is reported.
#[derive(Debug)]
pub(super) struct Setting<'d, T = String> {
    pub(super) value: T,
    pub(super) origin: Origin,
    pub(super) place: Place<'d>,
}

/// What is wrong with the variables of the environment as a whole.
#[derive(Debug, thiserror::Error)]
enum VariablesError {
    #[error(
        "environment variable {variable} would apply to the seals {first:?} and {second:?} alike: \
         set it empty and write {field:?} in each"
    )]
    Shared { variable: &'static str, first: String, second: String, field: &'static str },
}

/// Refuses variables of `names`, which say something about one seal, where they would apply to two,
/// and tells whether there were any.
pub(super) fn refuse_shared(
    names: &[Name],
    seals: &[(String, Place<'_>)],
    reading: &Reading<'_>,
) -> bool {
    let mut is_shared = false;
    let [(first, _), (second, place), ..] = seals else {
        return is_shared;
    };
    for name in names {
        for variable in name.variables {
            if reading.ambient(variable).is_some() {
                let (first, second) = (first.clone(), second.clone());
                place.report(VariablesError::Shared { variable, first, second, field: name.field });
                is_shared = true;
            }
        }
    }
    is_shared
}

/// A setting has a value that it cannot have.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {source}")]
struct InvalidSetting<E: Error + Send + Sync + 'static> {
    origin: Origin,
    source: E,
}

impl<'d, T> Setting<'d, T> {
    /// Converts the value; a failure is reported with the origin.
    pub(super) fn try_map<U, E>(
        self,
        convert: impl FnOnce(T) -> Result<U, E>,
    ) -> Option<Setting<'d, U>>
    where
        E: Error + Send + Sync + 'static,
    {
        let Self { value, origin, place } = self;
        match convert(value) {
            Ok(value) => Some(Setting { value, origin, place }),
            Err(source) => {
                place.report(InvalidSetting { origin, source });
                None
            }
        }
    }

    pub(super) fn is_from_field(&self) -> bool {
        matches!(self.origin, Origin::Field(_))
    }
}

impl<'d> Setting<'d> {
    /// The text in `field`.
    pub(super) fn of_field(field: Field<'d>) -> Option<Self> {
        let origin = Origin::Field(field.name());
        let Located { value, place } = field.string()?;
        Some(Self { value, origin, place })
    }

    /// The setting `name`; a variable that contradicts the field is warned of.
    pub(super) fn read(
        section: &mut Section<'d>,
        name: Name,
        reading: &Reading<'_>,
    ) -> Option<Self> {
        let field = Self::of_field(section.field(name.field));
        let Some((variable, value)) = ambient(name, reading) else {
            return field;
        };
        if let Some(field) = field.filter(|field| field.value != value) {
            let kind = WarningKind::VariableWins { variable, field: name.field };
            reading.warn(field.place, kind);
        }
        Some(Self { value, origin: Origin::Variable(variable), place: section.place() })
    }

    /// The same, where the field may be a reference, as in Vault.
    pub(super) fn read_or_follow(
        section: &mut Section<'d>,
        name: Name,
        reading: &Reading<'_>,
    ) -> Option<Self> {
        let setting = Self::read(section, name, reading)?;
        if !setting.is_from_field() || !is_reference(&setting.value) {
            return Some(setting);
        }
        let Self { value, origin, place } = setting;
        let text = reading.secret_line(name.field, &Located { value, place })?;
        Some(Self { value: text.as_str().to_owned(), origin, place })
    }
}

pub(super) fn is_reference(text: &str) -> bool {
    text.starts_with("env://") || text.starts_with("file://")
}

/// The first variable of `name` that is set, and its value.
pub(super) fn ambient(name: Name, reading: &Reading<'_>) -> Option<(&'static str, String)> {
    let mut variables = name.variables.iter();
    variables.find_map(|variable| Some((*variable, reading.ambient_text(variable)?)))
}

/// Why a text is not the URL of a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServerUrlError {
    #[error("expected a URL such as {example:?}")]
    NotAUrl { example: &'static str },
    #[error("must begin with \"https://\": tokens and unwrapped keys never travel in clear")]
    NotHttps,
    #[error("must begin with \"http://\"")]
    NotHttp,
    #[error("must be scheme, host and port alone, without path, query or user name")]
    TooMuch,
}

/// `https://HOST[:PORT]`.
pub(super) fn https_url(text: &str, example: &'static str) -> Result<Url, ServerUrlError> {
    match server_url(text, example)? {
        url if url.scheme() == "https" => bare(url),
        _ => Err(ServerUrlError::NotHttps),
    }
}

/// `http://HOST[:PORT]`.
pub(super) fn http_url(text: &str, example: &'static str) -> Result<Url, ServerUrlError> {
    match server_url(text, example)? {
        url if url.scheme() == "http" => bare(url),
        _ => Err(ServerUrlError::NotHttp),
    }
}

pub(super) fn server_url(text: &str, example: &'static str) -> Result<Url, ServerUrlError> {
    let url = Url::parse(text).ok().filter(Url::has_host);
    url.ok_or(ServerUrlError::NotAUrl { example })
}

pub(super) fn bare(url: Url) -> Result<Url, ServerUrlError> {
    let has_user = !url.username().is_empty() || url.password().is_some();
    let has_more = url.path() != "/" || url.query().is_some() || url.fragment().is_some();
    if has_user || has_more { Err(ServerUrlError::TooMuch) } else { Ok(url) }
}
