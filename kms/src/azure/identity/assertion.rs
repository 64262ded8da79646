//! The certificate's proof of who an application is; the private key signs here and never leaves.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rustls::SignatureScheme;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use selkie_crypto::{os_random, sha256};
use serde_json::json;
use zeroize::Zeroizing;

use super::IdentitySetupError;
use crate::azure::ClientCertificate;

/// How long an assertion is good for, in seconds; Entra allows for skewed clocks on its own.
const VALIDITY: u64 = 600;

/// Signs the assertions of an application that proves itself with a certificate.
///
/// PS256 is RSA-PSS with SHA-256 and a salt of 32 bytes, which is also what TLS signs with: so the
/// key and the signature are the TLS library's, and no other cryptography is needed.
pub(super) struct CertificateSigner {
    key: Arc<dyn SigningKey>,
    /// The header, encoded: it is the same each time.
    header: String,
}

impl CertificateSigner {
    pub(super) fn new(certificate: ClientCertificate) -> Result<Self, IdentitySetupError> {
        let ClientCertificate { chain, key } = certificate;
        let key = any_supported_type(&key).map_err(IdentitySetupError::UnusableKey)?;
        if key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]).is_none() {
            return Err(IdentitySetupError::NotRsa);
        }
        let Some(leaf) = chain.first() else { return Err(IdentitySetupError::OtherCertificate) };
        let header = json!({
            "alg": "PS256",
            "typ": "JWT",
            "x5t#S256": URL_SAFE_NO_PAD.encode(sha256(leaf)),
            // With the chain Entra can trust a certificate by its name and issuer, so that a
            // renewed one needs no registration.
            "x5c": chain.iter().map(|one| STANDARD.encode(one)).collect::<Vec<_>>(),
        });
        let header = URL_SAFE_NO_PAD.encode(header.to_string());
        let certified = CertifiedKey::new(chain, Arc::clone(&key));
        if certified.keys_match().is_err() {
            return Err(IdentitySetupError::OtherCertificate);
        }
        Ok(Self { key, header })
    }

    /// An assertion that `client_id` speaks to `audience`, from `now` on.
    pub(super) fn assertion(
        &self,
        client_id: &str,
        audience: &str,
        now: SystemTime,
    ) -> Result<Zeroizing<String>, Unsigned> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut nonce = [0; 16];
        os_random(&mut nonce)?;
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": URL_SAFE_NO_PAD.encode(nonce),
            "nbf": now,
            "iat": now,
            "exp": now.saturating_add(VALIDITY),
        });
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(claims.to_string()));
        let signer = self.key.choose_scheme(&[SignatureScheme::RSA_PSS_SHA256]);
        let signature = signer.ok_or(Unsigned::NoScheme)?.sign(signed.as_bytes())?;
        let signature = URL_SAFE_NO_PAD.encode(signature);
        let mut whole = Zeroizing::new(String::with_capacity(signed.len() + signature.len() + 1));
        [&signed, ".", &signature].into_iter().for_each(|part| whole.push_str(part));
        Ok(whole)
    }
}

/// Why an assertion could not be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsigned {
    #[error("there is no randomness")]
    Random(#[from] selkie_crypto::RandomError),
    #[error("the key does not sign")]
    Signature(#[from] rustls::Error),
    #[error("the key knows no PS256")]
    NoScheme,
}
