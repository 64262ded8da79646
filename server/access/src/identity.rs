//! What is known of a client beside its policies, for the templates in them.

use std::collections::BTreeMap;

/// What `certificate.*` may ask for. Of the names that a certificate can have several of, only one
/// that stands there alone is told: no client chooses among them who it is.
pub const CERTIFICATE_FIELDS: [&str; 9] = [
    "authority_key_id",
    "common_name",
    "dns_san",
    "email_san",
    "organizational_unit",
    "serial_number",
    "sha256",
    "subject_key_id",
    "uri_san",
];

/// What a login knew of a client. An empty text is the same as none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `identity.entity.id`: the same after every login of the same alias at the same method.
    pub id: String,
    /// `identity.entity.name`: the declared name, or one that follows from the id.
    pub name: String,
    /// `identity.entity.metadata.*`
    pub metadata: BTreeMap<String, String>,
    /// `identity.entity.aliases.*`, by the accessor of the method that knows the client so.
    pub aliases: BTreeMap<String, Alias>,
    /// `token.display_name`: the declared name; nothing after a login, where others have the same.
    pub token_display_name: String,
    /// `token.metadata.*`
    pub token_metadata: BTreeMap<String, String>,
    /// `certificate.*`: some of [`CERTIFICATE_FIELDS`].
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
