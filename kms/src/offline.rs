//! A master key whose private half is with people: it can be wrapped for, and no server asks it.

use std::sync::Arc;

use selkie_crypto::{KekId, PublicKey, RecipientSecret, WrapAlgorithm};

use crate::description::{InvalidDescription, KekDescription, KekState, KekVersion, Wrapping};
use crate::error::KmsError;
use crate::{Call, Kms, KmsFuture};

/// The provider of the break-glass seal: one version, which is always enabled, wraps locally and
/// unwraps nothing.
#[derive(Debug)]
pub struct OfflineKms {
    kek: KekId,
    public_key: PublicKey,
    description: KekDescription,
}

impl OfflineKms {
    /// The key `kek`, of which the public half is `public_key`.
    ///
    /// # Errors
    /// None in practice: one version is a master key.
    pub fn new(kek: KekId, public_key: PublicKey) -> Result<Self, InvalidDescription> {
        let version = KekVersion {
            id: kek.clone(),
            wrapping: Wrapping::Local(public_key.clone()),
            state: KekState::Enabled,
            created: None,
            expires: None,
        };
        let description = KekDescription::new(vec![version], &kek)?;
        Ok(Self { kek, public_key, description })
    }

    fn wrap(&self, kek: &KekId, dek: &RecipientSecret) -> Result<Vec<u8>, KmsError> {
        if *kek != self.kek {
            return Err(KmsError::UnknownKek(None));
        }
        let wrapped = self.public_key.wrap_dek(dek);
        wrapped.map_err(|failed| KmsError::Misbehaved(Some(Arc::new(failed))))
    }
}

impl Kms for OfflineKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async { Ok(self.description.clone()) })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move { self.wrap(kek, dek) })
    }

    /// [`KmsError::Rejected`] for whatever it is sent: the private key is not here, and never will be.
    fn unwrap_dek<'a>(
        &'a self,
        _: &'a KekId,
        _: WrapAlgorithm,
        _: &'a [u8],
        _: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async { Err(KmsError::Rejected(None)) })
    }
}
