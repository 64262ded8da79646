//! What is below the mount of a transit engine.

use selkie_access::{KeyName, MountPath};

use super::{Endpoint, Operation};
use crate::api::ApiError;

/// A transit key by where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPath {
    /// The mount.
    pub mount: MountPath,
    /// The key's name.
    pub key: KeyName,
}

pub(super) fn target(
    mount: &MountPath,
    rest: &str,
    operation: Operation,
) -> Result<Endpoint, ApiError> {
    if matches!(rest, "keys" | "keys/") {
        return match operation {
            Operation::List => Ok(Endpoint::ListKeys(mount.clone())),
            _ => Err(ApiError::UnsupportedOperation),
        };
    }
    let mut segments = rest.split('/');
    let (Some(verb), Some(name)) = (segments.next(), segments.next()) else {
        return Err(ApiError::UnsupportedPath);
    };
    let (action, None) = (segments.next(), segments.next()) else {
        return Err(ApiError::UnsupportedPath);
    };
    let Ok(key) = name.parse() else {
        return Err(ApiError::UnsupportedPath);
    };
    let key = KeyPath { mount: mount.clone(), key };
    match (verb, action, operation) {
        ("encrypt", None, Operation::Update) => Ok(Endpoint::Encrypt(key)),
        ("decrypt", None, Operation::Update) => Ok(Endpoint::Decrypt(key)),
        ("rewrap", None, Operation::Update) => Ok(Endpoint::Rewrap(key)),
        ("keys", None, Operation::Update) => Ok(Endpoint::CreateKey(key)),
        ("keys", None, Operation::Read) => Ok(Endpoint::ReadKey(key)),
        ("keys", None, Operation::Delete) => Ok(Endpoint::DeleteKey(key)),
        ("keys", Some("config"), Operation::Update) => Ok(Endpoint::ConfigureKey(key)),
        ("keys", Some("rotate"), Operation::Update) => Ok(Endpoint::RotateKey(key)),
        ("keys", Some("trim"), Operation::Update) => Ok(Endpoint::TrimKey(key)),
        ("encrypt" | "decrypt" | "rewrap" | "keys", None, _)
        | ("keys", Some("config" | "rotate" | "trim"), _) => Err(ApiError::UnsupportedOperation),
        _ => Err(ApiError::UnsupportedPath),
    }
}
