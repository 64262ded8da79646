//! The rules of all of a client's policies, compiled for evaluation.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::capability::{Capability, Grant};
use crate::identity::Identity;
use crate::names::MountPath;
use crate::pattern::{Pattern, RulePath};
use crate::policy::{Policy, Rules};
use crate::request::Request;

/// What a set of policies allows together, by Vault's rules: an exact path goes before every
/// pattern, of several patterns the most specific one counts, rules for the same path add up, and a
/// denial among those wins. Whatever no rule matches is denied.
///
/// Compiling costs time; a server does it once per set of policies.
#[derive(Debug)]
pub struct Acl {
    scope: Scope,
}

#[derive(Debug)]
enum Scope {
    Everything,
    Listed(RuleSet),
}

impl Acl {
    /// Compiles policies. Beside `root`, every other policy is void, as in Vault. Rules with
    /// templates are void as well, because nothing is known of the client.
    pub fn new<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        Self::of(policies, &Identity::default())
    }

    /// The same for a client of whom `identity` is known, which takes the place of templates. A rule
    /// with a template of which nothing is known is void, as in Vault, be it one that denies.
    pub fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>, identity: &Identity) -> Self {
        let mut listed = Vec::new();
        for policy in policies {
            match policy.rules() {
                Rules::Everything => {
                    return Self { scope: Scope::Everything };
                }
                Rules::Listed(rules) => listed.extend(rules.iter()),
            }
        }
        let resolved = listed.into_iter().filter_map(|rule| rule.resolve(identity));
        Self { scope: Scope::Listed(RuleSet::new(resolved)) }
    }

    /// The names of what is allowed on a path, in their order; `deny` alone if nothing is, `root`
    /// alone if everything is everywhere. The path is read as for a list, which more rules match.
    #[must_use]
    pub fn capabilities(&self, path: &str) -> Vec<&'static str> {
        let rules = match &self.scope {
            Scope::Everything => return vec!["root"],
            Scope::Listed(rules) => rules,
        };
        let grant = rules.grant_for_list(path);
        if !grant.allows_anything() {
            return vec!["deny"];
        }
        let granted = Capability::ALL.into_iter().filter(|one| grant.allows(*one));
        granted.map(Capability::name).collect()
    }

    /// Whether anything is allowed on the mount or below it: then its existence may be shown.
    #[must_use]
    pub fn reaches_mount(&self, mount: &MountPath) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Listed(rules) => rules.reach_below(&format!("{mount}/")),
        }
    }

    /// Whether somebody who asks in some way or other is allowed a capability on a path. That is no
    /// permit: it tells those who may know from those who may not.
    #[must_use]
    pub fn reaches(&self, path: &str, capability: Capability) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Listed(rules) => rules.grant_for(path, capability).allows(capability),
        }
    }

    /// Whether a request is allowed a capability on a path. Outside this crate the answer is a
    /// permit, so that it cannot come apart from what was asked (I9).
    pub(crate) fn admits(
        &self,
        path: &str,
        capability: Capability,
        request: &impl Request,
    ) -> bool {
        match &self.scope {
            Scope::Everything => true,
            Scope::Listed(rules) => rules.grant_for(path, capability).admits(capability, request),
        }
    }
}

#[derive(Debug)]
struct RuleSet {
    exact: HashMap<Box<str>, Grant>,
    /// Those without `+`, by what stands before the `*`: of those that match the longest counts, so
    /// that no other needs to be tried.
    prefixes: HashMap<Box<str>, (Pattern, Grant)>,
    /// The lengths of the prefixes, the greatest first.
    prefix_lengths: Vec<usize>,
    /// The others, highest priority first.
    patterns: Vec<(Pattern, Grant)>,
}

impl RuleSet {
    fn new<'r>(rules: impl IntoIterator<Item = (Cow<'r, RulePath>, Cow<'r, Grant>)>) -> Self {
        let mut exact: HashMap<Box<str>, Grant> = HashMap::new();
        let mut patterns: BTreeMap<Reverse<Pattern>, Grant> = BTreeMap::new();
        for (path, grant) in rules {
            let sum = match path.into_owned() {
                RulePath::Exact(path) => exact.entry(path).or_insert_with(|| (*grant).clone()),
                RulePath::Pattern(pattern) => {
                    patterns.entry(Reverse(pattern)).or_insert_with(|| (*grant).clone())
                }
            };
            *sum = sum.union(&grant);
        }
        let (mut prefixes, mut lengths, mut others) = (HashMap::new(), BTreeSet::new(), Vec::new());
        for (Reverse(pattern), grant) in patterns {
            match pattern.as_prefix() {
                Some(prefix) => {
                    lengths.insert(prefix.len());
                    prefixes.insert(prefix.into(), (pattern, grant));
                }
                None => others.push((pattern, grant)),
            }
        }
        let prefix_lengths = lengths.into_iter().rev().collect();
        Self { exact, prefixes, prefix_lengths, patterns: others }
    }

    fn grant_for(&self, path: &str, capability: Capability) -> &Grant {
        match capability {
            Capability::List => self.grant_for_list(path),
            _ => self.grant(path),
        }
    }

    /// What the one rule that counts for a path grants.
    fn grant(&self, path: &str) -> &Grant {
        let path = path.trim_start_matches('/');
        self.exact.get(path).or_else(|| self.best_pattern(path)).unwrap_or(&Grant::NOTHING)
    }

    /// The same for a list, whose path ends with a slash: rules without it count too, and in this
    /// order.
    fn grant_for_list(&self, path: &str) -> &Grant {
        let path = path.trim_start_matches('/');
        let Some(bare) = path.strip_suffix('/') else {
            return self.grant(path);
        };
        self.exact
            .get(path)
            .or_else(|| self.exact.get(bare))
            // Vault before 1.14.6 did not ask this: there "+/keys" allowed no list of
            // "transit/keys/".
            .or_else(|| self.best_pattern(bare))
            .or_else(|| self.best_pattern(path))
            .unwrap_or(&Grant::NOTHING)
    }

    fn best_pattern(&self, path: &str) -> Option<&Grant> {
        let longest = self
            .prefix_lengths
            .iter()
            .find_map(|length| path.get(..*length).and_then(|prefix| self.prefixes.get(prefix)));
        let best = self.patterns.iter().find(|(pattern, _)| pattern.matches(path));
        let greater = match (longest, best) {
            (Some(one), Some(other)) if one.0 > other.0 => Some(one),
            (one, other) => other.or(one),
        };
        greater.map(|(_, grant)| grant)
    }

    /// Whether something is allowed on or below a path that ends with a slash. A denial hides only
    /// its own rule, as in Vault, because a more specific rule may still allow.
    fn reach_below(&self, mount: &str) -> bool {
        let exact = self.exact.iter().filter(|(path, _)| path.starts_with(mount));
        let patterns = self.patterns.iter().chain(self.prefixes.values());
        let patterns = patterns.filter(|(pattern, _)| pattern.reaches_below(mount));
        self.grant_for_list(mount).allows_anything()
            || exact.into_iter().any(|(_, grant)| grant.allows_anything())
            || patterns.into_iter().any(|(_, grant)| grant.allows_anything())
    }
}

#[cfg(test)]
mod tests;
