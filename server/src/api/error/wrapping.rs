//! What a client is told of wrapped responses.

/// Why a response is not wrapped, or a wrapped one not given. Its display is Vault's text, or ours
/// where Vault has no such case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapFault {
    /// `sys/wrapping/wrap` without the header.
    #[error("endpoint requires response wrapping to be used")]
    NotRequested,
    /// No response is kept for this token.
    #[error("wrapping token is not valid or does not exist")]
    Invalid,
    /// `sys/wrapping/lookup` without a token.
    #[error("missing \"token\" value in input")]
    MissingToken,
    /// The header is no duration.
    #[error("error parsing X-Vault-Wrap-TTL header: expected a duration such as \"60\" or \"5m\"")]
    MalformedTtl,
    /// The header is below 0.
    #[error("error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative")]
    NegativeTtl,
    /// Ours: there is nowhere to keep a wrapped response.
    #[error("response wrapping needs storage, which is not configured: add a \"storage\" stanza")]
    NoStorage,
    /// Ours: the response is larger than the storage takes.
    #[error("the response is larger than the storage takes, and was not wrapped")]
    TooLarge,
    /// Ours: too many are kept already.
    #[error("too many wrapped responses are kept already; unwrap some or wait")]
    Full,
}
