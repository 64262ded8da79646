//! What `fuzz/` reaches of what is private. No part of the interface.

pub use crate::azure::identity::fuzzing::{managed_identity_refusal, token_in};
