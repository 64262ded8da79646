//! RSA master keys, whose public half a server wraps under by itself.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use selkie_crypto::{RecipientSecret, RsaPublicKey};

/// As many as all seals have versions, made once: that takes 0.1 s each. They are other ones in each
/// run, which shows in no history: only lengths do.
static PAIRS: LazyLock<[RsaPair; 8]> = LazyLock::new(|| [(); 8].map(|()| RsaPair::generate()));

pub(crate) struct RsaPair {
    pub(crate) public: Arc<RsaPublicKey>,
    private: OaepPrivateDecryptingKey,
}

impl RsaPair {
    pub(crate) fn of(number: usize) -> &'static Self {
        &PAIRS[number]
    }

    fn generate() -> Self {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        let public = Arc::new(RsaPublicKey::from_spki_der(der.as_ref()).unwrap());
        Self { public, private: OaepPrivateDecryptingKey::new(private).unwrap() }
    }

    /// `None` for what is not wrapped under it.
    pub(crate) fn unwrap_dek(&self, wrapped: &[u8]) -> Option<RecipientSecret> {
        let mut space = [0; 256];
        let dek = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut space, None).ok()?;
        let dek: [u8; 32] = (&*dek).try_into().ok()?;
        Some(RecipientSecret::init_with(|bytes| *bytes = dek))
    }
}
