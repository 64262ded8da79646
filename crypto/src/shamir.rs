//! Shamir's secret sharing (CACM 22/11, 1979) over GF(2^8), byte by byte, of secrets of 32 bytes.
//!
//! The field is that of AES, modulo x^8 + x^4 + x^3 + x + 1. There are no tables, and what is
//! secret decides no branch: of two factors one is always public (an index, or what follows from
//! indexes). Fewer shares than are needed say nothing about the secret, to anyone.

use crate::RecipientSecret;

/// The product of a secret and a public element.
fn product(secret: u8, public: u8) -> u8 {
    let (mut sum, mut shifted) = (0, secret);
    for bit in 0..8 {
        if (public >> bit) & 1 == 1 {
            sum ^= shifted;
        }
        // All ones where the highest bit was set, hidden from a compiler that would branch on it.
        let carry = std::hint::black_box(shifted >> 7).wrapping_neg();
        shifted = (shifted << 1) ^ (carry & 0x1B);
    }
    sum
}

/// `1 / public`, which is `public^254`; 0 for 0.
fn inverse(public: u8) -> u8 {
    (0..253).fold(public, |power, _| product(power, public))
}

/// The share at `index`, which must not be 0: the value there of the polynomial that is `secret` at
/// 0 and has `coefficients`, 32 bytes for each power from the first.
pub(crate) fn share(secret: &RecipientSecret, coefficients: &[u8], index: u8) -> RecipientSecret {
    RecipientSecret::init_with(|share| {
        let (powers, _) = coefficients.as_chunks::<32>();
        for power in powers.iter().rev().chain([secret.expose_as_dek()]) {
            for (byte, coefficient) in share.iter_mut().zip(power) {
                *byte = product(*byte, index) ^ coefficient;
            }
        }
    })
}

/// The value at 0 of the polynomial that has these values at these indexes, which must be distinct
/// and not 0.
pub(crate) fn combine(shares: &[(u8, &RecipientSecret)]) -> RecipientSecret {
    RecipientSecret::init_with(|secret| {
        for (index, share) in shares {
            let weight = weight(*index, shares);
            for (byte, value) in secret.iter_mut().zip(share.expose_as_dek()) {
                *byte ^= product(*value, weight);
            }
        }
    })
}

/// What the value at `index` counts at 0 (Lagrange).
fn weight(index: u8, shares: &[(u8, &RecipientSecret)]) -> u8 {
    let others = shares.iter().map(|(other, _)| *other).filter(|other| *other != index);
    others.fold(1, |weight, other| product(product(weight, other), inverse(other ^ index)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Multiplies polynomials, then divides by the modulus, as on paper.
    fn on_paper(a: u8, b: u8) -> u8 {
        let mut product: u16 = 0;
        for bit in (0..8).filter(|bit| b & (1 << bit) != 0) {
            product ^= u16::from(a) << bit;
        }
        for bit in (8..16).rev() {
            if product & (1 << bit) != 0 {
                product ^= 0x11B << (bit - 8);
            }
        }
        u8::try_from(product).unwrap()
    }

    #[test]
    fn every_product_is_the_one_on_paper() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(product(a, b), on_paper(a, b), "{a} * {b}");
            }
        }
        // FIPS 197 §4.2.
        assert_eq!(product(0x57, 0x83), 0xC1);
    }

    #[test]
    fn every_element_but_zero_has_its_inverse() {
        for element in 1..=u8::MAX {
            assert_eq!(product(element, inverse(element)), 1, "{element}");
        }
        assert_eq!(inverse(0), 0);
    }

    /// All polynomials of degree 1 over one byte: whatever one share is, every secret is as likely.
    #[test]
    fn one_share_of_two_says_nothing() {
        for index in 1..=3 {
            for secret in [0, 1, 0x57, 0xFF] {
                let mut seen = [false; 256];
                for coefficient in 0..=u8::MAX {
                    let coefficients = [coefficient; 32];
                    let secret = RecipientSecret::init_with(|bytes| bytes.fill(secret));
                    let share = share(&secret, &coefficients, index);
                    seen[usize::from(share.expose_as_dek()[0])] = true;
                }
                assert!(seen.iter().all(|value| *value), "a share that some secrets never have");
            }
        }
    }

    fn secret(bytes: [u8; 32]) -> RecipientSecret {
        RecipientSecret::init_with(|place| *place = bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn as_many_as_are_needed_combine_and_one_fewer_do_not(
            dek: [u8; 32],
            coefficients in prop::collection::vec(any::<[u8; 32]>(), 1..6),
            indexes in prop::sample::subsequence((1..=16).collect::<Vec<u8>>(), 6).prop_shuffle(),
        ) {
            prop_assume!(coefficients.last() != Some(&[0; 32]));
            let needed = coefficients.len() + 1;
            let split: Vec<_> = indexes
                .iter()
                .map(|index| (*index, share(&secret(dek), coefficients.as_flattened(), *index)))
                .collect();
            let of = |count| {
                let some: Vec<_> =
                    split.iter().take(count).map(|(index, share)| (*index, share)).collect();
                *combine(&some).expose_as_dek()
            };
            prop_assert_eq!(of(needed), dek);
            prop_assert_eq!(of(indexes.len()), dek, "more are the same polynomial");
            prop_assert_ne!(of(needed - 1), dek);
        }

        /// vsss-rs, an implementation by other people, of the same field.
        #[test]
        fn vsss_combines_to_the_same(
            dek: [u8; 32],
            coefficients: [[u8; 32]; 2],
            points: [[u8; 32]; 3],
        ) {
            let split = [9, 2, 16].map(|index| {
                (index, share(&secret(dek), coefficients.as_flattened(), index))
            });
            prop_assert_eq!(by_vsss(&split), dek);
            let any = [(1, secret(points[0])), (16, secret(points[1])), (7, secret(points[2]))];
            let ours: Vec<_> = any.iter().map(|(index, share)| (*index, share)).collect();
            prop_assert_eq!(*combine(&ours).expose_as_dek(), by_vsss(&any));
        }
    }

    fn by_vsss(shares: &[(u8, RecipientSecret)]) -> [u8; 32] {
        let shares: Vec<Vec<u8>> = shares
            .iter()
            .map(|(index, share)| [&[*index], &share.expose_as_dek()[..]].concat())
            .collect();
        vsss_rs::Gf256::combine_array(&shares).unwrap().try_into().unwrap()
    }
}
