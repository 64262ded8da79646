//! What is small and the same everywhere: words of errors, names, equality of keys.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::*;
use crate::envelope::{EncryptError, EnvelopeRefusal, QuorumError};
use crate::stream::{ChunkRefused, NoSuchChunk};

/// All that a type of error can say.
fn assert_words(errors: &[&dyn Display]) {
    let words: BTreeSet<_> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), errors.len(), "each has words of its own: {words:?}");
    assert!(words.iter().all(|text| text.len() > 10), "{words:?}");
}

#[test]
fn every_error_has_words_of_its_own() {
    let size = RsaPublicKeyError::Size { bits: 1024 };
    assert_words(&[&NameError, &RandomError, &UnwrapFailed, &WrapFailed, &RecordRefused]);
    assert_words(&[&NoSuchChunk, &ChunkRefused]);
    assert_words(&[&SealRecordError::TooLong, &SealRecordError::Random(RandomError)]);
    assert_words(&[&RsaPublicKeyError::Malformed, &size]);
    assert_words(&[&EcPublicKeyError::Malformed, &EcPublicKeyError::Unusable]);
    assert_words(&[
        &PublicKeyError::Malformed,
        &PublicKeyError::Size { bits: 1024 },
        &PublicKeyError::Unusable,
    ]);
    assert_words(&[&EcPrivateKeyError::Malformed, &EcPrivateKeyError::Random(RandomError)]);
    assert_words(&[
        &UnprotectError::Malformed,
        &UnprotectError::TooCostly,
        &UnprotectError::Passphrase,
        &UnprotectError::Key(EcPrivateKeyError::Malformed),
    ]);
    assert_words(&[
        &QuorumError::NobodyNeeded,
        &QuorumError::NeverMet { needed: 3, of: 2 },
        &QuorumError::TooMany { of: 17 },
    ]);
}

#[test]
fn every_reason_of_encryption_and_decryption_has_words_of_its_own() {
    assert_words(&[
        &EncryptError::NoRecipient,
        &EncryptError::TooManyRecipients,
        &EncryptError::TooLong,
        &EncryptError::QuorumNotMet { needed: 3, of: 2 },
        &EncryptError::Shares,
        &EncryptError::WrappedDekShape(WrapAlgorithm::A256Kw),
    ]);
    let refusals = [
        EnvelopeRefusal::Malformed,
        EnvelopeRefusal::Origin,
        EnvelopeRefusal::Purpose,
        EnvelopeRefusal::Realm,
        EnvelopeRefusal::Mount,
        EnvelopeRefusal::Key,
        EnvelopeRefusal::Version,
        EnvelopeRefusal::Share,
        EnvelopeRefusal::Quorum,
        EnvelopeRefusal::Commitment,
        EnvelopeRefusal::Tag,
    ];
    assert_words(&refusals.each_ref().map(|refusal| refusal as &dyn Display));
    let size = PublicKeyError::from(RsaPublicKeyError::Size { bits: 1024 });
    assert_eq!(size.to_string(), RsaPublicKeyError::Size { bits: 1024 }.to_string());
}

#[test]
fn the_client_is_told_in_vaults_own_words() {
    let told = [
        CiphertextError::NoPrefix,
        CiphertextError::WrongNumberOfFields,
        CiphertextError::VersionNotANumber,
        CiphertextError::BadBase64,
    ]
    .map(|error| error.to_string());
    assert_eq!(
        told,
        [
            "invalid ciphertext: no prefix",
            "invalid ciphertext: wrong number of fields",
            "invalid ciphertext: version number could not be decoded",
            "invalid ciphertext: could not decode base64",
        ]
    );
    let refused = Envelope::inspect(b"{}").unwrap_err();
    assert_eq!(refused.to_string(), "cipher: message authentication failed");
}

#[test]
fn keys_are_the_same_only_with_the_same_bytes() {
    let kek = |fill: u8| Kek::init_with(|page| page.fill(fill)).unwrap();
    assert!(kek(1).is_same_key(&kek(1)) && !kek(1).is_same_key(&kek(2)));
    let origin = |fill: u8| OriginKey::init_with(|page| page.fill(fill)).unwrap();
    assert!(origin(1).is_same_key(&origin(1)) && !origin(1).is_same_key(&origin(2)));
    let state = |fill: u8| StateKey::init_with(|page| page.fill(fill)).unwrap();
    assert!(state(1).is_same_key(&state(1)) && !state(1).is_same_key(&state(2)));
    let public = || {
        let key = EcPrivateKey::generate(EcCurve::X25519, &os_random).unwrap();
        PublicKey::from(key.public_key().clone())
    };
    let (one, other) = (public(), public());
    assert!(one == one.clone() && one != other);
}

#[test]
fn names_are_told_as_they_were_given_up_to_their_longest() {
    let seal = SealName::new("weu-1.a_B").unwrap();
    assert_eq!((seal.as_str(), seal.to_string().as_str()), ("weu-1.a_B", "weu-1.a_B"));
    let kek = KekId::new("https://weu/keys/a/1").unwrap();
    let url = "https://weu/keys/a/1";
    assert_eq!((kek.as_str(), kek.to_string().as_str()), (url, url));
    assert!(SealName::new(&"a".repeat(64)).is_ok() && SealName::new(&"a".repeat(65)).is_err());
    assert!(KekId::new(&"a".repeat(512)).is_ok() && KekId::new(&"a".repeat(513)).is_err());
    assert_eq!(EcCurve::P256.jose_name(), "P-256");
    assert_eq!(EcCurve::X25519.jose_name(), "X25519");
}

#[test]
fn versions_count_from_one_to_the_end_of_the_numbers() {
    let version = |number| KeyVersion::new(number);
    assert_eq!(version(0), None);
    assert_eq!(version(1), Some(KeyVersion::FIRST));
    assert_eq!(KeyVersion::FIRST.next(), version(2));
    assert_eq!(version(u32::MAX).and_then(KeyVersion::next), None);
    assert_eq!(version(42).map(KeyVersion::get), Some(42));
    assert_eq!(version(42).map(|version| version.to_string()).as_deref(), Some("42"));
}

#[test]
fn a_checkpoint_and_a_token_are_vouched_for_by_one_state_key() {
    let key = |fill: u8| StateKey::init_with(|page| page.fill(fill)).unwrap();
    let mac = key(1).checkpoint_mac(b"content");
    assert!(key(1).verify_checkpoint(b"content", &mac));
    assert!(!key(2).verify_checkpoint(b"content", &mac));
    assert!(!key(1).verify_checkpoint(b"other", &mac));
    let hash = key(1).token_hash(b"hvs.one");
    assert_eq!(hash, key(1).token_hash(b"hvs.one"));
    assert_ne!(hash, key(2).token_hash(b"hvs.one"));
    assert_ne!(hash, key(1).token_hash(b"hvs.two"));
    assert_ne!(hash, key(1).checkpoint_mac(b"hvs.one"), "each use has a label of its own");
    let sum = key(1).summand("place", b"sealed");
    assert_eq!(StateSum::from_bytes(sum.to_bytes()), sum);
    assert_ne!(sum.to_bytes(), StateSum::default().to_bytes());
}

#[test]
fn a_stream_key_comes_back_from_its_plaintext() {
    use crate::stream::{StreamKey, StreamOpener, StreamSealer};
    let key = StreamKey::random(&os_random).unwrap();
    let again = StreamKey::from_plaintext(&key.to_plaintext()).unwrap();
    let sealed = StreamSealer::new(key).seal(b"text".to_vec(), true).unwrap();
    let opened = StreamOpener::new(again).open(&sealed, true).unwrap();
    assert_eq!(opened.expose_for_reply(), b"text");
    assert!(StreamKey::from_plaintext(&Plaintext::new(vec![0; 31])).is_none());
}

/// By `printf abc | sha256sum`.
#[test]
fn sha_256_is_that_of_every_other_tool() {
    let hex = base16ct::lower::encode_string(&sha256(b"abc"));
    assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

#[test]
fn a_public_key_wraps_what_its_private_half_unwraps_and_is_known_by_its_fingerprint() {
    for curve in [EcCurve::P256, EcCurve::X25519] {
        let private = EcPrivateKey::generate(curve, &os_random).unwrap();
        let own = private.public_key();
        assert_eq!(own.fingerprint(), sha256(own.spki_der()));
        let public = PublicKey::from(own.clone());
        assert_eq!(public.spki_der(), own.spki_der());
        let secret = RecipientSecret::init_with(|bytes| bytes.fill(7));
        let unwrapped = private.unwrap_dek(&public.wrap_dek(&secret).unwrap()).unwrap();
        assert_eq!(unwrapped.expose_for_wrap(), secret.expose_for_wrap());
    }
}

#[test]
fn audit_keys_of_local_keys_follow_from_their_bytes() {
    let local = |fill: u8| PinKey::init_with(|page| page.fill(fill)).unwrap();
    let origin = |fill: u8| OriginKey::init_with(|page| page.fill(fill)).unwrap();
    for fill in [2, 3] {
        let id = local(fill).audit_key().unwrap().id();
        assert_eq!(id, origin(fill).audit_key().unwrap().id(), "derived in the same way");
        assert_eq!(id.len(), 16);
    }
    assert_ne!(local(2).audit_key().unwrap().id(), local(3).audit_key().unwrap().id());
}
