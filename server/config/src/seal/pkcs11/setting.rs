//! One setting of the stanza: from the field, or from the environment, which wins as in Vault.

use std::fmt;

use selkie_hcl::{Located, Section, StringOrUnsigned};
use zeroize::Zeroizing;

use crate::secret::{self, Reading};
use crate::warning::WarningKind;

/// A field, and the variable that stands for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) field: &'static str,
    pub(super) variable: &'static str,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (or {})", self.field, self.variable)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) lib: Name,
    pub(super) slot: Name,
    pub(super) token_label: Name,
    pub(super) pin: Name,
    pub(super) key_label: Name,
    pub(super) key_id: Name,
    pub(super) mechanism: Name,
    pub(super) max_parallel: Name,
}

pub(super) const NAMES: Names = Names {
    lib: named("lib", "VAULT_HSM_LIB"),
    slot: named("slot", "VAULT_HSM_SLOT"),
    token_label: named("token_label", "VAULT_HSM_TOKEN_LABEL"),
    pin: named("pin", "VAULT_HSM_PIN"),
    key_label: named("key_label", "VAULT_HSM_KEY_LABEL"),
    key_id: named("key_id", "VAULT_HSM_KEY_ID"),
    mechanism: named("mechanism", "VAULT_HSM_MECHANISM"),
    max_parallel: named("max_parallel", "VAULT_HSM_MAX_PARALLEL"),
};

const fn named(field: &'static str, variable: &'static str) -> Name {
    Name { field, variable }
}

impl Names {
    pub(super) const fn all(&self) -> [Name; 8] {
        let Self { lib, slot, token_label, pin, key_label, key_id, mechanism, max_parallel } =
            *self;
        [lib, slot, token_label, pin, key_label, key_id, mechanism, max_parallel]
    }
}

#[derive(Debug, thiserror::Error)]
enum SettingError {
    #[error("missing field {0}")]
    Missing(Name),
    #[error("environment variable {0}: no PIN there: it must be text, of one line and not empty")]
    NotALine(&'static str),
}

/// The text, which the file may give as a number; `None` if it was reported to be wrong.
pub(super) fn text<'d>(
    section: &mut Section<'d>,
    name: Name,
    reading: &Reading<'_>,
) -> Option<Option<Located<'d, String>>> {
    let field = section.field(name.field);
    let is_set = field.place().is_some();
    let given = field.string_or_unsigned().map(|given| {
        given.map(|given| match given {
            StringOrUnsigned::String(text) => text,
            StringOrUnsigned::Unsigned(number) => number.to_string(),
        })
    });
    if is_set && given.is_none() {
        return None;
    }
    let Some(value) = reading.ambient_text(name.variable) else { return Some(given) };
    if let Some(given) = given.filter(|given| given.value != value) {
        let Name { field, variable } = name;
        reading.warn(given.place, WarningKind::VariableWins { variable, field });
    }
    Some(Some(Located { value, place: section.place() }))
}

/// The same, of what must be there.
pub(super) fn required<'d>(
    section: &mut Section<'d>,
    name: Name,
    reading: &Reading<'_>,
) -> Option<Located<'d, String>> {
    let found = text(section, name, reading)?;
    if found.is_none() {
        section.place().report(SettingError::Missing(name));
    }
    found
}

/// The PIN. The variable wins, but a literal in the file is refused all the same.
pub(super) fn pin(
    section: &mut Section<'_>,
    name: Name,
    reading: &Reading<'_>,
) -> Option<Zeroizing<String>> {
    let Name { field, variable } = name;
    let given = section.field(field);
    let is_set = given.place().is_some();
    let reference = given.string();
    let Some(bytes) = reading.ambient(variable) else {
        if !is_set {
            section.place().report(SettingError::Missing(name));
        }
        return reading.secret_line(field, &reference?);
    };
    if let Some(reference) = reference {
        if reference.value.starts_with("env://") || reference.value.starts_with("file://") {
            reading.warn(reference.place, WarningKind::VariableWins { variable, field });
        } else {
            reading.refuse_literal(field, &reference);
        }
    }
    let pin = secret::line(&bytes);
    if pin.is_none() {
        section.place().report(SettingError::NotALine(variable));
    }
    pin
}
