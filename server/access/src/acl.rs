//! The rules of all of a client's policies, compiled for evaluation.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use crate::capability::{Capability, Grant};
use crate::identity::Identity;
use crate::names::MountPath;
use crate::pattern::{Pattern, RulePath};
use crate::policy::{Policy, Rule, Rules};

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
    /// Compiles policies. Beside `root`, every other policy is void, as in Vault.
    pub fn new<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> Self {
        let mut listed = Vec::new();
        for policy in policies {
            match policy.rules() {
                Rules::Everything => {
                    return Self { scope: Scope::Everything };
                }
                Rules::Listed(rules) => listed.extend(rules),
            }
        }
        Self { scope: Scope::Listed(RuleSet::new(listed)) }
    }

    /// The same for a client of whom `identity` is known, which stands in for templates.
    pub fn of<'p>(policies: impl IntoIterator<Item = &'p Policy>, _identity: &Identity) -> Self {
        Self::new(policies)
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

    /// Whether one capability is allowed on a path. Outside this crate the answer is a permit, so
    /// that it cannot come apart from what was asked (I9).
    pub(crate) fn allows(&self, path: &str, capability: Capability) -> bool {
        let rules = match &self.scope {
            Scope::Everything => return true,
            Scope::Listed(rules) => rules,
        };
        let grant = match capability {
            Capability::List => rules.grant_for_list(path),
            _ => rules.grant(path),
        };
        grant.allows(capability)
    }
}

#[derive(Debug)]
struct RuleSet {
    exact: HashMap<Box<str>, Grant>,
    /// Highest priority first.
    patterns: Vec<(Pattern, Grant)>,
}

impl RuleSet {
    fn new<'r>(rules: impl IntoIterator<Item = &'r Rule>) -> Self {
        let mut exact = HashMap::new();
        let mut patterns = BTreeMap::new();
        for Rule { path, grant } in rules {
            let sum = match path {
                RulePath::Exact(path) => exact.entry(path.clone()).or_insert(*grant),
                RulePath::Pattern(pattern) => {
                    patterns.entry(Reverse(pattern.clone())).or_insert(*grant)
                }
            };
            *sum = sum.union(*grant);
        }
        let patterns = patterns.into_iter().map(|(Reverse(pattern), grant)| (pattern, grant));
        Self { exact, patterns: patterns.collect() }
    }

    /// What the one rule that counts for a path grants.
    fn grant(&self, path: &str) -> Grant {
        let path = path.trim_start_matches('/');
        self.exact(path).or_else(|| self.best_pattern(path)).unwrap_or(Grant::NOTHING)
    }

    /// The same for a list, whose path ends with a slash: rules without it count too, and in this
    /// order.
    fn grant_for_list(&self, path: &str) -> Grant {
        let path = path.trim_start_matches('/');
        let Some(bare) = path.strip_suffix('/') else {
            return self.grant(path);
        };
        self.exact(path)
            .or_else(|| self.exact(bare))
            // Vault before 1.14.6 did not ask this: there "+/keys" allowed no list of
            // "transit/keys/".
            .or_else(|| self.best_pattern(bare))
            .or_else(|| self.best_pattern(path))
            .unwrap_or(Grant::NOTHING)
    }

    fn exact(&self, path: &str) -> Option<Grant> {
        self.exact.get(path).copied()
    }

    fn best_pattern(&self, path: &str) -> Option<Grant> {
        let best = self.patterns.iter().find(|(pattern, _)| pattern.matches(path));
        best.map(|(_, grant)| *grant)
    }

    /// Whether something is allowed on or below a path that ends with a slash. A denial hides only
    /// its own rule, as in Vault, because a more specific rule may still allow.
    fn reach_below(&self, mount: &str) -> bool {
        let exact = self.exact.iter().filter(|(path, _)| path.starts_with(mount));
        let patterns = self.patterns.iter().filter(|(pattern, _)| pattern.reaches_below(mount));
        self.grant_for_list(mount).allows_anything()
            || exact.into_iter().any(|(_, grant)| grant.allows_anything())
            || patterns.into_iter().any(|(_, grant)| grant.allows_anything())
    }
}

#[cfg(test)]
mod tests;
