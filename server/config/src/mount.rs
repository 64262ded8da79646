//! `mount`: the paths under which the transit API answers.

use std::collections::BTreeSet;

use selkie_access::{MountPath, NameError};
use selkie_hcl::{Located, Section};

/// A mounted transit engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it answers.
    pub path: MountPath,
    /// `aliases`: paths it had before. What was encrypted there opens here; requests to them do not
    /// arrive here.
    pub aliases: Vec<MountPath>,
}

impl Mount {
    /// What is mounted when nothing is declared: `transit`.
    #[must_use]
    pub fn default_list() -> Vec<Self> {
        "transit".parse().map(|path| Self { path, aliases: Vec::new() }).into_iter().collect()
    }
}

/// What is wrong with a mount.
#[derive(Debug, thiserror::Error)]
enum MountError {
    #[error("mount {path:?}: {source}")]
    Path { path: String, source: NameError },
    #[error("mount {path:?}: a mount path does not begin with a slash")]
    LeadingSlash { path: String },
    #[error("mount \"{path}\": {reserved:?} belongs to the server itself")]
    Reserved { path: MountPath, reserved: &'static str },
    #[error("mount \"{path}\" lies inside the mount {outer:?}")]
    Nested { path: MountPath, outer: String },
    #[error("\"{path}\" is a mount or an alias already")]
    Repeated { path: MountPath },
}

/// First segments of paths that are not transit's.
const RESERVED: [&str; 4] = ["sys", "auth", "cubbyhole", "identity"];

/// All `mount` stanzas, without those that have problems of their own.
pub(crate) fn decode(root: &mut Section<'_>) -> Vec<Mount> {
    let mut stanzas = Vec::new();
    for (label, mut section) in root.labelled("mount") {
        let aliases = section.field("aliases").strings().map(|list| list.value);
        section.finish();
        if let Some(path) = path(label) {
            let aliases = aliases.unwrap_or_default().into_iter().filter_map(path_of_alias);
            stanzas.push((path, aliases.collect::<Vec<_>>()));
        }
    }
    refuse_repeated(&stanzas);
    refuse_nested(&stanzas);
    if stanzas.is_empty() {
        return Mount::default_list();
    }
    let plain = |(path, aliases): Stanza<'_>| Mount {
        path: path.value,
        aliases: aliases.into_iter().map(|alias| alias.value).collect(),
    };
    stanzas.into_iter().map(plain).collect()
}

type Stanza<'d> = (Located<'d, MountPath>, Vec<Located<'d, MountPath>>);

fn path_of_alias(text: Located<'_, String>) -> Option<Located<'_, MountPath>> {
    text.try_map(|text| match text.parse() {
        Ok(path) => Ok(path),
        Err(_) if text.starts_with('/') => Err(MountError::LeadingSlash { path: text }),
        Err(source) => Err(MountError::Path { path: text, source }),
    })
}

fn path(label: Located<'_, String>) -> Option<Located<'_, MountPath>> {
    let path = path_of_alias(label)?;
    let first = path.value.as_str().split('/').next();
    if let Some(reserved) = RESERVED.into_iter().find(|name| first == Some(name)) {
        let path_text = path.value.clone();
        path.place.report(MountError::Reserved { path: path_text, reserved });
    }
    Some(path)
}

fn refuse_repeated(stanzas: &[Stanza<'_>]) {
    let mut seen = BTreeSet::new();
    let mounts = stanzas.iter().map(|(path, _)| path);
    let aliases = stanzas.iter().flat_map(|(_, aliases)| aliases);
    for path in mounts.chain(aliases) {
        if !seen.insert(&path.value) {
            path.place.report(MountError::Repeated { path: path.value.clone() });
        }
    }
}

/// A request under an inner mount would belong to both.
fn refuse_nested(stanzas: &[Stanza<'_>]) {
    let mounts: BTreeSet<&str> = stanzas.iter().map(|(path, _)| path.value.as_str()).collect();
    for (path, _) in stanzas {
        let text = path.value.as_str();
        let mut ancestors = text.match_indices('/').filter_map(|(end, _)| text.get(..end));
        if let Some(outer) = ancestors.find(|ancestor| mounts.contains(ancestor)) {
            let (path_text, outer) = (path.value.clone(), outer.to_owned());
            path.place.report(MountError::Nested { path: path_text, outer });
        }
    }
}
