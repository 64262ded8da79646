use proptest::prelude::*;

use super::*;

fn name() -> KeyName {
    KeyName { label: b"unseal".to_vec(), id: vec![1, 2] }
}

fn requests() -> Vec<Request> {
    let slot = SlotChoice { id: Some(7), token_label: None, serial: Some("S".into()) };
    let dek = || WipedVec::new(vec![9; SECRET_BYTES]);
    let pin = WipedVec::new(b"1234".to_vec());
    let (mechanism, wrapped) = (Mechanism::AesKeyWrap, vec![3; 40]);
    let unwrap = |witness| {
        let wrapped = wrapped.clone();
        Request::Unwrap { key: name(), mechanism, wrapped, witness }
    };
    vec![
        Request::Open(Open { library: "/lib/hsm.so".into(), slot, pin, sessions: 4 }),
        Request::Inspect(Selector { label: Some(b"unseal".to_vec()), id: None }),
        Request::Wrap { key: name(), mechanism: Mechanism::AesGcm, nonce: [5; 12], dek: dek() },
        unwrap(None),
        unwrap(Some(Witness { key: name(), mechanism: Mechanism::AesGcm })),
    ]
}

fn replies() -> Vec<Reply> {
    let token = Token {
        serial: "S".into(),
        label: "L".into(),
        model: "M".into(),
        slot: 3,
        aes_gcm: true,
        aes_key_wrap: false,
        rsa_oaep: true,
    };
    let uses = Uses { encrypt: true, unwrap: true, ..Uses::default() };
    let rsa = KeyKind::Rsa { modulus: vec![1; 256], exponent: vec![1, 0, 1], oaep_sha256: true };
    let kinds = [KeyKind::Aes { bytes: 32 }, rsa, KeyKind::Other];
    let keys = kinds.map(|kind| KeyFacts { name: name(), kind, uses, extractable: true });
    let failure = Failure { stage: Stage::Login, class: Class::PinRefused, said: "no".into() };
    vec![
        Reply::Opened(token),
        Reply::Keys(keys.to_vec()),
        Reply::Wrapped(vec![2; 60]),
        Reply::Dek(WipedVec::new(vec![8; SECRET_BYTES])),
        Reply::Failed(failure),
    ]
}

/// What stands behind the length, which must be right.
fn message(frame: &[u8]) -> &[u8] {
    let (length, message) = frame.split_first_chunk().unwrap();
    assert_eq!(message_bytes(*length), Ok(message.len()));
    message
}

/// Says it, hears it and says it again: the same bytes; and no part of them is a message.
fn assert_heard_as_said<M: Message>(said: &M) {
    let frame = said.frame(77).unwrap();
    let (number, heard) = M::parse(message(&frame)).unwrap();
    assert_eq!((number, &*heard.frame(77).unwrap()), (77, &*frame));
    let longer = [message(&frame), &[0]].concat();
    assert_eq!(M::parse(&longer).map(drop), Err(Malformed));
    for length in 0..message(&frame).len() {
        assert_eq!(M::parse(&message(&frame)[..length]).map(drop), Err(Malformed), "{length}");
    }
}

#[test]
fn every_message_is_heard_as_it_was_said_and_no_part_of_it_is() {
    requests().iter().for_each(assert_heard_as_said);
    replies().iter().for_each(assert_heard_as_said);
}

#[test]
fn no_secret_of_another_length_is_said() {
    let dek = WipedVec::new(vec![0; 31]);
    let mechanism = Mechanism::AesGcm;
    let short = Request::Wrap { key: name(), mechanism, nonce: [0; 12], dek };
    assert_eq!(short.frame(1).map(drop), Err(Malformed));
    assert_eq!(Reply::Dek(WipedVec::new(vec![0; 33])).frame(1).map(drop), Err(Malformed));
}

#[test]
fn a_length_that_no_message_has_is_refused() {
    let most = u32::try_from(MAX_MESSAGE_BYTES).unwrap();
    assert_eq!(message_bytes(most.to_be_bytes()), Ok(MAX_MESSAGE_BYTES));
    assert_eq!(message_bytes((most + 1).to_be_bytes()), Err(Malformed));
    let long = Reply::Wrapped(vec![0; MAX_MESSAGE_BYTES]);
    assert_eq!(long.frame(1).map(drop), Err(Malformed));
}

#[test]
fn long_words_are_cut_where_a_character_ends() {
    let said = "ü".repeat(Failure::MAX_SAID_BYTES);
    let failed = Reply::Failed(Failure { stage: Stage::Key, class: Class::Odd, said });
    let frame = failed.frame(1).unwrap();
    let Ok((_, Reply::Failed(heard))) = Reply::parse(message(&frame)) else { panic!("refused") };
    assert_eq!(heard.said.len(), Failure::MAX_SAID_BYTES);
}

#[test]
fn secrets_are_not_printed() {
    let said = format!("{:?} {:?}", requests(), replies());
    assert!(!said.contains("49, 50, 51") && !said.contains("9, 9, 9") && !said.contains("8, 8"));
}

proptest! {
    #[test]
    fn what_is_heard_is_said_by_the_same_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok((number, request)) = Request::parse(&bytes) {
            let frame = request.frame(number).unwrap();
            prop_assert_eq!(message(&frame), &bytes);
        }
        if let Ok((number, reply)) = Reply::parse(&bytes) {
            let frame = reply.frame(number).unwrap();
            prop_assert_eq!(message(&frame), &bytes);
        }
    }
}
