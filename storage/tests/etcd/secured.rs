//! TLS, client certificates, users and their roles.

use std::path::Path;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use selkie_storage::{
    EtcdFault, EtcdIdentity, EtcdLogin, EtcdSettings, EtcdStore, Page, RecordValue, Store,
    StoreError,
};

use super::server::{Etcd, Security, etcd_is_here};
use super::{BRIEF, PATIENCE, key, next, put, settings, unavailable, write};

const PASSWORD: &str = "correct horse";
const ROOT: &str = "--user=root:root";

struct Certificates {
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Certificates {
    fn new() -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { ca: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    /// PEM of a certificate and its key.
    fn issue(&self) -> (String, String) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.ca).unwrap().pem(), key.serialize_pem())
    }

    /// Writes what the members need into `directory`, and names it to them.
    fn security(&self, directory: &Path) -> Security {
        let (certificate, key) = self.issue();
        let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("ca"), self.ca.pem()).unwrap();
        std::fs::write(path("cert"), certificate).unwrap();
        std::fs::write(path("key"), key).unwrap();
        let flags = |ca: &str, cert: &str, key: &str| {
            [(ca, "ca"), (cert, "cert"), (key, "key")]
                .map(|(flag, file)| format!("--{flag}={}", path(file)))
                .to_vec()
        };
        let mut etcd = flags("trusted-ca-file", "cert-file", "key-file");
        etcd.push("--client-cert-auth=true".to_owned());
        Security { is_tls: true, etcd, etcdctl: flags("cacert", "cert", "key") }
    }

    fn settings(&self, etcd: &Etcd) -> EtcdSettings {
        let (certificate, key) = self.issue();
        EtcdSettings {
            ca_pem: Some(self.ca.pem().into_bytes()),
            identity: Some(EtcdIdentity {
                certificate_pem: certificate.into_bytes(),
                key_pem: key.into_bytes().into(),
            }),
            credentials: Some(login(PASSWORD)),
            ..settings(etcd.urls_from(0), "selkie/")
        }
    }
}

fn login(password: &str) -> EtcdLogin {
    EtcdLogin { username: "selkie".into(), password: password.to_owned().into() }
}

fn connect(settings: EtcdSettings) -> EtcdStore {
    EtcdStore::connect(settings).unwrap()
}

/// A user who may read and write below `selkie/` and nothing else.
fn enable_auth(etcd: &Etcd) {
    let user = format!("selkie:{PASSWORD}");
    etcd.ctl(&["user", "add", "root:root"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["user", "add", &user]);
    etcd.ctl(&["role", "add", "state"]);
    etcd.ctl(&["role", "grant-permission", "--prefix=true", "state", "readwrite", "selkie/"]);
    etcd.ctl(&["user", "grant-role", "selkie", "state"]);
    assert!(etcd.ctl(&["auth", "enable"]).contains("Enabled"));
}

#[tokio::test]
async fn store_works_over_tls_with_certificate_and_password_only() {
    if !etcd_is_here() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::new();
    let etcd = Etcd::start_secured(1, certificates.security(directory.path()));
    etcd.wait_for_itself().await;
    let off = connect(certificates.settings(&etcd));
    let fault = unavailable(off.get(&key("a")).await);
    assert!(matches!(fault, EtcdFault::AuthenticationOff { .. }), "{fault:?}");
    enable_auth(&etcd);

    let store = connect(certificates.settings(&etcd));
    let revision = store.commit(&[], &[put("a", b"1"), put("b", b"2")]).await.unwrap();
    assert_eq!(store.list(&Page::all()).await.unwrap().records.len(), 2);
    let mut watch = store.watch(revision).await.unwrap();
    store.commit(&[], &[put("a", b"2")]).await.unwrap();
    assert_eq!(next(&mut watch).await.writes, [put("a", b"2")]);

    let fault =
        |settings: EtcdSettings| async { unavailable(connect(settings).get(&key("a")).await) };
    let stranger = Some(Certificates::new().ca.pem().into_bytes());
    let brief = || EtcdSettings { request_timeout: BRIEF, ..certificates.settings(&etcd) };
    let misled = async {
        let end = Instant::now() + PATIENCE;
        loop {
            match fault(EtcdSettings { ca_pem: stranger.clone(), ..brief() }).await {
                // A busy machine has not come to the end of the handshake.
                EtcdFault::Silent { .. } if Instant::now() < end => {}
                found => break found,
            }
        }
    };
    let (anonymous, misled, wrong) = tokio::join!(
        fault(EtcdSettings { identity: None, ..brief() }),
        misled,
        fault(EtcdSettings { credentials: Some(login("wrong")), ..certificates.settings(&etcd) }),
    );
    assert!(!matches!(anonymous, EtcdFault::Credentials { .. }), "{anonymous:?}");
    assert!(matches!(misled, EtcdFault::Connect { .. }), "{misled:?}");
    assert!(matches!(wrong, EtcdFault::Credentials { .. }), "{wrong:?}");
}

async fn etcd_with_users() -> (Etcd, EtcdStore) {
    let etcd = Etcd::start(1).await;
    enable_auth(&etcd);
    let credentials = Some(login(PASSWORD));
    let store = connect(EtcdSettings { credentials, ..settings(etcd.urls_from(0), "selkie/") });
    (etcd, store)
}

#[tokio::test]
async fn lost_token_is_renewed_unnoticed_and_a_watch_goes_on() {
    if !etcd_is_here() {
        return;
    }
    let (mut etcd, store) = etcd_with_users().await;
    let revision = write(&store, &[put("a", b"1")]).await;
    let mut watch = store.watch(revision).await.unwrap();
    // A member keeps tokens in memory only.
    etcd.kill(0);
    etcd.launch(0);
    store.get(&key("a")).await.unwrap();
    write(&store, &[put("a", b"2")]).await;
    assert_eq!(next(&mut watch).await.writes, [put("a", b"2")]);
}

#[tokio::test]
async fn a_user_of_its_own_prefix_alone_sees_nobody_around() {
    if !etcd_is_here() {
        return;
    }
    let (etcd, outer) = etcd_with_users().await;
    outer.commit(&[], &[put("format", b"1")]).await.unwrap();
    etcd.ctl(&[ROOT, "role", "add", "below"]);
    let role = ["role", "grant-permission", "--prefix=true", "below", "readwrite", "selkie/in/"];
    etcd.ctl(&[&[ROOT], &role[..]].concat());
    etcd.ctl(&[ROOT, "user", "add", "below:p"]);
    etcd.ctl(&[ROOT, "user", "grant-role", "below", "below"]);
    let credentials = Some(EtcdLogin { username: "below".into(), ..login("p") });
    let inner = connect(EtcdSettings { credentials, ..settings(etcd.urls_from(0), "selkie/in/") });
    assert_eq!(inner.enclosing(&key("format")).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_of_its_own_prefix_alone_may_show_that_it_uses_the_store() {
    if !etcd_is_here() {
        return;
    }
    let (_etcd, store) = etcd_with_users().await;
    let value = RecordValue::new(*b"here").unwrap();
    let attend = async || {
        store.attend(&key("state-key-local/server"), &value, PATIENCE).await.unwrap().unwrap()
    };
    let record = attend().await;
    assert_eq!(attend().await, record, "it is renewed");
    assert_eq!(store.get(&record).await.unwrap().unwrap().value, value);
}

#[tokio::test]
async fn revoked_role_and_changed_password_are_named() {
    if !etcd_is_here() {
        return;
    }
    let (etcd, store) = etcd_with_users().await;
    let revision = store.commit(&[], &[put("a", b"1")]).await.unwrap();
    etcd.ctl(&[ROOT, "user", "revoke-role", "selkie", "state"]);
    let fault = unavailable(store.get(&key("a")).await);
    assert!(matches!(fault, EtcdFault::Permission { .. }), "{fault:?}");
    let fault = unavailable(store.commit(&[], &[put("a", b"2")]).await);
    assert!(matches!(fault, EtcdFault::Permission { .. }), "{fault:?}");
    let watch = store.watch(revision).await;
    assert!(matches!(watch, Err(StoreError::Unavailable { .. })));
    etcd.ctl(&[ROOT, "user", "grant-role", "selkie", "state"]);
    let record = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(record.revision, revision, "a refused commit happened");

    etcd.ctl(&[ROOT, "user", "delete", "selkie"]);
    etcd.ctl(&[ROOT, "user", "add", "selkie:changed"]);
    etcd.ctl(&[ROOT, "user", "grant-role", "selkie", "state"]);
    let fault = unavailable(store.get(&key("a")).await);
    assert!(matches!(fault, EtcdFault::Credentials { .. }), "{fault:?}");
}
