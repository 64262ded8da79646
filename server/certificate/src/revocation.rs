//! What a revocation list says of itself, to tell which of several counts, and when it is out of date.

use x509_parser::oid_registry::{
    OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER, OID_X509_EXT_ISSUER_DISTRIBUTION_POINT,
};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::certificate::{Malformed, unix_seconds};

/// What a CRL says of itself; its entries are for webpki.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationFacts {
    /// The DER of its issuer's name.
    pub issuer: Vec<u8>,
    /// The DER of the id of its issuer's key, if it says one: an issuer that has changed its key
    /// keeps a list for each.
    pub authority_key_id: Option<Vec<u8>>,
    /// The DER of which certificates of its issuer it is for; `None`: for all.
    pub distribution_point: Option<Vec<u8>>,
    /// How new it is.
    pub edition: Edition,
    /// Until when a newer one was promised, in seconds since 1970.
    pub next_update: Option<u64>,
}

/// Which of two lists for the same certificates is the newer one: the greater. Time goes before the
/// number, which begins anew where a CA is moved; the number tells those of one second apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edition {
    this_update: u64,
    /// Of numbers without leading zeros the longer one is greater.
    number_length: usize,
    number: Vec<u8>,
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
        let extension = |oid| {
            let mut all = list.extensions().iter();
            all.find(|extension| extension.oid == oid).map(|extension| extension.value.to_vec())
        };
        let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
        Ok(Self {
            issuer: list.issuer().as_raw().to_vec(),
            authority_key_id: extension(OID_X509_EXT_AUTHORITY_KEY_IDENTIFIER),
            distribution_point: extension(OID_X509_EXT_ISSUER_DISTRIBUTION_POINT),
            edition: Edition {
                this_update: unix_seconds(list.last_update()),
                number_length: number.len(),
                number,
            },
            next_update: list.next_update().map(unix_seconds),
        })
    }
}
