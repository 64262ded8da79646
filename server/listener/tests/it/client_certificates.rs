//! Client certificates that lapse while their connection lives.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    CrlDistributionPoint, CrlIssuingDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, date_time_ymd as date,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use selkie_listener::{
    ClientCertificates, ClientTrust, ListenerSettings, TlsError, TlsFiles, TlsMaterial, TlsSource,
    TlsVersion, TrustFiles,
};
use tokio::net::TcpStream;

use crate::harness::{NOW, Running, settings};
use crate::tls::{Scratch, connect_tls, trusting};

const DAY: u64 = 86_400;

pub(crate) struct Authority(pub(crate) CertifiedIssuer<'static, KeyPair>);

pub(crate) struct Issued {
    pub(crate) certificate: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self::of_key(name, KeyPair::generate().unwrap())
    }

    pub(crate) fn of_key(name: &str, key: KeyPair) -> Self {
        Self(CertifiedIssuer::self_signed(Self::params(name), key).unwrap())
    }

    pub(crate) fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
    }

    /// One that is good in 2026 alone.
    pub(crate) fn issue(&self, serial: u64) -> Issued {
        self.issue_with(serial, |params| {
            params.not_before = date(2026, 1, 1);
            params.not_after = date(2027, 1, 1);
        })
    }

    /// One that passes a handshake whenever the tests run.
    pub(crate) fn issue_for_long(&self, serial: u64) -> Issued {
        self.issue_with(serial, |_| ())
    }

    pub(crate) fn issue_with(
        &self,
        serial: u64,
        fill: impl FnOnce(&mut CertificateParams),
    ) -> Issued {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        fill(&mut params);
        let key = KeyPair::generate().unwrap();
        Issued { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }

    /// A list of what it has revoked, good for June 2026.
    fn list(&self, serials: &[u64]) -> rcgen::CertificateRevocationList {
        self.list_with(serials, |_| ())
    }

    pub(crate) fn list_with(
        &self,
        serials: &[u64],
        fill: impl FnOnce(&mut CertificateRevocationListParams),
    ) -> rcgen::CertificateRevocationList {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date(2026, 5, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = CertificateRevocationListParams {
            this_update: date(2026, 5, 20),
            next_update: date(2026, 7, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fill(&mut params);
        params.signed_by(&self.0).unwrap()
    }

    pub(crate) fn trust(
        &self,
        scratch: &Scratch,
        lists: Vec<PathBuf>,
        is_strict: bool,
    ) -> TrustFiles {
        let authorities = scratch.write("ca.pem", self.0.pem());
        TrustFiles { authorities, revocation_lists: lists, is_strict }
    }
}

pub(crate) fn passes(files: &TrustFiles, issued: &Issued, now: u64) -> bool {
    let trust = ClientTrust::load(files).unwrap();
    trust.verify(&[issued.der()], now).is_ok()
}

#[test]
fn only_what_is_issued_current_and_not_revoked_passes() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-passes"));
    let list = scratch.write("list.pem", authority.list(&[2]).pem().unwrap());
    let files = authority.trust(&scratch, vec![list], false);
    let (good, revoked) = (authority.issue(1), authority.issue(2));
    assert!(passes(&files, &good, NOW));
    assert!(!passes(&files, &revoked, NOW));
    assert!(!passes(&files, &good, NOW + 300 * DAY), "expired");
    assert!(!passes(&files, &good, NOW - 300 * DAY), "not yet");
    assert!(!passes(&files, &Authority::new("b").issue(1), NOW), "another CA");
    assert!(!passes(&files, &Authority::new("a").issue(1), NOW), "another CA of that name");
}

#[test]
fn lists_are_read_as_pem_der_bundles_and_directories() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let scratch = Scratch::new("crl-forms");
    let (list, others) = (authority.list(&[2]), other.list(&[1]));
    let bundle = others.pem().unwrap() + &list.pem().unwrap();
    let der = scratch.write("list.der", list.der());
    let bundle = scratch.write("bundle.pem", bundle);
    let directory = scratch.write("lists/one.crl", list.der()).parent().unwrap().to_owned();
    scratch.write("lists/README", "no list");
    let revoked = authority.issue(2);
    for lists in [vec![der.clone()], vec![bundle], vec![directory], vec![der; 2]] {
        let files = authority.trust(&scratch, lists, false);
        assert!(!passes(&files, &revoked, NOW), "{files:?}");
        assert!(passes(&files, &authority.issue(1), NOW), "{files:?}");
    }
}

#[test]
fn a_list_past_its_time_still_revokes_and_refuses_all_only_where_strict() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-strict"));
    let list = scratch.write("list.pem", authority.list(&[2]).pem().unwrap());
    let (good, revoked) = (authority.issue(1), authority.issue(2));
    let later = NOW + 60 * DAY;
    for is_strict in [false, true] {
        let files = authority.trust(&scratch, vec![list.clone()], is_strict);
        assert!(passes(&files, &good, NOW));
        assert_eq!(passes(&files, &good, later), !is_strict);
        assert!(!passes(&files, &revoked, later));
    }
}

#[test]
fn an_issuer_without_a_list_is_let_in_unless_strict_and_a_forged_list_refuses() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-uncovered"));
    let others = scratch.write("others.pem", Authority::new("b").list(&[1]).pem().unwrap());
    let forged = scratch.write("forged.pem", Authority::new("a").list(&[]).pem().unwrap());
    let good = authority.issue(1);
    let files =
        |list: &PathBuf, is_strict| authority.trust(&scratch, vec![list.clone()], is_strict);
    assert!(ClientTrust::load(&files(&others, false)).unwrap().has_uncovered_authority());
    assert!(passes(&files(&others, false), &good, NOW));
    assert!(!passes(&files(&others, true), &good, NOW));
    assert!(!ClientTrust::load(&files(&forged, false)).unwrap().has_uncovered_authority());
    assert!(!passes(&files(&forged, false), &good, NOW), "the signature is another CA's");
}

/// webpki takes the first list of an issuer, whatever its age.
#[test]
fn of_two_lists_of_one_issuer_the_newer_one_counts_in_whatever_order_they_are_read() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-newest"));
    let old = authority.list(&[2]).pem().unwrap();
    let by_day = authority.list_with(&[1, 2], |list| list.this_update = date(2026, 5, 21));
    let by_number = authority.list_with(&[1, 2], |list| {
        list.crl_number = SerialNumber::from(0x0100_u64);
    });
    for new in [by_day, by_number] {
        let new = new.pem().unwrap();
        let directory = scratch.write("lists/ca-1.crl", &old).parent().unwrap().to_owned();
        scratch.write("lists/ca-2.crl", &new);
        let first = scratch.write("new.pem", &new);
        let bundle = scratch.write("bundle.pem", new.clone() + &old);
        for lists in [vec![directory.clone()], vec![first, directory.clone()], vec![bundle]] {
            let files = authority.trust(&scratch, lists, false);
            assert!(!passes(&files, &authority.issue(1), NOW), "{files:?}");
            assert!(!passes(&files, &authority.issue(2), NOW), "{files:?}");
            assert!(passes(&files, &authority.issue(3), NOW), "{files:?}");
        }
    }
}

#[test]
fn a_list_that_a_newer_one_replaced_is_not_out_of_date_and_ends_nothing() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-replaced"));
    let new = authority.list_with(&[], |list| {
        (list.this_update, list.next_update) = (date(2026, 6, 30), date(2026, 9, 1));
    });
    let lists = vec![
        scratch.write("old.pem", authority.list(&[]).pem().unwrap()),
        scratch.write("new.pem", new.pem().unwrap()),
    ];
    let files = authority.trust(&scratch, lists, true);
    let trust = ClientTrust::load(&files).unwrap();
    let september = NOW + 92 * DAY;
    assert_eq!((trust.next_update(), trust.good_until()), (Some(september), september));
    assert!(passes(&files, &authority.issue(1), NOW + 60 * DAY));
}

#[test]
fn lists_of_one_issuer_for_other_certificates_all_count() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-partitions"));
    let place = |name: &str| CrlDistributionPoint { uris: vec![format!("http://a.test/{name}")] };
    let list = |name: &str, serial: u64, day| {
        let list = authority.list_with(&[serial], |list| {
            list.this_update = date(2026, 5, day);
            list.issuing_distribution_point =
                Some(CrlIssuingDistributionPoint { distribution_point: place(name), scope: None });
        });
        scratch.write(&format!("{name}.pem"), list.pem().unwrap())
    };
    let files = authority.trust(&scratch, vec![list("x", 1, 20), list("y", 2, 21)], false);
    let issue = |serial, name| {
        authority.issue_with(serial, |params| {
            params.not_before = date(2026, 1, 1);
            params.crl_distribution_points = vec![place(name)];
        })
    };
    for (serial, name, is_good) in
        [(1, "x", false), (2, "y", false), (1, "y", true), (2, "x", true)]
    {
        assert_eq!(passes(&files, &issue(serial, name), NOW), is_good, "{serial} {name}");
    }
}

/// For webpki, which goes by the name, the list of the other key is one with a wrong signature.
#[test]
fn an_authority_that_has_changed_its_key_has_a_list_for_each() {
    let (old, new, scratch) = (Authority::new("a"), Authority::new("a"), Scratch::new("crl-rekey"));
    let list = |authority: &Authority, serial, day| {
        let list = authority.list_with(&[serial], |list| list.this_update = date(2026, 5, day));
        list.pem().unwrap()
    };
    let both = [list(&old, 1, 20), list(&new, 2, 21)];
    let stale = list(&old, 9, 19);
    let authorities = scratch.write("ca.pem", old.0.pem() + &new.0.pem());
    for order in [[&both[0], &both[1], &stale], [&stale, &both[1], &both[0]]] {
        let lists = scratch.write("lists.pem", order.map(String::as_str).concat());
        let files = TrustFiles {
            authorities: authorities.clone(),
            revocation_lists: vec![lists],
            is_strict: true,
        };
        for (authority, serial, is_good) in
            [(&old, 1, false), (&old, 2, true), (&new, 1, true), (&new, 2, false)]
        {
            assert_eq!(passes(&files, &authority.issue(serial), NOW), is_good, "{serial}");
        }
        assert!(!passes(&files, &Authority::new("a").issue(3), NOW), "a third key");
    }
}

/// A list of the first version, as `openssl ca -gencrl` without extensions makes one, is read by
/// other programs.
#[test]
fn of_several_lists_the_one_that_cannot_be_used_is_named() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-fault"));
    let mut first_version = authority.list(&[1]).der().to_vec();
    let version = first_version.windows(3).position(|bytes| bytes == [2, 1, 1]).unwrap();
    first_version[version + 2] = 0;
    let good = scratch.write("lists/a.crl", authority.list(&[1]).der());
    let bad = scratch.write("lists/b.crl", &first_version);
    let directory = good.parent().unwrap().to_owned();
    let error = ClientTrust::load(&authority.trust(&scratch, vec![directory], false)).unwrap_err();
    assert!(error.to_string().starts_with(bad.to_str().unwrap()), "{error}");
}

#[test]
fn what_is_no_list_is_refused_with_its_name() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-bad"));
    let empty = scratch.write("empty/x", "").parent().unwrap().to_owned();
    for path in [
        scratch.write("empty.pem", ""),
        scratch.write("certificate.pem", authority.0.pem()),
        scratch.write("cut.der", &authority.list(&[1]).der()[..40]),
        scratch.write("broken.pem", "-----BEGIN X509 CRL-----\n!\n-----END X509 CRL-----\n"),
        scratch.path("absent.crl"),
        empty,
    ] {
        let error = ClientTrust::load(&authority.trust(&scratch, vec![path.clone()], false));
        let error: TlsError = error.unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}

#[tokio::test]
async fn what_was_shown_lapses_with_a_reload_and_with_time_while_the_connection_lives() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("crl-live"));
    let (issued, server) = (authority.issue_for_long(2), authority.issue_for_long(9));
    let files = |lists| TlsFiles {
        certificate: scratch.write("server.pem", server.certificate.pem()),
        key: scratch.write("server.key", server.key.serialize_pem()),
        client_certificates: ClientCertificates::Optional(authority.trust(&scratch, lists, false)),
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    };
    let source = TlsSource::new(TlsMaterial::load(&files(vec![])).unwrap());
    let running = Running::start(ListenerSettings { tls: Some(source.clone()), ..settings() });
    let config = trusting(authority.0.der().clone(), rustls::ALL_VERSIONS)
        .with_client_auth_cert(vec![issued.der()], issued.key())
        .unwrap();
    let tcp = TcpStream::connect(running.address).await.unwrap();
    let mut open = connect_tls(tcp, config.clone()).await.unwrap();
    let good = "passes now, lapsed in the year 5000";
    assert!(open.get("/lapsed").await.ends_with(good));
    let list = |serials: &[u64]| scratch.write("list.pem", authority.list(serials).pem().unwrap());
    source.replace(TlsMaterial::load(&files(vec![list(&[1])])).unwrap());
    assert!(open.get("/lapsed").await.ends_with(good), "another's was revoked");
    source.replace(TlsMaterial::load(&files(vec![list(&[2])])).unwrap());
    assert!(open.get("/lapsed").await.ends_with("lapsed now, lapsed in the year 5000"));
    source.replace(TlsMaterial::load(&files(vec![])).unwrap());
    assert!(open.get("/lapsed").await.ends_with(good), "taken back");
    let elsewhere = Scratch::new("crl-live-stranger");
    let stranger = Authority::new("b").trust(&elsewhere, vec![], false);
    let moved =
        TlsFiles { client_certificates: ClientCertificates::Required(stranger), ..files(vec![]) };
    source.replace(TlsMaterial::load(&moved).unwrap());
    assert!(
        open.get("/lapsed").await.ends_with("lapsed now, lapsed in the year 5000"),
        "the CA is gone"
    );
    let none = TlsFiles { client_certificates: ClientCertificates::NotAsked, ..files(vec![]) };
    source.replace(TlsMaterial::load(&none).unwrap());
    assert!(
        open.get("/lapsed").await.ends_with("lapsed now, lapsed in the year 5000"),
        "nobody asks"
    );
}

#[tokio::test]
async fn a_chain_of_any_size_is_refused_or_read_and_never_a_panic() {
    let (authority, scratch) = (Authority::new("a"), Scratch::new("long-chain"));
    let (issued, server) = (authority.issue_for_long(2), authority.issue_for_long(9));
    let files = TlsFiles {
        certificate: scratch.write("server.pem", server.certificate.pem()),
        key: scratch.write("server.key", server.key.serialize_pem()),
        client_certificates: ClientCertificates::Optional(authority.trust(&scratch, vec![], false)),
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    };
    let source = TlsSource::new(TlsMaterial::load(&files).unwrap());
    let running = Running::start(ListenerSettings { tls: Some(source), ..settings() });
    for (length, expected) in [
        (2, Some("passes now, lapsed in the year 5000")),
        (10, Some("passes now, lapsed in the year 5000")),
        (11, None),
        (1_000, None),
    ] {
        let mut chain = vec![issued.der()];
        chain.resize(length, authority.0.der().clone());
        let config = trusting(authority.0.der().clone(), rustls::ALL_VERSIONS);
        let config = config.with_client_auth_cert(chain, issued.key()).unwrap();
        let told = crate::tls::ask_for(&running, config, "/lapsed").await;
        match expected {
            Some(expected) => assert_eq!(told.unwrap(), expected, "{length}"),
            None => assert!(told.is_err(), "{length}"),
        }
    }
    assert!(running.connect().await.stream.peer_addr().is_ok(), "it still listens");
}
