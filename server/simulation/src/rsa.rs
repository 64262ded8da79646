//! RSA master keys, whose public half a server wraps under by itself.
//!
//! Their moduli are products of 32 primes instead of two. A server cannot tell, and what it wraps is
//! unwrapped in less than a tenth of the time, which was half of what a seed took. They keep nothing
//! secret.

use std::array::from_fn;
use std::sync::{Arc, LazyLock};

use selkie_crypto::{RecipientSecret, RsaPublicKey, sha256};

use crate::chance::Chance;

/// As many as all seals have versions.
static PAIRS: LazyLock<[RsaPair; 8]> = LazyLock::new(|| from_fn(RsaPair::new));

const PUBLIC_EXPONENT: u64 = 65_537;
/// Of a modulus of 2048 bits, in 64-bit digits: one for each prime.
const DIGITS: usize = 32;
const BYTES: usize = 256;
const HASH: usize = 32;

pub(crate) struct RsaPair {
    pub(crate) public: Arc<RsaPublicKey>,
    /// Big-endian.
    modulus: [u8; BYTES],
    factors: Vec<Factor>,
}

/// One prime of a modulus (RFC 8017 §3.2).
struct Factor {
    prime: Prime,
    /// The private exponent, as far as it matters to this prime.
    exponent: u64,
    /// The product of the primes before it, least digit first, and its inverse.
    before: Vec<u64>,
    coefficient: u64,
}

/// 2⁶⁴ less this, which has 32 bits: what lies above 64 bits folds.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Prime(u64);

impl RsaPair {
    pub(crate) fn of(number: usize) -> &'static Self {
        &PAIRS[number]
    }

    fn new(number: usize) -> Self {
        let chance = Chance::new(number as u64, "rsa");
        let (mut factors, mut product) = (Vec::<Factor>::new(), vec![1]);
        while factors.len() < DIGITS {
            let prime = Prime((chance.next() >> 32) | 1);
            let is_new = factors.iter().all(|factor| factor.prime != prime);
            if is_new && prime.is_prime() && !(prime.value() - 1).is_multiple_of(PUBLIC_EXPONENT) {
                let mut next = vec![0; factors.len() + 1];
                add_product(&mut next, prime.value(), &product);
                factors.push(Factor::new(prime, product));
                product = next;
            }
        }
        let digits: [u64; DIGITS] = product.try_into().unwrap();
        let modulus = to_bytes(&digits);
        let exponent = PUBLIC_EXPONENT.to_be_bytes();
        let public = Arc::new(RsaPublicKey::from_components(&modulus, &exponent).unwrap());
        Self { public, modulus, factors }
    }

    /// `None` for what is not wrapped under it.
    pub(crate) fn unwrap_dek(&self, wrapped: &[u8]) -> Option<RecipientSecret> {
        let wrapped: &[u8; BYTES] = wrapped.try_into().ok()?;
        let dek = oaep_decoded(self.decrypted(wrapped)?)?;
        Some(RecipientSecret::init_with(|bytes| *bytes = dek))
    }

    /// `RSADP` (RFC 8017 §5.1.2), by the second form of a private key.
    fn decrypted(&self, wrapped: &[u8; BYTES]) -> Option<[u8; BYTES]> {
        if *wrapped >= self.modulus {
            return None;
        }
        let wrapped = from_bytes(wrapped);
        let mut message = [0; DIGITS];
        for Factor { prime, exponent, before, coefficient } in &self.factors {
            let rest = prime.power(prime.rest(&wrapped), *exponent);
            let so_far = prime.rest(&message[..before.len()]);
            let lacks = prime.reduced(u128::from(rest) + u128::from(prime.value() - so_far));
            add_product(&mut message, prime.product(lacks, *coefficient), before);
        }
        Some(to_bytes(&message))
    }
}

impl Factor {
    fn new(prime: Prime, before: Vec<u64>) -> Self {
        // The product of both exponents is 1 + factor·(prime - 1), a multiple of the public one.
        let (order, public) = (prime.value() - 1, PUBLIC_EXPONENT);
        let mut factors = 0..public;
        let factor = factors.find(|one| (1 + one * (order % public)).is_multiple_of(public));
        let product = 1 + u128::from(factor.unwrap()) * u128::from(order);
        let exponent = u64::try_from(product / u128::from(public)).unwrap();
        let coefficient = prime.power(prime.rest(&before), prime.value() - 2);
        Self { prime, exponent, before, coefficient }
    }
}

impl Prime {
    const fn value(self) -> u64 {
        self.0.wrapping_neg()
    }

    fn reduced(self, mut number: u128) -> u64 {
        while number >> 64 != 0 {
            number = (number >> 64) * u128::from(self.0) + u128::from(low(number));
        }
        let number = low(number);
        number.checked_sub(self.value()).unwrap_or(number)
    }

    fn product(self, one: u64, other: u64) -> u64 {
        self.reduced(u128::from(one) * u128::from(other))
    }

    fn power(self, base: u64, exponent: u64) -> u64 {
        let (mut power, mut square, mut exponent) = (1, base, exponent);
        while exponent > 0 {
            if exponent & 1 == 1 {
                power = self.product(power, square);
            }
            square = self.product(square, square);
            exponent >>= 1;
        }
        power
    }

    fn rest(self, digits: &[u64]) -> u64 {
        let next = |rest, digit: &u64| self.reduced((u128::from(rest) << 64) + u128::from(*digit));
        digits.iter().rev().fold(0, next)
    }

    /// By Miller and Rabin: of numbers of 64 bits these bases let no other pass.
    fn is_prime(self) -> bool {
        let order = self.value() - 1;
        let odd = order >> order.trailing_zeros();
        [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37].into_iter().all(|base| {
            let mut power = self.power(base, odd);
            let mut is_passed = power == 1 || power == order;
            for _ in 1..order.trailing_zeros() {
                power = self.product(power, power);
                is_passed |= power == order;
            }
            is_passed
        })
    }
}

fn low(number: u128) -> u64 {
    u64::try_from(number & u128::from(u64::MAX)).unwrap()
}

/// Adds `factor` times `digits` to `sum`, whose digits above these are zero.
fn add_product(sum: &mut [u64], factor: u64, digits: &[u64]) {
    let mut carry = 0;
    for (to, digit) in sum.iter_mut().zip(digits.iter().chain(&[0])) {
        carry += u128::from(*to);
        carry += u128::from(factor) * u128::from(*digit);
        *to = low(carry);
        carry >>= 64;
    }
}

fn from_bytes(bytes: &[u8; BYTES]) -> [u64; DIGITS] {
    let (digits, _) = bytes.as_chunks();
    from_fn(|at| u64::from_be_bytes(digits[DIGITS - 1 - at]))
}

fn to_bytes(digits: &[u64; DIGITS]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (chunk, digit) in bytes.chunks_exact_mut(8).zip(digits.iter().rev()) {
        chunk.copy_from_slice(&digit.to_be_bytes());
    }
    bytes
}

/// `EME-OAEP` with SHA-256 and no label (RFC 8017 §7.1.2, 3), of a message that is a DEK.
fn oaep_decoded(mut message: [u8; BYTES]) -> Option<[u8; HASH]> {
    let [first, masked @ ..] = &mut message;
    let (seed, block) = masked.split_at_mut(HASH);
    mask(seed, block);
    mask(block, seed);
    let (label, padding) = block.split_at(HASH);
    let (padding, dek) = padding.split_at(padding.len() - HASH);
    let (one, zeros) = padding.split_last()?;
    let is_sound = *first == 0 && label == sha256(b"") && *one == 1;
    let is_sound = is_sound && zeros.iter().all(|byte| *byte == 0);
    is_sound.then_some(dek.try_into().ok()?)
}

/// `MGF1` with SHA-256 (RFC 8017 §B.2.1).
fn mask(bytes: &mut [u8], seed: &[u8]) {
    for (chunk, number) in bytes.chunks_mut(HASH).zip(0_u32..) {
        let mask = sha256(&[seed, &number.to_be_bytes()].concat());
        chunk.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
    }
}

#[test]
fn what_is_wrapped_under_a_public_key_is_unwrapped_with_its_own_private_one_alone() {
    let dek = RecipientSecret::init_with(|bytes| bytes.fill(7));
    for number in 0..8 {
        let pair = RsaPair::of(number);
        let other = RsaPair::of((number + 1) % 8);
        for _ in 0..20 {
            let mut wrapped = pair.public.wrap_dek(&dek).unwrap();
            let unwrapped = pair.unwrap_dek(&wrapped).unwrap();
            assert_eq!(unwrapped.expose_for_wrap(), dek.expose_for_wrap());
            assert!(other.unwrap_dek(&wrapped).is_none());
            assert!(pair.unwrap_dek(&wrapped[1..]).is_none());
            wrapped[255] ^= 1;
            assert!(pair.unwrap_dek(&wrapped).is_none());
        }
        assert!(pair.unwrap_dek(&pair.modulus).is_none());
        assert!(pair.unwrap_dek(&[255; BYTES]).is_none());
    }
}
