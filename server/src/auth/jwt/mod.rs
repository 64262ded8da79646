//! The `jwt` method: whoever holds a token that a trusted provider has signed logs in by it.
//!
//! What is pure stands apart from what asks a provider: a token is taken apart by [`Compact`],
//! proven by [`Compact::verify`], and only then its claims are looked at.

mod algorithm;
mod binding;
mod compact;
mod key;
mod key_set;
mod login;
mod period;
mod source;
mod strict;
#[cfg(test)]
pub(crate) mod tests;
mod verified;
mod web;

pub use self::algorithm::{Algorithm, UnknownAlgorithm};
pub use self::binding::{BoundClaims, Comparison, Unsuitable, glob, groups, metadata, user};
pub use self::compact::{Compact, Malformed, TOKEN_LIMIT};
pub use self::key::{NotAKeySet, UnusableKey, VerificationKey};
pub(crate) use self::key_set::Location;
pub use self::key_set::NoKeys;
pub(crate) use self::login::Jwt;
pub use self::period::{Leeways, NotNow};
pub(crate) use self::source::{KeySources, KeysFrom, SourceError, Unproven};
pub use self::verified::{Claims, Expected, Unbelievable};
pub(crate) use self::web::{Internet, Outside, PATIENCE, Web, WebError, https, lock};
