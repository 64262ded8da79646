//! The certificate that a client has shown. It can be asked again whether it is still good, as
//! connections outlive certificates.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls_pki_types::CertificateDer;
use selkie_certificate::{ClientCertificate, Malformed};

use super::trust::{ClientTrust, Lapsed};
use super::{TlsMaterial, TlsSource};

/// What a client showed at a handshake, which verified it, and whether it would still pass.
#[derive(Debug)]
pub struct ShownCertificate {
    chain: Vec<CertificateDer<'static>>,
    read: Result<ClientCertificate, Malformed>,
    /// None in tests of services.
    source: Option<TlsSource>,
    /// What it was last found good by.
    verified_by: ArcSwapOption<ClientTrust>,
}

impl ShownCertificate {
    /// What a handshake with `material` of `source` has verified; `None` if nothing was shown.
    pub(crate) fn of_handshake(
        chain: Vec<CertificateDer<'static>>,
        source: &TlsSource,
        material: &TlsMaterial,
    ) -> Option<Arc<Self>> {
        let read = ClientCertificate::read(&chain).transpose()?;
        let verified_by = ArcSwapOption::new(material.trust.clone());
        Some(Arc::new(Self { chain, read, source: Some(source.clone()), verified_by }))
    }

    /// What no handshake has verified, and which never passes a check; for tests of services.
    #[must_use]
    pub fn unverified(chain: Vec<CertificateDer<'static>>) -> Option<Arc<Self>> {
        let read = ClientCertificate::read(&chain).transpose()?;
        Some(Arc::new(Self { chain, read, source: None, verified_by: ArcSwapOption::empty() }))
    }

    /// The certificate and its intermediates.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// What the certificate says.
    ///
    /// # Errors
    ///
    /// [`Malformed`]: it passed the handshake, and still cannot be read in full.
    pub fn certificate(&self) -> Result<&ClientCertificate, Malformed> {
        self.read.as_ref().map_err(|malformed| *malformed)
    }

    /// When the first of the revocation lists that it is judged by should have been replaced, in
    /// seconds since 1970; `None` without lists.
    #[must_use]
    pub fn lists_until(&self) -> Option<u64> {
        self.source.as_ref()?.lists_until()
    }

    /// Whether it would pass a handshake at `now`, in seconds since 1970, with what the listener
    /// has by now: nothing that was shown has expired, nothing was revoked, and the CA is still
    /// there. Costs next to nothing until one of these changes.
    ///
    /// # Errors
    ///
    /// [`Lapsed`].
    pub fn check(&self, now: u64) -> Result<(), Lapsed> {
        let Some(source) = &self.source else { return Err(Lapsed::NotAsked) };
        let material = source.current();
        let Some(trust) = &material.trust else { return Err(Lapsed::NotAsked) };
        let is_same = self.verified_by.load().as_ref().is_some_and(|by| Arc::ptr_eq(by, trust));
        let not_after = self.read.as_ref().map_or(0, |read| read.chain_not_after);
        if is_same && now <= not_after && now < trust.good_until() {
            return Ok(());
        }
        trust.verify(&self.chain, now)?;
        self.verified_by.store(Some(Arc::clone(trust)));
        Ok(())
    }
}
