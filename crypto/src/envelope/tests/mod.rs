mod quorum;
mod recipients;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey,
};
use proptest::prelude::*;

use super::*;
use crate::{
    Kek, KekId, KeyVersion, OriginKey, Plaintext, RsaPublicKey, SealName, WrapAlgorithm, os_random,
};

fn kek(fill: u8) -> Kek {
    Kek::init_with(|bytes| bytes.fill(fill)).unwrap()
}

fn origin_key(fill: u8) -> OriginKey {
    OriginKey::init_with(|bytes| bytes.fill(fill)).unwrap()
}

fn header() -> Header<'static> {
    Header {
        purpose: Purpose::Client,
        realm: "prod \"eu\" ü".into(),
        mount: "team/transit".into(),
        key: "unseal".into(),
        version: KeyVersion::FIRST,
        created: 1_764_000_000,
    }
}

/// Static recipients `s0`, `s1`, … under the KEKs with these fills.
fn recipients(draft: &Draft, fills: &[u8]) -> Vec<Recipient> {
    let one = |(index, fill): (usize, &u8)| Recipient {
        seal: SealName::new(&format!("s{index}")).unwrap(),
        kek: KekId::new(&format!("k{fill}")).unwrap(),
        algorithm: WrapAlgorithm::A256Kw,
        wrapped_dek: kek(*fill).wrap_dek(draft.secret()).to_vec(),
        share: None,
    };
    fills.iter().enumerate().map(one).collect()
}

fn encrypt(plaintext: &[u8], aad: Aad<'_>, fills: &[u8], origin: Option<&OriginKey>) -> Vec<u8> {
    let draft = Draft::new(&os_random).unwrap();
    let recipients = recipients(&draft, fills);
    let plaintext = Plaintext::new(plaintext.to_vec());
    draft.encrypt(&header(), aad, plaintext, &recipients, origin).unwrap()
}

struct Place {
    realms: Vec<String>,
    mounts: Vec<String>,
    key: &'static str,
    version: u32,
    purpose: Purpose,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            realms: vec!["old".into(), header().realm.into_owned()],
            mounts: vec![header().mount.into_owned()],
            key: "unseal",
            version: 1,
            purpose: Purpose::Client,
        }
    }
}

impl Place {
    fn parse(&self, json: &[u8], origin_key: Option<&OriginKey>) -> Result<Envelope, DecryptError> {
        let expected = Expected {
            purpose: self.purpose,
            realms: &self.realms,
            mounts: &self.mounts,
            key: self.key,
            version: KeyVersion::new(self.version).unwrap(),
            origin_key,
        };
        Envelope::parse(json, &expected)
    }

    fn refusal(&self, json: &[u8], origin_key: Option<&OriginKey>) -> EnvelopeRefusal {
        self.parse(json, origin_key).unwrap_err().refusal_for_log()
    }
}

/// Opens with the KEK `fill`, through whichever recipient it opens.
fn decrypt(json: &[u8], aad: Aad<'_>, fill: u8, origin: Option<&OriginKey>) -> Option<Vec<u8>> {
    let envelope = Place::default().parse(json, origin).ok()?;
    let id = KekId::new(&format!("k{fill}")).unwrap();
    let recipient = envelope.recipients().iter().find(|recipient| recipient.kek == id)?;
    let dek = kek(fill).unwrap_dek(&recipient.wrapped_dek).ok()?;
    let plaintext = envelope.decrypt(&dek, aad).ok()?;
    Some(plaintext.expose_for_reply().to_vec())
}

const BOUND: Aad<'static> = Aad { associated_data: b"vault-1", context: b"ctx" };

#[test]
fn every_recipient_opens_the_same_envelope() {
    let json = encrypt(b"root key", Aad::default(), &[1, 2, 3], None);
    for fill in [1, 2, 3] {
        assert_eq!(decrypt(&json, Aad::default(), fill, None).unwrap(), b"root key");
    }
    assert_eq!(decrypt(&json, Aad::default(), 4, None), None);
}

#[test]
fn an_rsa_recipient_stands_beside_a_static_one() {
    for size in [KeySize::Rsa2048, KeySize::Rsa3072] {
        let private = PrivateDecryptingKey::generate(size).unwrap();
        let spki = private.public_key().as_der().unwrap();
        let public = RsaPublicKey::from_spki_der(spki.as_ref()).unwrap();
        let draft = Draft::new(&os_random).unwrap();
        let mut recipients = recipients(&draft, &[1]);
        recipients.push(Recipient {
            seal: SealName::new("weu").unwrap(),
            kek: KekId::new("https://weu.vault.azure.net/keys/unseal/1").unwrap(),
            algorithm: WrapAlgorithm::RsaOaep256,
            wrapped_dek: public.wrap_dek(draft.secret()).unwrap(),
            share: None,
        });
        let plaintext = Plaintext::new(b"root key".to_vec());
        let json = draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None).unwrap();
        assert_eq!(decrypt(&json, Aad::default(), 1, None).unwrap(), b"root key");

        let envelope = Place::default().parse(&json, None).unwrap();
        let private = OaepPrivateDecryptingKey::new(private).unwrap();
        let mut output = vec![0; private.min_output_size()];
        let wrapped = &envelope.recipients()[1].wrapped_dek;
        let dek = private.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut output, None).unwrap();
        let dek = RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek));
        let plaintext = envelope.decrypt(&dek, Aad::default()).unwrap();
        assert_eq!(plaintext.expose_for_reply(), b"root key");
    }
}

#[test]
fn every_single_bit_change_is_refused_with_the_same_error() {
    let origin = origin_key(9);
    for origin in [None, Some(&origin)] {
        let json = encrypt(b"root key", BOUND, &[1, 2], origin);
        assert!(decrypt(&json, BOUND, 1, origin).is_some(), "control: unchanged, it opens");
        for bit in 0..json.len() * 8 {
            let mut changed = json.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // Either seal may be asked; neither may open it.
            assert_eq!(decrypt(&changed, BOUND, 1, origin), None, "bit {bit}");
            assert_eq!(decrypt(&changed, BOUND, 2, origin), None, "bit {bit}");
            if let Err(error) = Place::default().parse(&changed, origin) {
                assert_eq!(error.to_string(), "cipher: message authentication failed");
            }
        }
    }
}

#[test]
fn every_truncation_and_extension_is_refused() {
    let json = encrypt(b"root key", Aad::default(), &[1], None);
    for length in 0..json.len() {
        assert_eq!(Place::default().refusal(&json[..length], None), EnvelopeRefusal::Malformed);
    }
    for tail in ["\n", " ", "}", "\0", "{}"] {
        let longer = [&json[..], tail.as_bytes()].concat();
        assert_eq!(Place::default().refusal(&longer, None), EnvelopeRefusal::Malformed);
    }
}

#[test]
fn associated_data_and_context_are_bound_and_kept_apart() {
    let json = encrypt(b"x", BOUND, &[1], None);
    assert!(decrypt(&json, BOUND, 1, None).is_some());
    for other in [
        Aad::default(),
        Aad { associated_data: b"vault-2", ..BOUND },
        Aad { context: b"", ..BOUND },
        Aad { associated_data: b"", ..BOUND },
        Aad { associated_data: b"ctx", context: b"vault-1" },
        Aad { associated_data: b"vault-1ctx", context: b"" },
    ] {
        assert_eq!(decrypt(&json, other, 1, None), None);
    }
}

#[test]
fn an_envelope_of_another_place_is_refused_before_any_kms_is_asked() {
    let json = encrypt(b"x", Aad::default(), &[1], None);
    let place = Place::default;
    for (elsewhere, refusal) in [
        (Place { purpose: Purpose::State, ..place() }, EnvelopeRefusal::Purpose),
        (Place { realms: vec!["prod".into()], ..place() }, EnvelopeRefusal::Realm),
        (Place { mounts: vec!["transit".into()], ..place() }, EnvelopeRefusal::Mount),
        (Place { key: "other", ..place() }, EnvelopeRefusal::Key),
        (Place { version: 2, ..place() }, EnvelopeRefusal::Version),
    ] {
        assert_eq!(elsewhere.refusal(&json, None), refusal);
    }
}

#[test]
fn more_recipients_than_allowed_are_refused() {
    let fills: Vec<u8> = (1..=16).collect();
    let json = encrypt(b"x", Aad::default(), &fills, None);
    assert_eq!(decrypt(&json, Aad::default(), 16, None).unwrap(), b"x");

    let draft = Draft::new(&os_random).unwrap();
    let recipients = recipients(&draft, &(1..=17).collect::<Vec<_>>());
    let plaintext = Plaintext::new(b"x".to_vec());
    let made = draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None);
    assert_eq!(made.unwrap_err(), EncryptError::TooManyRecipients);

    let json = String::from_utf8(json).unwrap();
    let (start, end) = (json.find('[').unwrap(), json.find(']').unwrap());
    let one_more = json[start + 1..end].split("},{").last().unwrap().replace("\"s15\"", "\"s16\"");
    let longer = format!("{},{{{}{}", &json[..end], one_more, &json[end..]);
    assert_eq!(Place::default().refusal(longer.as_bytes(), None), EnvelopeRefusal::Malformed);
}

#[test]
fn with_an_origin_key_only_its_own_envelopes_are_accepted() {
    let (ours, theirs) = (origin_key(1), origin_key(2));
    let signed = encrypt(b"x", Aad::default(), &[1], Some(&ours));
    let unsigned = encrypt(b"x", Aad::default(), &[1], None);
    let place = Place::default();
    assert!(place.parse(&signed, Some(&ours)).is_ok());
    assert_eq!(place.refusal(&signed, Some(&theirs)), EnvelopeRefusal::Origin);
    assert_eq!(place.refusal(&unsigned, Some(&ours)), EnvelopeRefusal::Origin);
    assert!(place.parse(&signed, None).is_ok(), "without the key the claim is ignored");
    assert!(Envelope::inspect(&signed).unwrap().has_origin());
    assert!(!Envelope::inspect(&unsigned).unwrap().has_origin());
}

#[test]
fn an_origin_that_nobody_checks_has_one_spelling_all_the_same() {
    let signed = encrypt(b"x", Aad::default(), &[1], Some(&origin_key(1)));
    let mut json: serde_json::Value = serde_json::from_slice(&signed).unwrap();
    for origin in ["", "AAAA", "not base64url!"] {
        json["unprotected"]["origin"] = origin.into();
        let changed = serde_json::to_vec(&json).unwrap();
        assert_eq!(
            Place::default().refusal(&changed, None),
            EnvelopeRefusal::Malformed,
            "{origin}"
        );
    }
}

#[test]
fn a_recipient_of_another_envelope_is_refused() {
    let (one, two) = (
        encrypt(b"one", Aad::default(), &[1, 2], None),
        encrypt(b"two", Aad::default(), &[1, 2], None),
    );
    let mut one: serde_json::Value = serde_json::from_slice(&one).unwrap();
    let two: serde_json::Value = serde_json::from_slice(&two).unwrap();
    one["recipients"][1] = two["recipients"][1].clone();
    let spliced = serde_json::to_vec(&one).unwrap();
    let envelope = Place::default().parse(&spliced, None).unwrap();
    for (index, fill) in [(0, 1), (1, 2)] {
        let dek = kek(fill).unwrap_dek(&envelope.recipients()[index].wrapped_dek).unwrap();
        let error = envelope.decrypt(&dek, Aad::default()).unwrap_err();
        assert_eq!(error.refusal_for_log(), EnvelopeRefusal::Commitment);
    }
}

/// Whoever can wrap for a KEK may choose DEK, commitment and tag freely; the tag that fits once it
/// is spoiled must not let a false commitment through.
#[test]
fn a_false_commitment_is_refused_even_when_the_spoiled_tag_fits() {
    let json = encrypt(b"x", Aad::default(), &[1], None);
    let mut envelope = Place::default().parse(&json, None).unwrap();
    let dek = kek(1).unwrap_dek(&envelope.recipients()[0].wrapped_dek).unwrap();
    envelope.commitment[0] ^= 1;
    envelope.tag = envelope.tag.map(|byte| !byte);
    let error = envelope.decrypt(&dek, Aad::default()).unwrap_err();
    assert_eq!(error.refusal_for_log(), EnvelopeRefusal::Commitment);
}

#[test]
fn only_the_one_spelling_is_accepted() {
    let json = String::from_utf8(encrypt(b"x", Aad::default(), &[1], None)).unwrap();
    let swap = |from: &str, to: &str| {
        assert!(json.contains(from), "{from} must be there to be replaced");
        json.replacen(from, to, 1)
    };
    for (what, text) in [
        ("white space", swap(",\"tag\"", ", \"tag\"")),
        ("an unknown member", swap("{\"ciphertext\"", "{\"a\":1,\"ciphertext\"")),
        ("a duplicate member", swap("\"iv\":", "\"iv\":\"AAAAAAAAAAAAAAAA\",\"iv\":")),
        ("a crit header", swap("\"header\":{", "\"header\":{\"crit\":[\"x\"],")),
        ("an unknown alg", swap("A256KW", "A128KW")),
        ("alg dir", swap("A256KW", "dir")),
        ("no recipients", {
            let (start, end) = (json.find('[').unwrap(), json.find(']').unwrap());
            format!("{}{}", &json[..=start], &json[end..])
        }),
        ("padding", swap("\",\"iv\"", "=\",\"iv\"")),
        ("an escape", swap("A256KW", "A256K\\u0057")),
        ("a shared unprotected header", swap("}]", "}],\"unprotected\":{}")),
    ] {
        assert_eq!(
            Place::default().refusal(text.as_bytes(), None),
            EnvelopeRefusal::Malformed,
            "{what}"
        );
    }
}

#[test]
fn two_recipients_of_one_kek_are_refused() {
    let draft = Draft::new(&os_random).unwrap();
    let mut recipients = recipients(&draft, &[1, 1]);
    recipients[1].seal = recipients[0].seal.clone();
    let plaintext = Plaintext::new(Vec::new());
    let json = draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None).unwrap();
    assert_eq!(Place::default().refusal(&json, None), EnvelopeRefusal::Malformed);
}

#[test]
fn two_keks_of_one_seal_and_two_seals_of_one_kek_are_read() {
    let draft = Draft::new(&os_random).unwrap();
    let mut recipients = recipients(&draft, &[1, 2, 2]);
    recipients[1].seal = recipients[0].seal.clone();
    let plaintext = Plaintext::new(Vec::new());
    let json = draft.encrypt(&header(), Aad::default(), plaintext, &recipients, None).unwrap();
    let envelope = Place::default().parse(&json, None).unwrap();
    assert_eq!(envelope.recipients(), recipients);
}

#[test]
fn an_envelope_without_recipients_is_never_made() {
    let draft = Draft::new(&os_random).unwrap();
    let plaintext = Plaintext::new(b"x".to_vec());
    let made = draft.encrypt(&header(), Aad::default(), plaintext, &[], None);
    assert_eq!(made.unwrap_err(), EncryptError::NoRecipient);
}

#[test]
fn two_envelopes_of_one_plaintext_share_no_secret_part() {
    let (one, two) =
        (encrypt(b"x", Aad::default(), &[1], None), encrypt(b"x", Aad::default(), &[1], None));
    let part = |json: &[u8], name: &str| {
        serde_json::from_slice::<serde_json::Value>(json).unwrap()[name].clone()
    };
    for name in ["iv", "ciphertext", "tag", "protected", "recipients"] {
        if name != "ciphertext" {
            assert_ne!(part(&one, name), part(&two, name), "{name}");
        }
    }
}

/// An envelope with a realm of this length, and the length of its protected header.
fn with_realm(length: usize) -> (Vec<u8>, usize) {
    let draft = Draft::new(&os_random).unwrap();
    let recipients = recipients(&draft, &[1]);
    let header = Header { realm: "r".repeat(length).into(), ..header() };
    let json = draft.encrypt(&header, BOUND, Plaintext::new(Vec::new()), &recipients, None);
    let json = json.unwrap();
    let read: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let length = read["protected"].as_str().unwrap().len();
    (json, length)
}

#[test]
fn a_header_has_at_most_8192_characters() {
    // Four characters stand for three bytes, of which the last may be missing.
    let longest = (8192 - with_realm(0).1) * 3 / 4;
    let longest = if with_realm(longest).1 < 8192 { longest + 1 } else { longest };
    let (json, length) = with_realm(longest);
    assert_eq!(length, 8192);
    assert!(Envelope::inspect(&json).is_ok());
    let (json, _) = with_realm(longest + 1);
    let refused = Envelope::inspect(&json).unwrap_err();
    assert_eq!(refused.refusal_for_log(), EnvelopeRefusal::Malformed);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_was_encrypted_is_decrypted(
        plaintext in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300),
            prop::collection::vec(any::<u8>(), 4000..70_000),
        ],
        associated_data: Vec<u8>,
        context: Vec<u8>,
        count in 1_u8..=3,
        signed: bool,
    ) {
        let key = origin_key(3);
        let origin = signed.then_some(&key);
        let aad = Aad { associated_data: &associated_data, context: &context };
        let fills: Vec<u8> = (1..=count).collect();
        let json = encrypt(&plaintext, aad, &fills, origin);
        for fill in fills {
            let decrypted = decrypt(&json, aad, fill, origin);
            prop_assert_eq!(decrypted.as_deref(), Some(&plaintext[..]));
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
        prop_assert!(Place::default().parse(&bytes, None).is_err());
    }

    #[test]
    fn a_changed_byte_anywhere_is_refused(at: prop::sample::Index, byte: u8) {
        let json = encrypt(b"root key", BOUND, &[1], None);
        let mut changed = json.clone();
        changed[at.index(json.len())] = byte;
        if changed != json {
            prop_assert_eq!(decrypt(&changed, BOUND, 1, None), None);
        }
    }
}
