use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair, SanType,
    SerialNumber, date_time_ymd as date,
};

use super::*;

fn der(fill: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    fill(&mut params);
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

fn read(fill: impl FnOnce(&mut CertificateParams)) -> Result<ClientCertificate, Malformed> {
    ClientCertificate::read(&[der(fill)]).map(|read| read.unwrap())
}

#[test]
fn everything_that_can_name_a_client_is_read() {
    let der = der(|params| {
        params.distinguished_name.push(DnType::CommonName, "vault-a");
        params.distinguished_name.push(DnType::OrganizationalUnitName, "ops");
        params.serial_number = Some(SerialNumber::from(0x1234_u64));
        params.subject_alt_names = vec![
            SanType::DnsName("a.example.com".try_into().unwrap()),
            SanType::Rfc822Name("ops@example.com".try_into().unwrap()),
            SanType::URI("spiffe://example.org/vault".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        params.not_before = date(2026, 1, 1);
        params.not_after = date(2026, 12, 31);
    });
    let read = ClientCertificate::read(std::slice::from_ref(&der)).unwrap().unwrap();
    assert_eq!(read.common_name.as_deref(), Some("vault-a"));
    assert_eq!(read.organizational_units, ["ops"]);
    assert_eq!(read.dns_sans, ["a.example.com"]);
    assert_eq!(read.email_sans, ["ops@example.com"]);
    assert_eq!(read.uri_sans, ["spiffe://example.org/vault"]);
    assert_eq!(read.serial, [0x12, 0x34]);
    assert_eq!((read.not_before, read.not_after), (1_767_225_600, 1_798_675_200));
    assert_eq!(read.fingerprint, Fingerprint::of(&der));
}

#[test]
fn an_issuer_is_read_with_the_ids_of_both_keys() {
    const NAME: &[u64] = &[1, 3, 6, 1, 4, 1, 99, 1];
    let issuer = read(|params| {
        params.distinguished_name.push(DnType::CommonName, "issuer");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.use_authority_key_identifier_extension = true;
        params.custom_extensions = vec![CustomExtension::from_oid_content(NAME, vec![5, 0])];
    })
    .unwrap();
    assert!(issuer.is_ca);
    assert_eq!(issuer.subject, "CN=issuer");
    assert!(issuer.subject_key_id.as_ref().is_some_and(|id| !id.is_empty()));
    assert_eq!(issuer.authority_key_id, issuer.subject_key_id, "it issued itself");
    let own = Extension { oid: "1.3.6.1.4.1.99.1".to_owned(), value: vec![5, 0] };
    assert!(issuer.extensions.contains(&own));
    let other = read(|_| ()).unwrap();
    assert!(!other.is_ca);
    assert_eq!((other.subject_key_id, other.authority_key_id), (None, None));
    assert_ne!(other.public_key, issuer.public_key);
}

#[test]
fn a_chain_may_be_as_long_as_the_longest() {
    let one = der(|params| params.not_after = date(2040, 1, 1));
    assert!(ClientCertificate::read(&vec![one; LONGEST_CHAIN]).is_ok());
}

#[test]
fn of_two_common_names_neither_counts() {
    let two = read(|params| {
        params.distinguished_name.push(DnType::CommonName, "vault-a");
        params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "vault-b");
    });
    assert_eq!(two.unwrap().common_name, None);
    assert_eq!(read(|_| ()).unwrap().common_name, None);
}

#[test]
fn malformed_names_and_repeated_extensions_say_nothing() {
    const NAMES: &[u64] = &[2, 5, 29, 17];
    // A DNS name that is no text; then no sequence at all.
    for content in [vec![0x30, 0x03, 0x82, 0x01, 0xff], vec![0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
        let with = |params: &mut CertificateParams| {
            params.custom_extensions =
                vec![CustomExtension::from_oid_content(NAMES, content.clone())];
        };
        assert!(matches!(read(with), Err(Malformed::Names | Malformed::Extension)), "{content:?}");
    }
    let twice = read(|params| {
        let one = || CustomExtension::from_oid_content(NAMES, vec![0x30, 0x03, 0x82, 0x01, b'a']);
        params.custom_extensions = vec![one(), one()];
    });
    assert_eq!(twice, Err(Malformed::Extension));
}

#[test]
fn a_chain_is_good_as_long_as_its_shortest_certificate_and_not_too_long() {
    let until = |year| der(move |params| params.not_after = date(year, 1, 1));
    let chain = [until(2040), until(2030), until(2050)];
    let read = ClientCertificate::read(&chain).unwrap().unwrap();
    assert_eq!(read.chain_not_after, 1_893_456_000);
    assert!(read.not_after > read.chain_not_after);
    let other = ClientCertificate::read(&chain[..1]).unwrap().unwrap();
    assert_eq!(read.fingerprint, other.fingerprint);
    assert_ne!(read.chain_digest, other.chain_digest);
    let long = vec![until(2040); LONGEST_CHAIN + 1];
    assert_eq!(ClientCertificate::read(&long), Err(Malformed::LongChain));
    assert_eq!(ClientCertificate::read(&[]), Ok(None));
}

#[test]
fn the_end_is_told_two_weeks_before_or_in_the_last_quarter() {
    let with = |days: u64| {
        let one = read(|_| ()).unwrap();
        let one = ClientCertificate { not_before: 0, not_after: days * 86_400, ..one };
        (one.not_after - one.warn_from()) / 86_400
    };
    assert_eq!([with(365), with(56), with(40), with(4)], [14, 14, 10, 1]);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        at in 0_usize..400, byte: u8, cut in 0_usize..400, noise in prop::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut bytes = der(|params| {
            params.distinguished_name.push(DnType::CommonName, "vault-a");
            params.subject_alt_names = vec![SanType::DnsName("a.example.com".try_into().unwrap())];
        }).to_vec();
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = ClientCertificate::read(&[CertificateDer::from(bytes.clone())]);
        bytes.truncate(cut % length);
        prop_assert!(ClientCertificate::read(&[CertificateDer::from(bytes)]).is_err());
        let _ = ClientCertificate::read(&[CertificateDer::from(noise.clone())]);
        let _ = crate::RevocationFacts::read(&noise);
    }
}

#[test]
fn serial_numbers_are_told_in_decimal() {
    let made = rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert;
    let read = ClientCertificate::read(&[made.der().clone()]).unwrap().unwrap();
    let digits = |serial: &[u8]| {
        ClientCertificate { serial: serial.to_vec(), ..read.clone() }.serial_digits()
    };
    assert_eq!(digits(&[]), "0");
    assert_eq!(digits(&[0, 255]), "255");
    assert_eq!(digits(&[1, 0]), "256");
    assert_eq!(digits(&[0xff; 16]), u128::MAX.to_string());
}

#[test]
fn the_issuer_of_a_chain_ends_when_the_last_of_its_name_does() {
    let key = KeyPair::generate().unwrap();
    let named = |name: &str, year: i32| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date(year, 1, 1);
        params
    };
    let issuer = |name: &str, year| named(name, year).self_signed(&key).unwrap().der().clone();
    let signer = rcgen::Issuer::new(named("issuer", 2030), &key);
    let first = named("server", 2040).signed_by(&key, &signer).unwrap().der().clone();

    let ends = |rest: &[CertificateDer<'static>]| {
        issuer_not_after(&[std::slice::from_ref(&first), rest].concat()).unwrap()
    };
    assert_eq!(ends(&[]), None);
    assert_eq!(ends(&[issuer("another", 2030)]), None);
    let (soon, later) = (issuer("issuer", 2027), issuer("issuer", 2030));
    assert_eq!(ends(std::slice::from_ref(&soon)), Some(1_798_761_600));
    assert_eq!(ends(&[later.clone(), soon.clone()]), Some(1_893_456_000));
    assert_eq!(ends(&[soon, later]), Some(1_893_456_000));
    assert_eq!(issuer_not_after(&[]), Ok(None));
}

#[test]
fn what_issued_itself_waits_for_no_issuer_of_its_name() {
    let own = || der(|params| params.distinguished_name.push(DnType::CommonName, "own"));
    assert_eq!(issuer_not_after(&[own(), own()]), Ok(None));
    assert_eq!(issuer_not_after(&[CertificateDer::from(vec![0])]), Err(Malformed::NotDer));
}
