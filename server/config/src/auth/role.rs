//! The `role` blocks of methods that have a configuration and roles.

use std::collections::BTreeSet;
use std::error::Error;

use selkie_hcl::Section;

use super::parameters::{self, TokenParameters};
use super::role_name;

/// A declared role of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredRole<R> {
    /// Its name, in lower case as Vault keeps it.
    pub name: String,
    /// What the method asks of whoever logs in.
    pub role: R,
    /// The `token_*` fields.
    pub token: TokenParameters,
}

#[derive(Debug, thiserror::Error)]
#[error("role {name:?} is declared twice; upper and lower case are the same")]
struct Repeated {
    name: String,
}

/// All `role` blocks; `read` takes the method's own fields of one and says what is wrong with them
/// together.
pub(super) fn decode<R, E: Error + Send + Sync + 'static>(
    section: &mut Section<'_>,
    read: impl Fn(&mut Section<'_>, &TokenParameters) -> (R, Result<(), E>),
) -> Vec<DeclaredRole<R>> {
    let mut names = BTreeSet::new();
    let mut roles = Vec::new();
    for (label, mut block) in section.uniquely_labelled("role") {
        let (place, token) = (label.place, parameters::decode(&mut block));
        let (role, checked) = read(&mut block, &token);
        if let Err(problem) = checked {
            block.place().report(problem);
        }
        block.finish();
        let name = label.try_map(|text| role_name(&text).map(|name| name.to_ascii_lowercase()));
        let Some(name) = name else { continue };
        if !names.insert(name.value.clone()) {
            place.report(Repeated { name: name.value.clone() });
        }
        roles.push(DeclaredRole { name: name.value, role, token });
    }
    roles
}

/// A field's text, or an empty one.
pub(super) fn text(section: &mut Section<'_>, field: &'static str) -> String {
    section.field(field).string().map(|text| text.value).unwrap_or_default()
}

/// A field's texts, or none.
pub(super) fn texts(section: &mut Section<'_>, field: &'static str) -> Vec<String> {
    let listed = section.field(field).string_or_strings();
    let texts = listed.map(|list| list.value).unwrap_or_default();
    texts.into_iter().map(|text| text.value).filter(|text| !text.is_empty()).collect()
}

/// A field's truth, or `default`.
pub(super) fn truth(section: &mut Section<'_>, field: &'static str, default: bool) -> bool {
    section.field(field).boolean().map_or(default, |truth| truth.value)
}
