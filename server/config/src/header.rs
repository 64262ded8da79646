//! Headers of outgoing requests, whose values are secrets.

use std::fmt;

use selkie_hcl::{Located, Section};
use zeroize::Zeroizing;

use crate::secret::Reading;

/// A header that is sent with every request.
pub struct SecretHeader {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, from `env://` or `file://`.
    pub value: Zeroizing<String>,
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHeader({:?})", self.name)
    }
}

/// A text in the list is no header.
#[derive(Debug, thiserror::Error)]
#[error("field {field:?}: expected \"NAME=env://VARIABLE\" or \"NAME=file:///path\"")]
struct NotAHeader {
    field: &'static str,
}

/// The list of headers in `field`; none by default.
pub(crate) fn headers(
    section: &mut Section<'_>,
    field: &'static str,
    reading: &Reading<'_>,
) -> Vec<SecretHeader> {
    let listed = section.field(field).string_or_strings();
    let listed = listed.map(|list| list.value).unwrap_or_default();
    let header = |one: Located<'_, String>| {
        let Located { value: (name, reference), place } = one.try_map(|text| {
            let (name, reference) = text.split_once('=').ok_or(NotAHeader { field })?;
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            let fits = !name.is_empty() && name.bytes().all(is_name);
            let split = (name.to_ascii_lowercase(), reference.to_owned());
            if fits { Ok(split) } else { Err(NotAHeader { field }) }
        })?;
        let value = reading.secret_line(field, &Located { value: reference, place })?;
        Some(SecretHeader { name, value })
    };
    listed.into_iter().filter_map(header).collect()
}
