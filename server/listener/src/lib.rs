//! Sockets to requests: the accept loop that every HTTP service of ours stands behind, with TLS,
//! the PROXY protocol, limits on everything that a peer can make us hold, buffers that are wiped,
//! and a drain. It knows nothing about Vault: it never looks into a body, never decides who may do
//! what, never logs a request, and speaks no HTTP/2.
//!
//! The time that a request *body* takes is the service's business, because only it knows when a
//! body is wanted: wrap the reading of the body in `tokio::time::timeout`. Everything else that can
//! wait has its limit in [`Limits`].

mod accept;
mod activation;
mod admission;
mod connection;
mod drain;
mod forwarded;
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod log_budget;
#[cfg(test)]
#[path = "../tests/it/logged.rs"]
mod logged;
mod patience;
mod phase;
mod preread;
mod proxy_protocol;
mod tls;

pub use accept::{Drained, Listener, ListenerSettings};
pub use activation::{ActivatedSocket, ActivatedSockets, ActivationError};
pub use admission::{Admitted, InFlight, Overloaded};
pub use connection::{ConnectionInfo, TlsInfo};
pub use drain::Drain;
pub use forwarded::{ForwardedError, ForwardedFor, client_address};
pub use limits::Limits;
pub use log_budget::LogBudget;
pub use proxy_protocol::ProxyProtocol;
pub use tls::{
    ClientCertificates, ClientTrust, Lapsed, ShownCertificate, Standing, TlsError, TlsFiles,
    TlsMaterial, TlsSource, TlsVersion, TrustFiles, Validity,
};
