//! The fuzz targets of Selkie, each a function named after what it is fed. They assert more than
//! "no panic": inverses, one spelling, agreement with a second implementation, refusal of every
//! change. A target says whether it accepted its input, so that the test which replays the corpora
//! can show that they reach what lies behind the parsers. It will never be part of what is shipped.

#![forbid(unsafe_code)]

mod audit_log;
mod backup_file;
mod changed_envelope;
mod ciphertext_text;
mod client_certificate;
#[cfg(test)]
mod controls;
mod deployment;
mod envelope;
mod forwarded_for;
mod hcl_config;
mod http_head;
mod identity_reply;
mod json_bodies;
mod jwt;
mod key_vault_reply;
mod pkcs11_messages;
mod policy;
mod private_key;
mod proxy_header;
mod sealed_record;
mod second_parser;
mod shamir_shares;
mod store_files;
#[cfg(test)]
mod tests;
mod token_text;

pub use audit_log::audit_log;
pub use backup_file::backup_file;
pub use changed_envelope::changed_envelope;
pub use ciphertext_text::ciphertext_text;
pub use client_certificate::client_certificate;
pub use envelope::envelope;
pub use forwarded_for::forwarded_for;
pub use hcl_config::hcl_config;
pub use http_head::http_head;
pub use identity_reply::identity_reply;
pub use json_bodies::json_bodies;
pub use jwt::jwt;
pub use key_vault_reply::key_vault_reply;
pub use pkcs11_messages::pkcs11_messages;
pub use policy::policy;
pub use private_key::private_key;
pub use proxy_header::proxy_header;
pub use sealed_record::sealed_record;
pub use shamir_shares::shamir_shares;
pub use store_files::store_files;
pub use token_text::token_text;

/// What is fed to a target; whether it was accepted.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by their names.
pub const TARGETS: [(&str, Target); 21] = [
    ("audit_log", audit_log),
    ("backup_file", backup_file),
    ("changed_envelope", changed_envelope),
    ("ciphertext_text", ciphertext_text),
    ("client_certificate", client_certificate),
    ("envelope", envelope),
    ("forwarded_for", forwarded_for),
    ("hcl_config", hcl_config),
    ("http_head", http_head),
    ("identity_reply", identity_reply),
    ("json_bodies", json_bodies),
    ("jwt", jwt),
    ("key_vault_reply", key_vault_reply),
    ("pkcs11_messages", pkcs11_messages),
    ("policy", policy),
    ("private_key", private_key),
    ("proxy_header", proxy_header),
    ("sealed_record", sealed_record),
    ("shamir_shares", shamir_shares),
    ("store_files", store_files),
    ("token_text", token_text),
];
