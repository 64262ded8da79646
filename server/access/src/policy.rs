//! Policies: named lists of rules, each a path and what it grants.

mod json;

use selkie_hcl::{Document, Located, Problems, Section};

use crate::capability::{Capability, CapabilitySet, Grant, UnknownCapability};
use crate::names::PolicyName;
use crate::pattern::{RulePath, RulePathError};

/// A policy. Alone it decides nothing: an [`Acl`](crate::Acl) is compiled from all that a client
/// has.
#[derive(Clone, Debug)]
pub struct Policy {
    name: PolicyName,
    rules: Rules,
}

/// Everything is said by the type, never by the name `root`: no text can be read as this.
#[derive(Clone, Debug)]
pub(crate) enum Rules {
    Everything,
    Listed(Vec<Rule>),
}

#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) path: RulePath,
    pub(crate) grant: Grant,
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

/// What is wrong with a rule.
#[derive(Debug, thiserror::Error)]
enum RuleError {
    #[error("{field} is not supported yet, and without it the rule would allow more than it says")]
    NotSupported { field: &'static str },
    #[error("not a policy; there are read, write, sudo and deny")]
    UnknownLegacyPolicy,
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    #[error(transparent)]
    Path(#[from] RulePathError),
}

/// What Vault or OpenBao know beside capabilities. All of it narrows a rule, so none may be
/// ignored.
const NARROWING_FIELDS: [&str; 11] = [
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
    "mfa_methods",
    "control_group",
    "pagination_limit",
    "list_scan_response_keys_filter_path",
    "subscribe_event_types",
    "expiration",
];

/// The built-in `default` policy: Vault's, as far as its paths exist here.
const DEFAULT_RULES: [(&str, Capability); 4] = [
    ("auth/token/lookup-self", Capability::Read),
    ("auth/token/renew-self", Capability::Update),
    ("auth/token/revoke-self", Capability::Update),
    ("sys/capabilities-self", Capability::Update),
];

impl Policy {
    /// The policy that allows everything.
    #[must_use]
    pub fn root() -> Self {
        Self { name: PolicyName::root(), rules: Rules::Everything }
    }

    /// The policy that every client has unless it was made without: a token may look at, renew and
    /// revoke itself and ask what it may do.
    #[must_use]
    pub fn default_policy() -> Self {
        let rules = DEFAULT_RULES.map(|(path, capability)| Rule {
            path: RulePath::Exact(path.into()),
            grant: Grant::Allow(CapabilitySet::of(&[capability])),
        });
        Self { name: PolicyName::default_policy(), rules: Rules::Listed(rules.into()) }
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
        Ok(Self { name, rules: Rules::Listed(rules) })
    }

    /// Reads the `path` blocks of a section; the caller finishes the section. Problems go to its
    /// document, and if that has any the answer is `None`, because a policy that lost a rule on the
    /// way might have lost a denial.
    pub fn from_section(name: PolicyName, section: &mut Section<'_>) -> Option<Self> {
        let rules = Rules::Listed(section_rules(section));
        let is_sound = !section.place().document().has_problems();
        is_sound.then_some(Self { name, rules })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PolicyName {
        &self.name
    }

    /// Whether a rule of it has a template, so that it means something else for each client.
    #[must_use]
    pub const fn is_templated(&self) -> bool {
        false
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
    let path = label.try_map(|text| RulePath::parse(&text));
    body.field("comment").string();
    for field in NARROWING_FIELDS {
        body.refuse(field, || RuleError::NotSupported { field });
    }
    let capabilities = body.field("capabilities").strings();
    let legacy = body.field("policy").string();
    body.finish();

    let words = capabilities.into_iter().flat_map(|list| list.value);
    let granted = words.filter_map(|word| word.try_map(|text| granted_by_word(&text)));
    let legacy = legacy.and_then(|word| word.try_map(|text| granted_by_legacy_policy(&text)));
    let grant = granted.chain(legacy).fold(Grant::NOTHING, |sum, grant| sum.union(grant.value));
    Some(Rule { path: path?.value, grant })
}

/// What one word of a `capabilities` list grants.
fn granted_by_word(word: &str) -> Result<Grant, RuleError> {
    if word == "deny" {
        return Ok(Grant::Deny);
    }
    Ok(Grant::Allow(CapabilitySet::of(&[word.parse()?])))
}

/// What `policy = "..."` grants: the form before capabilities, which Vault still reads.
fn granted_by_legacy_policy(word: &str) -> Result<Grant, RuleError> {
    use Capability::{Create, Delete, List, Read, Sudo, Update};
    let capabilities: &[Capability] = match word {
        "deny" => return Ok(Grant::Deny),
        "read" => &[Read, List],
        "write" => &[Create, Read, Update, Delete, List],
        "sudo" => &[Create, Read, Update, Delete, List, Sudo],
        _ => return Err(RuleError::UnknownLegacyPolicy),
    };
    Ok(Grant::Allow(CapabilitySet::of(capabilities)))
}

#[cfg(test)]
mod tests;
