use selkie_crypto::envelope::Quorum;
use selkie_crypto::{EcCurve, EcPrivateKey, RandomError};

/// The start of an X25519 key in PKCS#8 (RFC 8410 §7), whose number is the rest.
const PKCS8: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x6e\x04\x22\x04\x20";

/// Splits a key in shares and combines any others, all chosen by the bytes: how many are needed, of
/// how many; then the key, the coefficients, and shares that were never split from anything.
///
/// As many as are needed give the key back, one fewer give another; any shares combine to what
/// vsss-rs, an implementation by other people, combines them to.
pub fn shamir_shares(data: &[u8]) -> bool {
    agrees(data, |shares| {
        let shares: Vec<_> = shares.iter().map(|(index, share)| (*index, key(share))).collect();
        let shares: Vec<_> = shares.iter().map(|(index, share)| (*index, share)).collect();
        number(&EcPrivateKey::combine(EcCurve::X25519, &shares).expect("any 32 bytes are a key"))
    })
}

pub(crate) type Share = (u8, [u8; 32]);

pub(crate) fn agrees(data: &[u8], combine: impl Fn(&[Share]) -> [u8; 32]) -> bool {
    let Some(([needed, of], rest)) = data.split_first_chunk() else { return false };
    let Some((secret, rest)) = rest.split_first_chunk::<32>() else { return false };
    let (loose, _) = rest.as_chunks::<32>();
    let loose: Vec<Share> = (1..).zip(loose.iter().copied()).take(8).collect();
    if !loose.is_empty() {
        assert_eq!(combine(&loose), by_others(&loose), "shares that were never split");
    }
    let Ok(quorum) = Quorum::new(needed % 17, usize::from(of % 17)) else { return false };
    let shares = split(secret, quorum, rest);
    let (needed, of) = (usize::from(quorum.needed()), shares.len());
    for start in [0, (of - needed) / 2, of - needed] {
        let some = &shares[start..start + needed];
        assert_eq!(combine(some), *secret, "another secret: {needed} of {of} from {start}");
        assert_eq!(by_others(some), *secret);
    }
    if shares.iter().any(|(_, share)| share != secret)
        && needed > 1
        && rest.len() >= 32 * (needed - 1)
    {
        let last = &rest[32 * (needed - 2)..32 * (needed - 1)];
        let is_shorter = last.iter().all(|byte| *byte == 0);
        assert!(is_shorter || combine(&shares[..needed - 1]) != *secret, "one fewer was enough");
    }
    true
}

fn split(secret: &[u8; 32], quorum: Quorum, coefficients: &[u8]) -> Vec<Share> {
    let coefficients = coefficients.to_vec();
    let random = move |buffer: &mut [u8]| {
        for (byte, from) in buffer.iter_mut().zip(coefficients.iter().chain(std::iter::repeat(&1)))
        {
            *byte = *from;
        }
        Ok::<(), RandomError>(())
    };
    let shares = key(secret).split(quorum, &random).expect("randomness");
    assert_eq!(shares.len(), usize::from(quorum.of()));
    (1..).zip(shares.iter().map(number)).collect()
}

fn key(number: &[u8; 32]) -> EcPrivateKey {
    EcPrivateKey::from_pkcs8(&[PKCS8, number].concat()).expect("any 32 bytes are a key")
}

fn number(key: &EcPrivateKey) -> [u8; 32] {
    let der = key.to_pkcs8();
    let number = der.expose_for_writing().strip_prefix(PKCS8).expect("of this form");
    number.try_into().expect("32 bytes")
}

fn by_others(shares: &[Share]) -> [u8; 32] {
    if let [(_, only)] = shares {
        // They ask for two at least; one share is a constant polynomial.
        return *only;
    }
    let shares: Vec<Vec<u8>> =
        shares.iter().map(|(index, share)| [&[*index], &share[..]].concat()).collect();
    vsss_rs::Gf256::combine_array(&shares).expect("distinct").try_into().expect("32 bytes")
}
