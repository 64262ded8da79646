//! Paths to actions.

use http::Method;

use crate::operation::Operation;
use crate::world::access::Permission;

/// What a path asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Route {
    /// `None` if there is no such path or method.
    pub(crate) action: Option<Action>,
    /// Whether the path is one of Key Vault's, whatever the method.
    pub(crate) path_exists: bool,
    pub(crate) key: Option<String>,
    pub(crate) version: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Get,
    List,
    Versions,
    Create,
    Import,
    Update,
    Rotate,
    ReadPolicy,
    WritePolicy,
    Delete,
    ListDeleted,
    GetDeleted,
    Recover,
    Purge,
    Backup,
    Restore,
    Crypto(Crypto),
}

/// An operation with the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crypto {
    Wrap,
    Unwrap,
    Encrypt,
    Decrypt,
    Sign,
    Verify,
}

impl Route {
    /// Reads method and path.
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (first, rest) = segments.split_first().unwrap_or((&"", &[]));
        match first.to_ascii_lowercase().as_str() {
            "keys" => Self::in_keys(method, rest),
            "deletedkeys" => Self::in_deleted(method, rest),
            _ => Self::default(),
        }
    }

    fn in_keys(method: &Method, rest: &[&str]) -> Self {
        match rest {
            [] | [""] => Self::new(on(method, &[(Method::GET, Action::List)]), None, None),
            [name] if name.eq_ignore_ascii_case("restore") && method == Method::POST => {
                Self::new(Some(Action::Restore), None, None)
            }
            [name] | [name, ""] => {
                let actions = [
                    (Method::GET, Action::Get),
                    (Method::PUT, Action::Import),
                    (Method::PATCH, Action::Update),
                    (Method::DELETE, Action::Delete),
                ];
                Self::new(on(method, &actions), Some(name), None)
            }
            [name, second] => match two(method, second) {
                Some(action) => Self::new(action, Some(name), None),
                None => {
                    let actions = [(Method::GET, Action::Get), (Method::PATCH, Action::Update)];
                    Self::new(on(method, &actions), Some(name), Some(second))
                }
            },
            [name, version, verb] => match crypto(verb) {
                Some(verb) => {
                    let actions = [(Method::POST, Action::Crypto(verb))];
                    Self::new(on(method, &actions), Some(name), Some(version))
                }
                None if verb.is_empty() => Self::in_keys(method, &[name, version]),
                None => Self::default(),
            },
            _ => Self::default(),
        }
    }

    fn in_deleted(method: &Method, rest: &[&str]) -> Self {
        match rest {
            [] | [""] => Self::new(on(method, &[(Method::GET, Action::ListDeleted)]), None, None),
            [name] | [name, ""] => {
                let actions = [(Method::GET, Action::GetDeleted), (Method::DELETE, Action::Purge)];
                Self::new(on(method, &actions), Some(name), None)
            }
            [name, verb] if verb.eq_ignore_ascii_case("recover") => {
                Self::new(on(method, &[(Method::POST, Action::Recover)]), Some(name), None)
            }
            _ => Self::default(),
        }
    }

    fn new(action: Option<Action>, key: Option<&str>, version: Option<&str>) -> Self {
        Self {
            action,
            path_exists: true,
            key: key.map(str::to_owned),
            version: version.map(str::to_owned),
        }
    }
}

/// The action for a method.
fn on(method: &Method, actions: &[(Method, Action)]) -> Option<Action> {
    actions.iter().find(|(m, _)| m == method).map(|(_, action)| *action)
}

/// `/keys/{name}/{word}`; `None` if the word is a version.
fn two(method: &Method, word: &str) -> Option<Option<Action>> {
    let actions: &[(Method, Action)] = match word.to_ascii_lowercase().as_str() {
        "create" => &[(Method::POST, Action::Create)],
        "rotate" => &[(Method::POST, Action::Rotate)],
        "backup" => &[(Method::POST, Action::Backup)],
        "versions" => &[(Method::GET, Action::Versions)],
        "rotationpolicy" => {
            &[(Method::GET, Action::ReadPolicy), (Method::PUT, Action::WritePolicy)]
        }
        verb => return crypto(verb).map(|c| on(method, &[(Method::POST, Action::Crypto(c))])),
    };
    Some(on(method, actions))
}

fn crypto(verb: &str) -> Option<Crypto> {
    Some(match verb.to_ascii_lowercase().as_str() {
        "wrapkey" => Crypto::Wrap,
        "unwrapkey" => Crypto::Unwrap,
        "encrypt" => Crypto::Encrypt,
        "decrypt" => Crypto::Decrypt,
        "sign" => Crypto::Sign,
        "verify" => Crypto::Verify,
        _ => return None,
    })
}

impl Action {
    pub(crate) const fn operation(self) -> Operation {
        match self {
            Self::Get => Operation::Get,
            Self::List => Operation::List,
            Self::Versions => Operation::Versions,
            Self::Create => Operation::Create,
            Self::Import => Operation::Import,
            Self::Update => Operation::Update,
            Self::Rotate => Operation::Rotate,
            Self::ReadPolicy | Self::WritePolicy => Operation::Policy,
            Self::Delete => Operation::Delete,
            Self::ListDeleted | Self::GetDeleted => Operation::Deleted,
            Self::Recover => Operation::Recover,
            Self::Purge => Operation::Purge,
            Self::Backup => Operation::Backup,
            Self::Restore => Operation::Restore,
            Self::Crypto(Crypto::Wrap) => Operation::Wrap,
            Self::Crypto(Crypto::Unwrap) => Operation::Unwrap,
            Self::Crypto(Crypto::Encrypt) => Operation::Encrypt,
            Self::Crypto(Crypto::Decrypt) => Operation::Decrypt,
            Self::Crypto(Crypto::Sign) => Operation::Sign,
            Self::Crypto(Crypto::Verify) => Operation::Verify,
        }
    }

    pub(crate) const fn permission(self) -> Permission {
        match self {
            Self::Get | Self::GetDeleted => Permission::Get,
            Self::List | Self::Versions | Self::ListDeleted => Permission::List,
            Self::Create => Permission::Create,
            Self::Import => Permission::Import,
            Self::Update => Permission::Update,
            Self::Rotate => Permission::Rotate,
            Self::ReadPolicy => Permission::ReadPolicy,
            Self::WritePolicy => Permission::WritePolicy,
            Self::Delete => Permission::Delete,
            Self::Recover => Permission::Recover,
            Self::Purge => Permission::Purge,
            Self::Backup => Permission::Backup,
            Self::Restore => Permission::Restore,
            Self::Crypto(Crypto::Wrap) => Permission::Wrap,
            Self::Crypto(Crypto::Unwrap) => Permission::Unwrap,
            Self::Crypto(Crypto::Encrypt) => Permission::Encrypt,
            Self::Crypto(Crypto::Decrypt) => Permission::Decrypt,
            Self::Crypto(Crypto::Sign) => Permission::Sign,
            Self::Crypto(Crypto::Verify) => Permission::Verify,
        }
    }

    /// Whether it makes a key version, which the limiter counts dear.
    pub(crate) const fn makes_a_version(self) -> bool {
        matches!(self, Self::Create | Self::Import | Self::Rotate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, path: &str) -> (Option<Action>, Option<String>, Option<String>) {
        let route = Route::of(method, path);
        (route.action, route.key, route.version)
    }

    #[test]
    fn every_spelling_of_a_key_and_its_version_is_understood() {
        let get = |key: &str, version: Option<&str>| {
            (Some(Action::Get), Some(key.to_owned()), version.map(str::to_owned))
        };
        assert_eq!(read(&Method::GET, "/keys/kek"), get("kek", None));
        assert_eq!(read(&Method::GET, "/keys/kek/"), get("kek", None));
        assert_eq!(read(&Method::GET, "/keys/kek/abc"), get("kek", Some("abc")));
        let wrap = |version: Option<&str>| {
            let action = Some(Action::Crypto(Crypto::Wrap));
            (action, Some("kek".to_owned()), version.map(str::to_owned))
        };
        assert_eq!(read(&Method::POST, "/keys/kek//wrapkey"), wrap(Some("")));
        assert_eq!(read(&Method::POST, "/keys/kek/wrapkey"), wrap(None));
        assert_eq!(read(&Method::POST, "/keys/kek/abc/wrapKey"), wrap(Some("abc")));
    }

    #[test]
    fn a_wrong_method_is_not_a_wrong_path() {
        let wrong_method = Route::of(&Method::PUT, "/keys/kek/abc/unwrapkey");
        assert_eq!((wrong_method.action, wrong_method.path_exists), (None, true));
        for path in ["/", "/secrets/a", "/keys/a/b/c/d", "/keys/a/b/frobnicate"] {
            assert!(!Route::of(&Method::GET, path).path_exists, "{path}");
        }
    }
}
