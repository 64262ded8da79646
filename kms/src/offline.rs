//! A master key whose private half is with people: it can be wrapped for, and no server asks it.

use std::sync::Arc;

use selkie_crypto::{EcPrivateKey, KekId, PublicKey, RecipientSecret, UnwrapFailed, WrapAlgorithm};

use crate::description::{InvalidDescription, KekDescription, KekState, KekVersion, Wrapping};
use crate::error::KmsError;
use crate::{Call, Kms, KmsFuture};

/// The provider of the break-glass seal: one version, which is always enabled, wraps locally and
/// unwraps nothing, until a person brings the private key.
#[derive(Debug)]
pub struct OfflineKms {
    kek: KekId,
    public_key: PublicKey,
    private_key: Option<EcPrivateKey>,
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
        Ok(Self { kek, public_key, private_key: None, description })
    }

    /// The same with the private key, which a person has unlocked: it unwraps.
    #[must_use]
    pub fn unlocked(self, private_key: EcPrivateKey) -> Self {
        Self { private_key: Some(private_key), ..self }
    }

    fn unwrap(
        &self,
        kek: &KekId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<RecipientSecret, KmsError> {
        let key = self.private_key.as_ref().ok_or(KmsError::Rejected(None))?;
        if *kek != self.kek {
            return Err(KmsError::UnknownKek(None));
        }
        if algorithm != self.public_key.algorithm() {
            return Err(KmsError::Rejected(None));
        }
        key.unwrap_dek(wrapped).map_err(|UnwrapFailed| KmsError::Rejected(None))
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

    /// Without the private key [`KmsError::Rejected`] for whatever it is sent.
    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        _: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async move { self.unwrap(kek, algorithm, wrapped).map(Arc::new) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use selkie_crypto::{EcCurve, os_random};
    use tokio::time::Instant;

    use super::*;
    use crate::ClientTag;

    fn call() -> Call {
        Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(5) }
    }

    fn pair(curve: EcCurve) -> (OfflineKms, EcPrivateKey, KekId) {
        let key = EcPrivateKey::generate(curve, &os_random).unwrap();
        let public = PublicKey::from_spki_der(key.public_key().spki_der()).unwrap();
        let id = KekId::new("sha256:1").unwrap();
        (OfflineKms::new(id.clone(), public).unwrap(), key, id)
    }

    #[tokio::test]
    async fn what_is_wrapped_is_unwrapped_by_none_but_the_private_key() {
        for curve in [EcCurve::P256, EcCurve::X25519] {
            let (kms, key, id) = pair(curve);
            let dek = RecipientSecret::init_with(|bytes| bytes.fill(7));
            let wrapped = kms.wrap_dek(&id, &dek, call()).await.unwrap();
            let ecdh = WrapAlgorithm::EcdhEsA256Kw;
            let refused = kms.unwrap_dek(&id, ecdh, &wrapped, call()).await;
            assert!(matches!(refused, Err(KmsError::Rejected(None))));
            assert!(!refused.unwrap_err().is_transient());
            let (other, other_key, _) = pair(curve);
            let refused = other.unlocked(other_key).unwrap_dek(&id, ecdh, &wrapped, call()).await;
            assert!(matches!(refused, Err(KmsError::Rejected(None))));
            let kms = kms.unlocked(key);
            let unwrapped = kms.unwrap_dek(&id, ecdh, &wrapped, call()).await.unwrap();
            assert_eq!(unwrapped.expose_for_wrap(), dek.expose_for_wrap());
            let refused = kms.unwrap_dek(&id, WrapAlgorithm::A256Kw, &wrapped, call()).await;
            assert!(matches!(refused, Err(KmsError::Rejected(None))));
        }
    }

    #[tokio::test]
    async fn another_version_is_unknown() {
        let (kms, key, _) = pair(EcCurve::P256);
        let other = KekId::new("sha256:2").unwrap();
        let dek = RecipientSecret::init_with(|bytes| bytes.fill(7));
        let refused = kms.wrap_dek(&other, &dek, call()).await;
        assert!(matches!(refused, Err(KmsError::UnknownKek(None))));
        let refused = kms.unlocked(key);
        let refused = refused.unwrap_dek(&other, WrapAlgorithm::EcdhEsA256Kw, b"", call()).await;
        assert!(matches!(refused, Err(KmsError::UnknownKek(None))));
    }
}
