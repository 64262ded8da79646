//! A provider that signs whatever the test wants.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    self, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    Ed25519KeyPair, KeyPair, RsaEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::auth::jwt::{Algorithm, VerificationKey};

pub(crate) const NOW: u64 = 1_700_000_000;

#[derive(Clone)]
pub(crate) struct Signer {
    id: Option<String>,
    algorithm: Algorithm,
    pair: std::sync::Arc<Pair>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    pub(crate) fn new(id: &str, algorithm: Algorithm) -> Self {
        let pair = match algorithm {
            Algorithm::ES256 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
            }
            Algorithm::ES384 => {
                Pair::Ec(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())
            }
            Algorithm::EdDSA => Pair::Ed(Ed25519KeyPair::generate().unwrap()),
            _ => Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()),
        };
        Self { id: Some(id.into()), algorithm, pair: pair.into() }
    }

    pub(crate) fn renamed(&self, id: &str) -> Self {
        Self { id: Some(id.into()), ..self.clone() }
    }

    pub(crate) fn unnamed(&self) -> Self {
        Self { id: None, ..self.clone() }
    }

    pub(crate) fn jwk(&self) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &*self.pair {
            Pair::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) =
                    (public.modulus().big_endian_without_leading_zero(), public.exponent());
                json!({ "kty": "RSA", "n": encode(n), "e": encode(e.big_endian_without_leading_zero()) })
            }
            Pair::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..]
                    .split_at((pair.public_key().as_ref().len() - 1) / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Pair::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key().as_ref()) })
            }
        };
        jwk["use"] = json!("sig");
        if let Some(id) = &self.id {
            jwk["kid"] = json!(id);
        }
        jwk
    }

    pub(crate) fn set(signers: &[&Self]) -> String {
        let keys: Vec<_> = signers.iter().map(|one| one.jwk()).collect();
        json!({ "keys": keys }).to_string()
    }

    pub(crate) fn key(&self) -> VerificationKey {
        VerificationKey::from_set(Self::set(&[self]).as_bytes()).unwrap().remove(0)
    }

    fn spki(&self) -> Vec<u8> {
        match &*self.pair {
            Pair::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Ec(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki())
    }

    pub(crate) fn private_pem(&self) -> String {
        let Pair::Ec(pair) = &*self.pair else { panic!("only of EC") };
        pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())
    }

    pub(crate) fn certificate(&self) -> String {
        let key = rcgen::KeyPair::from_pem(&self.private_pem()).unwrap();
        rcgen::CertificateParams::default().self_signed(&key).unwrap().pem()
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let mut header = json!({ "alg": self.algorithm.name(), "typ": "JWT" });
        if let Some(id) = &self.id {
            header["kid"] = json!(id);
        }
        self.forge(&header, claims)
    }

    /// Signed by this key, whatever the header says.
    pub(crate) fn forge(&self, header: &Value, claims: &Value) -> String {
        self.forge_text(&header.to_string(), &claims.to_string())
    }

    pub(crate) fn forge_text(&self, header: &str, claims: &str) -> String {
        let signed = signed(header, claims);
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())))
    }

    pub(crate) fn with_hmac_of_public_key(&self, claims: &Value) -> String {
        let signed = signed(r#"{"alg":"HS256"}"#, &claims.to_string());
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.pem().as_bytes());
        let mac = hmac::sign(&key, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &*self.pair {
            Pair::Rsa(pair) => {
                let padding: &dyn RsaEncoding = match self.algorithm {
                    Algorithm::RS384 => &signature::RSA_PKCS1_SHA384,
                    Algorithm::RS512 => &signature::RSA_PKCS1_SHA512,
                    Algorithm::PS256 => &signature::RSA_PSS_SHA256,
                    Algorithm::PS384 => &signature::RSA_PSS_SHA384,
                    Algorithm::PS512 => &signature::RSA_PSS_SHA512,
                    _ => &signature::RSA_PKCS1_SHA256,
                };
                let mut bytes = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &random, message, &mut bytes).unwrap();
                bytes
            }
            Pair::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Pair::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

fn signed(header: &str, claims: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}
