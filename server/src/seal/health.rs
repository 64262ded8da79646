//! How a seal does, as far as its last calls tell.

use super::error::SealFault;

/// How a seal does.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// When the KMS last described its key, in seconds since 1970.
    pub described: Option<u64>,
    /// Since when it is as it is, healthy or not.
    pub since: u64,
    /// Why the last attempt to learn failed; `None` if it did not.
    pub fault: Option<SealFault>,
}

/// What to expect of a call to a seal, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Nothing speaks against it.
    Well,
    /// Its KMS was silent when it was last asked.
    Away,
    /// Its governor lets nothing but probes through, as the KMS throttles or fails.
    HeldBack,
}
