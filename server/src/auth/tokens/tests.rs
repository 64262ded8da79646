mod outage;
mod tree;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use selkie_crypto::{StateKey, os_random};
use selkie_listener::ShownCertificate;
use selkie_storage::{MemoryStore, Store, StoreError};

use super::*;
use crate::auth::{Auth, Client, Credentials, KnownClient, NotAuthenticated};
use crate::deployment::Deployment;
use crate::seal::Seals;

#[derive(Debug)]
pub(super) struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl TestClock {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_764_000_000)))
    }

    pub(super) fn go_back(&self, seconds: u64) {
        self.0.fetch_sub(seconds, Ordering::Relaxed);
    }

    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

pub(super) fn state_key() -> Arc<StateKey> {
    Arc::new(StateKey::init_with(|key| key.fill(9)).unwrap())
}

/// Nothing is declared but one client, whose token is `s.root`.
pub(super) fn deployment() -> Deployment {
    Deployment::assemble(config(), Seals::new(Vec::new())).unwrap()
}

fn config() -> selkie_config::Config {
    let mut config = crate::transit::tests::config_of(&[], &[]);
    config.clients.push(selkie_config::DeclaredClient {
        name: selkie_config::ClientName::new("root").unwrap(),
        token: Some(TokenHash::new(selkie_crypto::sha256(b"s.root"))),
        certificate: None,
        policies: vec!["root".parse().unwrap()],
        period: None,
        token_bound_cidrs: Vec::new(),
        no_default_policy: false,
    });
    config
}

pub(super) const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

pub(super) async fn authenticate(
    auth: &Auth,
    text: &TokenText,
    address: IpAddr,
) -> Result<Arc<Client>, NotAuthenticated> {
    let credentials = Credentials { token: Some(text), certificate: None, address };
    auth.authenticate(&deployment(), credentials).await
}

/// Whose token it is, of those that [`wanted`] names.
pub(super) fn known(issued: &Issued) -> KnownClient {
    KnownClient { name: "token".to_owned(), accessor: issued.token.accessor.clone() }
}

pub(super) async fn replica(store: &Arc<dyn Store>, clock: &Arc<TestClock>) -> Auth {
    let auth = Auth::new(true, Arc::clone(clock) as _, Arc::new(os_random));
    auth.attach(Arc::clone(store), state_key()).await.unwrap();
    auth
}

pub(super) fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

pub(super) fn wanted() -> NewToken {
    NewToken {
        display_name: "token".into(),
        policies: vec!["default".parse().unwrap(), "seal".parse().unwrap()].into(),
        meta: BTreeMap::new(),
        path: "auth/token/create".into(),
        kind: TokenKind::Service,
        parent: None,
        ttl: Some(Duration::from_secs(3600)),
        explicit_max_ttl: None,
        period: None,
        renewable: true,
        num_uses: 0,
        bound_cidrs: Vec::new(),
        role: None,
        bound_certificate: None,
        login: None,
    }
}

#[test]
fn a_failure_of_the_store_is_told_with_what_it_said() {
    let source = "connection refused".into();
    let away = NotAuthenticated::from(RecordsError::Store(StoreError::Unavailable { source }));
    let told = crate::telemetry::WithCauses(&away).to_string();
    assert!(told.contains("store is away") && told.contains("connection refused"), "{told}");
    let large = NotAuthenticated::from(RecordsError::TooLarge);
    assert_ne!(large, NotAuthenticated::Unreadable);
}

#[tokio::test]
async fn a_token_is_kept_under_the_keyed_hash_of_its_text_alone() {
    let (store, clock) = (store(), TestClock::new());
    let issued = replica(&store, &clock).await.issue(wanted()).await.unwrap();
    let text = issued.text.expose_for_reply();
    assert!(text.starts_with("hvs.") && text.len() == 28, "{text}");
    let place = format!("token/{}", TokenId::of(&state_key(), &issued.text));
    let record = store.get(&place.parse().unwrap()).await.unwrap().unwrap();
    let json = String::from_utf8(record.value.as_bytes().to_vec()).unwrap();
    assert!(!json.contains(text.strip_prefix("hvs.").unwrap()), "{json}");
    assert_eq!(record::from_json(json.as_bytes()).as_ref(), Some(&*issued.token));
}

#[tokio::test]
async fn a_batch_token_is_kept_nowhere_and_carries_all_it_is() {
    let (store, clock) = (store(), TestClock::new());
    let batch = NewToken { kind: TokenKind::Batch, renewable: false, ..wanted() };
    let issued = replica(&store, &clock).await.issue(batch).await.unwrap();
    assert!(issued.text.expose_for_reply().starts_with("hvb."));
    assert_eq!(batch::open(&state_key(), &issued.text).as_ref(), Some(&*issued.token));
    let other = StateKey::init_with(|key| key.fill(8)).unwrap();
    assert_eq!(batch::open(&other, &issued.text), None);
    let tokens = selkie_storage::Page::under("token".parse().unwrap());
    assert!(store.list(&tokens).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn a_batch_token_is_opened_once_and_ends_all_the_same() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let ttl = Some(Duration::from_secs(30));
    let batch = NewToken { kind: TokenKind::Batch, renewable: false, ttl, ..wanted() };
    let issued = auth.issue(batch).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    let open = || auth.tokens.opened.token(&state_key(), &id, &issued.text).unwrap().0;
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    let first = open();
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    assert!(Arc::ptr_eq(&first, &open()));
    clock.advance(30);
    let expired = authenticate(&auth, &issued.text, HERE).await.unwrap_err();
    assert_eq!(expired, NotAuthenticated::Expired(known(&issued)));
}

#[tokio::test]
async fn a_token_authenticates_on_every_replica_until_it_is_revoked() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let issued = one.issue(wanted()).await.unwrap();
    let client = authenticate(&one, &issued.text, HERE).await.unwrap();
    assert_eq!(client.accessor(), issued.token.accessor);
    let again = authenticate(&two, &issued.text, HERE).await.unwrap();
    assert_eq!(again.accessor(), client.accessor(), "the watch has not told of it yet");
    let id = TokenId::of(&state_key(), &issued.text);
    assert!(two.revoke(&id).await.unwrap());
    assert_eq!(
        authenticate(&two, &issued.text, HERE).await.unwrap_err(),
        NotAuthenticated::UnknownToken
    );
    one.records.reload(&*store).await.unwrap();
    assert_eq!(
        authenticate(&one, &issued.text, HERE).await.unwrap_err(),
        NotAuthenticated::UnknownToken
    );
    assert!(!one.revoke(&id).await.unwrap());
}

#[tokio::test]
async fn nobody_says_that_a_token_is_unknown_who_has_not_asked_the_store() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let made_up = TokenText::from_header(b"hvs.whatever").unwrap();
    let mut told = None;
    for _ in 0..100 {
        told = authenticate(&two, &made_up, HERE).await.err();
    }
    assert_eq!(told, Some(NotAuthenticated::NotLookedUp));
    let issued = one.issue(wanted()).await.unwrap();
    let refused = authenticate(&two, &issued.text, HERE).await.unwrap_err();
    assert_eq!(refused, NotAuthenticated::NotLookedUp);
    clock.advance(1);
    authenticate(&two, &issued.text, HERE).await.unwrap();
}

#[tokio::test]
async fn an_expired_token_is_refused_at_once_and_swept_later() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let short = NewToken { ttl: Some(Duration::from_secs(30)), ..wanted() };
    let issued = auth.issue(short).await.unwrap();
    clock.advance(29);
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    clock.advance(1);
    let expired = authenticate(&auth, &issued.text, HERE).await.unwrap_err();
    assert_eq!(expired, NotAuthenticated::Expired(known(&issued)));
    let declared = deployment();
    let id = TokenId::of(&state_key(), &issued.text);
    let renewed = auth.renew(&declared, &id, None).await;
    assert!(matches!(renewed, Err(RenewError::NotFound)));
    assert_eq!(auth.tokens.sweep(&auth.records).await.unwrap(), 1);
    assert_eq!(auth.tokens.mirror.names().len(), 0);
}

async fn use_once(auth: &Auth, text: &TokenText) -> Result<Arc<Client>, NotAuthenticated> {
    let client = authenticate(auth, text, HERE).await?;
    auth.count_use(&client, Some(text)).await
}

#[tokio::test]
async fn uses_are_counted_once_for_all_replicas() {
    let (store, clock) = (store(), TestClock::new());
    let (one, two) = (replica(&store, &clock).await, replica(&store, &clock).await);
    let thrice = NewToken { num_uses: 3, ..wanted() };
    let issued = one.issue(thrice).await.unwrap();
    two.records.reload(&*store).await.unwrap();
    let mut good = 0;
    for _ in 0..4 {
        let (here, there) =
            tokio::join!(use_once(&one, &issued.text), use_once(&two, &issued.text));
        good += usize::from(here.is_ok()) + usize::from(there.is_ok());
    }
    assert_eq!(good, 3);
}

#[tokio::test]
async fn a_token_is_good_only_from_where_and_with_what_it_is_bound_to() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let bound = NewToken { bound_cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..wanted() };
    let issued = auth.issue(bound).await.unwrap();
    authenticate(&auth, &issued.text, "10.1.2.3".parse().unwrap()).await.unwrap();
    let outside = NotAuthenticated::OutsideBoundCidrs(known(&issued));
    assert_eq!(authenticate(&auth, &issued.text, HERE).await.unwrap_err(), outside);

    let certificate = rustls_pki_types::CertificateDer::from(b"a certificate".to_vec());
    let hash = selkie_crypto::sha256(&certificate);
    let bound = NewToken { bound_certificate: Some(hash), ..wanted() };
    let issued = auth.issue(bound).await.unwrap();
    let without = NotAuthenticated::WithoutCertificate(known(&issued));
    assert_eq!(authenticate(&auth, &issued.text, HERE).await.unwrap_err(), without);
    let shown = ShownCertificate::unverified(vec![certificate]);
    let credentials =
        Credentials { token: Some(&issued.text), certificate: shown.as_deref(), address: HERE };
    auth.authenticate(&deployment(), credentials).await.unwrap();
}

#[tokio::test]
async fn a_batch_token_dies_with_its_parent_and_when_it_expires() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let parent = auth.issue(wanted()).await.unwrap();
    let id = TokenId::of(&state_key(), &parent.text);
    let batch = || NewToken { kind: TokenKind::Batch, renewable: false, ..wanted() };
    let child = NewToken { parent: Some(Parent::Token(id)), ..batch() };
    let child = auth.issue(child).await.unwrap();
    authenticate(&auth, &child.text, HERE).await.unwrap();
    auth.revoke(&id).await.unwrap();
    assert!(authenticate(&auth, &child.text, HERE).await.is_err());
    let orphan = auth.issue(batch()).await.unwrap();
    authenticate(&auth, &orphan.text, HERE).await.unwrap();
    auth.tokens.clock.beat(&auth.records, false).await.unwrap();
    for _ in 0..72 {
        clock.advance(50);
        auth.tokens.clock.beat(&auth.records, false).await.unwrap();
    }
    assert!(authenticate(&auth, &orphan.text, HERE).await.is_err());
}

#[tokio::test]
async fn a_child_of_a_declared_client_goes_with_the_declaration() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let root = TokenHash::new(selkie_crypto::sha256(b"s.root"));
    let child = NewToken { parent: Some(Parent::Declared(root)), ..wanted() };
    let issued = auth.issue(child).await.unwrap();
    authenticate(&auth, &issued.text, HERE).await.unwrap();
    let config = crate::transit::tests::config_of(&[], &[]);
    let without = Deployment::assemble(config, Seals::new(Vec::new())).unwrap();
    let credentials = Credentials { token: Some(&issued.text), certificate: None, address: HERE };
    assert!(auth.authenticate(&without, credentials).await.is_err());
    assert_eq!(auth.tokens.sweep(&auth.records).await.unwrap(), 0, "it may be declared again");
}

#[tokio::test]
async fn while_the_state_is_sealed_nobody_says_that_a_token_is_unknown() {
    let clock = TestClock::new();
    let sealed = Auth::new(true, clock.clone() as _, Arc::new(os_random));
    let text = TokenText::from_header(b"hvs.whatever").unwrap();
    let refused = authenticate(&sealed, &text, HERE).await.unwrap_err();
    assert_eq!(refused, NotAuthenticated::StateSealed);
    let none = Auth::new(false, clock as _, Arc::new(os_random));
    let refused = authenticate(&none, &text, HERE).await.unwrap_err();
    assert_eq!(refused, NotAuthenticated::UnknownToken);
}

#[tokio::test]
async fn a_renewal_is_capped_and_one_that_gains_little_is_not_written() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let declared = deployment();
    let bounded = NewToken { explicit_max_ttl: Some(Duration::from_secs(5000)), ..wanted() };
    let issued = auth.issue(bounded).await.unwrap();
    let id = TokenId::of(&state_key(), &issued.text);
    let at = auth.tokens.mirror.get(&id).unwrap().unwrap().revision;
    clock.advance(10);
    let renewed = auth.renew(&declared, &id, None).await.unwrap();
    assert_eq!(renewed.lease.as_secs(), 3600);
    assert_eq!(auth.tokens.mirror.get(&id).unwrap().unwrap().revision, at);
    let renewed = auth.renew(&declared, &id, Some(Duration::from_secs(9999))).await.unwrap();
    assert_eq!(renewed.lease.as_secs(), 4990);
    assert_eq!(renewed.warnings.len(), 1);
    assert!(auth.tokens.mirror.get(&id).unwrap().unwrap().revision > at);
    let fixed = auth.issue(NewToken { renewable: false, ..wanted() }).await.unwrap();
    let id = TokenId::of(&state_key(), &fixed.text);
    assert!(matches!(auth.renew(&declared, &id, None).await, Err(RenewError::NotRenewable)));
}

#[tokio::test]
async fn a_token_that_a_seal_uses_is_told_of_before_it_runs_out() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let minute = NewToken { period: Some(Duration::from_secs(60)), ..wanted() };
    let issued = auth.issue(minute).await.unwrap();
    assert!(auth.tokens.in_use().is_empty());
    auth.tokens.note_key_use(&issued.token);
    assert!(auth.tokens.expiring().is_empty());
    clock.advance(46);
    let expiring = auth.tokens.expiring();
    let [one] = &expiring[..] else { panic!("{expiring:?}") };
    assert_eq!((one.seconds_left, &one.accessor), (14, &issued.token.accessor));
}

/// Of a login that uses a key once, nobody is told: it ends as it should.
#[tokio::test]
async fn a_short_token_without_a_period_is_told_of_only_if_it_was_renewed() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let minute = || NewToken { ttl: Some(Duration::from_secs(60)), ..wanted() };
    let (once, kept) = (auth.issue(minute()).await.unwrap(), auth.issue(minute()).await.unwrap());
    clock.advance(30);
    let id = TokenId::of(&state_key(), &kept.text);
    auth.renew(&deployment(), &id, None).await.unwrap();
    auth.tokens.note_key_use(&once.token);
    auth.tokens.note_key_use(&kept.token);
    clock.advance(58);
    let expiring: Vec<_> = auth.tokens.expiring().into_iter().map(|one| one.accessor).collect();
    assert_eq!(expiring, std::slice::from_ref(&kept.token.accessor));
}

/// As where a Vault has `disable_renewal`.
#[tokio::test]
async fn a_token_of_a_day_that_nobody_renews_is_told_of() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let day = NewToken { ttl: Some(Duration::from_secs(86_400)), ..wanted() };
    let issued = auth.issue(day).await.unwrap();
    auth.tokens.note_key_use(&issued.token);
    clock.advance(64_000);
    assert!(auth.tokens.expiring().is_empty());
    clock.advance(1_000);
    assert_eq!(auth.tokens.expiring().len(), 1);
}

#[tokio::test]
async fn a_child_needs_the_certificate_that_its_declared_parent_must_come_with() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let certificate = || rcgen::generate_simple_self_signed(vec!["a".to_owned()]).unwrap().cert;
    let (own, other) = (certificate(), certificate());
    let mut config = config();
    let fingerprint = selkie_certificate::Fingerprint::of(own.der());
    let rule = selkie_certificate::Rule { sha256: vec![fingerprint], ..Default::default() };
    config.clients[0].certificate =
        Some(selkie_config::DeclaredCertificate { rule, authorities: None });
    let declared = Deployment::assemble(config, Seals::new(Vec::new())).unwrap();
    let root = Parent::Declared(TokenHash::new(selkie_crypto::sha256(b"s.root")));
    let child = auth.issue(NewToken { parent: Some(root), ..wanted() }).await.unwrap();
    let id = TokenId::of(&state_key(), &child.text);
    let under = NewToken { parent: Some(Parent::Token(id)), ..wanted() };
    let grandchild = auth.issue(under).await.unwrap();
    let batch = NewToken { kind: TokenKind::Batch, parent: Some(root), ..wanted() };
    let batch = auth.issue(batch).await.unwrap();
    let shown = |cert: &rcgen::Certificate| ShownCertificate::unverified(vec![cert.der().clone()]);
    for issued in [&child, &grandchild, &batch] {
        for (certificate, is_good) in [(shown(&own), true), (shown(&other), false), (None, false)] {
            let certificate = certificate.as_deref();
            let token = Some(&issued.text);
            let credentials = Credentials { token, certificate, address: HERE };
            let found = auth.authenticate(&declared, credentials).await;
            let without = NotAuthenticated::WithoutCertificate(known(issued));
            assert_eq!(found.err(), (!is_good).then_some(without));
        }
    }
}

#[tokio::test]
async fn what_was_got_at_a_mount_goes_with_it_and_so_do_its_children() {
    let (store, clock) = (store(), TestClock::new());
    let auth = replica(&store, &clock).await;
    let mut config = config();
    config.auth.push(selkie_config::DeclaredAuth {
        path: "ci".parse().unwrap(),
        description: String::new(),
        default_lease_ttl: None,
        max_lease_ttl: None,
        at: "test.hcl:1:1".into(),
        method: selkie_config::DeclaredMethod::AppRole(Vec::new()),
    });
    let with = Deployment::assemble(config, Seals::new(Vec::new())).unwrap();
    let mount_accessor = with.auth_mounts.iter().next().unwrap().accessor.clone();
    let login = LoginIdentity {
        entity_id: "e".into(),
        mount_accessor,
        alias: "a".into(),
        certificate: Default::default(),
    };
    let got =
        auth.issue(NewToken { login: Some(Box::new(login.clone())), ..wanted() }).await.unwrap();
    let id = TokenId::of(&state_key(), &got.text);
    let child = NewToken { parent: Some(Parent::Token(id)), ..wanted() };
    let child = auth.issue(child).await.unwrap();
    let batch = NewToken { kind: TokenKind::Batch, login: Some(Box::new(login)), ..wanted() };
    let batch = auth.issue(batch).await.unwrap();
    for issued in [&got, &child, &batch] {
        let text = &issued.text;
        let credentials = Credentials { token: Some(text), certificate: None, address: HERE };
        auth.authenticate(&with, credentials).await.unwrap();
        let refused = auth.authenticate(&deployment(), credentials).await.unwrap_err();
        assert_eq!(refused, NotAuthenticated::Expired(known(issued)));
        assert!(auth.find(&deployment(), text).unwrap().is_none());
    }
    assert_eq!(auth.tokens.sweep(&auth.records).await.unwrap(), 0, "it may be declared again");
}
