//! Clients whose own certificates stand among the authorities, as those that no authority has issued
//! must.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, date_time_ymd};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use selkie_listener::{
    ClientCertificates, ClientTrust, ListenerSettings, TlsFiles, TlsMaterial, TlsSource,
    TlsVersion, TrustFiles,
};

use crate::client_certificates::{Authority, Issued, passes};
use crate::harness::{NOW, Running, settings};
use crate::logged::logged;
use crate::tls::{Scratch, ask_for, testdata, trusting};

/// 2030-01-01, when the certificate of the first version is good.
const LATER: u64 = 1_893_456_000;

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// What `openssl req -x509 -addext basicConstraints=CA:FALSE` makes, or without the extension.
fn self_signed(name: &str) -> Issued {
    let key = KeyPair::generate().unwrap();
    Issued { certificate: params(name).self_signed(&key).unwrap(), key }
}

/// As if the client of this name were an authority.
fn signed_by((signer, named): (&Issued, &str), name: &str) -> Issued {
    let (key, by) = (KeyPair::generate().unwrap(), params(named));
    let issuer = Issuer::from_params(&by, &signer.key);
    Issued { certificate: params(name).signed_by(&key, &issuer).unwrap(), key }
}

fn trust(scratch: &Scratch, listed: &[String]) -> TrustFiles {
    TrustFiles::of(scratch.write("clients.pem", listed.concat()))
}

#[test]
fn a_listed_certificate_that_is_no_authority_lets_in_itself_alone() {
    let (authority, scratch) = (Authority::new("ca"), Scratch::new("listed-leaves"));
    let (a, b) = (self_signed("a.test"), self_signed("b.test"));
    let listed = [a.certificate.pem(), b.certificate.pem()];
    let alone = trust(&scratch, &listed);
    let beside = Scratch::new("listed-leaves-beside");
    let beside = trust(&beside, &[&listed[..], &[authority.0.pem()]].concat());
    for files in [&alone, &beside] {
        assert!(passes(files, &a, NOW) && passes(files, &b, NOW), "{files:?}");
        let forged = signed_by((&b, "b.test"), "a.test");
        assert!(!passes(files, &forged, NOW), "b signs in the name of a");
        let chain = [forged.der(), b.der()];
        assert!(ClientTrust::load(files).unwrap().verify(&chain, NOW).is_err());
        let mut renamed = params("b.test");
        renamed.subject_alt_names = params("a.test").subject_alt_names;
        let again = renamed.self_signed(&b.key).unwrap();
        let again = Issued { certificate: again, key: KeyPair::generate().unwrap() };
        assert!(!passes(files, &again, NOW), "b writes itself other names");
        assert!(!passes(files, &self_signed("c.test"), NOW));
    }
    assert!(passes(&beside, &authority.issue(1), NOW));
    assert!(!passes(&alone, &authority.issue(1), NOW));
}

#[test]
fn a_listed_certificate_that_is_no_authority_ends_as_any_other() {
    let scratch = Scratch::new("listed-leaf-ends");
    let mut params = params("a.test");
    params.not_after = date_time_ymd(2026, 6, 2);
    let key = KeyPair::generate().unwrap();
    let a = Issued { certificate: params.self_signed(&key).unwrap(), key };
    let files = trust(&scratch, &[a.certificate.pem()]);
    assert!(passes(&files, &a, NOW));
    assert!(!passes(&files, &a, NOW + 2 * 86_400));
}

#[tokio::test]
async fn a_file_of_listed_certificates_alone_serves_with_every_version_of_tls() {
    let scratch = Scratch::new("listed-leaves-served");
    let authority = Authority::new("server");
    let server = authority.issue_for_long(9);
    let (a, b) = (self_signed("a.test"), self_signed("b.test"));
    let files = TlsFiles {
        certificate: scratch.write("server.pem", server.certificate.pem()),
        key: scratch.write("server.key", server.key.serialize_pem()),
        client_certificates: ClientCertificates::Required(trust(&scratch, &[a.certificate.pem()])),
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    };
    let source = TlsSource::new(TlsMaterial::load(&files).unwrap());
    let running = Running::start(ListenerSettings { tls: Some(source), ..settings() });
    for version in rustls::ALL_VERSIONS {
        let ask = async |chain: Vec<CertificateDer<'static>>, key: &Issued| {
            let config = trusting(authority.0.der().clone(), &[version]);
            let config = config.with_client_auth_cert(chain, key.key()).unwrap();
            ask_for(&running, config, "/lapsed").await
        };
        let told = ask(vec![a.der()], &a).await.unwrap();
        assert_eq!(told, "passes now, lapsed in the year 5000");
        assert!(ask(vec![b.der()], &b).await.is_err(), "not listed");
        let forged = signed_by((&a, "a.test"), "b.test");
        assert!(ask(vec![forged.der(), a.der()], &forged).await.is_err());
        let none = trusting(authority.0.der().clone(), &[version]).with_no_client_auth();
        assert!(ask_for(&running, none, "/lapsed").await.is_err(), "one is required");
    }
}

#[test]
fn a_listed_certificate_that_does_other_than_it_seems_is_warned_of() {
    let (authority, scratch) = (Authority::new("ca"), Scratch::new("listed-odd"));
    let first_version = std::fs::read_to_string(testdata("first-version.pem")).unwrap();
    let client = authority.issue(1);
    let issued = client.certificate.pem();
    assert!(!passes(&trust(&scratch, std::slice::from_ref(&issued)), &client, NOW));
    let old = trust(&scratch, std::slice::from_ref(&first_version));
    let shown = CertificateDer::from_pem_slice(first_version.as_bytes()).unwrap();
    assert!(ClientTrust::load(&old).unwrap().verify(&[shown], LATER).is_err());
    let (first, none, both) = ("X.509's first version", "not self-signed", "is listed");
    for (listed, told, count) in [
        (authority.0.pem(), both, 0),
        (self_signed("a.test").certificate.pem(), both, 0),
        (first_version.clone(), first, 1),
        (issued.clone(), none, 1),
        ([authority.0.pem(), first_version, issued].concat(), both, 2),
    ] {
        let files = trust(&scratch, &[listed]);
        let text = logged(|| drop(ClientTrust::load(&files).unwrap()));
        assert_eq!(text.matches("WARN").count(), count, "{text}");
        assert_eq!(text.matches(told).count(), count, "{text}");
        assert_eq!(text.matches("certificate_sha256=").count(), count, "{text}");
    }
}
