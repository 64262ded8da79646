//! The wire: status, headers, body and error text of every call, exactly.

mod authentication;
mod bad_input;
mod batch;
mod declared;
mod keys;
mod methods;
mod policies;
mod system;
mod token;
mod transit;

use anyhow::Result;
use selkie_tests::{Client, Selkie};

/// Base64 of 48 bytes, as long as the keys that a Vault stores.
const STORED_KEYS: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVm";

/// A server in dev mode and its root client.
fn dev() -> Result<(Selkie, Client)> {
    let selkie = Selkie::dev(&[])?;
    let root = selkie.root()?;
    Ok((selkie, root))
}

/// Encrypts under the declared key and returns the ciphertext.
fn encrypted(client: &Client, key: &str, plaintext: &str) -> Result<String> {
    let body = serde_json::json!({ "plaintext": plaintext });
    client.put(&format!("transit/encrypt/{key}"), &body)?.field("ciphertext")
}
