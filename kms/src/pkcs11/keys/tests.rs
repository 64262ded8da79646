use selkie_pkcs11_protocol::Uses;

use super::*;

fn token() -> Token {
    Token {
        serial: "AB 12".into(),
        label: "hsm".into(),
        model: "M".into(),
        slot: 0,
        aes_gcm: true,
        aes_key_wrap: true,
        rsa_oaep: true,
    }
}

fn facts(id: u8, kind: KeyKind) -> KeyFacts {
    let name = KeyName { label: b"un;seal".to_vec(), id: vec![id] };
    let uses = Uses { encrypt: true, decrypt: true, wrap: true, unwrap: true };
    KeyFacts { name, kind, uses, extractable: false }
}

const AES: KeyKind = KeyKind::Aes { bytes: 32 };

fn algorithm(
    change: impl FnOnce(&mut KeyFacts, &mut Token),
    wanted: Option<Mechanism>,
) -> Result<WrapAlgorithm, Fault> {
    let (mut facts, mut token) = (facts(1, AES), token());
    change(&mut facts, &mut token);
    let keys = Keys::new(vec![], facts, &token, wanted).map_err(|error| error.fault)?;
    Ok(keys.current().algorithm())
}

#[test]
fn the_mechanism_follows_from_key_and_token() {
    use Unsuitable::{AesSize, KeyType, NoMechanism, OtherMechanism};
    let no = |why| Err(Fault::Unsuitable(why));
    let (gcm, kw) = (Some(Mechanism::AesGcm), Some(Mechanism::AesKeyWrap));
    assert_eq!(algorithm(|_, _| {}, None), Ok(WrapAlgorithm::A256GcmKw));
    assert_eq!(algorithm(|_, _| {}, kw), Ok(WrapAlgorithm::A256Kw));
    assert_eq!(algorithm(|_, token| token.aes_gcm = false, None), Ok(WrapAlgorithm::A256Kw));
    assert_eq!(algorithm(|key, _| key.uses.encrypt = false, None), Ok(WrapAlgorithm::A256Kw));
    assert_eq!(algorithm(|key, _| key.uses.decrypt = false, gcm), no(OtherMechanism));
    assert_eq!(algorithm(|_, _| {}, Some(Mechanism::RsaOaepSha256)), no(OtherMechanism));
    assert_eq!(algorithm(|key, _| key.uses = Uses::default(), None), no(NoMechanism));
    assert_eq!(algorithm(|key, _| key.kind = KeyKind::Aes { bytes: 16 }, None), no(AesSize));
    assert_eq!(algorithm(|key, _| key.kind = KeyKind::Other, None), no(KeyType));
}

#[test]
fn an_rsa_key_wraps_here_where_the_token_has_oaep_with_sha_256() {
    let rsa = |oaep_sha256| {
        let (modulus, exponent) = (vec![0xFD; 256], vec![1, 0, 1]);
        KeyKind::Rsa { modulus, exponent, oaep_sha256 }
    };
    let found = algorithm(|key, _| key.kind = rsa(true), None);
    assert_eq!(found, Ok(WrapAlgorithm::RsaOaep256));
    let refused = algorithm(|key, _| key.kind = rsa(false), None);
    assert_eq!(refused, Err(Fault::Unsuitable(Unsuitable::OaepSha1Alone)));
    let keys = Keys::new(vec![], facts(1, rsa(true)), &token(), None).unwrap();
    let key = keys.current();
    let by = |bytes| key.unwraps(WrapAlgorithm::RsaOaep256, bytes);
    assert_eq!([255, 256, 257].map(by), [None, Some(Mechanism::RsaOaepSha256), None]);
    assert_eq!(key.unwraps(WrapAlgorithm::A256Kw, 40), None);
}

#[test]
fn ids_of_one_key_on_two_tokens_differ_in_the_serial_number_alone() {
    let id = |text: &str| KekId::new(text).unwrap();
    let one = id("pkcs11:serial=a1;object=unseal;id=%01");
    assert!(differ_in_serial_alone(&one, &id("pkcs11:serial=b2;object=unseal;id=%01")));
    for other in
        ["pkcs11:serial=a1;object=unseal;id=%01", "pkcs11:serial=b2;object=unseal;id=%02", "k"]
    {
        assert!(!differ_in_serial_alone(&one, &id(other)), "{other}");
    }
    assert!(!differ_in_serial_alone(&id("k"), &id("l")));
}

#[test]
fn a_key_is_named_by_a_uri_whatever_token_it_was_on() {
    let previous = vec![Previous::Found(facts(0xA, AES))];
    let keys = Keys::new(previous, facts(0xB, AES), &token(), None).unwrap();
    let current = &keys.current().id;
    assert_eq!(current.as_str(), "pkcs11:serial=AB%2012;object=un%3Bseal;id=%0B");
    let named = |text: &str| {
        let key = keys.named(&KekId::new(text).unwrap());
        key.map(|key| key.name.id.clone())
    };
    assert_eq!(named("pkcs11:serial=other;object=un%3Bseal;id=%0A"), Some(vec![0xA]));
    for other in ["pkcs11:serial=AB%2012;object=unseal;id=%0B", "no-such-key", "pkcs11:serial="] {
        assert_eq!(named(other), None, "{other}");
    }
    let order = keys.description().unwrap();
    assert_eq!(order.versions().len(), 2);
    assert_eq!(order.current().id, *current);
}

#[test]
fn one_key_as_two_versions_is_refused() {
    let previous = vec![Previous::Found(facts(1, AES))];
    let twice = Keys::new(previous, facts(1, AES), &token(), None);
    assert_eq!(twice.unwrap_err().fault, Fault::SameKey);
}

#[test]
fn the_choice_among_several_keys_is_left_to_people() {
    let selector = Selector { label: Some(b"unseal".to_vec()), id: None };
    let outcome = only(vec![facts(1, AES), facts(2, AES)], &selector).unwrap_err();
    assert_eq!(outcome.fault, Fault::Token(Class::SeveralKeys));
    assert!(outcome.to_string().contains("id 01, label un%3Bseal id 02"), "{outcome}");
    let missing = only(vec![], &selector).unwrap_err();
    assert_eq!(missing.fault, Fault::Token(Class::NoKey));
    assert_eq!(only(vec![facts(1, AES)], &selector).unwrap(), facts(1, AES));
}

#[test]
fn a_previous_rsa_key_opens_beside_a_current_aes_key_of_a_chosen_mechanism() {
    let (modulus, exponent) = (vec![0xFD; 256], vec![1, 0, 1]);
    let rsa = KeyKind::Rsa { modulus, exponent, oaep_sha256: true };
    let previous = vec![Previous::Found(facts(1, rsa))];
    let gcm = Some(Mechanism::AesGcm);
    let keys = Keys::new(previous, facts(2, AES), &token(), gcm).unwrap();
    let description = keys.description().unwrap();
    let [old, _] = description.versions() else { panic!("two versions") };
    assert_eq!(old.state, KekState::Enabled);
    let old = keys.named(&old.id).unwrap();
    assert_eq!(old.unwraps(WrapAlgorithm::RsaOaep256, 256), Some(Mechanism::RsaOaepSha256));
}

#[test]
fn a_key_that_wraps_nothing_is_judged_by_the_current_one() {
    let rsa = |id| {
        let (modulus, exponent) = (vec![0xFD; 256], vec![1, 0, 1]);
        facts(id, KeyKind::Rsa { modulus, exponent, oaep_sha256: true })
    };
    let (gcm, key_wrap, oaep) =
        (Mechanism::AesGcm, Mechanism::AesKeyWrap, Mechanism::RsaOaepSha256);
    let of = |previous, current| {
        let keys = Keys::new(vec![Previous::Found(previous)], current, &token(), None).unwrap();
        let previous = keys.previous.first().unwrap().clone();
        (keys, previous)
    };
    let (keys, previous) = of(facts(1, AES), facts(2, AES));
    let current = Some(Witness { key: facts(2, AES).name, mechanism: gcm });
    assert_eq!(keys.witness(&previous, gcm), current);
    assert_eq!(keys.witness(keys.current(), key_wrap), current);
    assert_eq!(keys.witness(keys.current(), gcm), None, "it is its own");
    let (keys, previous) = of(rsa(1), facts(2, AES));
    assert_eq!(keys.witness(&previous, oaep), None);
    assert_eq!(keys.probe(&previous).unwrap().key, previous.name);
    let (keys, previous) = of(facts(1, AES), rsa(2));
    assert_eq!(keys.witness(&previous, gcm), None);
    assert_eq!(keys.probe(&previous).unwrap().key, keys.current().name);
}

#[test]
fn trouble_of_the_token_is_none_of_a_previous_key() {
    let selector = Selector { label: None, id: Some(vec![1]) };
    for (class, is_of_the_key) in
        [(Class::NoKey, true), (Class::Failed, true), (Class::Lost, false), (Class::Busy, false)]
    {
        let error = Diagnosis::new(Stage::Key, Fault::Token(class)).into();
        assert_eq!(previous(Err(error), &selector, None).is_ok(), is_of_the_key, "{class:?}");
    }
    let late = previous(Err(KmsError::TimedOut(None)), &selector, None);
    assert!(late.is_err());
}

/// The keys after a look for two versions, where that for the previous one came to `class`.
fn looked_again(before: Option<&Keys>, label: Option<&[u8]>, class: Option<Class>) -> Keys {
    let selector = Selector { label: label.map(<[u8]>::to_vec), id: Some(vec![1]) };
    let found = match class {
        None => Ok(vec![facts(1, AES)]),
        Some(Class::NoKey) => Ok(vec![]),
        Some(class) => Err(Diagnosis::new(Stage::Key, Fault::Token(class)).into()),
    };
    let previous = previous(found, &selector, before).unwrap();
    Keys::new(vec![previous], facts(2, AES), &token(), None).unwrap()
}

#[test]
fn a_hiccup_of_the_token_takes_no_previous_key_that_was_found() {
    let kek = KekId::new("pkcs11:serial=AB%2012;object=un%3Bseal;id=%01").unwrap();
    for label in [None, Some(&b"un;seal"[..])] {
        let opens = |keys: &Keys| keys.named(&kek).is_some_and(|key| key.usable().is_ok());
        let good = looked_again(None, label, None);
        let mut failed = looked_again(Some(&good), label, Some(Class::Failed));
        for _ in 0..3 {
            assert!(opens(&failed) && failed.missed().count() == 1);
            failed = looked_again(Some(&failed), label, Some(Class::Failed));
        }
        let gone_once = looked_again(Some(&failed), label, Some(Class::NoKey));
        assert!(opens(&gone_once));
        let back = looked_again(Some(&gone_once), label, None);
        assert!(opens(&back) && back.missed().count() == 0);
        let gone = looked_again(Some(&gone_once), label, Some(Class::NoKey));
        assert!(!opens(&gone) && gone.lacks(&kek) && gone.missed().count() == 0);
        let locked = looked_again(Some(&good), label, Some(Class::NotPermitted));
        assert!(!opens(&locked) && locked.lacks(&kek), "that is no hiccup");
    }
}

#[test]
fn only_what_the_token_explains_of_a_previous_key_is_final() {
    let kek = KekId::new("pkcs11:serial=AB%2012;object=un%3Bseal;id=%01").unwrap();
    for (class, is_transient) in
        [(Class::Failed, true), (Class::NoKey, false), (Class::NotPermitted, false)]
    {
        let keys = looked_again(None, Some(b"un;seal"), Some(class));
        assert!(keys.lacks(&kek) && !keys.lacks(&keys.current().id));
        let refused = keys.named(&kek).unwrap().usable().unwrap_err();
        assert_eq!(refused.is_transient(), is_transient, "{class:?}");
        let nameless = looked_again(None, None, Some(class));
        assert!(nameless.named(&kek).is_none() && nameless.lacks(&kek));
        assert_eq!(nameless.unsure().is_some(), is_transient, "{class:?}");
    }
}

/// Whoever invents an id would have all of the HSM counted silent.
#[test]
fn what_is_wrong_with_one_previous_key_is_no_silence_of_the_token() {
    let kek = KekId::new("pkcs11:serial=AB%2012;object=un%3Bseal;id=%01").unwrap();
    let keys = looked_again(None, Some(b"un;seal"), Some(Class::Failed));
    let refused = keys.named(&kek).unwrap().usable().unwrap_err();
    let unsure = KmsError::from(looked_again(None, None, Some(Class::Failed)).unsure().unwrap());
    for error in [refused, unsure] {
        assert!(matches!(error, KmsError::Misbehaved(_)), "{error:?}");
        assert!(error.is_transient() && Diagnosis::of(&error).unwrap().is_of_previous);
    }
}

#[test]
fn each_listed_id_is_looked_for_and_the_current_one() {
    let mut settings = super::super::settings::tests::settings();
    settings.key_id = Some(vec![3]);
    settings.previous_key_ids = vec![vec![1], vec![2]];
    let (previous, current) = selectors(&settings);
    let ids: Vec<_> = previous.into_iter().chain([current]).map(|one| one.id).collect();
    assert_eq!(ids, [Some(vec![1]), Some(vec![2]), Some(vec![3])]);
}
