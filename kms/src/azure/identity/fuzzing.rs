//! What managed identity answers, read as it is over the network. No part of the interface.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;
use url::Url;

use super::managed::ManagedIdentity;
use super::token::Token;
use super::transport::Transport;
use crate::azure::Diagnosis;
use crate::http::{HttpClient, HttpClientSettings};

/// The token in an answer that came at the wall time `now`, and how long it is used; or why there is
/// none.
///
/// # Errors
///
/// The text that a log would have.
pub fn token_in(answer: &[u8], now: SystemTime) -> Result<(String, Duration), String> {
    let fetched = Instant::now();
    match Token::read(answer, fetched, now) {
        Ok(token) => Ok((token.text().to_owned(), token.expires() - fetched)),
        Err(error) => Err(error.to_string()),
    }
}

/// What a refusal of IMDS is taken for; `None` if there is no client.
pub fn managed_identity_refusal(status: u16, body: &[u8]) -> Option<Diagnosis> {
    static IMDS: LazyLock<Option<ManagedIdentity>> = LazyLock::new(|| {
        let client = HttpClient::plain(HttpClientSettings::default()).ok()?;
        let transport = Transport { client, clock: Arc::new(|| SystemTime::UNIX_EPOCH) };
        let endpoint = Url::parse("http://169.254.169.254").ok()?;
        ManagedIdentity::imds(transport, &endpoint, None, "vault.azure.net").ok()
    });
    let answer = Response::builder().status(status).body(Bytes::copy_from_slice(body)).ok()?;
    Some(IMDS.as_ref()?.refusal(&answer).diagnosis().clone())
}
