//! The state key under the local key, which opens the state while every KMS is away (invariant I5).

use selkie_crypto::StateKey;
use selkie_storage::{RecordKey, StoreError, Write};

use super::{OpenError, State, place, value};
use crate::state::layout::Format;
use crate::telemetry::WithCauses;
use crate::transit::Transit;

impl State {
    /// The state key as the local key opens it; `None` if there is no local key, no copy under it, or
    /// the copy does not open: the seals still do.
    pub(super) async fn local_copy(&self, format: &Format) -> Result<Option<StateKey>, OpenError> {
        let Some(local_key) = &self.local_key else { return Ok(None) };
        let at = local_place(&local_key.id())?;
        let Some(record) = self.raw.get(&at).await? else { return Ok(None) };
        let opened = local_key.unwrap_state_key(&format.store, record.value.as_bytes())?;
        if opened.is_none() {
            tracing::error!(
                record = %at,
                advice = "the seals are asked instead, and the copy is then made anew",
                "the copy of the state key does not open under the local key"
            );
        }
        Ok(opened)
    }

    /// Keeps a copy of a key that the seals opened under the local key, for when they are away.
    pub(super) async fn keep_local_copy(&self, format: &Format, key: &StateKey, transit: &Transit) {
        let Some(local_key) = &self.local_key else { return };
        let kept = async {
            let wrapped = local_key.wrap_state_key(&format.store, key, &*transit.random)?;
            let write = Write::Put(local_place(&local_key.id())?, value(wrapped)?);
            self.raw.commit(&[], &[write]).await?;
            Ok::<_, OpenError>(())
        };
        if let Err(error) = kept.await {
            tracing::warn!(
                reason = %WithCauses(&error),
                advice = %error.advice(),
                "no copy of the state key could be kept under the local key"
            );
        }
    }
}

fn local_place(id: &str) -> Result<RecordKey, StoreError> {
    let child = place("state-key-local")?.child(id);
    child.map_err(|error| StoreError::Corrupt { key: None, source: Box::new(error) })
}
