//! The claims about local wraps, checked against a small KMS of RSA keys.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use selkie_crypto::RsaPublicKey;

use super::*;
use crate::KmsFuture;

/// Key generation is slow, and the claims run in one process.
static KEYS: LazyLock<Vec<RsaKey>> = LazyLock::new(|| ["1", "2"].map(RsaKey::generate).into());

#[derive(Debug)]
struct RsaKms;

struct RsaKey {
    version: KekVersion,
    public: Arc<RsaPublicKey>,
    private: OaepPrivateDecryptingKey,
}

impl RsaKey {
    fn generate(id: &str) -> Self {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
        let der: PublicKeyX509Der<'_> = private.public_key().as_der().unwrap();
        let public = Arc::new(RsaPublicKey::from_spki_der(der.as_ref()).unwrap());
        let version = KekVersion {
            id: KekId::new(id).unwrap(),
            wrapping: Wrapping::Local(Arc::clone(&public).into()),
            state: KekState::Enabled,
            created: None,
            expires: None,
        };
        Self { version, public, private: OaepPrivateDecryptingKey::new(private).unwrap() }
    }

    fn find(id: &KekId) -> Result<&'static Self, KmsError> {
        let found = KEYS.iter().find(|key| key.version.id == *id);
        found.ok_or(KmsError::UnknownKek(None))
    }

    fn unwrap(&self, wrapped: &[u8]) -> Option<RecipientSecret> {
        let mut output = vec![0; self.private.min_output_size()];
        let dek = self.private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None).ok()?;
        let dek: &[u8; 32] = (&*dek).try_into().ok()?;
        Some(RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek)))
    }
}

impl Kms for RsaKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async {
            let versions: Vec<_> = KEYS.iter().map(|key| key.version.clone()).collect();
            let current = versions[1].id.clone();
            Ok(KekDescription::new(versions, &current).unwrap())
        })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async { Ok(RsaKey::find(kek)?.public.wrap_dek(dek).unwrap()) })
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: WrapAlgorithm,
        wrapped: &'a [u8],
        _: Call,
    ) -> KmsFuture<'a, Arc<RecipientSecret>> {
        Box::pin(async move {
            let key = RsaKey::find(kek)?;
            let ours = algorithm == WrapAlgorithm::RsaOaep256;
            let dek = ours.then(|| key.unwrap(wrapped)).flatten();
            dek.map(Arc::new).ok_or(KmsError::Rejected(None))
        })
    }
}

async fn rsa() -> Arc<dyn Kms> {
    Arc::new(RsaKms)
}

crate::kms_contract!(rsa);

#[test]
fn every_claim_is_made_a_test_of() {
    let source = include_str!("../contract.rs");
    let claims = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
    // The claim of a vector is made by whoever has vectors.
    let names: Vec<&str> =
        claims.filter_map(|claim| claim.strip_suffix("(kms: Arc<dyn Kms>) {")).collect();
    assert!(!names.is_empty(), "no claims found");
    for name in names {
        assert!(source.contains(&format!("            {name},\n")), "{name} is not listed");
    }
}

#[test]
fn wrappings_are_equal_only_with_the_same_key_or_algorithm() {
    let local = |key: usize| KEYS[key].version.wrapping.clone();
    let again = RsaPublicKey::from_spki_der(KEYS[0].public.spki_der()).unwrap();
    assert_eq!(local(0), Wrapping::Local(Arc::new(again).into()));
    assert_ne!(local(0), local(1));
    assert_ne!(local(0), Wrapping::Remote(WrapAlgorithm::RsaOaep256));
    assert_ne!(Wrapping::Remote(WrapAlgorithm::RsaOaep256), local(0));
    assert_ne!(
        Wrapping::Remote(WrapAlgorithm::RsaOaep256),
        Wrapping::Remote(WrapAlgorithm::A256Kw)
    );
}
