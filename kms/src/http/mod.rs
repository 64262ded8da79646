//! The HTTP/1.1 client for every call to a KMS or an identity endpoint. It keeps connections, and no
//! bytes: what was read is wiped below TLS and below HTTP, and an answer lives in one buffer that is
//! wiped with its last holder. A request's body is sent from where it lies. Only the head of the last
//! request, the token for Azure in it, stays in hyper's own buffer until the next request or the end
//! of the connection.
//!
//! It follows no redirect, decompresses nothing, keeps no cookie, reads no environment of its own,
//! and logs nothing. Whatever it reads from files it reads when it is built, but for a client
//! certificate, which is read again when its files change.

mod answer;
mod client;
mod client_certificate;
mod connect;
mod error;
mod json;
mod pool;
mod proxy;
mod resolve;
mod sdk;
mod settings;
#[cfg(test)]
pub(crate) mod test_server;
#[cfg(test)]
mod tests;

pub use client::HttpClient;
pub use client_certificate::ClientCertificate;
pub use connect::ProbeFact;
pub(crate) use error::tls_word;
pub use error::{ClientCertificateError, HttpError, HttpHop, HttpReason, HttpSetupError};
pub(crate) use json::object;
pub use resolve::{Resolve, Resolved, SystemResolver};
pub(crate) use sdk::{incoming, outgoing, sensitive};
pub use settings::{HttpClientSettings, HttpTimeouts, Roots};
