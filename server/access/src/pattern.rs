//! The paths of policy rules: which request paths they match, and which of them goes first.

use std::cmp::Reverse;

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
    #[error("templates in policy paths are not supported yet")]
    Template,
}

impl RulePath {
    /// Reads a path as Vault does: one leading slash is dropped; `+` matches one segment when it is a
    /// whole one; `*` matches any rest when it is the last character, and itself anywhere else.
    pub(crate) fn parse(text: &str) -> Result<Self, RulePathError> {
        let path = text.strip_prefix('/').unwrap_or(text);
        if path.contains("+*") {
            return Err(RulePathError::PlusStar);
        }
        // A rule that denies on a path we cannot expand would silently not deny.
        if path.contains("{{") {
            return Err(RulePathError::Template);
        }
        let glob = path.strip_suffix('*');
        if glob.is_none() && !counts_as_wildcard(path) {
            return Ok(Self::Exact(path.into()));
        }
        Ok(Self::Pattern(Pattern::new(
            glob.unwrap_or(path),
            glob.is_none(),
        )))
    }
}

/// Vault's test, which also takes a segment that merely begins with `+` (`a/+b`). Such a segment matches
/// only itself, yet its rule ranks among the patterns.
fn counts_as_wildcard(path: &str) -> bool {
    path == "+" || path.starts_with("+/") || path.contains("/+")
}

/// A path with wildcards. The greater of two patterns that match the same request path is the one that
/// counts; the order of the fields is Vault's order of priority.
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
}

impl Pattern {
    fn new(text: &str, whole: bool) -> Self {
        let plus = if counts_as_wildcard(text) {
            text.find('+')
        } else {
            None
        };
        Self {
            first_wildcard: plus.unwrap_or(text.len()),
            whole,
            plus_segments: Reverse(text.split('/').filter(|segment| *segment == "+").count()),
            length: text.len(),
            text: text.into(),
        }
    }

    /// Whether this pattern matches the request path. A `+` matches an empty segment too, as in Vault.
    pub(crate) fn matches(&self, path: &str) -> bool {
        let Some((literal, _)) = self.text.split_at_checked(self.first_wildcard) else {
            return false;
        };
        path.starts_with(literal) && self.matches_segments(path)
    }

    fn matches_segments(&self, path: &str) -> bool {
        let mut expected = self.text.split('/').peekable();
        let mut given = path.split('/');
        while let Some(pattern) = expected.next() {
            let Some(segment) = given.next() else {
                return false;
            };
            if !self.whole && expected.peek().is_none() {
                return segment.starts_with(pattern);
            }
            if pattern != "+" && pattern != segment {
                return false;
            }
        }
        given.next().is_none()
    }

    /// Whether paths below the mount can match: what Vault asks before it shows that the mount exists.
    /// `mount` ends with a slash.
    pub(crate) fn reaches_below(&self, mount: &str) -> bool {
        if !counts_as_wildcard(&self.text) {
            return self.text.starts_with(mount);
        }
        let mut expected = self.text.split('/');
        mount.trim_end_matches('/').split('/').all(|segment| {
            expected
                .next()
                .is_some_and(|own| own == "+" || own == segment)
        })
    }
}
