//! What client certificates are verified against, kept beyond the handshake to verify them again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use selkie_certificate::RevocationFacts;

use super::TlsError;
use super::lists::newest;
use super::pem;
use super::verifier::Verifier;

/// What client certificates are verified against.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// PEM, one certificate of a CA or more, or such of clients, which are good for themselves alone.
    pub authorities: PathBuf,
    /// Certificate revocation lists: files of PEM or DER, or directories of such files whose names
    /// end in `.crl` or `.pem`.
    pub revocation_lists: Vec<PathBuf>,
    /// Whether a certificate is refused when no current list speaks for its issuer. Otherwise a
    /// list counts past its time, and an issuer without one revokes nothing.
    pub is_strict: bool,
}

/// Under which CAs client certificates are good, and which of them were revoked.
#[derive(Clone, Debug)]
pub struct ClientTrust {
    verifier: Arc<dyn ClientCertVerifier>,
    lists: Vec<RevocationFacts>,
    is_strict: bool,
    /// Until when what was found stays so, if no certificate expires.
    good_until: u64,
    has_uncovered_authority: bool,
}

/// Why a certificate that a handshake accepted is not accepted any more.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Lapsed {
    /// It would not pass a handshake now: it has expired, was revoked, or its CA has gone.
    #[error("its client certificate no longer passes: {0}")]
    Refused(rustls::Error),
    /// The listener no longer asks for certificates.
    #[error("the listener no longer verifies client certificates")]
    NotAsked,
}

impl ClientTrust {
    /// Reads the files and checks that they are of use.
    ///
    /// # Errors
    ///
    /// [`TlsError`], which names the file and what is wrong with it.
    pub fn load(files: &TrustFiles) -> Result<Self, TlsError> {
        Self::build(files, true)
    }

    pub(super) fn build(files: &TrustFiles, is_required: bool) -> Result<Self, TlsError> {
        let trusted = pem::load_trusted(&files.authorities)?;
        let lists = newest(pem::load_revocation_lists(&files.revocation_lists)?);
        let speaks_for = |issuer: &[u8]| {
            lists.iter().any(|list| pem::inside_sequence(&list.facts.issuer) == Some(issuer))
        };
        let authorities = trusted.authorities.roots.iter();
        let mut issuers = authorities.chain(&trusted.own_issuers.roots);
        let has_uncovered_authority =
            !lists.is_empty() && issuers.any(|issuer| !speaks_for(issuer.subject.as_ref()));
        let trusted = (files.authorities.as_path(), trusted);
        let verifier = Verifier::build(trusted, &lists, (files.is_strict, is_required))?;
        let lists: Vec<_> = lists.into_iter().map(|list| list.facts).collect();
        let ends = lists.iter().filter_map(|list| list.next_update);
        let good_until = if files.is_strict { ends.min() } else { None }.unwrap_or(u64::MAX);
        Ok(Self {
            verifier: Arc::new(verifier),
            lists,
            is_strict: files.is_strict,
            good_until,
            has_uncovered_authority,
        })
    }

    /// Trusts these CAs, which are no files.
    ///
    /// # Errors
    ///
    /// [`TlsError`] if one of them is none, or there is none at all.
    pub fn of(authorities: Vec<CertificateDer<'static>>) -> Result<Self, TlsError> {
        let place = PathBuf::from("(in memory)");
        let trusted = pem::trusted(&place, authorities)?;
        let verifier = Verifier::build((&place, trusted), &[], (false, true))?;
        Ok(Self {
            verifier: Arc::new(verifier),
            lists: Vec::new(),
            is_strict: false,
            good_until: u64::MAX,
            has_uncovered_authority: false,
        })
    }

    /// Verifies `chain`, a client certificate and what it was shown with, as a handshake does at
    /// `now`, in seconds since 1970. Takes about as long as checking its signatures.
    ///
    /// # Errors
    ///
    /// [`Lapsed::Refused`].
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: u64) -> Result<(), Lapsed> {
        let Some((first, rest)) = chain.split_first() else { return Err(Lapsed::NotAsked) };
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
        let verified = self.verifier.verify_client_cert(first, rest, now);
        verified.map(|_verified| ()).map_err(Lapsed::Refused)
    }

    /// Until when what [`Self::verify`] found stays so for certificates that do not expire, in
    /// seconds since 1970: where strict, until the first list runs out.
    #[must_use]
    pub const fn good_until(&self) -> u64 {
        self.good_until
    }

    /// When the first of its lists should have been replaced, in seconds since 1970.
    #[must_use]
    pub fn next_update(&self) -> Option<u64> {
        self.lists.iter().filter_map(|list| list.next_update).min()
    }

    /// Whether certificates are refused when no current list speaks for their issuer.
    #[must_use]
    pub const fn is_strict(&self) -> bool {
        self.is_strict
    }

    /// Whether there are lists, and none of them speaks for one of the CAs.
    #[must_use]
    pub const fn has_uncovered_authority(&self) -> bool {
        self.has_uncovered_authority
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.verifier)
    }
}

impl TrustFiles {
    /// The CAs of a PEM file, without revocation lists.
    #[must_use]
    pub fn of(authorities: PathBuf) -> Self {
        Self { authorities, ..Self::default() }
    }
}
