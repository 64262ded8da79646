//! Bodies in JSON.

use serde::Deserialize;

/// The object that `body` is. serde alone would take a list for one, its items for the members.
///
/// `None` if it is none: why stays untold, as the parser's text may quote a secret.
pub(crate) fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| serde_json::from_slice(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Answer {
        token: String,
    }

    #[test]
    fn a_list_is_no_object() {
        let token = "t".to_owned();
        assert_eq!(object(b" \n{\"token\":\"t\"}"), Some(Answer { token }));
        for none in [&br#"["t"]"#[..], br#" ["t"]"#, b"[]", b"null", b"", br#"{"token":1}"#, b"{"] {
            assert_eq!(object::<Answer>(none), None, "{}", none.escape_ascii());
        }
    }
}
