//! The wire: Vault's HTTP API as Vault 1.14.0 speaks it, in four steps that a handler puts together:
//! [`route`] says which endpoint a request means, [`body`] and [`fields`] turn its bytes into typed
//! fields over borrowed text, the operation runs elsewhere, [`reply`] and [`error`] write the
//! answer. Vault's names, texts and status codes are known here alone. It never decides who may do
//! what, and never puts a value from a request that may be secret into an error or a log.

mod advice;
mod audited;
pub mod base64;
pub mod batch;
pub mod body;
mod call;
mod credential;
pub mod data;
mod duration;
pub mod error;
mod failed_items;
pub mod fields;
mod handler;
pub mod health;
mod json;
mod log_budget;
mod logged;
mod login_places;
mod members;
pub mod query;
mod quote;
pub mod reply;
pub mod request;
pub mod route;
mod scripted;
mod service;
mod text;

pub use body::BodyLimits;
pub use error::ApiError;
pub use scripted::scripted;
pub use service::{Api, router};
pub use text::SecretText;

/// The version that health and seal-status report: that of the Vault whose answers these are, as
/// clients gate features on it, with ours as build metadata.
pub const VERSION: &str = concat!("1.14.0", "+selkie.", env!("CARGO_PKG_VERSION"));

/// The version that mounts report for the plugin behind them, in Vault's form.
const RUNNING_PLUGIN_VERSION: &str = "v1.14.0+builtin.vault";
