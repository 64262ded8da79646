//! Finds the token in a request where Vault finds it.

use http::HeaderMap;
use http::header::HeaderName;
use selkie_access::TokenText;

const X_VAULT_TOKEN: HeaderName = HeaderName::from_static("x-vault-token");

/// Whether something stands in place of a token, be it one or not. Then a certificate must not
/// speak for the client.
pub(super) fn is_shown(headers: &HeaderMap) -> bool {
    let bearer = headers.get(http::header::AUTHORIZATION);
    headers.get(X_VAULT_TOKEN).is_some_and(|value| !value.is_empty())
        || bearer.and_then(|value| TokenText::from_authorization(value.as_bytes())).is_some()
}

/// The token of a request: `X-Vault-Token`, else a bearer `Authorization`, as Vault looks for it.
///
/// `None` where there is none or it cannot be one: a client is told the same in both cases.
pub(super) fn token(headers: &HeaderMap) -> Option<TokenText> {
    if let Some(value) = headers.get(X_VAULT_TOKEN).filter(|value| !value.is_empty()) {
        return TokenText::from_header(value.as_bytes()).ok();
    }
    let value = headers.get(http::header::AUTHORIZATION)?;
    TokenText::from_authorization(value.as_bytes())?.ok()
}
