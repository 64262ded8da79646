use std::fmt;

/// Why a response is not wrapped, or a wrapped one not given. Its display is Vault's text, or ours
/// where Vault has no such case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrapFault {
    /// `sys/wrapping/wrap` without the header.
    NotRequested,
    /// No response is kept for this token.
    Invalid,
    /// `sys/wrapping/lookup` without a token.
    MissingToken,
    /// The header is no duration.
    MalformedTtl,
    /// The header is below 0.
    NegativeTtl,
    /// Ours: there is nowhere to keep a wrapped response.
    NoStorage,
    /// Ours: the response is larger than the storage takes.
    TooLarge,
    /// Ours: too many are kept already.
    Full,
}

impl fmt::Display for WrapFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotRequested => "endpoint requires response wrapping to be used",
            Self::Invalid => "wrapping token is not valid or does not exist",
            Self::MissingToken => "missing \"token\" value in input",
            Self::MalformedTtl => {
                "error parsing X-Vault-Wrap-TTL header: expected a duration such as \"60\" or \"5m\""
            }
            Self::NegativeTtl => {
                "error parsing X-Vault-Wrap-TTL header: requested wrap ttl cannot be negative"
            }
            Self::NoStorage => {
                "response wrapping needs storage, which is not configured: add a \"storage\" stanza"
            }
            Self::TooLarge => "the response is larger than the storage takes, and was not wrapped",
            Self::Full => "too many wrapped responses are kept already; unwrap some or wait",
        })
    }
}
