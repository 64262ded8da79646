use std::panic::{AssertUnwindSafe, catch_unwind};

use der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use der::{Decode as _, Encode as _};
use rustls_pki_types::CertificateDer;
use selkie_certificate::{ClientCertificate, Malformed};
use x509_cert::Certificate;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// Feeds the bytes to the reader of client certificates, as a handshake hands it one.
///
/// Every name that it reads stands in the certificate, and so says the second parser, `x509-cert`,
/// wherever that reads the certificate too: the same common name, alternative names, number, key and
/// times.
pub fn client_certificate(data: &[u8]) -> bool {
    agrees(data, |der| ClientCertificate::read(&[CertificateDer::from(der)]))
}

type Read = fn(&[u8]) -> Result<Option<ClientCertificate>, Malformed>;

pub(crate) fn agrees(data: &[u8], read: Read) -> bool {
    let Ok(Some(seen)) = read(data) else { return false };
    let names = [&seen.dns_sans, &seen.email_sans, &seen.uri_sans].into_iter().flatten();
    for name in names {
        let bytes = name.as_bytes();
        let stands_there =
            bytes.is_empty() || data.windows(bytes.len()).any(|window| window == bytes);
        assert!(stands_there, "{name:?} does not stand in it");
    }
    assert!(seen.fingerprint == selkie_certificate::Fingerprint::of(&CertificateDer::from(data)));
    assert_eq!(seen.chain_not_after, seen.not_after);
    assert!(seen.serial_digits().bytes().all(|byte| byte.is_ascii_digit()));
    assert!(seen.warn_from() <= seen.not_after);
    // It is the second opinion that may fail.
    let second = catch_unwind(AssertUnwindSafe(|| Certificate::from_der(data).ok())).ok().flatten();
    if let Some(second) = second {
        agrees_with(&seen, &second);
    }
    let twice = ClientCertificate::read(&[CertificateDer::from(data), CertificateDer::from(data)]);
    let twice = twice.expect("read once").expect("there");
    assert_ne!(twice.chain_digest, seen.chain_digest, "another chain looks the same");
    true
}

fn agrees_with(seen: &ClientCertificate, second: &Certificate) {
    let certificate = second.tbs_certificate();
    let significant =
        |bytes: &[u8]| bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    assert_eq!(significant(&seen.serial), significant(certificate.serial_number().as_bytes()));
    let key = certificate.subject_public_key_info().to_der().expect("read, so writable");
    assert_eq!(seen.public_key, key);
    let validity = certificate.validity();
    assert_eq!(seen.not_before, validity.not_before.to_unix_duration().as_secs());
    assert_eq!(seen.not_after, validity.not_after.to_unix_duration().as_secs());
    let common: Vec<_> = certificate
        .subject()
        .iter()
        .filter(|one| one.oid.to_string() == "2.5.4.3")
        .map(|one| text(&one.value))
        .collect();
    match &common[..] {
        [Some(only)] => assert_eq!(seen.common_name.as_ref(), Some(only)),
        [None] => {}
        _ => assert_eq!(seen.common_name, None, "one of several common names was chosen"),
    }
    let (mut dns, mut email, mut uri) = (Vec::new(), Vec::new(), Vec::new());
    let Ok(names) = certificate.get_extension::<SubjectAltName>() else { return };
    for name in names.map(|(_, names)| names.0).unwrap_or_default() {
        match name {
            GeneralName::DnsName(name) => dns.push(name.to_string()),
            GeneralName::Rfc822Name(name) => email.push(name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => uri.push(name.to_string()),
            _ => {}
        }
    }
    let names = (&seen.dns_sans, &seen.email_sans, &seen.uri_sans);
    assert_eq!(names, (&dns, &email, &uri), "other names");
}

/// Of the kinds of text that certificates have today.
fn text(value: &der::Any) -> Option<String> {
    let utf8 = value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
    let printable =
        value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned());
    let ia5 = value.decode_as::<Ia5StringRef<'_>>().map(|text| text.as_str().to_owned());
    utf8.or(printable).or(ia5).ok()
}
