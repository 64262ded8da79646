//! What stands in the log for tokens and accessors that come again and again.

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use selkie_access::TokenText;
use selkie_crypto::AuditKey;

use crate::auth::Client;

/// How many are remembered. When there are more, all are forgotten: making them anew costs less than
/// keeping order among them.
const MOST_CLIENTS: usize = 4096;

/// The hashes of clients' tokens and accessors, as they were made once under the one audit key; by
/// accessor, of which each token has its own.
#[derive(Default)]
pub(crate) struct KnownHashes(RwLock<HashMap<Box<str>, Hashes>>);

/// What stands for who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hashes {
    pub(super) token: Option<[u8; 32]>,
    pub(super) accessor: Option<[u8; 32]>,
}

impl KnownHashes {
    /// Of `client`, which was found by `token`.
    pub(super) fn of(
        &self,
        client: Option<&Client>,
        token: Option<&TokenText>,
        key: &AuditKey,
    ) -> Hashes {
        let accessor = client.map_or("", Client::accessor);
        let make = |token: &TokenText| key.value_hash(token.expose_for_hash());
        // A batch token has none, nor has a certificate.
        let (Some(token), false) = (token, accessor.is_empty()) else {
            let accessor = (!accessor.is_empty()).then(|| key.value_hash(accessor.as_bytes()));
            return Hashes { token: token.map(make), accessor };
        };
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner).get(accessor).copied();
        if let Some(known) = known {
            return known;
        }
        let accessor_hash = Some(key.value_hash(accessor.as_bytes()));
        let hashes = Hashes { token: Some(make(token)), accessor: accessor_hash };
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST_CLIENTS {
            held.clear();
        }
        held.insert(accessor.into(), hashes);
        hashes
    }
}

impl fmt::Debug for KnownHashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownHashes").finish_non_exhaustive()
    }
}
