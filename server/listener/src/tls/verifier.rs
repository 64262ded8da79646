//! Verifies client certificates by webpki, with what that does not do.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use selkie_certificate::{LONGEST_CHAIN, Malformed};

use super::TlsError;
use super::lists::{Presented, Revocations};
use super::pem::{RevocationList, Trusted};

/// Under which CAs, and with which revocation lists, certificates are good. To webpki any certificate
/// that is trusted is one of a CA, so those that are none are kept apart from these.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None without a CA.
    authorities: Option<Issuers>,
    /// Certificates that are good by themselves.
    leaves: Vec<CertificateDer<'static>>,
    /// What is asked of these alone, whether they are good now: each as issued by itself.
    own_issuers: Option<Issuers>,
    revocations: Revocations,
    is_required: bool,
    /// The names of all that are trusted, by which clients choose what to show.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Those that may have issued what is shown.
#[derive(Debug)]
struct Issuers {
    roots: Arc<RootCertStore>,
    /// Knows of no revocation.
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Verifier {
    /// `lists` are the newest, in order; `file` is where what is trusted is from.
    pub(super) fn build(
        (file, trusted): (&Path, Trusted),
        lists: &[RevocationList],
        (is_strict, is_required): (bool, bool),
    ) -> Result<Self, TlsError> {
        let Trusted { authorities, leaves, own_issuers } = trusted;
        let mut hints = authorities.subjects();
        hints.extend(own_issuers.subjects());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let revocations = Revocations::read(lists, is_strict, algorithms)?;
        let issuers = |roots: RootCertStore| {
            let (roots, provider) = (Arc::new(roots), Arc::clone(&provider));
            let builder = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider);
            let verifier = builder.build();
            let unusable = |source| TlsError::ClientCa { file: file.to_owned(), source };
            Ok(Issuers { roots, verifier: verifier.map_err(unusable)? })
        };
        let has_authorities = leaves.is_empty() || !authorities.is_empty();
        let authorities = has_authorities.then(|| issuers(authorities)).transpose()?;
        let own_issuers = (!leaves.is_empty()).then(|| issuers(own_issuers)).transpose()?;
        Ok(Self { authorities, leaves, own_issuers, revocations, is_required, hints, algorithms })
    }

    fn verify(
        &self,
        Issuers { roots, verifier }: &Issuers,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = verifier.verify_client_cert(end_entity, intermediates, now)?;
        let presented = Presented { roots, end_entity, intermediates, now };
        self.revocations.judge(presented).map_err(revocation_error)?;
        Ok(verified)
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Copies of a good chain are no secret, and each certificate more is one more way to look
        // for an issuer, and through the revocation lists.
        if intermediates.len() >= LONGEST_CHAIN {
            let long = OtherError(Arc::new(Malformed::LongChain));
            return Err(CertificateError::Other(long).into());
        }
        let found = match &self.authorities {
            Some(issuers) => self.verify(issuers, end_entity, intermediates, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        };
        let is_end_entity = |leaf: &CertificateDer<'_>| leaf.as_ref() == end_entity.as_ref();
        match &self.own_issuers {
            Some(issuers) if found.is_err() && self.leaves.iter().any(is_end_entity) => {
                self.verify(issuers, end_entity, &[], now)
            }
            _ => found,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// As rustls tells it; what else is wrong with a certificate it has found itself.
fn revocation_error(error: webpki::Error) -> Error {
    use CertRevocationListError as List;
    use webpki::Error as Found;
    match error {
        Found::CertRevoked => CertificateError::Revoked.into(),
        Found::UnknownRevocationStatus => CertificateError::UnknownRevocationStatus.into(),
        Found::CrlExpired { time, next_update } => {
            CertificateError::ExpiredRevocationListContext { time, next_update }.into()
        }
        Found::InvalidCrlSignatureForPublicKey => List::BadSignature.into(),
        Found::IssuerNotCrlSigner => List::IssuerInvalidForCrl.into(),
        other => List::Other(OtherError(Arc::new(other))).into(),
    }
}
