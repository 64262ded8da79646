use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use rustls_pki_types::PrivateKeyDer;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::*;
use crate::azure::{ClientCertificate, Diagnosis, UserAssignedIdentity};
use crate::http::test_server::{Authority, Received, Reply, TestServer, answer, settings};
use crate::http::{HttpError, Roots};

const SCOPE: &str = "https://vault.azure.net/.default";
const TENANT: &str = "11111111-2222-3333-4444-555555555555";

fn error(outcome: Outcome) -> IdentityError {
    IdentityError::new(at(Hop::Entra, outcome, "login.test"), None)
}

/// Hands out `token-1`, `token-2`, ..., each good for `lifetime` seconds, as long as `gate` lets it.
struct Scripted {
    fetched: AtomicUsize,
    lifetime: u64,
    /// One permit for each attempt.
    gate: Semaphore,
    fails_from: AtomicUsize,
}

#[async_trait]
impl TokenSource for Arc<Scripted> {
    async fn fetch(&self, deadline: Instant) -> Result<Token, IdentityError> {
        let nth = self.fetched.fetch_add(1, Ordering::SeqCst) + 1;
        let Ok(permit) = tokio::time::timeout_at(deadline, self.gate.acquire()).await else {
            return Err(error(Outcome::TimedOut));
        };
        permit.unwrap().forget();
        if nth >= self.fails_from.load(Ordering::SeqCst) {
            return Err(error(Outcome::Outage));
        }
        let answer = format!(r#"{{"access_token":"token-{nth}","expires_in":{}}}"#, self.lifetime);
        Ok(Token::read(answer.as_bytes(), Instant::now(), SystemTime::UNIX_EPOCH).unwrap())
    }
}

fn scripted(lifetime: u64, permits: usize) -> (Arc<Scripted>, Arc<Credential>) {
    let script = Arc::new(Scripted {
        fetched: AtomicUsize::new(0),
        lifetime,
        gate: Semaphore::new(permits),
        fails_from: AtomicUsize::new(usize::MAX),
    });
    let deadline = TOKEN_DEADLINE;
    let credential = Credential {
        kind: "scripted",
        hop: Hop::Entra,
        scope: SCOPE.to_owned(),
        host: "login.test".to_owned(),
        deadline,
        kept: Arc::new(Kept::new(Box::new(Arc::clone(&script)), deadline)),
        keeper: Mutex::default(),
    };
    (script, Arc::new(credential))
}

impl Scripted {
    fn fetches(&self) -> usize {
        self.fetched.load(Ordering::SeqCst)
    }

    fn fail_from_now(&self) {
        self.fails_from.store(self.fetches() + 1, Ordering::SeqCst);
    }
}

async fn text(credential: &Credential) -> Result<String, Outcome> {
    let token = credential.token().await;
    token.map(|token| token.text().to_owned()).map_err(|error| error.diagnosis().outcome)
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn hundred_who_wait_share_one_attempt_also_if_the_first_of_them_leaves() {
    let (script, credential) = scripted(3600, 0);
    let mut waiting: Vec<_> = (0..100)
        .map(|_| {
            let credential = Arc::clone(&credential);
            tokio::spawn(async move { text(&credential).await })
        })
        .collect();
    pass(1).await;
    waiting.remove(0).abort();
    script.gate.add_permits(1);
    for one in waiting {
        assert_eq!(one.await.unwrap().as_deref(), Ok("token-1"));
    }
    assert_eq!(script.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn token_is_renewed_by_half_of_its_life_though_nobody_asks_and_the_old_one_serves_meanwhile()
{
    let (script, credential) = scripted(3600, 1);
    assert_eq!(text(&credential).await.as_deref(), Ok("token-1"));
    let fetched = Instant::now();
    while script.fetches() < 2 {
        pass(1).await;
    }
    let waited = fetched.elapsed().as_secs();
    assert!((1440..=1801).contains(&waited), "{waited}");
    // The attempt has begun and hangs; nobody waits for it.
    let asked = Instant::now();
    assert_eq!(text(&credential).await.as_deref(), Ok("token-1"));
    assert_eq!(asked.elapsed(), Duration::ZERO);
    script.gate.add_permits(1);
    pass(1).await;
    assert_eq!(text(&credential).await.as_deref(), Ok("token-2"));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_token_learns_that_it_is_the_token() {
    let (script, credential) = scripted(3600, 0);
    let trouble = || credential.trouble().map(|seen| (seen.hop, seen.outcome));
    assert_eq!(trouble(), Some((Hop::Entra, Outcome::TimedOut)), "nothing came yet");
    script.fail_from_now();
    script.gate.add_permits(1);
    text(&credential).await.unwrap_err();
    assert_eq!(trouble(), Some((Hop::Entra, Outcome::Outage)));
    script.fails_from.store(usize::MAX, Ordering::SeqCst);
    script.gate.add_permits(1);
    pass(61).await;
    text(&credential).await.unwrap();
    assert_eq!(trouble(), None);
}

#[tokio::test(start_paused = true)]
async fn failing_renewal_disturbs_nobody_until_the_token_expires_and_is_not_a_storm() {
    let (script, credential) = scripted(3600, 10_000);
    text(&credential).await.unwrap();
    script.fail_from_now();
    pass(3500).await;
    assert_eq!(text(&credential).await.as_deref(), Ok("token-1"));
    assert_eq!(credential.failure().unwrap().diagnosis().outcome, Outcome::Outage);
    assert!((20..60).contains(&script.fetches()), "{}", script.fetches());
    pass(101).await;
    assert_eq!(text(&credential).await, Err(Outcome::Outage));
    // And it heals by itself.
    script.fails_from.store(usize::MAX, Ordering::SeqCst);
    pass(61).await;
    assert!(text(&credential).await.is_ok());
    assert!(credential.failure().is_none());
}

#[tokio::test(start_paused = true)]
async fn failure_stands_for_a_second_for_all_who_ask() {
    let (script, credential) = scripted(3600, 10_000);
    script.fail_from_now();
    for _ in 0..50 {
        assert_eq!(text(&credential).await, Err(Outcome::Outage));
    }
    assert_eq!(script.fetches(), 1);
    pass(1).await;
    assert_eq!(text(&credential).await, Err(Outcome::Outage));
    assert_eq!(script.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_asks_for_patience_gets_it_but_not_for_ever() {
    struct Throttling(AtomicUsize);
    #[async_trait]
    impl TokenSource for Arc<Throttling> {
        async fn fetch(&self, _: Instant) -> Result<Token, IdentityError> {
            self.0.fetch_add(1, Ordering::SeqCst);
            let diagnosis = at(Hop::Entra, Outcome::Throttled, "login.test");
            Err(IdentityError::throttled(diagnosis, Some(Duration::from_secs(3600))))
        }
    }
    let source = Arc::new(Throttling(AtomicUsize::new(0)));
    let kept = Arc::new(Kept::new(Box::new(Arc::clone(&source)), TOKEN_DEADLINE));
    tokio::spawn(Arc::clone(&kept).keep());
    for (seconds, attempts) in [(0, 1), (9, 1), (1, 2)] {
        pass(seconds).await;
        let failed = kept.token().await.err().unwrap();
        assert_eq!(failed.retry_after(), Some(Duration::from_secs(3600)));
        assert_eq!(source.0.load(Ordering::SeqCst), attempts);
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_hangs_ends_at_its_deadline() {
    let (_script, credential) = scripted(3600, 0);
    let asked = Instant::now();
    assert_eq!(text(&credential).await, Err(Outcome::TimedOut));
    assert_eq!(asked.elapsed(), TOKEN_DEADLINE);
}

#[tokio::test(start_paused = true)]
async fn short_lived_tokens_are_renewed_in_time_and_not_all_the_time() {
    let (script, credential) = scripted(60, 10_000);
    text(&credential).await.unwrap();
    for _ in 0..600 {
        pass(1).await;
        let asked = Instant::now();
        text(&credential).await.unwrap();
        assert_eq!(asked.elapsed(), Duration::ZERO);
    }
    assert!((20..=27).contains(&script.fetches()), "{}", script.fetches());
}

#[tokio::test(start_paused = true)]
async fn rejected_token_is_given_up_at_most_every_five_seconds() {
    let (script, credential) = scripted(3600, 10_000);
    text(&credential).await.unwrap();
    credential.invalidate();
    assert_eq!(text(&credential).await.as_deref(), Ok("token-1"), "too young");
    pass(6).await;
    for _ in 0..50 {
        credential.invalidate();
        assert_eq!(text(&credential).await.as_deref(), Ok("token-2"));
    }
    assert_eq!(script.fetches(), 2);
}

#[tokio::test(start_paused = true)]
async fn keeper_ends_with_its_credential() {
    let (script, credential) = scripted(60, 10_000);
    text(&credential).await.unwrap();
    drop(credential);
    pass(1000).await;
    assert_eq!(script.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn sdk_gets_tokens_for_our_audience_alone() {
    let (script, credential) = scripted(3600, 10_000);
    for ours in [SCOPE, "https://vault.azure.net//.default"] {
        let token = credential.get_token(&[ours], None).await.unwrap();
        assert_eq!(token.token.secret(), "token-1");
    }
    for foreign in [
        &["https://graph.microsoft.com/.default"][..],
        &["https://vault.azure.net.evil.test/.default"],
        &["https://vault.azure.net"],
        &["http://vault.azure.net/.default"],
        &[SCOPE, "https://graph.microsoft.com/.default"],
        &[],
    ] {
        let refused = credential.get_token(foreign, None).await.unwrap_err();
        let cause = IdentityError::within(&refused).and_then(IdentityError::cause);
        assert!(cause.is_some_and(|cause| cause.is::<ForeignScope>()), "{foreign:?}");
    }
    assert_eq!(script.fetches(), 1);
}

#[tokio::test(start_paused = true)]
async fn sdk_asks_for_each_request_so_that_it_keeps_no_token_of_its_own() {
    let (_script, credential) = scripted(3600, 10_000);
    let token = credential.get_token(&[SCOPE], None).await.unwrap();
    assert!(token.expires_on < OffsetDateTime::now_utc());
}

fn clients(authority: &Authority) -> (Arc<HttpClient>, Arc<HttpClient>) {
    let plain = HttpClient::plain(settings(Roots::System)).unwrap();
    (HttpClient::https(settings(authority.roots())).unwrap(), plain)
}

fn transport(client: Arc<HttpClient>) -> Transport {
    Transport { client, clock: system_clock() }
}

fn credential(identity: Identity, authority: &Authority, port: u16) -> Arc<Credential> {
    let (https, plain) = clients(authority);
    let login = format!("https://login.test:{port}").parse().unwrap();
    Credential::new(identity, "vault.azure.net", &login, https, plain).unwrap()
}

fn imds(server: &TestServer, user_assigned: Option<UserAssignedIdentity>) -> Arc<Credential> {
    let endpoint = format!("http://{}", server.address).parse().unwrap();
    let identity = Identity::ManagedIdentity { user_assigned, endpoint };
    credential(identity, &Authority::new(), 1)
}

const GOOD: &str = r#"{"access_token":"ey.J0.token","expires_on":"99999999999","resource":"https://vault.azure.net","token_type":"Bearer"}"#;

fn query(received: &Received) -> Vec<(String, String)> {
    let target = received.text.split(' ').nth(1).unwrap();
    let url: Url = format!("http://host{target}").parse().unwrap();
    url.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn imds_is_asked_as_documented_for_each_kind_of_identity() {
    let id = "a b&c".to_owned();
    for (user_assigned, parameter) in [
        (None, None),
        (Some(UserAssignedIdentity::ClientId(id.clone())), Some("client_id")),
        (Some(UserAssignedIdentity::ObjectId(id.clone())), Some("object_id")),
        (Some(UserAssignedIdentity::ResourceId(id.clone())), Some("msi_res_id")),
    ] {
        let server = TestServer::plain(|_| answer(200, GOOD)).await;
        let credential = imds(&server, user_assigned);
        assert_eq!(text(&credential).await.as_deref(), Ok("ey.J0.token"));
        let received = &server.received()[0];
        assert!(received.text.starts_with("GET /metadata/identity/oauth2/token?"), "{received:?}");
        assert!(received.text.contains("\r\nmetadata: true\r\n"), "{received:?}");
        let mut expected =
            vec![("api-version", "2019-08-01"), ("resource", "https://vault.azure.net")];
        expected.extend(parameter.map(|parameter| (parameter, id.as_str())));
        let expected: Vec<_> =
            expected.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(query(received), expected);
        assert!(credential.expires().is_some());
    }
}

#[tokio::test]
async fn app_service_is_asked_at_its_endpoint_with_its_header() {
    let server = TestServer::plain(|_| answer(200, GOOD)).await;
    let identity = Identity::AppService {
        user_assigned: Some(UserAssignedIdentity::ResourceId("/sub/x".to_owned())),
        endpoint: format!("http://{}/msi/token", server.address).parse().unwrap(),
        header: Zeroizing::new("header-secret".to_owned()),
    };
    let credential = credential(identity, &Authority::new(), 1);
    assert!(text(&credential).await.is_ok());
    let received = &server.received()[0];
    assert!(received.text.starts_with("GET /msi/token?api-version=2019-08-01&"), "{received:?}");
    assert!(received.text.contains("\r\nx-identity-header: header-secret\r\n"), "{received:?}");
    assert!(query(received).contains(&("mi_res_id".to_owned(), "/sub/x".to_owned())));
}

#[tokio::test]
async fn refusal_of_managed_identity_has_its_name() {
    let imds_says = |description: &str| {
        format!(r#"{{"error":"invalid_request","error_description":"{description}"}}"#)
    };
    let cases = [
        (400, imds_says("Identity not found"), Outcome::IdentityMissing),
        (
            400,
            imds_says("Multiple user assigned identities exist, please specify the clientId"),
            Outcome::IdentityAmbiguous,
        ),
        (
            400,
            r#"{"statusCode":400,"message":"No User Assigned Identity found"}"#.to_owned(),
            Outcome::IdentityMissing,
        ),
        (400, imds_says("Bad resource"), Outcome::IdentityRequestRejected),
        (400, "<html>".to_owned(), Outcome::AnswerWrong),
        (401, "<html>".to_owned(), Outcome::CredentialRefused),
        (302, String::new(), Outcome::AnswerWrong),
        (200, "<html>".to_owned(), Outcome::AnswerWrong),
    ];
    for (status, body, outcome) in cases {
        let reply = body.clone();
        let server = TestServer::plain(move |_| answer(status, &reply)).await;
        let failed = imds(&server, None).token().await.unwrap_err();
        let Diagnosis { hop, outcome: seen, status: shown, .. } = failed.diagnosis();
        assert_eq!((*hop, *seen, *shown), (Hop::ManagedIdentity, outcome, Some(status)), "{body}");
        assert_eq!(server.received().len(), 1, "{body}");
    }
}

/// The tests of retries use the fetch itself with a deadline of their choice.
async fn fetch(server: &TestServer, deadline: Duration) -> Result<Token, IdentityError> {
    let (_, plain) = clients(&Authority::new());
    let endpoint = format!("http://{}", server.address).parse().unwrap();
    let imds = ManagedIdentity::imds(transport(plain), &endpoint, None, "vault.azure.net").unwrap();
    imds.fetch(Instant::now() + deadline).await
}

#[tokio::test]
async fn what_passes_at_imds_is_tried_again() {
    for status in [404, 410, 429, 500, 503] {
        let server = TestServer::plain(move |received| match (received.connection, received.nth) {
            (1, 1) => answer(status, "{}"),
            _ => answer(200, GOOD),
        })
        .await;
        let token = fetch(&server, Duration::from_secs(60)).await.unwrap();
        assert_eq!(token.text(), "ey.J0.token", "{status}");
        assert_eq!(server.received().len(), 2, "{status}");
    }
}

#[tokio::test]
async fn last_refusal_stands_when_another_try_would_come_too_late() {
    let throttled = "HTTP/1.1 429 X\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
    let server = TestServer::plain(|_| Reply::Answer(throttled.to_owned())).await;
    let failed = fetch(&server, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(failed.diagnosis().outcome, Outcome::Throttled);
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(server.received().len(), 1);
}

#[tokio::test]
async fn imds_that_is_silent_or_absent_is_named_as_such() {
    let server = TestServer::plain(|_| Reply::Hang).await;
    let failed = fetch(&server, Duration::from_millis(30)).await.unwrap_err();
    let Diagnosis { hop, outcome, .. } = failed.diagnosis();
    assert_eq!((*hop, *outcome), (Hop::ManagedIdentity, Outcome::TimedOut));

    let (_, plain) = clients(&Authority::new());
    let endpoint = "http://127.0.0.1:1".parse().unwrap();
    let imds = ManagedIdentity::imds(transport(plain), &endpoint, None, "vault.azure.net").unwrap();
    let failed = imds.fetch(Instant::now() + TOKEN_DEADLINE).await.err().unwrap();
    let Diagnosis { hop, outcome, .. } = failed.diagnosis();
    assert_eq!((*hop, *outcome), (Hop::ManagedIdentity, Outcome::NotConnected));
    assert!(failed.diagnosis().remedy().contains("imds_endpoint"));
}

/// As Entra answers; `expires_on` is managed identity's alone.
const GRANTED: &str = r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"ey.J0.token"}"#;

fn client_secret() -> Identity {
    Identity::ClientSecret {
        tenant_id: TENANT.to_owned(),
        client_id: "app".to_owned(),
        client_secret: Zeroizing::new("s&cret=~1".to_owned()),
    }
}

fn form(received: &Received) -> Vec<(String, String)> {
    let (_, body) = received.text.split_once("\r\n\r\n").unwrap();
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

fn field(received: &Received, name: &str) -> Option<String> {
    form(received).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[tokio::test]
async fn client_secret_goes_to_the_tenant_at_the_given_authority_for_our_scope_alone() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| answer(200, GRANTED)).await;
    let credential = credential(client_secret(), &authority, server.address.port());
    assert!(text(&credential).await.is_ok());
    let received = &server.received()[0];
    let target = format!("POST /{TENANT}/oauth2/v2.0/token HTTP/1.1\r\n");
    assert!(received.text.starts_with(&target), "{received:?}");
    for (name, value) in [
        ("client_id", "app"),
        ("client_secret", "s&cret=~1"),
        ("grant_type", "client_credentials"),
        ("scope", SCOPE),
    ] {
        assert_eq!(field(received, name).as_deref(), Some(value));
    }
}

fn application(authority: &Authority, server: &TestServer, proof: Proof) -> Application {
    let login = format!("https://login.test:{}", server.address.port()).parse().unwrap();
    let (https, _) = clients(authority);
    let registration = Registration { tenant_id: TENANT.to_owned(), client_id: "app".to_owned() };
    Application::new(transport(https), &login, registration, SCOPE.to_owned(), proof).unwrap()
}

fn secret() -> Proof {
    Proof::Secret(Zeroizing::new("s&cret".to_owned()))
}

#[tokio::test]
async fn each_fetch_asks_entra_anew_and_the_token_is_good_as_long_as_entra_says() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |received| {
        let nth = received.nth;
        answer(200, &GRANTED.replace("ey.J0", &format!("nth-{nth}")))
    })
    .await;
    let certificate = Proof::Certificate(CertificateSigner::new(rsa_certificate()).unwrap());
    for proof in [secret(), certificate] {
        let app = application(&authority, &server, proof);
        for text in ["nth-1.token", "nth-2.token"] {
            let token = app.fetch(Instant::now() + TOKEN_DEADLINE).await.unwrap();
            assert_eq!(token.text(), text);
            let remaining = token.expires() - Instant::now();
            assert!((3590..=3599).contains(&remaining.as_secs()), "{remaining:?}");
        }
    }
}

#[tokio::test]
async fn answer_that_the_library_would_misread_or_panic_over_is_a_wrong_answer() {
    for body in [
        r#"{"access_token":"ey.J0"}"#,
        r#"{"access_token":"ey.J0","expires_on":"99999999999"}"#,
        r#"{"access_token":"ey.J0","expires_in":"3599"}"#,
        r#"{"access_token":"ey.J0","expires_in":-1}"#,
        r#"{"access_token":"ey.J0","expires_in":9223372036854775807}"#,
        r#"{"access_token":"ey.J0","expires_in":3599,"ext_expires_in":"ey.J0"}"#,
        r#"{"access_token":"","expires_in":3599}"#,
        r#"{"access_token":"ey.J0\r\n","expires_in":3599}"#,
        r#"{"access_token":["ey.J0"],"expires_in":3599}"#,
        r#"{"expires_in":3599}"#,
        "",
    ] {
        let authority = Authority::new();
        let server = TestServer::tls(&authority, "login.test", |_| answer(200, body)).await;
        let app = application(&authority, &server, secret());
        let failed = app.fetch(Instant::now() + TOKEN_DEADLINE).await.err().unwrap();
        assert_eq!(failed.diagnosis().outcome, Outcome::AnswerWrong, "{body}");
        assert!(!format!("{failed:?} {:?}", failed.cause()).contains("ey.J0"), "{body}");
        assert_eq!(server.received().len(), 1, "{body}");
    }
}

#[tokio::test]
async fn entra_is_tried_again_as_we_decide_and_not_as_the_library_does() {
    let authority = Authority::new();
    let throttled = "HTTP/1.1 429 X\r\nretry-after: 3600\r\ncontent-length: 0\r\n\r\n";
    let server = TestServer::tls(&authority, "login.test", |received| {
        match (received.connection, received.nth) {
            (1, 1) => answer(503, "{}"),
            _ => Reply::Answer(throttled.to_owned()),
        }
    })
    .await;
    let app = application(&authority, &server, secret());
    let failed = app.fetch(Instant::now() + Duration::from_secs(60)).await.err().unwrap();
    let Diagnosis { outcome, status, .. } = failed.diagnosis();
    assert_eq!((*outcome, *status), (Outcome::Throttled, Some(429)));
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(3600)));
    assert_eq!(server.received().len(), 2);
}

#[tokio::test]
async fn entra_that_is_silent_is_given_up_at_the_deadline() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| Reply::Hang).await;
    let app = application(&authority, &server, secret());
    let failed = app.fetch(Instant::now() + Duration::from_millis(300)).await.err().unwrap();
    let Diagnosis { hop, outcome, host, .. } = failed.diagnosis();
    let seen = (*hop, *outcome, host.as_str());
    assert_eq!(seen, (Hop::Entra, Outcome::TimedOut, "login.test"));
}

#[tokio::test]
async fn federated_token_is_read_again_each_time_and_its_absence_has_its_name() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| answer(200, GRANTED)).await;
    let directory = tempfile::tempdir().unwrap();
    let token_file = directory.path().join("token");
    let app = application(&authority, &server, Proof::TokenFile(token_file.clone()));
    let deadline = || Instant::now() + TOKEN_DEADLINE;

    for empty in [false, true] {
        let failed = app.fetch(deadline()).await.err().unwrap();
        assert_eq!(failed.diagnosis().outcome, Outcome::TokenFileUnreadable);
        assert!(failed.cause().is_some(), "{empty}");
        std::fs::write(&token_file, "\n").unwrap();
    }
    for token in ["first", "second\n"] {
        std::fs::write(&token_file, token).unwrap();
        app.fetch(deadline()).await.unwrap();
        let received = server.received();
        let last = received.last().unwrap();
        assert_eq!(field(last, "client_assertion").as_deref(), Some(token.trim()));
        assert_eq!(
            field(last, "client_assertion_type").as_deref(),
            Some("urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        );
    }
}

#[tokio::test]
async fn refusal_of_entra_has_its_name_code_and_trace() {
    let trace = "0d7b6d2a-1111-2222-3333-444444444444";
    let says = |error: &str, code: &str| {
        format!(
            r#"{{"error":"{error}","error_description":"{code}: Secret things.\r\nTrace","trace_id":"{trace}"}}"#
        )
    };
    let cases = [
        (401, says("invalid_client", "AADSTS7000215"), Outcome::CredentialRefused, "AADSTS7000215"),
        (401, says("invalid_client", "AADSTS7000222"), Outcome::CredentialRefused, "AADSTS7000222"),
        (400, says("invalid_request", "AADSTS90002"), Outcome::WrongTenant, "AADSTS90002"),
        (400, says("unauthorized_client", "AADSTS700016"), Outcome::WrongTenant, "AADSTS700016"),
        (400, says("invalid_grant", "no code"), Outcome::CredentialRefused, "invalid_grant"),
    ];
    for (status, body, outcome, code) in cases {
        let authority = Authority::new();
        let server =
            TestServer::tls(&authority, "login.test", move |_| answer(status, &body)).await;
        let credential = credential(client_secret(), &authority, server.address.port());
        let failed = credential.token().await.unwrap_err();
        let expected = Diagnosis {
            hop: Hop::Entra,
            outcome,
            host: "login.test".to_owned(),
            status: Some(status),
            code: Some(code.to_owned()),
            request_id: Some(trace.to_owned()),
        };
        assert_eq!(failed.diagnosis(), &expected);
        let refused = credential.get_token(&[SCOPE], None).await.unwrap_err();
        assert_eq!(
            IdentityError::within(&refused).map(|one| one.diagnosis().outcome),
            Some(outcome)
        );
        let found = std::iter::successors(Error::source(&refused), |cause| (**cause).source());
        assert!(found.into_iter().any(|cause| cause.downcast_ref() == Some(&expected)));
        assert!(!format!("{refused} {refused:?} {failed:?}").contains("Secret things"));
    }
}

#[tokio::test]
async fn html_from_a_proxy_instead_of_entra_is_a_wrong_answer() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| answer(400, "<html>")).await;
    let credential = credential(client_secret(), &authority, server.address.port());
    assert_eq!(text(&credential).await, Err(Outcome::AnswerWrong));
}

#[tokio::test]
async fn each_step_before_entra_has_its_own_hop() {
    let stranger = Authority::new();
    let server = TestServer::tls(&stranger, "login.test", |_| answer(200, GRANTED)).await;
    let untrusted = credential(client_secret(), &Authority::new(), server.address.port());
    let diagnosis = untrusted.token().await.unwrap_err();
    let Diagnosis { hop, outcome, host, .. } = diagnosis.diagnosis();
    assert_eq!((*hop, *outcome, host.as_str()), (Hop::Tls, Outcome::TlsFailed, "login.test"));
    assert!(diagnosis.cause().is_some_and(|cause| cause.is::<HttpError>()));
    let absent = credential(client_secret(), &Authority::new(), 1).token().await.unwrap_err();
    assert_eq!(absent.diagnosis().hop, Hop::Tcp);
    assert_eq!(absent.diagnosis().outcome, Outcome::NotConnected);
}

fn rsa_certificate() -> ClientCertificate {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let params = rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap();
    let chain = vec![params.self_signed(&key).unwrap().der().clone()];
    ClientCertificate { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
}

#[tokio::test]
async fn certificate_signs_an_assertion_that_its_public_key_verifies() {
    use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    let certificate = rsa_certificate();
    let leaf = certificate.chain[0].clone();
    let key = rcgen::KeyPair::try_from(&certificate.key).unwrap();
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| answer(200, GRANTED)).await;
    let port = server.address.port();
    let identity = Identity::ClientCertificate {
        tenant_id: TENANT.to_owned(),
        client_id: "app".to_owned(),
        certificate,
    };
    text(&credential(identity, &authority, port)).await.unwrap();
    let assertion = field(&server.received()[0], "client_assertion").unwrap();
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let json = |text: &str| serde_json::from_slice::<serde_json::Value>(&decode(text)).unwrap();

    let public =
        UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, rcgen::PublicKeyData::der_bytes(&key));
    public.verify(signed.as_bytes(), &decode(signature)).unwrap();
    let (header, claims) = (json(header), json(claims));
    assert_eq!(header["alg"], "PS256");
    assert_eq!(header["x5t#S256"], URL_SAFE_NO_PAD.encode(selkie_crypto::sha256(&leaf)));
    assert_eq!(header["x5c"][0], STANDARD.encode(&leaf));
    assert_eq!(claims["aud"], format!("https://login.test:{port}/{TENANT}/oauth2/v2.0/token"));
    assert_eq!((&claims["iss"], &claims["sub"]), (&"app".into(), &"app".into()));
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["nbf"].as_u64().unwrap(), 600);
}

#[test]
fn certificate_of_another_key_or_of_another_kind_of_key_is_refused() {
    let (one, other) = (rsa_certificate(), rsa_certificate());
    let mixed = ClientCertificate { chain: one.chain, key: other.key };
    let mixed = CertificateSigner::new(mixed).err();
    assert!(matches!(mixed, Some(IdentitySetupError::OtherCertificate)), "{mixed:?}");
    let key = rcgen::KeyPair::generate().unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let elliptic = CertificateSigner::new(ClientCertificate { chain: other.chain, key }).err();
    assert!(matches!(elliptic, Some(IdentitySetupError::NotRsa)), "{elliptic:?}");
}

#[test]
fn credential_that_cannot_work_is_refused_when_it_is_made() {
    let authority = Authority::new();
    let make = |identity, login: &str| {
        let (https, plain) = clients(&authority);
        Credential::new(identity, "vault.azure.net", &login.parse().unwrap(), https, plain).err()
    };
    let secret = |tenant: &str, client: &str| Identity::ClientSecret {
        tenant_id: tenant.to_owned(),
        client_id: client.to_owned(),
        client_secret: Zeroizing::new("x".to_owned()),
    };
    let managed = |url: &str| Identity::ManagedIdentity {
        user_assigned: None,
        endpoint: url.parse().unwrap(),
    };
    let login = "https://login.test";
    use IdentitySetupError::{Incomplete, UnfitAuthority, UnfitEndpoint, UnfitTenant};
    for unfit in [
        "http://login.test",
        "https://login.test/path",
        "https://login.test/?query",
        "https://user@login.test",
    ] {
        assert!(matches!(make(client_secret(), unfit), Some(UnfitAuthority)), "{unfit}");
    }
    assert!(make(client_secret(), login).is_none());
    for tenant in ["", "..", "a/b", "a?b", "%2e"] {
        assert!(matches!(make(secret(tenant, "app"), login), Some(UnfitTenant)), "{tenant}");
    }
    assert!(matches!(make(secret(TENANT, ""), login), Some(Incomplete)));
    assert!(matches!(make(managed("https://169.254.169.254"), login), Some(UnfitEndpoint)));
    assert!(make(managed("http://169.254.169.254"), login).is_none());
}

#[tokio::test]
async fn nothing_secret_is_printed() {
    let authority = Authority::new();
    let server = TestServer::tls(&authority, "login.test", |_| answer(200, GRANTED)).await;
    let identity = client_secret();
    let mut printed = format!("{identity:?}");
    let credential = credential(identity, &authority, server.address.port());
    let token = credential.token().await.unwrap();
    let given = credential.get_token(&[SCOPE], None).await.unwrap();
    printed += &format!("{credential:?} {token:?} {given:?}");
    assert!(!printed.contains("ey.J0") && !printed.contains("s&cret"), "{printed}");
    assert!(printed.contains("client secret"), "{printed}");
}

/// Runs tests of this file again in a process with these variables.
fn pass_with(variables: &[(&str, &str)], tests: &[&str]) {
    let run = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--exact")
        .args(tests.iter().map(|test| format!("azure::identity::tests::{test}")))
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    let passed = format!("{} passed", tests.len());
    assert!(run.status.success() && output.contains(&passed), "{variables:?}: {output}");
}

/// Every variable that redirects Azure's own libraries is set to an address where nobody listens.
#[test]
fn environment_redirects_nothing() {
    let nowhere = "http://127.0.0.1:1";
    pass_with(
        &[
            ("IDENTITY_ENDPOINT", nowhere),
            ("IMDS_ENDPOINT", nowhere),
            ("MSI_ENDPOINT", nowhere),
            ("AZURE_POD_IDENTITY_AUTHORITY_HOST", nowhere),
            ("AZURE_AUTHORITY_HOST", nowhere),
            ("HTTP_PROXY", nowhere),
            ("http_proxy", nowhere),
            ("HTTPS_PROXY", nowhere),
            ("https_proxy", nowhere),
            ("ALL_PROXY", nowhere),
            ("IDENTITY_HEADER", "stray"),
            ("AZURE_TENANT_ID", "stray"),
            ("AZURE_CLIENT_ID", "stray"),
            ("AZURE_FEDERATED_TOKEN_FILE", "stray"),
        ],
        &[
            "imds_is_asked_as_documented_for_each_kind_of_identity",
            "client_secret_goes_to_the_tenant_at_the_given_authority_for_our_scope_alone",
        ],
    );
}

/// The library takes this variable for the authority of every flow unless it is told another one.
#[test]
fn authority_is_the_configured_one_whatever_azure_authority_host_says() {
    for host in ["https://127.0.0.1:1", "https://login.microsoftonline.us", "no URL"] {
        pass_with(
            &[("AZURE_AUTHORITY_HOST", host)],
            &[
                "client_secret_goes_to_the_tenant_at_the_given_authority_for_our_scope_alone",
                "federated_token_is_read_again_each_time_and_its_absence_has_its_name",
                "certificate_signs_an_assertion_that_its_public_key_verifies",
            ],
        );
    }
}
