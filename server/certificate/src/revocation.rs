//! What a revocation list says of itself, to tell when it is out of date.

use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::{Malformed, unix_seconds};

/// What a CRL says of itself; its entries are for webpki.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFacts {
    /// The DER of its issuer's name.
    pub issuer: Vec<u8>,
    /// Until when a newer one was promised, in seconds since 1970.
    pub next_update: Option<u64>,
}

impl RevocationFacts {
    /// Reads the DER of a CRL.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is none.
    pub fn read(der: &[u8]) -> Result<Self, Malformed> {
        let read = CertificateRevocationList::from_der(der).ok();
        let (_, list) = read.filter(|(rest, _)| rest.is_empty()).ok_or(Malformed::NotDer)?;
        let next_update = list.next_update().map(unix_seconds);
        Ok(Self { issuer: list.issuer().as_raw().to_vec(), next_update })
    }
}
