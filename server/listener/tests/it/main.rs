//! The listener over real sockets: plain and TLS, limits, proxies, drain.
#![expect(clippy::unwrap_used, reason = "the tests' own helpers fail by panicking")]

mod activation;
mod client_certificates;
mod harness;
mod limits;
mod logged;
mod network;
mod proxies;
mod requests;
mod revocation_lists;
mod self_signed_clients;
mod tls;
