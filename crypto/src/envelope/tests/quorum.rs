//! k of n: which recipients open an envelope together.

use serde_json::Value;

use super::*;

const PLAINTEXT: &[u8] = b"root key";

/// An envelope of which `needed` of the recipients under the KEKs 1 to `of` must be unwrapped.
fn encrypt_for(needed: u8, of: u8, aad: Aad<'_>, origin: Option<&OriginKey>) -> Vec<u8> {
    let quorum = Quorum::new(needed, usize::from(of)).unwrap();
    let draft = Draft::with_quorum(quorum, &os_random).unwrap();
    let recipients: Vec<_> = (1..=of).map(|fill| wrapped(&draft, fill)).collect();
    let plaintext = Plaintext::new(PLAINTEXT.to_vec());
    draft.encrypt(&header(), aad, plaintext, &recipients, origin).unwrap()
}

/// The recipient `s<fill>`, under the KEK of the same number.
fn wrapped(draft: &Draft, fill: u8) -> Recipient {
    let part = draft.part(usize::from(fill - 1)).unwrap();
    let wrapped_dek = kek(fill).wrap_dek(part.secret()).to_vec();
    let seal = SealName::new(&format!("s{fill}")).unwrap();
    part.recipient(
        seal,
        KekId::new(&format!("k{fill}")).unwrap(),
        WrapAlgorithm::A256Kw,
        wrapped_dek,
    )
}

fn parse(json: &[u8]) -> Result<Envelope, DecryptError> {
    Place::default().parse(json, None)
}

/// What the KMS with the KEK `fill` unwraps, and for which recipient.
fn unwrapped(envelope: &Envelope, fill: u8) -> Option<(&Recipient, RecipientSecret)> {
    let id = KekId::new(&format!("k{fill}")).unwrap();
    let recipient = envelope.recipients().iter().find(|recipient| recipient.kek == id)?;
    Some((recipient, kek(fill).unwrap_dek(&recipient.wrapped_dek).ok()?))
}

/// Opens `json` as a server does that can ask the KEKs `fills` alone.
fn open(json: &[u8], fills: &[u8], aad: Aad<'_>) -> Result<Vec<u8>, EnvelopeRefusal> {
    let open = || {
        let envelope = parse(json)?;
        let verified = fills.iter().filter_map(|fill| {
            let (recipient, secret) = unwrapped(&envelope, *fill)?;
            envelope.verify_share(recipient, &secret).ok()
        });
        let dek = envelope.combine(&verified.collect::<Vec<_>>())?;
        Ok(envelope.decrypt(&dek, aad)?.expose_for_reply().to_vec())
    };
    open().map_err(|error: DecryptError| error.refusal_for_log())
}

/// The subsets of 1 to `of`, as numbers of KEKs.
fn subsets(of: u8) -> impl Iterator<Item = Vec<u8>> {
    (0_u32..1 << of).map(move |set| (1..=of).filter(|fill| set & (1 << (fill - 1)) != 0).collect())
}

#[test]
fn every_subset_that_is_large_enough_opens_and_no_smaller_one_does() {
    for (needed, of) in [(2, 2), (2, 3), (3, 3), (2, 4), (3, 5), (5, 5)] {
        let json = encrypt_for(needed, of, BOUND, None);
        assert_eq!(parse(&json).unwrap().needed(), needed);
        for fills in subsets(of) {
            let opened = open(&json, &fills, BOUND);
            if fills.len() < usize::from(needed) {
                assert_eq!(opened, Err(EnvelopeRefusal::Quorum), "{fills:?} of {needed}");
            } else {
                assert_eq!(opened.as_deref(), Ok(PLAINTEXT), "{fills:?} of {needed}");
            }
        }
    }
}

#[test]
fn a_quorum_of_sixteen_opens() {
    let json = encrypt_for(16, 16, BOUND, None);
    assert!(open(&json, &(1..=16).collect::<Vec<_>>(), BOUND).is_ok());
    assert!(open(&json, &(1..=15).collect::<Vec<_>>(), BOUND).is_err());
}

#[test]
fn a_quorum_of_one_is_an_envelope_that_any_recipient_opens() {
    let json = encrypt_for(1, 3, BOUND, None);
    assert!(!String::from_utf8(json.clone()).unwrap().contains("share"));
    for fill in 1..=3 {
        assert_eq!(decrypt(&json, BOUND, fill, None).as_deref(), Some(PLAINTEXT));
    }
}

#[test]
fn a_share_is_never_the_dek_nor_another_share() {
    let quorum = Quorum::new(2, 3).unwrap();
    let draft = Draft::with_quorum(quorum, &os_random).unwrap();
    let secrets: Vec<_> =
        (0..3).map(|at| *draft.part(at).unwrap().secret().expose_for_wrap()).collect();
    assert!(draft.part(3).is_none());
    let shares: Vec<_> = (0..2)
        .map(|at| (draft.part(at).unwrap().share.unwrap().index, draft.part(at).unwrap().secret()))
        .collect();
    let dek = crate::shamir::combine(&shares);
    assert!(secrets.iter().all(|secret| secret != dek.expose_for_wrap()));
    assert!(secrets[0] != secrets[1] && secrets[1] != secrets[2] && secrets[0] != secrets[2]);
    assert_eq!(draft.secret().expose_for_wrap(), &secrets[0], "no way to the DEK itself");
}

#[test]
fn a_recipient_may_be_left_out_while_a_quorum_remains() {
    let draft = || Draft::with_quorum(Quorum::new(2, 3).unwrap(), &os_random).unwrap();
    let encrypt = |draft: Draft, fills: &[u8]| {
        let recipients: Vec<_> = fills.iter().map(|fill| wrapped(&draft, *fill)).collect();
        let plaintext = Plaintext::new(PLAINTEXT.to_vec());
        draft.encrypt(&header(), BOUND, plaintext, &recipients, None)
    };
    let json = encrypt(draft(), &[3, 1]).unwrap();
    assert_eq!(open(&json, &[1, 3], BOUND).as_deref(), Ok(PLAINTEXT));
    let refused = encrypt(draft(), &[3]).unwrap_err();
    assert_eq!(refused, EncryptError::QuorumNotMet { needed: 2, of: 1 });
}

#[test]
fn recipients_that_do_not_fit_the_quorum_are_never_printed() {
    let draft = || Draft::with_quorum(Quorum::new(2, 3).unwrap(), &os_random).unwrap();
    let refusal = |draft: Draft, change: fn(&mut Vec<Recipient>)| {
        let mut recipients: Vec<_> = (1..=3).map(|fill| wrapped(&draft, fill)).collect();
        change(&mut recipients);
        let plaintext = Plaintext::new(PLAINTEXT.to_vec());
        draft.encrypt(&header(), BOUND, plaintext, &recipients, None).err()
    };
    assert_eq!(refusal(draft(), |_| ()), None, "control");
    let changes: [fn(&mut Vec<Recipient>); 3] = [
        |recipients| recipients[0].share = None,
        |recipients| recipients[0].share = recipients[1].share,
        |recipients| recipients[0].seal = recipients[2].seal.clone(),
    ];
    for change in changes {
        assert_eq!(refusal(draft(), change), Some(EncryptError::Shares));
    }
    let plain = Draft::new(&os_random).unwrap();
    let mut recipients = recipients(&plain, &[1, 2]);
    recipients[1].share = Some(ShareMark { index: 1, mac: [0; 32] });
    let plaintext = Plaintext::new(PLAINTEXT.to_vec());
    let refused = plain.encrypt(&header(), BOUND, plaintext, &recipients, None).unwrap_err();
    assert_eq!(refused, EncryptError::Shares);
}

#[test]
fn a_quorum_that_can_never_be_met_is_none() {
    assert_eq!(Quorum::new(0, 3), Err(QuorumError::NobodyNeeded));
    assert_eq!(Quorum::new(4, 3), Err(QuorumError::NeverMet { needed: 4, of: 3 }));
    assert_eq!(Quorum::new(1, 0), Err(QuorumError::NeverMet { needed: 1, of: 0 }));
    assert_eq!(Quorum::new(2, 17), Err(QuorumError::TooMany { of: 17 }));
    assert_eq!(Quorum::new(2, 300), Err(QuorumError::TooMany { of: 300 }));
    assert!(Quorum::new(16, 16).is_ok());
}

#[test]
fn shares_and_quorums_tell_their_numbers() {
    let quorum = Quorum::new(2, 3).unwrap();
    assert_eq!((quorum.needed(), quorum.of()), (2, 3));
    let json = encrypt_for(2, 3, BOUND, None);
    let envelope = parse(&json).unwrap();
    assert_eq!(envelope.needed(), 2);
    let indexes = [1, 2, 3].map(|fill| {
        let (recipient, secret) = unwrapped(&envelope, fill).unwrap();
        envelope.verify_share(recipient, &secret).unwrap().index()
    });
    assert_eq!(indexes, [1, 2, 3]);
}

#[test]
fn one_wrong_share_is_recognised_alone_and_the_others_go_on() {
    let json = encrypt_for(2, 3, BOUND, None);
    let envelope = parse(&json).unwrap();
    let recipients = envelope.recipients();
    let (_, second) = unwrapped(&envelope, 2).unwrap();
    let refusal = |recipient, secret: &RecipientSecret| {
        envelope.verify_share(recipient, secret).unwrap_err().refusal_for_log()
    };
    // Another recipient's share, and one of which a bit is wrong.
    assert_eq!(refusal(&recipients[0], &second), EnvelopeRefusal::Share);
    for bit in 0..256 {
        let changed = RecipientSecret::init_with(|bytes| {
            *bytes = *second.expose_for_wrap();
            bytes[bit / 8] ^= 1 << (bit % 8);
        });
        assert_eq!(refusal(&recipients[1], &changed), EnvelopeRefusal::Share);
    }
    assert_eq!(open(&json, &[1, 3], BOUND).as_deref(), Ok(PLAINTEXT));
}

#[test]
fn the_same_share_twice_is_no_quorum() {
    let json = encrypt_for(2, 3, BOUND, None);
    let envelope = parse(&json).unwrap();
    let share = || {
        let (recipient, secret) = unwrapped(&envelope, 1).unwrap();
        envelope.verify_share(recipient, &secret).unwrap()
    };
    let refused = envelope.combine(&[share(), share()]).unwrap_err();
    assert_eq!(refused.refusal_for_log(), EnvelopeRefusal::Quorum);
    assert_eq!(open(&json, &[1, 1], BOUND), Err(EnvelopeRefusal::Quorum));
}

#[test]
fn a_share_of_another_envelope_is_refused() {
    let (one, two) = (encrypt_for(2, 3, BOUND, None), encrypt_for(2, 3, BOUND, None));
    let mut spliced: Value = serde_json::from_slice(&one).unwrap();
    let two: Value = serde_json::from_slice(&two).unwrap();
    spliced["recipients"][0] = two["recipients"][0].clone();
    let spliced = serde_json::to_vec(&spliced).unwrap();
    let envelope = parse(&spliced).unwrap();
    let (recipient, foreign) = unwrapped(&envelope, 1).unwrap();
    let refused = envelope.verify_share(recipient, &foreign).unwrap_err();
    assert_eq!(
        refused.refusal_for_log(),
        EnvelopeRefusal::Share,
        "by its own mark, in the wrong envelope"
    );
    // The others are right, but the list of recipients is not the one committed to.
    assert_eq!(open(&spliced, &[2, 3], BOUND), Err(EnvelopeRefusal::Commitment));
}

/// The header of each recipient and the quorum itself, in any spelling that parses.
#[test]
fn a_changed_quorum_or_header_is_refused() {
    let json = String::from_utf8(encrypt_for(2, 3, BOUND, None)).unwrap();
    for (from, to, refusal) in [
        ("\"kid\":\"k3\"", "\"kid\":\"k4\"", EnvelopeRefusal::Commitment),
        ("\"seal\":\"s3\"", "\"seal\":\"s4\"", EnvelopeRefusal::Commitment),
        ("\"index\":3", "\"index\":4", EnvelopeRefusal::Commitment),
        ("\"index\":1", "\"index\":4", EnvelopeRefusal::Quorum),
        ("\"index\":3", "\"index\":1", EnvelopeRefusal::Malformed),
        ("\"index\":3", "\"index\":0", EnvelopeRefusal::Malformed),
        ("\"index\":3", "\"index\":17", EnvelopeRefusal::Malformed),
        ("\"index\":3", "\"index\":03", EnvelopeRefusal::Malformed),
        ("\"seal\":\"s3\"", "\"seal\":\"s1\"", EnvelopeRefusal::Malformed),
        (",\"share\":{\"index\":3,", ",\"share\":{\"indexx\":3,", EnvelopeRefusal::Malformed),
    ] {
        assert!(json.contains(from), "{from}");
        let changed = json.replace(from, to);
        assert_eq!(open(changed.as_bytes(), &[1, 2], BOUND), Err(refusal), "{from} to {to}");
    }
}

/// `json` with its protected header changed.
fn with_protected(json: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut json: Value = serde_json::from_slice(json).unwrap();
    let protected = crate::base64::decode_url(json["protected"].as_str().unwrap()).unwrap();
    let protected = String::from_utf8(protected).unwrap();
    assert!(protected.contains(from), "{protected}");
    let protected = crate::base64::encode_url(protected.replace(from, to).as_bytes());
    json["protected"] = String::from_utf8(protected).unwrap().into();
    serde_json::to_vec(&json).unwrap()
}

#[test]
fn a_quorum_that_does_not_fit_the_recipients_is_malformed() {
    let json = encrypt_for(2, 3, BOUND, None);
    for bad in ["0", "1", "4", "17", "256", "02"] {
        let changed = with_protected(&json, "\"quorum\":2", &format!("\"quorum\":{bad}"));
        assert_eq!(open(&changed, &[1, 2], BOUND), Err(EnvelopeRefusal::Malformed), "{bad}");
    }
    let gone = with_protected(&json, ",\"quorum\":2", "");
    assert_eq!(
        open(&gone, &[1, 2], BOUND),
        Err(EnvelopeRefusal::Malformed),
        "shares without a quorum"
    );
    let three = with_protected(&json, "\"quorum\":2", "\"quorum\":3");
    assert_eq!(
        open(&three, &[1, 2, 3], BOUND),
        Err(EnvelopeRefusal::Quorum),
        "another number needed"
    );
    let plain = encrypt(PLAINTEXT, BOUND, &[1, 2], None);
    for needed in [1, 2] {
        let with = format!(",\"quorum\":{needed},\"realm\"");
        let claimed = with_protected(&plain, ",\"realm\"", &with);
        assert_eq!(
            open(&claimed, &[1, 2], BOUND),
            Err(EnvelopeRefusal::Malformed),
            "no shares: {needed}"
        );
    }
}

#[test]
fn mixed_recipients_with_and_without_a_share_are_malformed() {
    let json = encrypt_for(2, 3, BOUND, None);
    let mut json: Value = serde_json::from_slice(&json).unwrap();
    json["recipients"][2]["header"].as_object_mut().unwrap().remove("share");
    let mixed = serde_json::to_vec(&json).unwrap();
    assert_eq!(open(&mixed, &[1, 2], BOUND), Err(EnvelopeRefusal::Malformed));
}

#[test]
fn every_single_bit_change_of_a_quorum_is_refused_with_the_same_error() {
    let json = encrypt_for(2, 3, BOUND, None);
    for bit in 0..json.len() * 8 {
        let mut changed = json.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        for fills in [[1, 2], [2, 3]] {
            assert!(open(&changed, &fills, BOUND).is_err(), "bit {bit}");
        }
        if let Err(error) = parse(&changed) {
            assert_eq!(error.to_string(), "cipher: message authentication failed");
        }
    }
}

#[test]
fn too_few_right_shares_have_the_one_answer_even_where_the_dek_is_zero() {
    let json = encrypt_for(2, 3, BOUND, None);
    let error = parse(&json).unwrap().refuse(BOUND);
    assert_eq!(error.refusal_for_log(), EnvelopeRefusal::Quorum);
    assert_eq!(error.to_string(), "cipher: message authentication failed");

    // Someone who can wrap may choose the DEK; that of all zeroes is the one `refuse` tries.
    let zeroes = Draft::with_quorum(Quorum::new(2, 2).unwrap(), &|buffer: &mut [u8]| {
        buffer.fill(0);
        Ok(())
    });
    let zeroes = zeroes.unwrap();
    let recipients = [wrapped(&zeroes, 1), wrapped(&zeroes, 2)];
    let plaintext = Plaintext::new(PLAINTEXT.to_vec());
    let json = zeroes.encrypt(&header(), BOUND, plaintext, &recipients, None).unwrap();
    assert_eq!(open(&json, &[1, 2], BOUND).as_deref(), Ok(PLAINTEXT), "control");
    assert_eq!(parse(&json).unwrap().refuse(BOUND).refusal_for_log(), EnvelopeRefusal::Quorum);
}

#[test]
fn a_whole_dek_is_no_share() {
    let json = encrypt(PLAINTEXT, BOUND, &[1, 2], None);
    let envelope = parse(&json).unwrap();
    let (recipient, dek) = unwrapped(&envelope, 1).unwrap();
    let refused = envelope.verify_share(recipient, &dek).unwrap_err();
    assert_eq!(refused.refusal_for_log(), EnvelopeRefusal::Share);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_subset_opens_if_and_only_if_it_is_large_enough(
        of in 2_u8..=16,
        needed in any::<prop::sample::Index>(),
        set: u16,
        signed: bool,
    ) {
        let needed = u8::try_from(2 + needed.index(usize::from(of) - 1)).unwrap();
        let key = origin_key(3);
        let json = encrypt_for(needed, of, BOUND, signed.then_some(&key));
        let fills: Vec<u8> = (1..=of).filter(|fill| set & (1 << (fill - 1)) != 0).collect();
        let opened = open(&json, &fills, BOUND);
        prop_assert_eq!(opened.is_ok(), fills.len() >= usize::from(needed));
    }
}
