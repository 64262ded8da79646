//! What a client is told of a policy that it wants to see or change.

use selkie_access::NameError;

use crate::api::quote::Quoted;

/// Why a policy is not shown or changed. Its display is Vault's text, or ours where Vault has no such
/// case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// No text.
    #[error("'policy' parameter not supplied or empty")]
    Missing,
    /// The text is no policy: what is wrong with it, and where.
    #[error("failed to parse policy: {0}")]
    Malformed(Box<str>),
    /// `root` cannot be changed.
    #[error("cannot update \"root\" policy")]
    UpdateRoot,
    /// `root` cannot be removed.
    #[error("cannot delete \"root\" policy")]
    DeleteRoot,
    /// `default` cannot be removed.
    #[error("cannot delete default policy")]
    DeleteDefault,
    /// Ours: not the name of a policy.
    #[error("invalid policy name: {0}")]
    Name(NameError),
    /// Ours: the policy stands in the configuration (invariant I6).
    #[error(
        "policy {} is declared in the configuration ({at}) and cannot be changed through the API",
        Quoted(.name)
    )]
    Declared {
        /// The policy.
        name: Box<str>,
        /// File and line.
        at: Box<str>,
    },
    /// Ours: there is nowhere to keep a policy that is made through the API.
    #[error(
        "policies made through the API need storage: configure a \"storage\" stanza, or declare \
         the policy in the configuration file"
    )]
    NoStorage,
    /// Ours: larger than the storage takes.
    #[error("the policy is larger than the storage takes")]
    TooLarge,
}
