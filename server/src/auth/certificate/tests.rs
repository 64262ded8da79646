//! Revocation lists of a client's own.

use std::net::Ipv4Addr;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use selkie_certificate::Glob;
use selkie_config::{ClientName, DeclaredClient};
use selkie_crypto::os_random;

use super::*;
use crate::auth::{Auth, Credentials};
use crate::clock::Clock;
use crate::deployment::Deployment;
use crate::seal::Seals;
use crate::telemetry::captured::Log;

/// 2026-06-01.
const NOW: u64 = 1_780_272_000;

#[derive(Debug)]
struct June;

impl Clock for June {
    fn unix_seconds(&self) -> u64 {
        NOW
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn list(authority: &CertifiedIssuer<'static, KeyPair>, month: u8) -> String {
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 4, 1),
        next_update: date_time_ymd(2026, month, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(authority).unwrap().pem().unwrap()
}

/// One client, whose own authorities these are, with their list.
fn deployment(directory: &Path, authorities: &str, list: &str, crl_strict: bool) -> Deployment {
    let (ca_file, crl_file) = (directory.join("ca.pem"), directory.join("crl.pem"));
    std::fs::write(&ca_file, authorities).unwrap();
    std::fs::write(&crl_file, list).unwrap();
    let rule = Rule { dns_san: vec![Glob::new("vault.test")], ..Rule::default() };
    let authorities = ClientAuthorities { ca_file, crl_files: vec![crl_file], crl_strict };
    let mut config = crate::transit::tests::config_of(&[], &[]);
    config.clients.push(DeclaredClient {
        name: ClientName::new("vault-eu").unwrap(),
        token: None,
        certificate: Some(DeclaredCertificate { rule, authorities: Some(authorities) }),
        policies: Vec::new(),
        period: None,
        token_bound_cidrs: Vec::new(),
        no_default_policy: false,
    });
    Deployment::assemble(config, Seals::new(Vec::new())).unwrap()
}

#[tokio::test]
async fn a_clients_own_list_that_is_out_of_date_is_told_whether_it_lets_in_or_not() {
    let (authority, directory) = (authority("own"), tempfile::tempdir().unwrap());
    let params = CertificateParams::new(vec!["vault.test".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let own = params.signed_by(&key, &authority).unwrap().der().clone();
    let shown = ShownCertificate::unverified(vec![own]).unwrap();
    let certificate = Some(&*shown);
    let here = Ipv4Addr::LOCALHOST.into();
    for (month, is_strict, is_good) in
        [(5, false, true), (5, true, false), (7, false, true), (7, true, true)]
    {
        let list = list(&authority, month);
        let declared = deployment(directory.path(), &authority.pem(), &list, is_strict);
        let (auth, log) = (Auth::new(false, Arc::new(June), Arc::new(os_random)), Log::start());
        for _ in 0..2 {
            let shown = Credentials { token: None, certificate, address: here };
            assert_eq!(auth.authenticate(&declared, shown).await.is_ok(), is_good, "{month}");
        }
        let told = log.take().matches("a certificate revocation list is out of date").count();
        assert_eq!(told, usize::from(month == 5), "once an hour");
        let seen = auth.certificates().seen().lists;
        assert_eq!(seen.get("client vault-eu").is_some_and(End::is_told), month == 5);
    }
}

#[test]
fn an_authority_of_a_clients_own_that_no_list_speaks_for_is_told_at_once() {
    let (covered, other) = (authority("covered"), authority("other"));
    let directory = tempfile::tempdir().unwrap();
    let list = list(&covered, 7);
    for (is_strict, outcome) in [(false, "cannot be revoked"), (true, "are refused")] {
        let log = Log::start();
        drop(deployment(directory.path(), &covered.pem(), &list, is_strict));
        assert!(!log.take().contains(outcome));
        let both = covered.pem() + &other.pem();
        drop(deployment(directory.path(), &both, &list, is_strict));
        let log = log.take();
        assert!(log.contains(outcome) && log.contains("client=\"vault-eu\""), "{log}");
    }
}
