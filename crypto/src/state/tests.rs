use proptest::prelude::*;
use static_assertions::assert_not_impl_any;

use super::*;
use crate::os_random;

assert_not_impl_any!(StateKey: Clone, Copy, fmt::Display, AsRef<[u8]>, serde::Serialize);

fn key(byte: u8) -> StateKey {
    StateKey::init_with(|page| page.fill(byte)).unwrap()
}

fn sealed(content: &[u8]) -> Vec<u8> {
    key(1).seal_record("transit/a", 7, content.to_vec(), &os_random).unwrap()
}

#[test]
fn a_record_opens_at_its_own_place_under_its_own_key_alone() {
    let record = sealed(b"content");
    let opened = key(1).open_record("transit/a", &record).unwrap();
    assert_eq!(opened, OpenedRecord { sequence: 7, content: b"content".to_vec() });
    assert_eq!(key(1).open_record("transit/b", &record), Err(RecordRefused));
    assert_eq!(key(1).open_record("", &record), Err(RecordRefused));
    assert_eq!(key(2).open_record("transit/a", &record), Err(RecordRefused));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_record_is_refused() {
    let record = sealed(b"content");
    for bit in 0..8 * record.len() {
        let mut flipped = record.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(key(1).open_record("transit/a", &flipped), Err(RecordRefused), "bit {bit}");
    }
    for length in 0..record.len() {
        assert_eq!(key(1).open_record("transit/a", &record[..length]), Err(RecordRefused));
    }
}

#[test]
fn no_two_seals_of_one_record_are_alike() {
    assert_ne!(sealed(b"content"), sealed(b"content"));
    assert_eq!(sealed(b"content").len(), b"content".len() + SEALED_OVERHEAD_BYTES);
}

/// By Python, with pyca's AESGCM and hmac, from the formula in the documentation of [`StateKey`].
#[test]
fn a_record_sealed_elsewhere_by_the_documented_formula_opens() {
    let hex = "01000000000000000702020202020202020202020202020202030303030303030303030303";
    let head = base16ct::lower::decode_vec(hex).unwrap();
    let drawn = head[9..].to_vec();
    let known = move |buffer: &mut [u8]| {
        buffer.copy_from_slice(&drawn);
        Ok(())
    };
    let record = key(1).seal_record("transit/a", 7, b"content".to_vec(), &known).unwrap();
    let text = base16ct::lower::encode_string(&record[head.len()..]);
    assert_eq!(record[..head.len()], head);
    assert_eq!(text, "e05cbb43fbe8ec72df4e042a9275c02e8d8dc2f16b31aa");
}

#[test]
fn debug_shows_no_byte() {
    assert_eq!(format!("{:?}", key(0xAB)), "StateKey");
    assert_eq!(format!("{:?}", key(1).summand("a", b"b")), "StateSum");
    let opened = key(1).open_record("transit/a", &sealed(b"abc")).unwrap();
    assert_eq!(format!("{opened:?}"), "OpenedRecord(3 bytes of commit 7)");
}

#[test]
fn the_key_comes_back_from_its_plaintext() {
    let again = StateKey::from_plaintext(&key(1).to_plaintext()).unwrap().unwrap();
    assert!(again.open_record("transit/a", &sealed(b"x")).is_ok());
    assert!(StateKey::from_plaintext(&Plaintext::new(vec![0; 31])).unwrap().is_none());
}

proptest! {
    #[test]
    fn any_record_comes_back(place in "[a-z/]{0,40}", sequence: u64, content: Vec<u8>) {
        let record = key(9).seal_record(&place, sequence, content.clone(), &os_random).unwrap();
        let opened = key(9).open_record(&place, &record).unwrap();
        prop_assert_eq!(opened, OpenedRecord { sequence, content });
    }

    #[test]
    fn a_sum_depends_on_the_records_and_not_on_their_order(
        records in proptest::collection::btree_map("[a-c]{1,2}", any::<[u8; 2]>(), 1..6),
    ) {
        let key = key(3);
        let summands: Vec<_> = records.iter().map(|(at, is)| key.summand(at, is)).collect();
        let add = |sum: StateSum, one: &StateSum| sum.toggled(*one);
        let forward = summands.iter().fold(StateSum::default(), add);
        let backward = summands.iter().rev().fold(StateSum::default(), add);
        prop_assert_eq!(forward, backward);
        for one in &summands {
            prop_assert_ne!(forward, forward.toggled(*one));
        }
        prop_assert_eq!(summands.iter().fold(forward, add), StateSum::default());
    }
}
