//! A client assertion: a JWT signed with a certificate that the app has registered.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::server::ParsedCertificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::world::principal::App;

/// Clocks may differ by this much.
const SKEW_SECONDS: f64 = 300.0;

/// Why an assertion is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AssertionError {
    NotAJwt,
    Algorithm,
    NoCertificate,
    Signature,
    Time,
    Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    x5t: Option<String>,
    #[serde(rename = "x5t#S256")]
    x5t_s256: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    sub: String,
    // RFC 7519 §2 lets a NumericDate have a fraction, and Microsoft's own library uses that.
    exp: f64,
    nbf: Option<f64>,
}

pub(super) fn check(
    app: &App,
    assertion: &str,
    tenant: &str,
    now: i64,
) -> Result<(), AssertionError> {
    let (signed, signature) = assertion.rsplit_once('.').ok_or(AssertionError::NotAJwt)?;
    let (header, claims) = signed.split_once('.').ok_or(AssertionError::NotAJwt)?;
    let header: Header = part(header)?;
    let claims: Claims = part(claims)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_e| AssertionError::NotAJwt)?;
    let algorithm = match header.alg.as_str() {
        "RS256" => &RSA_PKCS1_2048_8192_SHA256,
        "PS256" => &RSA_PSS_2048_8192_SHA256,
        _ => return Err(AssertionError::Algorithm),
    };
    let certificate = registered(app, &header).ok_or(AssertionError::NoCertificate)?;
    let parsed =
        ParsedCertificate::try_from(&certificate).map_err(|_e| AssertionError::NoCertificate)?;
    let key = UnparsedPublicKey::new(algorithm, parsed.subject_public_key_info());
    key.verify(signed.as_bytes(), &signature).map_err(|_e| AssertionError::Signature)?;
    claims.check(app, tenant, now)
}

impl Claims {
    fn check(&self, app: &App, tenant: &str, now: i64) -> Result<(), AssertionError> {
        #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 53 bits")]
        let now = now as f64;
        let early = self.nbf.is_some_and(|nbf| nbf > now + SKEW_SECONDS);
        if self.exp <= now - SKEW_SECONDS || early {
            return Err(AssertionError::Time);
        }
        let endpoint = format!("/{tenant}/oauth2/v2.0/token");
        let issuer = format!("/{tenant}/v2.0");
        let ours = self.aud.ends_with(&endpoint) || self.aud.ends_with(&issuer);
        let of_the_app = self.iss.eq_ignore_ascii_case(&app.client_id) && self.sub == self.iss;
        if ours && of_the_app { Ok(()) } else { Err(AssertionError::Claims) }
    }
}

/// The app's certificate with the thumbprint that the header names.
fn registered(app: &App, header: &Header) -> Option<CertificateDer<'static>> {
    let certificates = app
        .certificates
        .iter()
        .filter_map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).ok());
    // Microsoft's Python library pads the thumbprint, against RFC 7515 §4.1.7; Entra takes it.
    let is = |wanted: &str, thumbprint: &[u8]| {
        wanted.trim_end_matches('=') == URL_SAFE_NO_PAD.encode(thumbprint)
    };
    let named = |certificate: &CertificateDer<'_>| match (&header.x5t_s256, &header.x5t) {
        (Some(wanted), _) => is(wanted, digest(&SHA256, certificate).as_ref()),
        (None, Some(wanted)) => is(wanted, digest(&SHA1_FOR_LEGACY_USE_ONLY, certificate).as_ref()),
        (None, None) => false,
    };
    certificates.into_iter().find(named)
}

fn part<T: DeserializeOwned>(text: &str) -> Result<T, AssertionError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_e| AssertionError::NotAJwt)?;
    serde_json::from_slice(&bytes).map_err(|_e| AssertionError::NotAJwt)
}
