//! `policy`: declared policies, their rules in place or in a file of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use selkie_access::{NameError, Policy, PolicyError, PolicyName};
use selkie_hcl::{Located, Section};

use crate::secret::Reading;
use crate::sources::SourceError;

/// What is wrong with a policy.
#[derive(Debug, thiserror::Error)]
enum DeclarationError {
    #[error("policy {name:?}: {source}")]
    Name { name: String, source: NameError },
    #[error("policy \"{name}\" is built in and cannot be declared")]
    BuiltIn { name: PolicyName },
    #[error("policy \"{name}\" is declared twice; upper and lower case are the same")]
    Repeated { name: PolicyName },
    #[error("a policy has its rules here or in a \"file\", not both")]
    RulesAndFile,
    #[error("field \"file\": {path:?} {error}")]
    File { path: PathBuf, error: SourceError },
    #[error("field \"file\": {path:?}: {error}")]
    Content { path: PathBuf, error: PolicyError },
}

/// All `policy` stanzas that are sound, of which one may take the place of the built-in `default`,
/// and the names that clients may list: those of all stanzas and the built-in ones, so that one
/// mistake in a policy is not reported at every client again.
pub(crate) fn decode(
    root: &mut Section<'_>,
    reading: &Reading<'_>,
) -> (Vec<Policy>, BTreeSet<PolicyName>) {
    let built_in = [Policy::root(), Policy::default_policy()].map(|policy| policy.name().clone());
    let (mut names, mut declared) = (BTreeSet::from(built_in), BTreeSet::new());
    let mut policies = Vec::new();
    for (label, section) in root.labelled("policy") {
        let parsed = label.try_map(|text| {
            text.parse::<PolicyName>().map_err(|source| invalid_name(text, source))
        });
        let Some(Located { value: name, place }) = parsed else {
            continue;
        };
        if name.is_root() {
            place.report(DeclarationError::BuiltIn { name: name.clone() });
        } else if !declared.insert(name.clone()) {
            place.report(DeclarationError::Repeated { name: name.clone() });
        }
        names.insert(name.clone());
        policies.extend(policy(name, section, reading));
    }
    (policies, names)
}

fn invalid_name(name: String, source: NameError) -> DeclarationError {
    DeclarationError::Name { name, source }
}

fn policy(name: PolicyName, mut section: Section<'_>, reading: &Reading<'_>) -> Option<Policy> {
    let file = section.field("file");
    let policy = if file.place().is_some() {
        if !section.labelled("path").is_empty() {
            section.place().report(DeclarationError::RulesAndFile);
        }
        file.string().and_then(|file| policy_file(name, &file, reading))
    } else {
        Policy::from_section(name, &mut section)
    };
    section.finish();
    policy
}

/// Problems in the file are reported as the file's own, with its name and positions.
fn policy_file(
    name: PolicyName,
    file: &Located<'_, String>,
    reading: &Reading<'_>,
) -> Option<Policy> {
    let path = Path::new(&file.value);
    let text = reading.sources.text_file(path).map_err(|error| {
        if !reading.passes_over_missing_keys() {
            file.place.report(DeclarationError::File { path: path.to_owned(), error });
        }
    });
    let parsed = Policy::parse(name, &file.value, &text.ok()?);
    parsed
        .map_err(|error| match error {
            PolicyError::Hcl(problems) => file.place.document().include(problems),
            error @ PolicyError::Json(_) => {
                file.place.report(DeclarationError::Content { path: path.to_owned(), error });
            }
        })
        .ok()
}
