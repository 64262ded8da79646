//! Ids that Vault's API wants and replicas must agree on without asking each other.

use selkie_crypto::sha256;
use uuid::Uuid;

/// A UUID (version 8, RFC 9562 §5.8) that follows from a name, so that all replicas agree on it.
pub(crate) fn stable_uuid(kind: &str, name: &str) -> Uuid {
    let digest = sha256(format!("selkie {kind}\0{name}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
