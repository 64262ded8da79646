//! The paths of policy rules: which request paths they match, and which of them goes first.

use std::cmp::Reverse;
use std::mem;

/// The path of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RulePath {
    /// Matches itself alone, and goes before every pattern.
    Exact(Box<str>),
    /// Has a `+` segment or ends with `*`.
    Pattern(Pattern),
}

/// Why a text is no rule path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RulePathError {
    #[error("\"+*\" is not allowed in a policy path")]
    PlusStar,
}

impl RulePath {
    /// Reads a path as Vault does: one leading slash is dropped; `+` matches one segment when it is
    /// a whole one; `*` matches any rest when it is the last character, and itself anywhere else.
    pub(crate) fn parse(text: &str) -> Result<Self, RulePathError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        if path.contains("+*") {
            return Err(RulePathError::PlusStar);
        }
        let glob = path.strip_suffix('*');
        if glob.is_none() && !counts_as_wildcard(path) {
            return Ok(Self::Exact(path.into()));
        }
        Ok(Self::Pattern(Pattern::new(glob.unwrap_or(path), glob.is_none())))
    }
}

/// Vault's test, which also takes a segment that merely begins with `+` (`a/+b`). Such a segment
/// matches only itself, yet its rule ranks among the patterns.
fn counts_as_wildcard(path: &str) -> bool {
    path == "+" || path.starts_with("+/") || path.contains("/+")
}

/// A path with wildcards. The greater of two patterns that match the same request path is the one
/// that counts; the order of the fields is Vault's order of priority.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pattern {
    /// The later the first wildcard, the higher the priority.
    first_wildcard: usize,
    /// Whole paths go before prefixes (`a/+` before `a/*`).
    whole: bool,
    /// The fewer `+` segments, the higher the priority.
    plus_segments: Reverse<usize>,
    /// The longer, the higher; then the lexicographically greater.
    length: usize,
    /// Without the `*` at the end.
    text: Box<str>,
    /// What stands before, between and after the `+` segments; at least one, each but the first
    /// empty or beginning with a slash.
    literals: Box<[Box<str>]>,
}

impl Pattern {
    fn new(text: &str, whole: bool) -> Self {
        let plus = if counts_as_wildcard(text) { text.find('+') } else { None };
        let literals = literals(text);
        Self {
            first_wildcard: plus.unwrap_or(text.len()),
            whole,
            plus_segments: Reverse(literals.len().saturating_sub(1)),
            length: text.len(),
            text: text.into(),
            literals,
        }
    }

    /// What a path must begin with, where that is all that this asks.
    pub(crate) fn as_prefix(&self) -> Option<&str> {
        (!self.whole && !counts_as_wildcard(&self.text)).then_some(&*self.text)
    }

    /// Whether this pattern matches the request path. A `+` matches an empty segment too, as in
    /// Vault.
    pub(crate) fn matches(&self, path: &str) -> bool {
        // Of many patterns that begin alike, most are told apart by their ends.
        let may_match =
            !self.whole || self.literals.last().is_some_and(|last| path.ends_with(&**last));
        may_match && self.rest_of(path).is_some_and(|rest| rest.is_empty() || !self.whole)
    }

    /// What is left of a path behind the last literal, if all of them are in it in their places.
    fn rest_of<'p>(&self, path: &'p str) -> Option<&'p str> {
        let (first, others) = self.literals.split_first()?;
        let mut rest = path.strip_prefix(&**first)?;
        for literal in others {
            let slash = rest.bytes().position(|byte| byte == b'/');
            let behind_segment = slash.and_then(|at| rest.get(at..));
            rest = behind_segment.unwrap_or_default().strip_prefix(&**literal)?;
        }
        Some(rest)
    }

    /// Whether paths below the mount can match: what Vault asks before it shows that the mount
    /// exists. `mount` ends with a slash.
    pub(crate) fn reaches_below(&self, mount: &str) -> bool {
        if !counts_as_wildcard(&self.text) {
            return self.text.starts_with(mount);
        }
        let mut expected = self.text.split('/');
        mount
            .trim_end_matches('/')
            .split('/')
            .all(|segment| expected.next().is_some_and(|own| own == "+" || own == segment))
    }
}

fn literals(text: &str) -> Box<[Box<str>]> {
    let mut literals = Vec::new();
    let mut literal = String::new();
    for (index, segment) in text.split('/').enumerate() {
        if index > 0 {
            literal.push('/');
        }
        if segment == "+" {
            literals.push(mem::take(&mut literal).into());
        } else {
            literal.push_str(segment);
        }
    }
    literals.push(literal.into());
    literals.into()
}
