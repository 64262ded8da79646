//! What is known of a client beside its policies, for the templates in them.

use std::collections::BTreeMap;

/// What a login knew of a client. An empty text is the same as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `identity.entity.name`: who it is, whichever way it logged in.
    pub name: String,
    /// `identity.entity.metadata.*`
    pub metadata: BTreeMap<String, String>,
    /// `identity.entity.aliases.*`, by the accessor of the method that knows the client so.
    pub aliases: BTreeMap<String, Alias>,
    /// `token.display_name`
    pub token_display_name: String,
    /// `token.metadata.*`
    pub token_metadata: BTreeMap<String, String>,
    /// `certificate.*`, as `common_name` and `serial_number`.
    pub certificate: BTreeMap<String, String>,
}

/// How one login method knows a client.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Alias {
    /// `identity.entity.aliases.<accessor>.name`
    pub name: String,
    /// `identity.entity.aliases.<accessor>.metadata.*`
    pub metadata: BTreeMap<String, String>,
}
