//! Selkie as a library: the transit engine on the configured seals, who may use it, and Vault's
//! HTTP API before it. `serve` starts it in-process for tests and embedding; what belongs to a
//! process (allocator, hardening, signals) is the binary's. It never names a cipher and never talks
//! to a cloud itself.

pub mod auth;
pub mod clock;
pub mod deployment;
pub mod node;
pub mod seal;
pub mod state;
pub mod transit;
