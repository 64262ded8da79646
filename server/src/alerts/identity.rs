use std::sync::Arc;

use crate::auth::{Client, Origin};

/// The display name of a token that was given none.
const NAMELESS: &str = "token";

/// What makes a client the same as before. A name that anybody with the right to make tokens can
/// give is not that of a declared client, and the role of a login counts, as `approle` gives all its
/// tokens one name. A token without a name of its own goes by its accessor.
pub(crate) fn identity(client: &Client) -> Arc<str> {
    let Origin::Token(token) = &client.origin else { return client.name.as_str().into() };
    let role = ["role_name", "role"].iter().find_map(|name| client.metadata.get(*name));
    let name = if client.name == NAMELESS && !client.accessor.is_empty() {
        client.accessor.as_str()
    } else {
        client.name.as_str()
    };
    let parts = [token.made.path.as_str(), " ", name];
    let role = role.map_or_else(String::new, |role| format!(" {role}"));
    [parts.concat(), role].concat().into()
}
