use std::fmt;

use selkie_access::NameError;

use crate::api::quote::Quoted;

/// Why a policy is not shown or changed. Its display is Vault's text, or ours where Vault has no such
/// case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// No text.
    Missing,
    /// The text is no policy: what is wrong with it, and where.
    Malformed(Box<str>),
    /// `root` cannot be changed.
    UpdateRoot,
    /// `root` cannot be removed.
    DeleteRoot,
    /// `default` cannot be removed.
    DeleteDefault,
    /// Ours: not the name of a policy.
    Name(NameError),
    /// Ours: the policy stands in the configuration (invariant I6).
    Declared {
        /// The policy.
        name: Box<str>,
        /// File and line.
        at: Box<str>,
    },
    /// Ours: there is nowhere to keep a policy that is made through the API.
    NoStorage,
    /// Ours: larger than the storage takes.
    TooLarge,
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed(problems) => return write!(f, "failed to parse policy: {problems}"),
            Self::Name(error) => return write!(f, "invalid policy name: {error}"),
            Self::Declared { name, at } => {
                return write!(
                    f,
                    "policy {} is declared in the configuration ({at}) and cannot be changed \
                     through the API",
                    Quoted(name)
                );
            }
            Self::Missing => "'policy' parameter not supplied or empty",
            Self::UpdateRoot => "cannot update \"root\" policy",
            Self::DeleteRoot => "cannot delete \"root\" policy",
            Self::DeleteDefault => "cannot delete default policy",
            Self::NoStorage => {
                "policies made through the API need storage: configure a \"storage\" stanza, or \
                 declare the policy in the configuration file"
            }
            Self::TooLarge => "the policy is larger than the storage takes",
        })
    }
}
