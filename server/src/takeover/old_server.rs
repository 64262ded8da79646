//! What is asked of an old server.

use std::fmt::Debug;

use selkie_crypto::{KeyVersion, Plaintext};
use selkie_kms::transit::{TransitClient, TransitKeyName};
use selkie_kms::{KmsError, KmsFuture};

/// The transit engine that is taken over, for one key of its.
pub trait OldServer: Debug + Send + Sync {
    /// The plaintext of `ciphertext`, which is sent as it is.
    ///
    /// # Errors
    ///
    /// [`selkie_kms::KmsError::Rejected`] if it does not open.
    fn decrypt<'a>(
        &'a self,
        ciphertext: &'a str,
        context: &'a [u8],
        associated_data: &'a [u8],
    ) -> KmsFuture<'a, Plaintext>;

    /// The newest version of the key; not every token may ask.
    fn newest_version(&self) -> KmsFuture<'_, KeyVersion>;
}

/// A key of an old server over HTTP.
#[derive(Debug)]
pub(crate) struct RemoteKey {
    pub(crate) client: std::sync::Arc<TransitClient>,
    pub(crate) key: TransitKeyName,
}

impl OldServer for RemoteKey {
    fn decrypt<'a>(
        &'a self,
        ciphertext: &'a str,
        context: &'a [u8],
        associated_data: &'a [u8],
    ) -> KmsFuture<'a, Plaintext> {
        Box::pin(self.client.decrypt(&self.key, ciphertext, context, associated_data))
    }

    fn newest_version(&self) -> KmsFuture<'_, KeyVersion> {
        Box::pin(async move {
            let key = self.client.read_key(&self.key).await?;
            KeyVersion::new(key.latest.get()).ok_or(KmsError::Misbehaved(None))
        })
    }
}
