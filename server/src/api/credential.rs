//! Finds the token in a request where Vault finds it.

use http::HeaderMap;
use http::header::HeaderName;
use selkie_access::{TokenText, TokenTextError};

const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// Whether something stands in place of a token, be it one or not. Then a certificate must not
/// speak for the client.
pub(super) fn is_shown(headers: &HeaderMap) -> bool {
    headers.get(X_VAULT_TOKEN).is_some_and(|value| !value.is_empty()) || bearer(headers).is_some()
}

/// The token of a request: `X-Vault-Token`, else a bearer `Authorization`, as Vault looks for it.
///
/// `None` where there is none or it cannot be one: a client is told the same in both cases.
pub(super) fn token(headers: &HeaderMap) -> Option<TokenText> {
    if let Some(value) = headers.get(X_VAULT_TOKEN).filter(|value| !value.is_empty()) {
        return TokenText::from_header(value.as_bytes()).ok();
    }
    bearer(headers)?.ok()
}

/// The first bearer among the headers `Authorization`: those of other schemes may stand before it.
fn bearer(headers: &HeaderMap) -> Option<Result<TokenText, TokenTextError>> {
    let mut all = headers.get_all(http::header::AUTHORIZATION).iter();
    all.find_map(|value| TokenText::from_authorization(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[(HeaderName, &'static str)]) -> HeaderMap {
        let value = |value: &'static str| http::HeaderValue::from_static(value);
        values.iter().map(|(name, text)| (name.clone(), value(text))).collect()
    }

    /// As in Vault: a proxy may have put its own in front.
    #[test]
    fn a_bearer_token_is_found_behind_other_authorizations() {
        let authorization = http::header::AUTHORIZATION;
        let one = (authorization.clone(), "Basic dTpw");
        let behind = headers(&[one.clone(), (authorization.clone(), "Bearer s.own")]);
        assert_eq!(token(&behind).unwrap().expose_for_hash(), b"s.own");
        assert!(is_shown(&behind));
        let two = [(authorization.clone(), "Bearer s.own"), (authorization.clone(), "Bearer s.b")];
        assert_eq!(token(&headers(&two)).unwrap().expose_for_hash(), b"s.own", "the first");
        let unfit = headers(&[one.clone(), (authorization, "Bearer ")]);
        assert!(token(&unfit).is_none() && is_shown(&unfit));
        let other = headers(&[one]);
        assert!(token(&other).is_none() && !is_shown(&other));
    }
}
