//! The policies made through the API.

use std::sync::Arc;

use crate::state::records::Mirrors;

/// All policies that are not declared, and what sets of policies compile to.
#[derive(Debug, Default)]
pub struct Policies;

impl Policies {
    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        Vec::new()
    }
}
