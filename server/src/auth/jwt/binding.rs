//! What a role asks of the claims of a token, and what it takes from them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::verified::Claims;

/// `bound_claims_type`: how values are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    #[default]
    Exact,
    /// A `*` in the bound value stands for any text.
    Glob,
}

/// Why the claims do not suit the role; the texts are Vault's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// A bound claim (named here) is not there.
    #[error("error validating claims: claim {0:?} is missing")]
    Missing(String),
    /// A bound claim is neither a text nor a list.
    #[error("error validating claims: received claim is not a string or list: {0:?}")]
    NoList(String),
    /// A bound claim has none of the values it must have.
    #[error(
        "error validating claims: claim {0:?} does not match any associated bound claim values"
    )]
    Mismatch(String),
    /// The claim that names the user is not there.
    #[error("claim {0:?} not found in token")]
    NoUser(String),
    /// The claim that names the user is no text.
    #[error("claim {0:?} could not be converted to string")]
    UserNoText(String),
    /// The claim that names the groups is not there.
    #[error("failed to fetch groups: {0:?} claim not found in token")]
    NoGroups(String),
    /// The claim that names the groups is no list of texts.
    #[error("{0:?} claim could not be converted to string list")]
    GroupsNoTexts(String),
    /// A claim that goes into the metadata is no text.
    #[error("error converting claim '{0}' to string")]
    MetadataNoText(String),
}

/// A role's `bound_claims`: for each claim the values of which it must have one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BoundClaims {
    /// Claim, by name or place, and its values.
    pub values: BTreeMap<String, Vec<Value>>,
    /// How they are compared.
    pub comparison: Comparison,
}

impl BoundClaims {
    /// Whether the claims have each bound claim with one of its values.
    ///
    /// # Errors
    ///
    /// [`Unsuitable`] of the first that does not fit.
    pub fn check(&self, claims: &Claims) -> Result<(), Unsuitable> {
        for (name, wanted) in &self.values {
            let actual = match claims.get(name) {
                None | Some(Value::Null) => return Err(Unsuitable::Missing(name.clone())),
                Some(Value::Object(_)) => return Err(Unsuitable::NoList(name.clone())),
                Some(Value::Array(many)) => many.as_slice(),
                Some(one) => std::slice::from_ref(one),
            };
            let fits = |wanted: &Value| actual.iter().any(|one| self.comparison.fits(wanted, one));
            if !wanted.iter().any(fits) {
                return Err(Unsuitable::Mismatch(name.clone()));
            }
        }
        Ok(())
    }
}

impl Comparison {
    fn fits(self, wanted: &Value, actual: &Value) -> bool {
        match (self, wanted, actual) {
            (Self::Glob, Value::String(pattern), Value::String(text)) => glob(pattern, text),
            (_, Value::Number(wanted), Value::Number(actual)) => {
                wanted == actual
                    || wanted.as_f64() == actual.as_f64() && !both_whole(wanted, actual)
            }
            _ => wanted == actual,
        }
    }
}

/// Whole numbers are compared as such, or large ones that differ would be the same `f64`.
fn both_whole(a: &serde_json::Number, b: &serde_json::Number) -> bool {
    !a.is_f64() && !b.is_f64()
}

/// Whether `text` is `pattern` with something, or nothing, for each `*`; there is no other special
/// character and no escape (as in Vault's `ryanuber/go-glob`).
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        // The first place leaves the most for the parts that follow.
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    true
}

/// Who the token is about.
///
/// # Errors
///
/// [`Unsuitable::NoUser`], [`Unsuitable::UserNoText`].
pub fn user<'a>(claims: &'a Claims, claim: &str) -> Result<&'a str, Unsuitable> {
    let user = claims.get(claim).filter(|user| user.as_str() != Some(""));
    let user = user.ok_or_else(|| Unsuitable::NoUser(claim.to_owned()))?;
    user.as_str().ok_or_else(|| Unsuitable::UserNoText(claim.to_owned()))
}

/// The groups in `claim`.
///
/// # Errors
///
/// [`Unsuitable::NoGroups`], [`Unsuitable::GroupsNoTexts`].
pub fn groups(claims: &Claims, claim: &str) -> Result<Vec<String>, Unsuitable> {
    let groups = claims.get(claim).ok_or_else(|| Unsuitable::NoGroups(claim.to_owned()))?;
    let texts = match groups {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(many) => many.iter().map(|one| one.as_str().map(ToOwned::to_owned)).collect(),
        _ => None,
    };
    texts.ok_or_else(|| Unsuitable::GroupsNoTexts(claim.to_owned()))
}

/// What `mappings`, from claim to the name in the metadata, take over; a claim that is not there
/// is left out.
///
/// # Errors
///
/// [`Unsuitable::MetadataNoText`].
pub fn metadata(
    claims: &Claims,
    mappings: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Unsuitable> {
    let mut metadata = BTreeMap::new();
    for (claim, name) in mappings {
        let text = match claims.get(claim) {
            None | Some(Value::Null) => continue,
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) => return Err(Unsuitable::MetadataNoText(claim.clone())),
        };
        metadata.insert(name.clone(), text);
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn bound(values: Value, comparison: Comparison) -> BoundClaims {
        let Value::Object(values) = values else { panic!("{values}") };
        let list = |value: Value| match value {
            Value::Array(many) => many,
            one => vec![one],
        };
        let values = values.into_iter().map(|(claim, value)| (claim, list(value))).collect();
        BoundClaims { values, comparison }
    }

    #[test]
    fn each_bound_claim_must_have_one_of_its_values() {
        let claims = Claims::of(json!({
            "repository": "acme/infra", "groups": ["dev", "ops"], "level": 3, "admin": false,
            "nested": { "team": [{ "name": "seal" }], "a/b": "slash" }, "nothing": null,
        }));
        for (wanted, expected) in [
            (json!({}), Ok(())),
            (json!({ "repository": "acme/infra" }), Ok(())),
            (json!({ "repository": ["x", "acme/infra"], "groups": "ops" }), Ok(())),
            (json!({ "level": 3, "admin": false }), Ok(())),
            (json!({ "/nested/team/0/name": "seal", "/nested/a~1b": "slash" }), Ok(())),
            (json!({ "repository": "acme/other" }), Err("repository")),
            (json!({ "repository": "acme/*" }), Err("repository")),
            (json!({ "groups": ["x"], "repository": "acme/infra" }), Err("groups")),
            (json!({ "level": "3" }), Err("level")),
            (json!({ "repository": [] }), Err("repository")),
        ] {
            let outcome = bound(wanted.clone(), Comparison::Exact).check(&claims);
            let expected = expected.map_err(|claim: &str| Unsuitable::Mismatch(claim.into()));
            assert_eq!(outcome, expected, "{wanted}");
        }
        let check = |wanted| bound(wanted, Comparison::Exact).check(&claims).unwrap_err();
        assert_eq!(check(json!({ "absent": "x" })), Unsuitable::Missing("absent".into()));
        assert_eq!(check(json!({ "nothing": "x" })), Unsuitable::Missing("nothing".into()));
        assert_eq!(check(json!({ "nested": "x" })), Unsuitable::NoList("nested".into()));
        assert_eq!(
            check(json!({ "/nested/team/9": "x" })),
            Unsuitable::Missing("/nested/team/9".into())
        );
    }

    #[test]
    fn large_whole_numbers_that_differ_are_different() {
        let claims = Claims::of(json!({ "id": 9_007_199_254_740_993_u64, "ratio": 2.0 }));
        let fits = |wanted| bound(wanted, Comparison::Exact).check(&claims).is_ok();
        assert!(!fits(json!({ "id": 9_007_199_254_740_992_u64 })));
        assert!(fits(json!({ "id": 9_007_199_254_740_993_u64 })));
        assert!(fits(json!({ "ratio": 2 })));
    }

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_is_special() {
        for (pattern, text, fits) in [
            ("*", "", true),
            ("*", "anything", true),
            ("a*", "a", true),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/x:ref:refs/heads/main", true),
            ("repo:acme/*:ref:refs/heads/main", "repo:acme/x:ref:refs/heads/mainx", false),
            ("*ab*ab", "xabab", true),
            ("*ab*ab", "xab", false),
            ("a**c", "abc", true),
            ("a.c", "abc", false),
            ("a?c", "abc", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }

    /// The obvious, exponential matcher.
    fn by_trying(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| by_trying(rest, &text[skip..])),
            Some((first, rest)) => text.first() == Some(first) && by_trying(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn glob_is_what_trying_everything_finds(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            prop_assert_eq!(glob(&pattern, &text), by_trying(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn another_bound_claim_never_widens(
            held in proptest::collection::btree_map("[abc]", "[xyz]{1,2}", 0..3),
            wanted in proptest::collection::btree_map("[abc]", "[xyz*]{1,2}", 0..3),
            claim in "[abcd]",
            value in "[xyz*]{1,2}",
            globs in any::<bool>(),
        ) {
            let comparison = if globs { Comparison::Glob } else { Comparison::Exact };
            let claims = Claims::of(json!(held));
            let narrow = |wanted: &BTreeMap<String, String>| bound(json!(wanted), comparison).check(&claims).is_ok();
            let mut more = wanted.clone();
            more.entry(claim).or_insert(value);
            prop_assert!(narrow(&wanted) || !narrow(&more));
            let exact = bound(json!(wanted), Comparison::Exact).check(&claims).is_ok();
            prop_assert!(!exact || bound(json!(wanted), Comparison::Glob).check(&claims).is_ok());
            let by_hand = wanted.iter().all(|(claim, value)| held.get(claim).is_some_and(|has| match comparison {
                Comparison::Exact => has == value,
                Comparison::Glob => by_trying(value.as_bytes(), has.as_bytes()),
            }));
            prop_assert_eq!(narrow(&wanted), by_hand);
        }
    }

    #[test]
    fn user_groups_and_metadata_come_from_the_claims() {
        let claims = Claims::of(json!({
            "sub": "repo:acme/infra", "n": 1, "groups": ["a", "b"], "one": "a", "mixed": ["a", 1],
            "env": { "name": "prod" }, "list": [],
        }));
        assert_eq!(user(&claims, "sub"), Ok("repo:acme/infra"));
        assert_eq!(user(&claims, "/env/name"), Ok("prod"));
        assert_eq!(user(&claims, "who"), Err(Unsuitable::NoUser("who".into())));
        assert_eq!(user(&claims, "n"), Err(Unsuitable::UserNoText("n".into())));
        assert_eq!(groups(&claims, "groups").unwrap(), ["a", "b"]);
        assert_eq!(groups(&claims, "one").unwrap(), ["a"]);
        assert_eq!(groups(&claims, "mixed"), Err(Unsuitable::GroupsNoTexts("mixed".into())));
        assert_eq!(groups(&claims, "who"), Err(Unsuitable::NoGroups("who".into())));
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
        };
        let taken =
            metadata(&claims, &map(&[("/env/name", "env"), ("n", "number"), ("who", "who")]));
        assert_eq!(taken.unwrap(), map(&[("env", "prod"), ("number", "1")]));
        let no_text = metadata(&claims, &map(&[("list", "list")]));
        assert_eq!(no_text, Err(Unsuitable::MetadataNoText("list".into())));
    }
}
