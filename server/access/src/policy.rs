//! Policies: named lists of rules, each a path and what it grants.

mod json;
mod rule;

use std::collections::BTreeSet;
use std::sync::Arc;

use selkie_hcl::{Document, Field, Located, Problems, Section, StringOrUnsigned};

pub(crate) use self::rule::Rule;
use self::rule::{PathText, RuleError, granted_by_legacy_policy, granted_by_word};
use crate::capability::{Capability, Grant};
use crate::constraints::{Constraints, Values, lower_case};
use crate::names::PolicyName;

/// A policy. Alone it decides nothing: an [`Acl`](crate::Acl) is compiled from all that a client
/// has.
#[derive(Clone, Debug)]
pub struct Policy {
    name: PolicyName,
    text: Arc<str>,
    place: Arc<str>,
    rules: Rules,
}

/// Everything is said by the type, never by the name `root`: no text can be read as this.
#[derive(Clone, Debug)]
pub(crate) enum Rules {
    Everything,
    Listed(Arc<[Rule]>),
}

/// Why a text is no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// As HCL.
    #[error(transparent)]
    Hcl(Problems),
    /// As JSON, which it is when it begins with `{`.
    #[error(transparent)]
    Json(serde_json::Error),
}

/// What Vault or OpenBao know besides. All of it narrows a rule, so none may be ignored.
const REFUSED_FIELDS: [&str; 6] = [
    "mfa_methods",
    "control_group",
    "pagination_limit",
    "list_scan_response_keys_filter_path",
    "subscribe_event_types",
    "expiration",
];

/// The built-in `default` policy: Vault's, as far as its paths exist here.
const DEFAULT_RULES: [(&str, Capability); 7] = [
    ("auth/token/lookup-self", Capability::Read),
    ("auth/token/renew-self", Capability::Update),
    ("auth/token/revoke-self", Capability::Update),
    ("sys/capabilities-self", Capability::Update),
    ("sys/wrapping/wrap", Capability::Update),
    ("sys/wrapping/lookup", Capability::Update),
    ("sys/wrapping/unwrap", Capability::Update),
];

impl Policy {
    /// The policy that allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self {
            name: PolicyName::root(),
            text: "".into(),
            place: "".into(),
            rules: Rules::Everything,
        }
    }

    /// The policy that every client has unless it was made without: a token may look at, renew and
    /// revoke itself and ask what it may do.
    #[must_use]
    pub fn default_policy() -> Self {
        let rules = DEFAULT_RULES.map(|(path, capability)| Rule::fixed(path, &[capability]));
        let text = DEFAULT_RULES.map(|(path, capability)| {
            format!("path \"{path}\" {{\n  capabilities = [\"{}\"]\n}}\n", capability.name())
        });
        let rules = Rules::Listed(rules.into());
        let (name, text) = (PolicyName::default_policy(), text.join("\n").into());
        Self { name, text, place: "".into(), rules }
    }

    /// Reads a policy text, in HCL or, when it begins with `{`, in JSON. `file` is what its
    /// problems are reported under. The name that Vault tolerates inside the text is not used, as
    /// there.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the HCL, or the first thing that is wrong with the JSON.
    pub fn parse(name: PolicyName, file: &str, text: &str) -> Result<Self, PolicyError> {
        let rules = if text.trim_start().starts_with('{') {
            json::rules(text).map_err(PolicyError::Json)?
        } else {
            document_rules(file, text).map_err(PolicyError::Hcl)?
        };
        Ok(Self { name, text: text.into(), place: file.into(), rules: Rules::Listed(rules.into()) })
    }

    /// Reads the `path` blocks of a section; the caller finishes the section. Problems go to its
    /// document, and if that has any the answer is `None`, because a policy that lost a rule on the
    /// way might have lost a denial.
    pub fn from_section(name: PolicyName, section: &mut Section<'_>) -> Option<Self> {
        let rules = Rules::Listed(section_rules(section).into());
        let is_sound = !section.place().document().has_problems();
        is_sound.then(|| {
            let place = section.place();
            let place = format!("{}:{}", place.file(), place.position()).into();
            Self { name, text: section.text().trim().into(), place, rules }
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// As it was written; empty for `root`, which no text says.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where it was read: the file, and the position where it stands among other things. Empty for
    /// what is built in.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Whether a rule of it has a template, so that it means something else for each client.
    #[must_use]
    pub fn is_templated(&self) -> bool {
        match &self.rules {
            Rules::Everything => false,
            Rules::Listed(rules) => rules.iter().any(Rule::is_templated),
        }
    }

    /// Whether a rule of it has a path with `{{token.display_name}}` or `{{identity.entity.name}}`, so
    /// that no login is concerned by the name it is shown with.
    #[must_use]
    pub fn names_no_login(&self) -> bool {
        match &self.rules {
            Rules::Everything => false,
            Rules::Listed(rules) => rules.iter().any(Rule::names_no_login),
        }
    }

    /// The paths of its rules that each are one, without wildcards, and the same for every client.
    pub fn exact_paths(&self) -> impl Iterator<Item = &str> {
        let rules = match &self.rules {
            Rules::Everything => &[][..],
            Rules::Listed(rules) => rules,
        };
        rules.iter().filter_map(Rule::exact_path)
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }
}

fn document_rules(file: &str, text: &str) -> Result<Vec<Rule>, Problems> {
    let document = Document::parse(file, text)?;
    let mut root = document.root();
    root.field("name").string();
    let rules = section_rules(&mut root);
    root.finish();
    document.finish()?;
    Ok(rules)
}

/// Rules that have problems are left out, so the caller must look at the document's.
fn section_rules(section: &mut Section<'_>) -> Vec<Rule> {
    let blocks = section.labelled("path");
    blocks.into_iter().filter_map(|(label, body)| rule(label, body)).collect()
}

fn rule(label: Located<'_, String>, mut body: Section<'_>) -> Option<Rule> {
    let path = label.try_map(|text| PathText::parse(&text));
    body.field("comment").string();
    for field in REFUSED_FIELDS {
        body.refuse(field, || RuleError::NotSupported { field });
    }
    let capabilities = body.field("capabilities").strings();
    let legacy = body.field("policy").string();
    let constraints = constraints(&mut body);
    body.finish();

    let words = capabilities.into_iter().flat_map(|list| list.value);
    let granted = words.filter_map(|word| word.try_map(|text| granted_by_word(&text)));
    let legacy = legacy.and_then(|word| word.try_map(|text| granted_by_legacy_policy(&text)));
    let grant = granted.chain(legacy).fold(Grant::NOTHING, |sum, grant| sum.union(&grant.value));
    Some(Rule::new(path?.value, grant, constraints))
}

/// As [`section_rules`]: what has problems is left out.
fn constraints(body: &mut Section<'_>) -> Constraints {
    let required = body.field("required_parameters").strings();
    let required = required.into_iter().flat_map(|list| list.value);
    let constraints = Constraints {
        allowed: parameters(body.field("allowed_parameters")),
        denied: parameters(body.field("denied_parameters")),
        required: required.map(|name| lower_case(&name.value).into()).collect::<BTreeSet<_>>(),
        min_wrapping_ttl: ttl(body.field("min_wrapping_ttl")),
        max_wrapping_ttl: ttl(body.field("max_wrapping_ttl")),
    };
    if let Err(error) = rule::check_ttls(&constraints) {
        body.place().report(error);
    }
    constraints
}

fn parameters(field: Field<'_>) -> Values {
    let Some(lists) = field.lists() else { return Values::new() };
    let place = lists.place;
    let value = |scalar: Located<'_, _>| scalar.try_map(rule::value).map(|value| value.value);
    let entries = lists
        .value
        .into_iter()
        .map(|(name, values)| (name.value, values.into_iter().filter_map(value).collect()));
    rule::values(entries).map_err(|error| place.report(error)).unwrap_or_default()
}

fn ttl(field: Field<'_>) -> Option<std::time::Duration> {
    let name = field.name();
    let ttl = field.string_or_unsigned()?.try_map(|value| match value {
        StringOrUnsigned::String(text) => rule::ttl(name, &text),
        StringOrUnsigned::Unsigned(seconds) => rule::ttl(name, &seconds.to_string()),
    });
    ttl?.value
}

#[cfg(test)]
mod tests;
