//! What a client certificate says, read with limits. It proves nothing: the handshake does.

use rustls_pki_types::CertificateDer;
use selkie_crypto::sha256;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::time::ASN1Time;

use crate::fingerprint::Fingerprint;

/// Certificates that a client may show at once; real chains have two to four.
pub const LONGEST_CHAIN: usize = 10;

/// What a client certificate says. It holds only of one that a handshake has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// The SHA-256 of all that was shown, intermediates included: two connections with the same
    /// one show the same.
    pub chain_digest: [u8; 32],
    /// Its subject, as `CN=..., O=...`, for people to read.
    pub subject: String,
    /// The common name of its subject, if it has exactly one that is text.
    pub common_name: Option<String>,
    /// The organizational units of its subject.
    pub organizational_units: Vec<String>,
    /// Its DNS names.
    pub dns_sans: Vec<String>,
    /// Its mail addresses.
    pub email_sans: Vec<String>,
    /// Its URIs.
    pub uri_sans: Vec<String>,
    /// Its serial number, big-endian, as in its DER.
    pub serial: Vec<u8>,
    /// The id of its own key, if it says one.
    pub subject_key_id: Option<Vec<u8>>,
    /// The id of its issuer's key, if it says one.
    pub authority_key_id: Option<Vec<u8>>,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// Its public key, as DER.
    pub public_key: Vec<u8>,
    /// Its extensions.
    pub extensions: Vec<Extension>,
    /// From when it is good, in seconds since 1970.
    pub not_before: u64,
    /// Until when it is good, in seconds since 1970.
    pub not_after: u64,
    /// Until when all that was shown is good.
    pub chain_not_after: u64,
}

/// An extension of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its object identifier, with dots.
    pub oid: String,
    /// Its value, DER.
    pub value: Vec<u8>,
}

/// Why a certificate says nothing to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It cannot be parsed.
    #[error("it is not DER of the expected form")]
    NotDer,
    /// Its alternative names cannot be read, or stand there twice.
    #[error("its alternative names are malformed")]
    Names,
    /// One of its extensions cannot be read, or stands there twice.
    #[error("one of its extensions is malformed")]
    Extension,
    /// There are more certificates than any chain has.
    #[error("its chain is longer than {LONGEST_CHAIN} certificates")]
    LongChain,
}

impl ClientCertificate {
    /// Reads the first certificate of `chain`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn read(chain: &[CertificateDer<'_>]) -> Result<Option<Self>, Malformed> {
        let Some(first) = chain.first() else { return Ok(None) };
        if chain.len() > LONGEST_CHAIN {
            return Err(Malformed::LongChain);
        }
        let mut digests = Vec::with_capacity(chain.len() * 32);
        let mut chain_not_after = u64::MAX;
        for certificate in chain {
            digests.extend_from_slice(Fingerprint::of(certificate).as_bytes());
            let not_after = unix_seconds(parse(certificate)?.validity().not_after);
            chain_not_after = chain_not_after.min(not_after);
        }
        let read = Self { chain_digest: sha256(&digests), chain_not_after, ..Self::one(first)? };
        Ok(Some(read))
    }

    fn one(der: &CertificateDer<'_>) -> Result<Self, Malformed> {
        let certificate = parse(der)?;
        let mut read = Self {
            fingerprint: Fingerprint::of(der),
            chain_digest: [0; 32],
            subject: certificate.subject().to_string(),
            common_name: common_name(&certificate),
            organizational_units: units(&certificate),
            dns_sans: Vec::new(),
            email_sans: Vec::new(),
            uri_sans: Vec::new(),
            serial: certificate.raw_serial().to_vec(),
            subject_key_id: None,
            authority_key_id: None,
            is_ca: certificate.is_ca(),
            public_key: certificate.public_key().raw.to_vec(),
            extensions: Vec::new(),
            not_before: unix_seconds(certificate.validity().not_before),
            not_after: unix_seconds(certificate.validity().not_after),
            chain_not_after: 0,
        };
        if certificate.extensions_map().is_err() {
            // One of them stands there twice.
            return Err(Malformed::Extension);
        }
        for extension in certificate.extensions() {
            read.take(extension.parsed_extension())?;
            let oid = extension.oid.to_id_string();
            read.extensions.push(Extension { oid, value: extension.value.to_vec() });
        }
        Ok(read)
    }

    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), Malformed> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                names.general_names.iter().try_for_each(|name| self.take_name(name))?;
            }
            ParsedExtension::SubjectKeyIdentifier(id) => {
                self.subject_key_id = Some(id.0.to_vec());
            }
            ParsedExtension::AuthorityKeyIdentifier(id) => {
                self.authority_key_id = id.key_identifier.as_ref().map(|id| id.0.to_vec());
            }
            ParsedExtension::ParseError { .. } => return Err(Malformed::Extension),
            _ => {}
        }
        Ok(())
    }

    fn take_name(&mut self, name: &GeneralName<'_>) -> Result<(), Malformed> {
        let (names, name) = match name {
            GeneralName::DNSName(name) => (&mut self.dns_sans, name),
            GeneralName::RFC822Name(name) => (&mut self.email_sans, name),
            GeneralName::URI(name) => (&mut self.uri_sans, name),
            GeneralName::Invalid(..) => return Err(Malformed::Names),
            _ => return Ok(()),
        };
        names.push((*name).to_owned());
        Ok(())
    }

    /// The decimal digits of its serial number, as Vault tells it.
    #[must_use]
    pub fn serial_digits(&self) -> String {
        // The lowest first.
        let mut digits: Vec<u8> = vec![0];
        for byte in &self.serial {
            let mut carry = u16::from(*byte);
            for digit in &mut digits {
                let value = u16::from(*digit) * 256 + carry;
                *digit = u8::try_from(value % 10).unwrap_or(0);
                carry = value / 10;
            }
            while carry > 0 {
                digits.push(u8::try_from(carry % 10).unwrap_or(0));
                carry /= 10;
            }
        }
        digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
    }

    /// From when its end is near enough to tell someone: the last 14 days, or the last quarter of
    /// a life shorter than 56 days.
    #[must_use]
    pub fn warn_from(&self) -> u64 {
        const TWO_WEEKS: u64 = 14 * 86_400;
        let quarter = self.not_after.saturating_sub(self.not_before) / 4;
        self.not_after.saturating_sub(quarter.min(TWO_WEEKS))
    }
}

/// When the last of the certificates in `chain` ends that have the name of its first one's issuer;
/// `None` if there is none, or if the first one is its own issuer and needs no other.
///
/// # Errors
///
/// [`Malformed`].
pub fn issuer_not_after(chain: &[CertificateDer<'_>]) -> Result<Option<u64>, Malformed> {
    let Some((first, rest)) = chain.split_first() else { return Ok(None) };
    let first = parse(first)?;
    if first.subject().as_raw() == first.issuer().as_raw() {
        return Ok(None);
    }
    let mut last = None;
    for certificate in rest {
        let certificate = parse(certificate)?;
        if certificate.subject().as_raw() == first.issuer().as_raw() {
            last = last.max(Some(unix_seconds(certificate.validity().not_after)));
        }
    }
    Ok(last)
}

/// What a certificate stands for where those are listed by which others are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// It says that it may issue others.
    Authority,
    /// It is of the first version, which cannot say it, and counts as an authority.
    FirstVersion,
    /// It may not, and has issued itself.
    SelfIssued,
    /// It may not, and another one has issued it.
    Issued,
}

impl Listed {
    /// What `certificate` is.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub fn read(certificate: &CertificateDer<'_>) -> Result<Self, Malformed> {
        let read = parse(certificate)?;
        Ok(match read.version() {
            X509Version::V1 => Self::FirstVersion,
            _ if read.is_ca() => Self::Authority,
            _ if read.subject().as_raw() == read.issuer().as_raw() => Self::SelfIssued,
            _ => Self::Issued,
        })
    }

    /// Whether it may issue others.
    #[must_use]
    pub const fn may_issue(self) -> bool {
        matches!(self, Self::Authority | Self::FirstVersion)
    }
}

fn parse<'c>(der: &'c CertificateDer<'_>) -> Result<X509Certificate<'c>, Malformed> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        _ => Err(Malformed::NotDer),
    }
}

/// Of several, none: another program might take another one for the name.
fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let only = names.next()?.as_str().ok()?;
    names.next().is_none().then(|| only.to_owned())
}

fn units(certificate: &X509Certificate<'_>) -> Vec<String> {
    let units = certificate.subject().iter_organizational_unit();
    units.filter_map(|unit| unit.as_str().ok().map(str::to_owned)).collect()
}

pub(crate) fn unix_seconds(time: ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
