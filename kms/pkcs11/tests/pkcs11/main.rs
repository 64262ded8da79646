//! The real child process, against SoftHSM and against a library that misbehaves on purpose.

#![expect(clippy::unwrap_used, clippy::panic, reason = "its helpers are parts of tests")]

mod contract;
mod misbehaving;
mod softhsm;
mod tokens;
mod vectors;

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm, os_random};
use selkie_kms::pkcs11::{Diagnosis, Pkcs11Kms, Pkcs11Settings, SlotChoice};
use selkie_kms::{Call, ClientTag, Kms, KmsError};
use tokio::time::Instant;
use zeroize::Zeroizing;

pub(crate) const PIN: &str = "1234";

/// The program under test, and a token by its label with keys labelled `unseal`.
pub(crate) fn settings(library: PathBuf, token: &str) -> Pkcs11Settings {
    Pkcs11Settings {
        program: env!("CARGO_BIN_EXE_selkie-pkcs11").into(),
        library,
        slot: SlotChoice { token_label: Some(token.to_owned()), ..SlotChoice::default() },
        pin: Zeroizing::new(PIN.to_owned()).into(),
        key_label: Some("unseal".to_owned()),
        key_id: None,
        previous_key_ids: Vec::new(),
        mechanism: None,
        max_sessions: NonZeroU16::new(4).unwrap(),
        call_time: Duration::from_secs(10),
        environment: Vec::new(),
    }
}

pub(crate) fn provider(settings: Pkcs11Settings) -> Arc<Pkcs11Kms> {
    Arc::new(Pkcs11Kms::new(settings, Arc::new(os_random)))
}

pub(crate) fn call() -> Call {
    let deadline = Instant::now() + Duration::from_secs(60);
    Call { client: ClientTag::new(1), deadline }
}

pub(crate) fn secret(byte: u8) -> RecipientSecret {
    RecipientSecret::init_with(|bytes| bytes.fill(byte))
}

/// A DEK of this byte that was wrapped under the current version.
pub(crate) struct Wrapped {
    pub(crate) kek: KekId,
    pub(crate) algorithm: WrapAlgorithm,
    pub(crate) bytes: Vec<u8>,
    pub(crate) byte: u8,
}

impl Wrapped {
    pub(crate) async fn under(kms: &dyn Kms, byte: u8) -> Self {
        let description = kms.describe().await.unwrap();
        let current = description.current();
        let algorithm = current.wrapping.algorithm();
        let bytes = kms.wrap_dek(&current.id, &secret(byte), call()).await.unwrap();
        Self { kek: current.id.clone(), algorithm, bytes, byte }
    }

    pub(crate) async fn unwrap(&self, kms: &dyn Kms) -> Result<(), KmsError> {
        let found = kms.unwrap_dek(&self.kek, self.algorithm, &self.bytes, call()).await?;
        assert_eq!(found.expose_for_wrap(), &[self.byte; 32]);
        Ok(())
    }
}

pub(crate) fn diagnosis(error: &KmsError) -> &Diagnosis {
    Diagnosis::of(error).unwrap_or_else(|| panic!("no diagnosis in {error:?}"))
}
