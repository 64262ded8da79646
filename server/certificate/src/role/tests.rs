use rcgen::{CertificateParams, CustomExtension, DnType, KeyPair, SanType};

use rustls_pki_types::CertificateDer;

use super::*;

const OID: &[u64] = &[1, 3, 6, 1, 4, 1, 99, 1];

fn der(key: &KeyPair) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "app");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "payments");
    params.subject_alt_names = vec![
        SanType::DnsName("app.example.com".try_into().unwrap()),
        SanType::Rfc822Name("app@example.com".try_into().unwrap()),
        SanType::URI("urn:app".try_into().unwrap()),
    ];
    // UTF8String "gold".
    let content = vec![0x0c, 0x04, b'g', b'o', b'l', b'd'];
    params.custom_extensions = vec![CustomExtension::from_oid_content(OID, content)];
    params.self_signed(key).unwrap().der().clone()
}

fn certificate() -> ClientCertificate {
    let der = der(&KeyPair::generate().unwrap());
    ClientCertificate::read(&[der]).unwrap().unwrap()
}

fn globs(text: &str) -> Vec<Glob> {
    vec![Glob::new("nobody"), Glob::new(text)]
}

#[test]
fn an_empty_role_asks_for_nothing() {
    assert!(Role::default().matches(&certificate()));
}

#[test]
fn each_constraint_lets_in_what_it_names_and_nothing_else() {
    type Constrain = fn(&mut Role, Vec<Glob>);
    let table: [(Constrain, &str); 8] = [
        (|role, globs| role.allowed_names = globs, "app"),
        (|role, globs| role.allowed_names = globs, "*.example.com"),
        (|role, globs| role.allowed_names = globs, "*@example.com"),
        (|role, globs| role.allowed_common_names = globs, "ap*"),
        (|role, globs| role.allowed_dns_sans = globs, "app.*"),
        (|role, globs| role.allowed_email_sans = globs, "app@example.com"),
        (|role, globs| role.allowed_uri_sans = globs, "urn:*"),
        (|role, globs| role.allowed_organizational_units = globs, "payments"),
    ];
    for (constrain, name) in table {
        let mut role = Role::default();
        constrain(&mut role, globs(name));
        assert!(role.matches(&certificate()), "{name}");
        constrain(&mut role, globs("x"));
        assert!(!role.matches(&certificate()), "{name}");
    }
}

#[test]
fn required_extensions_are_compared_as_text_or_hex_and_all_must_be_there() {
    let with = |texts: &[&str]| {
        let required = texts.iter().map(|text| text.parse().unwrap()).collect();
        Role { required_extensions: required, ..Role::default() }.matches(&certificate())
    };
    assert!(with(&["1.3.6.1.4.1.99.1:gold"]));
    assert!(with(&["1.3.6.1.4.1.99.1:g*", "hex:1.3.6.1.4.1.99.1:0C04*"]));
    assert!(!with(&["1.3.6.1.4.1.99.1:gold", "1.3.6.1.4.1.99.2:gold"]));
    assert!(!with(&["1.3.6.1.4.1.99.1:silver"]));
    assert!(!with(&["hex:1.3.6.1.4.1.99.1:0c05*"]));
}

#[test]
fn what_is_no_extension_is_refused_and_the_rest_reads_back() {
    for text in
        ["", "1.2", "abc:x", "hex:1.2", "hex:x:00", ":x", "1..2:x", "12:x", "a.b:x", "1.b:x"]
    {
        assert_eq!(text.parse::<RequiredExtension>(), Err(InvalidExtension), "{text}");
    }
    for text in ["1.2:a:b*", "hex:1.2:00ff"] {
        let read: RequiredExtension = text.parse().unwrap();
        assert_eq!(read.to_string(), text);
    }
}

#[test]
fn a_listed_certificate_is_known_by_key_and_number() {
    let key = KeyPair::generate().unwrap();
    let listed = der(&key);
    let shown = ClientCertificate::read(std::slice::from_ref(&listed)).unwrap().unwrap();
    assert!(Role::is_listed(&shown, &shown));
    // Another key; rcgen draws the number from it.
    assert!(!Role::is_listed(&certificate(), &shown));
    let ca = ClientCertificate { is_ca: true, ..shown.clone() };
    assert!(!Role::is_listed(&ca, &shown), "what is issued under it is listed otherwise");
}

#[test]
fn a_certificate_of_another_number_or_issuer_is_not_the_listed_one() {
    let shown = certificate();
    assert!(Role::is_listed(&shown, &shown), "control");
    let others = [
        ClientCertificate { serial: vec![9], ..shown.clone() },
        ClientCertificate { authority_key_id: Some(vec![9]), ..shown.clone() },
        ClientCertificate { public_key: vec![9], ..shown.clone() },
    ];
    for other in others {
        assert!(!Role::is_listed(&shown, &other), "{other:?}");
    }
}

#[test]
fn an_arc_of_an_extension_has_at_most_39_digits() {
    let with = |digits: usize| format!("1.{}:x", "1".repeat(digits)).parse::<RequiredExtension>();
    assert!(with(39).is_ok());
    assert_eq!(with(40), Err(InvalidExtension));
}
