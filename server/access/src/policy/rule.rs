//! One rule of a policy, with what of it depends on who asks: a client's own text is never a
//! wildcard or a further segment.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use selkie_hcl::{Scalar, parse_duration};

use crate::capability::{Capability, CapabilitySet, Grant, UnknownCapability};
use crate::constraints::{Constraints, Value, Values, lower_case};
use crate::identity::Identity;
use crate::pattern::{RulePath, RulePathError};
use crate::template::{Template, TemplateError};

/// A path, and what is granted on it.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    path: PathText,
    grant: Grant,
}

/// The path of a rule, the same for every client or not.
#[derive(Clone, Debug)]
pub(super) enum PathText {
    Fixed(RulePath),
    Template(Template),
}

/// What is wrong with a rule.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RuleError {
    #[error("{field} is not supported, and without it the rule would allow more than it says")]
    NotSupported { field: &'static str },
    #[error("not a policy; there are read, write, sudo and deny")]
    UnknownLegacyPolicy,
    #[error("parameter {name:?} is there twice; upper and lower case are the same")]
    RepeatedParameter { name: String },
    #[error("{field}: expected a duration such as \"90s\", \"1h30m\" or a number of seconds")]
    Duration { field: &'static str },
    #[error("max_wrapping_ttl cannot be less than min_wrapping_ttl")]
    MaxBelowMin,
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    #[error(transparent)]
    Path(#[from] RulePathError),
    #[error(transparent)]
    Template(#[from] TemplateError),
}

impl Rule {
    pub(super) fn new(path: PathText, grant: Grant, constraints: Constraints) -> Self {
        Self { path, grant: grant.under(constraints) }
    }

    pub(super) fn fixed(path: &str, capabilities: &[Capability]) -> Self {
        let path = PathText::Fixed(RulePath::Exact(path.into()));
        Self { path, grant: Grant::of(CapabilitySet::of(capabilities)) }
    }

    pub(super) fn is_templated(&self) -> bool {
        let is_path = matches!(self.path, PathText::Template(_));
        is_path || self.constraints().is_some_and(Constraints::is_templated)
    }

    /// Its path, if that is one, and the same for every client.
    pub(super) fn exact_path(&self) -> Option<&str> {
        match &self.path {
            PathText::Fixed(RulePath::Exact(path)) => Some(path),
            PathText::Fixed(RulePath::Pattern(_)) | PathText::Template(_) => None,
        }
    }

    fn constraints(&self) -> Option<&Constraints> {
        match &self.grant {
            Grant::Allow(allowance) => allowance.constraints.as_deref(),
            Grant::Deny => None,
        }
    }

    /// Whether it takes something away that a more general rule might grant.
    fn restricts(&self) -> bool {
        matches!(self.grant, Grant::Deny) || self.constraints().is_some()
    }

    /// Whether its path names somebody as no login is called. Whatever it grants, it may be there to
    /// grant less than a more general rule.
    pub(super) fn names_no_login(&self) -> bool {
        matches!(&self.path, PathText::Template(path) if path.names_no_login())
    }

    /// The rule for the client of whom `identity` is known; `None` where it says nothing to it,
    /// because its path is nobody's. One whose parameters cannot be told denies its path: were it
    /// void, a more general rule would count there, without what this one asks.
    pub(crate) fn resolve(
        &self,
        identity: &Identity,
    ) -> Option<(Cow<'_, RulePath>, Cow<'_, Grant>)> {
        let path = match &self.path {
            PathText::Fixed(path) => Cow::Borrowed(path),
            PathText::Template(template) => match template.resolve(identity, fits_into_a_path) {
                Some(text) => Cow::Owned(RulePath::parse(&text).ok()?),
                // Without what it forbids, a more general rule would count there.
                None if self.restricts() => {
                    let text = template.resolve(identity, |_| true)?;
                    let path = Cow::Owned(RulePath::parse(&text).ok()?);
                    return Some((path, Cow::Owned(Grant::Deny)));
                }
                None => return None,
            },
        };
        let grant = match (self.constraints(), &self.grant) {
            (Some(constraints), Grant::Allow(allowance)) if constraints.is_templated() => {
                let capabilities = Grant::of(allowance.capabilities);
                Cow::Owned(match constraints.resolve(identity) {
                    Some(resolved) => capabilities.under(resolved),
                    None => Grant::Deny,
                })
            }
            (_, grant) => Cow::Borrowed(grant),
        };
        Some((path, grant))
    }
}

impl PathText {
    pub(super) fn parse(text: &str) -> Result<Self, RuleError> {
        if let Some(template) = Template::parse(text)? {
            // What makes no path with any name in its place makes none with the client's.
            RulePath::parse(text)?;
            return Ok(Self::Template(template));
        }
        Ok(Self::Fixed(RulePath::parse(text)?))
    }
}

/// A client must not reach anything by what it is called but what somebody else could be called as
/// well: a value is part of one segment, and no wildcard.
fn fits_into_a_path(value: &str) -> bool {
    !value.contains(['*', '/']) && !value.starts_with('+')
}

/// What one word of a `capabilities` list grants.
pub(super) fn granted_by_word(word: &str) -> Result<Grant, RuleError> {
    if word == "deny" {
        return Ok(Grant::Deny);
    }
    Ok(Grant::of(CapabilitySet::of(&[word.parse()?])))
}

/// What `policy = "..."` grants: the form before capabilities, which Vault still reads.
pub(super) fn granted_by_legacy_policy(word: &str) -> Result<Grant, RuleError> {
    use Capability::{Create, Delete, List, Read, Sudo, Update};
    let capabilities: &[Capability] = match word {
        "deny" => return Ok(Grant::Deny),
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        _ => return Err(RuleError::UnknownLegacyPolicy),
    };
    Ok(Grant::of(CapabilitySet::of(capabilities)))
}

/// A value of a parameter.
pub(super) fn value(scalar: Scalar) -> Result<Value, RuleError> {
    Ok(match scalar {
        Scalar::Number(digits) => Value::Number(digits.into()),
        Scalar::Boolean(truth) => Value::Boolean(truth),
        Scalar::String(text) => match Template::parse(&text)? {
            Some(template) => Value::Template(template),
            None => Value::Text(text.into()),
        },
    })
}

/// The values of all parameters.
pub(super) fn values(
    entries: impl IntoIterator<Item = (String, Vec<Value>)>,
) -> Result<Values, RuleError> {
    let mut all = BTreeMap::new();
    for (name, values) in entries {
        if all.insert(lower_case(&name).into(), values).is_some() {
            return Err(RuleError::RepeatedParameter { name });
        }
    }
    Ok(all)
}

/// A time as Vault reads it, seconds if it is digits alone; 0 is none.
pub(super) fn ttl(field: &'static str, text: &str) -> Result<Option<Duration>, RuleError> {
    let seconds = text.parse().ok().map(Duration::from_secs);
    let ttl = seconds.map_or_else(|| parse_duration(field, text), Ok);
    let ttl = ttl.map_err(|_malformed| RuleError::Duration { field })?;
    Ok((!ttl.is_zero()).then_some(ttl))
}

/// Whether both times can be kept.
pub(super) fn check_ttls(constraints: &Constraints) -> Result<(), RuleError> {
    match (constraints.min_wrapping_ttl, constraints.max_wrapping_ttl) {
        (Some(min), Some(max)) if max < min => Err(RuleError::MaxBelowMin),
        _ => Ok(()),
    }
}
