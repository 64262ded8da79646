//! What a role of Vault's `cert` method asks of a certificate. The chain is verified elsewhere.

use std::fmt;
use std::str::FromStr;

use base16ct::lower::encode_string;
use x509_parser::asn1_rs::{Any, FromDer, Tag};

use crate::certificate::ClientCertificate;
use crate::glob::Glob;
use crate::rule::any_matches;

/// What Vault's `cert` auth method asks of a certificate besides its chain: an entry under
/// `auth/cert/certs/`. Of each list that is not empty one entry must match, of
/// `required_extensions` all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Role {
    /// `allowed_names`: the common name, a DNS name or a mail address.
    pub allowed_names: Vec<Glob>,
    /// `allowed_common_names`.
    pub allowed_common_names: Vec<Glob>,
    /// `allowed_dns_sans`.
    pub allowed_dns_sans: Vec<Glob>,
    /// `allowed_email_sans`.
    pub allowed_email_sans: Vec<Glob>,
    /// `allowed_uri_sans`.
    pub allowed_uri_sans: Vec<Glob>,
    /// `allowed_organizational_units`.
    pub allowed_organizational_units: Vec<Glob>,
    /// `required_extensions`.
    pub required_extensions: Vec<RequiredExtension>,
}

/// An extension that a certificate must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredExtension {
    oid: String,
    value: Glob,
    /// The value is compared as the hex digits of its DER, not as the text in it.
    is_hex: bool,
}

/// A text is no required extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected OID:VALUE or hex:OID:VALUE")]
pub struct InvalidExtension;

impl Role {
    /// Whether `certificate` is as asked.
    #[must_use]
    pub fn matches(&self, certificate: &ClientCertificate) -> bool {
        let common_name = certificate.common_name.as_slice();
        let any_name = || {
            let names = [common_name, &certificate.dns_sans, &certificate.email_sans];
            names.iter().any(|names| any_matches(&self.allowed_names, names))
        };
        any_name()
            && any_matches(&self.allowed_common_names, common_name)
            && any_matches(&self.allowed_dns_sans, &certificate.dns_sans)
            && any_matches(&self.allowed_email_sans, &certificate.email_sans)
            && any_matches(&self.allowed_uri_sans, &certificate.uri_sans)
            && any_matches(&self.allowed_organizational_units, &certificate.organizational_units)
            && self.required_extensions.iter().all(|one| one.is_in(certificate))
    }

    /// Whether `listed`, which is no CA, is this very certificate to Vault: of the same key, serial
    /// number and issuer's key. A renewed one has another number.
    #[must_use]
    pub fn is_listed(listed: &ClientCertificate, certificate: &ClientCertificate) -> bool {
        !listed.is_ca
            && listed.serial == certificate.serial
            && listed.authority_key_id == certificate.authority_key_id
            && listed.public_key == certificate.public_key
    }
}

impl RequiredExtension {
    fn is_in(&self, certificate: &ClientCertificate) -> bool {
        let mut named = certificate.extensions.iter().filter(|one| one.oid == self.oid);
        named.any(|extension| match self.is_hex {
            true => self.value.matches(&encode_string(&extension.value)),
            false => self.value.matches(text(&extension.value)),
        })
    }
}

impl FromStr for RequiredExtension {
    type Err = InvalidExtension;

    fn from_str(written: &str) -> Result<Self, InvalidExtension> {
        let is_hex = written.starts_with("hex:");
        let rest = written.strip_prefix("hex:").unwrap_or(written);
        let (oid, value) = rest.split_once(':').ok_or(InvalidExtension)?;
        let is_oid = oid.split('.').all(|arc| {
            !arc.is_empty() && arc.len() <= 39 && arc.bytes().all(|digit| digit.is_ascii_digit())
        });
        if !is_oid || !oid.contains('.') {
            return Err(InvalidExtension);
        }
        let value = if is_hex { value.to_ascii_lowercase() } else { value.to_owned() };
        Ok(Self { oid: oid.to_owned(), value: Glob::new(&value), is_hex })
    }
}

impl fmt::Display for RequiredExtension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { oid, value, is_hex } = self;
        write!(f, "{}{oid}:{value}", if *is_hex { "hex:" } else { "" })
    }
}

/// The text that is the whole value, as Go's `asn1.Unmarshal` reads one; else the empty text.
fn text(value: &[u8]) -> &str {
    let read = |value| {
        let (_rest, any) = Any::from_der(value).ok()?;
        let is_text = matches!(
            any.tag(),
            Tag::Utf8String
                | Tag::PrintableString
                | Tag::Ia5String
                | Tag::T61String
                | Tag::NumericString
        );
        is_text.then(|| str::from_utf8(any.data).ok()).flatten()
    };
    read(value).unwrap_or("")
}

#[cfg(test)]
mod tests;
