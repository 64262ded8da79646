//! The listener over real sockets: plain and TLS, limits, proxies, drain.

mod activation;
mod harness;
mod limits;
mod proxies;
mod requests;
mod tls;
