//! Verifies client certificates by webpki, with what that does not do.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertRevocationListError, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::lists::choices;
use super::pem::{RevocationList, Trusted};

/// Under which CAs, and with which revocation lists, certificates are good. To webpki any certificate
/// that is trusted is one of a CA, so those that are none are kept apart from these.
#[derive(Debug)]
pub(super) struct Verifier {
    /// One for each choice of revocation lists; none without a CA.
    by_lists: Vec<Arc<dyn ClientCertVerifier>>,
    /// Certificates that are good by themselves.
    leaves: Vec<CertificateDer<'static>>,
    /// What is asked of these alone, whether they are good now: each as issued by itself.
    by_themselves: Option<Arc<dyn ClientCertVerifier>>,
    is_required: bool,
    /// The names of all that are trusted, by which clients choose what to show.
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// `lists` are the newest, in order.
    pub(super) fn build(
        trusted: Trusted,
        lists: &[RevocationList],
        (is_strict, is_required): (bool, bool),
    ) -> Result<Self, VerifierBuilderError> {
        let Trusted { authorities, leaves, own_issuers } = trusted;
        let mut hints = authorities.subjects();
        hints.extend(own_issuers.subjects());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let with = |roots: &Arc<RootCertStore>, lists: &[&RevocationList]| {
            let (roots, provider) = (Arc::clone(roots), Arc::clone(&provider));
            let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let builder = builder.with_crls(lists.iter().map(|list| list.der.clone()));
            match is_strict {
                true => builder.enforce_revocation_expiration(),
                false => builder.allow_unknown_revocation_status(),
            }
            .build()
        };
        let (authorities, own_issuers) = (Arc::new(authorities), Arc::new(own_issuers));
        let choices = choices(lists);
        let mut by_lists = Vec::new();
        if leaves.is_empty() || !authorities.is_empty() {
            for lists in &choices {
                by_lists.push(with(&authorities, lists)?);
            }
        }
        let first = choices.first().filter(|_| !leaves.is_empty());
        let by_themselves = first.map(|lists| with(&own_issuers, lists)).transpose()?;
        Ok(Self { by_lists, leaves, by_themselves, is_required, hints, algorithms })
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
        let mut found = Err(CertificateError::UnknownIssuer.into());
        let is_end_entity = |leaf: &CertificateDer<'_>| leaf.as_ref() == end_entity.as_ref();
        for verifier in &self.by_lists {
            found = verifier.verify_client_cert(end_entity, intermediates, now);
            if !found.as_ref().is_err_and(is_of_another_key) {
                break;
            }
        }
        match &self.by_themselves {
            Some(verifier) if found.is_err() && self.leaves.iter().any(is_end_entity) => {
                verifier.verify_client_cert(end_entity, &[], now)
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

/// Whether a list may have been that of another key: only then does another choice count. Of several
/// errors webpki tells the gravest, and of these that a certificate was revoked is graver.
const fn is_of_another_key(error: &Error) -> bool {
    use CertRevocationListError as List;
    matches!(
        error,
        // Where two CAs have one name, that of the certificate is found first or last.
        Error::InvalidCertificate(
            CertificateError::BadSignature
                | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        ) | Error::InvalidCertRevocationList(
            List::BadSignature | List::UnsupportedSignatureAlgorithmForPublicKeyContext { .. }
        )
    )
}
