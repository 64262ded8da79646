//! What a rule asks of a request besides its path: `allowed_parameters`, `denied_parameters`,
//! `required_parameters`, `min_wrapping_ttl` and `max_wrapping_ttl`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::capability::Capability;
use crate::identity::Identity;
use crate::request::{Parameter, Request};
use crate::template::Template;

mod denied;
mod reading;

use self::denied::{Budget, Look};
use self::reading::Reading;
pub(crate) use self::reading::Text;

/// The values of each parameter; none is any.
pub(crate) type Values = BTreeMap<Box<str>, Vec<Value>>;

/// What one rule, or all rules for the same path together, ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Constraints {
    /// Empty: all are allowed. Names are in lower case, `*` is every name.
    pub(crate) allowed: Values,
    pub(crate) denied: Values,
    pub(crate) required: BTreeSet<Box<str>>,
    pub(crate) min_wrapping_ttl: Option<Duration>,
    pub(crate) max_wrapping_ttl: Option<Duration>,
}

/// A value in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Matches a text; `*` at either end matches any rest.
    Text(Text),
    Template(Template),
    Boolean(bool),
    Number(Text),
    Null,
}

impl Constraints {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_templated(&self) -> bool {
        let values = self.allowed.values().chain(self.denied.values()).flatten();
        values.into_iter().any(|value| matches!(value, Value::Template(_)))
    }

    /// The same with what `identity` makes of the templates; `None` where it makes nothing of one.
    pub(crate) fn resolve(&self, identity: &Identity) -> Option<Self> {
        Some(Self {
            allowed: resolve(&self.allowed, identity)?,
            denied: resolve(&self.denied, identity)?,
            ..self.clone()
        })
    }

    /// What several rules for the same path ask together, as Vault adds them up: values and names
    /// gather, a name without values stays without, and the shorter times count.
    pub(crate) fn union(&self, other: &Self) -> Self {
        let shorter = |one: Option<Duration>, another| one.into_iter().chain(another).min();
        Self {
            allowed: merge(&self.allowed, &other.allowed),
            denied: merge(&self.denied, &other.denied),
            required: self.required.union(&other.required).cloned().collect(),
            min_wrapping_ttl: shorter(self.min_wrapping_ttl, other.min_wrapping_ttl),
            max_wrapping_ttl: shorter(self.max_wrapping_ttl, other.max_wrapping_ttl),
        }
    }

    /// Whether the request is one that this lets through.
    pub(crate) fn admit(&self, capability: Capability, request: &impl Request) -> bool {
        use Capability::{Create, Delete, List, Patch, Read, Sudo, Update};
        match capability {
            // Asked for beside another capability, which sees to it.
            Sudo => true,
            Delete | List => self.admit_wrapping(request.wrap_ttl()),
            Create | Patch | Read | Update => {
                self.admit_wrapping(request.wrap_ttl()) && self.admit_parameters(request)
            }
        }
    }

    fn admit_wrapping(&self, ttl: Option<Duration>) -> bool {
        // No time is both: rules that were added up may leave none.
        let is_long_enough =
            self.min_wrapping_ttl.is_none_or(|min| ttl.is_some_and(|ttl| ttl >= min));
        is_long_enough && self.max_wrapping_ttl.is_none_or(|max| ttl.is_some_and(|ttl| ttl <= max))
    }

    fn admit_parameters(&self, request: &impl Request) -> bool {
        if self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty() {
            return true;
        }
        let Some(parameters) = request.parameters() else { return false };
        // As Vault: a required name counts in lower case only.
        let is_there = |name: &str| parameters.iter().any(|(given, _)| *given == name);
        if !self.required.iter().all(|name| is_there(name)) {
            return false;
        }
        // One for all: names that differ in case alone are one name here.
        let mut budget = Budget::of_a_request();
        let mut admit = |(name, value): &(&str, _)| self.admit_parameter(name, *value, &mut budget);
        parameters.is_empty() || !self.denied.contains_key("*") && parameters.iter().all(&mut admit)
    }

    fn admit_parameter(&self, name: &str, value: Parameter<'_>, budget: &mut Budget) -> bool {
        let name = lower_case(name);
        if let Some(values) = self.denied.get(&*name)
            && (values.is_empty() || Look { values, budget }.denies(value))
        {
            return false;
        }
        let allows_all = self.allowed.contains_key("*");
        if self.allowed.is_empty() || allows_all && self.allowed.len() == 1 {
            return true;
        }
        match self.allowed.get(&*name) {
            Some(allowed) => is_among(allowed, |one| one.allows(value)),
            None => allows_all,
        }
    }
}

/// No values are all.
fn is_among(values: &[Value], is_it: impl Fn(&Value) -> bool) -> bool {
    values.is_empty() || values.iter().any(is_it)
}

pub(crate) fn lower_case(name: &str) -> Cow<'_, str> {
    match name.chars().any(char::is_uppercase) {
        true => Cow::Owned(name.to_lowercase()),
        false => Cow::Borrowed(name),
    }
}

fn merge(one: &Values, other: &Values) -> Values {
    let mut merged = one.clone();
    for (name, values) in other {
        let entry = merged.entry(name.clone());
        let is_new = matches!(entry, std::collections::btree_map::Entry::Vacant(_));
        let known = entry.or_default();
        if is_new || (!known.is_empty() && !values.is_empty()) {
            known.extend_from_slice(values);
        } else {
            known.clear();
        }
    }
    merged
}

fn resolve(values: &Values, identity: &Identity) -> Option<Values> {
    let mut resolved = Values::new();
    for (name, list) in values {
        let list: Option<_> = list.iter().map(|value| value.resolve(identity)).collect();
        resolved.insert(name.clone(), list?);
    }
    Some(resolved)
}

impl Value {
    fn resolve(&self, identity: &Identity) -> Option<Self> {
        let Self::Template(template) = self else { return Some(self.clone()) };
        // What a client is called must match neither what others are, nor several things at once.
        let is_one = |text: &str| !text.contains(['*', ',']);
        template.resolve(identity, is_one).map(|text| Self::Text(text.into()))
    }

    /// Whether a parameter is this. A number is a number of the same value, which Vault, comparing
    /// how it keeps them, never finds.
    fn is(&self, value: Parameter<'_>) -> bool {
        match (self, value) {
            (Self::Text(own), Parameter::Text(text)) => matches_glob(&own.text, text),
            (Self::Boolean(own), Parameter::Boolean(truth)) => *own == truth,
            (Self::Number(own), Parameter::Number(digits)) => {
                *own.text == *digits || own.reading.is_same_number(&Reading::of(digits))
            }
            (Self::Null, Parameter::Null) => true,
            _ => false,
        }
    }

    /// The same, and of a text with commas each part: an endpoint that takes it for a list would else
    /// be given what the `*` of a value covers. One that ends in `,*` says that any part may follow.
    fn allows(&self, value: Parameter<'_>) -> bool {
        let each_part = match (self, value) {
            (Self::Text(own), Parameter::Text(text))
                if *own.text != *text && !takes_any_part(&own.text) =>
            {
                text.split(',').all(|part| matches_glob(&own.text, part.trim()))
            }
            _ => true,
        };
        each_part && self.is(value)
    }
}

/// Whether its `*` stands for whole parts alone: that of `a,dev-*` does not.
fn takes_any_part(pattern: &str) -> bool {
    let begin = pattern.strip_suffix('*').filter(|begin| !begin.starts_with('*'));
    begin.is_some_and(|begin| begin.trim_end().ends_with(','))
}

/// `*` at the beginning or the end, where something else is there too; anywhere else it is itself.
fn matches_glob(pattern: &str, text: &str) -> bool {
    if pattern.len() < 2 {
        return pattern == text;
    }
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(rest), Some(_)) => text.contains(rest.strip_suffix('*').unwrap_or(rest)),
        (Some(end), None) => text.ends_with(end),
        (None, Some(begin)) => text.starts_with(begin),
        (None, None) => pattern == text,
    }
}

#[cfg(test)]
mod tests;
