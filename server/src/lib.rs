//! Selkie as a library: the transit engine on the configured seals, who may use it, and Vault's
//! HTTP API before it. `serve` starts it in-process for tests and embedding; what belongs to a
//! process (allocator, hardening, signals) is the binary's. It never names a cipher and never talks
//! to a cloud itself.
//!
//! The invariants that comments cite as I1 to I10 are defined in `docs/design.md`, under
//! "Invariants", each with the tests that check it.

pub mod alerts;
pub mod api;
pub mod audit;
pub mod auth;
mod availability;
pub mod backup;
pub mod byte_budget;
pub mod cli;
pub mod clock;
pub mod continuity;
pub mod deployment;
pub mod dev;
mod digest_text;
pub mod drill;
mod durable_file;
pub mod faults;
pub mod hardening;
mod jitter;
#[cfg(test)]
mod key_per_reference;
pub mod last_reload;
pub mod listener_certificates;
mod look_budget;
pub mod metrics;
pub mod node;
mod oldest;
pub mod promises;
pub mod seal;
pub mod seal_client;
pub mod serve;
mod stable_uuid;
pub mod state;
pub mod takeover;
pub mod telemetry;
pub mod traces;
pub mod transit;
pub mod vault_storage;
