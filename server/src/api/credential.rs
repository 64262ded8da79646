use http::HeaderMap;
use selkie_access::TokenText;

/// The token of a request: `X-Vault-Token`, else a bearer `Authorization`, as Vault looks for it.
///
/// `None` where there is none or it cannot be one: a client is told the same in both cases.
pub(super) fn token(headers: &HeaderMap) -> Option<TokenText> {
    if let Some(value) = headers.get("x-vault-token").filter(|value| !value.is_empty()) {
        return TokenText::from_header(value.as_bytes()).ok();
    }
    let value = headers.get(http::header::AUTHORIZATION)?;
    TokenText::from_authorization(value.as_bytes())?.ok()
}
