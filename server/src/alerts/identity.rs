//! Whom an alert takes for the same client as before; nobody can take another's place by a name.

use std::sync::Arc;

use crate::auth::{Client, Origin};

/// The display name of a token that was given none.
const NAMELESS: &str = "token";

/// What makes a client the same as before: for a declared one its name; for a login who logged in,
/// whatever token that gave. Another token goes by the path that made it and its name, so that no
/// name which somebody gives a token is that of a declared client, or by its accessor if it has no
/// name of its own.
pub(crate) fn identity(client: &Client) -> Arc<str> {
    let Origin::Token(token) = &client.origin else { return client.name().into() };
    let (path, entity) = (token.made.path.as_str(), token.made.entity_id());
    let parts = match (client.name(), client.accessor()) {
        (name, _) if !entity.is_empty() => [path, " ", name, " ", entity],
        (NAMELESS, accessor) if !accessor.is_empty() => [path, " ", accessor, "", ""],
        (name, _) => [path, " ", name, "", ""],
    };
    parts.concat().into()
}
