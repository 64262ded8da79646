//! Figures that nearly every request counts: found once, and then counted without a look-up.

use std::sync::OnceLock;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// One figure each for encrypting and for decrypting, on our side or on a KMS's, from when it is
/// first counted.
#[derive(Debug)]
pub(crate) struct Hot<M> {
    encrypt: OnceLock<M>,
    decrypt: OnceLock<M>,
}

/// The figures of those calls of a seal's KMS that succeed; each seal keeps its own.
pub(crate) type HotCalls = Hot<(Counter, Histogram)>;

impl<M> Default for Hot<M> {
    fn default() -> Self {
        Self { encrypt: OnceLock::new(), decrypt: OnceLock::new() }
    }
}

impl<M> Hot<M> {
    /// Where the figure of `operation` is kept; `None` if it is not one of these.
    pub(super) fn of(&self, operation: &str) -> Option<&OnceLock<M>> {
        match operation {
            "encrypt" | "wrap" => Some(&self.encrypt),
            "decrypt" | "unwrap" => Some(&self.decrypt),
            _ => None,
        }
    }
}
