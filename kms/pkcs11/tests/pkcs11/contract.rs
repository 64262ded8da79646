//! What every provider owes, through the real child, on SoftHSM.

use std::sync::Arc;

use selkie_crypto::{Kek, KekId};
use selkie_kms::pkcs11::Mechanism;
use selkie_kms::{Kms, StaticKms};

use crate::softhsm::SoftHsm;

/// A provider and the token that it must not outlive.
#[derive(Debug)]
struct Held {
    kms: Arc<dyn Kms>,
    _token: Option<Box<dyn std::any::Any + Send + Sync>>,
}

macro_rules! delegate {
    ($self:ident.$call:ident($($argument:expr),*)) => { $self.kms.$call($($argument),*) };
}

impl Kms for Held {
    fn describe(&self) -> selkie_kms::KmsFuture<'_, selkie_kms::KekDescription> {
        delegate!(self.describe())
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a selkie_crypto::RecipientSecret,
        call: selkie_kms::Call,
    ) -> selkie_kms::KmsFuture<'a, Vec<u8>> {
        delegate!(self.wrap_dek(kek, dek, call))
    }

    fn unwrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        algorithm: selkie_crypto::WrapAlgorithm,
        wrapped: &'a [u8],
        call: selkie_kms::Call,
    ) -> selkie_kms::KmsFuture<'a, Arc<selkie_crypto::RecipientSecret>> {
        delegate!(self.unwrap_dek(kek, algorithm, wrapped, call))
    }
}

fn two_versions(kind: &str, mechanism: Mechanism) -> Arc<dyn Kms> {
    let Some(hsm) = SoftHsm::with(&[(kind, "01"), (kind, "02")]) else {
        return without_hsm();
    };
    let mut settings = hsm.settings();
    settings.key_id = Some(vec![2]);
    settings.previous_key_ids = vec![vec![1]];
    settings.mechanism = Some(mechanism);
    Arc::new(Held { kms: crate::provider(settings), _token: Some(Box::new(hsm)) })
}

/// Something to check where there is no SoftHSM, which was said.
fn without_hsm() -> Arc<dyn Kms> {
    let kek = |id: &str, byte: u8| {
        (KekId::new(id).unwrap(), Kek::init_with(|bytes| bytes.fill(byte)).unwrap())
    };
    let keks = vec![kek("1", 1), kek("2", 2)];
    Arc::new(StaticKms::new(keks, &KekId::new("2").unwrap()).unwrap())
}

mod aes_gcm {
    async fn open() -> std::sync::Arc<dyn selkie_kms::Kms> {
        super::two_versions("gcm", selkie_kms::pkcs11::Mechanism::AesGcm)
    }

    selkie_kms::kms_contract!(open);
}

mod aes_key_wrap {
    async fn open() -> std::sync::Arc<dyn selkie_kms::Kms> {
        super::two_versions("wrap", selkie_kms::pkcs11::Mechanism::AesKeyWrap)
    }

    selkie_kms::kms_contract!(open);
}
