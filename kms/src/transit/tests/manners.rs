//! How the client speaks: headers, bodies, redirects, tokens.

use std::fs::File;
use std::time::{Duration, SystemTime};

use super::*;

#[tokio::test]
async fn requests_are_those_of_vaults_own_client() {
    let server = TestServer::plain(|request| match () {
        () if is_for(request, "/encrypt/") => {
            answer(200, r#"{"data":{"ciphertext":"vault:v1:x"}}"#)
        }
        () if is_for(request, "/decrypt/") => answer(200, r#"{"data":{"plaintext":"YQ=="}}"#),
        () => answer(200, r#"{"data":{"latest_version":2}}"#),
    })
    .await;
    let client = client_of(&server);
    assert_eq!(client.encrypt(&key(), None, b"a").await.unwrap(), "vault:v1:x");
    let plaintext = client.decrypt(&key(), "vault:v1:x", b"", b"aad").await.unwrap();
    assert_eq!(plaintext.expose_for_reply(), b"a");
    assert_eq!(client.read_key(&key()).await.unwrap().latest.get(), 2);
    let seen: Vec<String> = server.received().into_iter().map(|one| one.text).collect();
    for (text, (line, body)) in seen.iter().zip([
        ("PUT /v1/a/b/encrypt/unseal HTTP/1.1", r#"{"plaintext":"YQ=="}"#),
        (
            "PUT /v1/a/b/decrypt/unseal HTTP/1.1",
            r#"{"ciphertext":"vault:v1:x","associated_data":"YWFk"}"#,
        ),
        ("GET /v1/a/b/keys/unseal HTTP/1.1", ""),
    ]) {
        assert_eq!(text.lines().next(), Some(line));
        assert_eq!(text.split("\r\n\r\n").nth(1), Some(body));
        let head = text.to_ascii_lowercase();
        for header in
            ["x-vault-request: true", "x-vault-namespace: ns/", "x-vault-token: hvs.token"]
        {
            assert!(head.contains(&format!("\r\n{header}\r\n")), "{header}: {text}");
        }
    }
    assert_eq!(seen.len(), 3, "the token was to be left alone");
}

#[tokio::test]
async fn redirect_to_the_active_node_is_followed_once() {
    let active = TestServer::plain(|_| answer(200, r#"{"data":{"plaintext":"YQ=="}}"#)).await;
    let target = active.address.to_string();
    let standby = TestServer::plain(move |request| {
        let path = request.text.split(' ').nth(1).unwrap().to_owned();
        redirect(307, &format!("http://{target}{path}"))
    })
    .await;
    let client = client_of(&standby);
    client.decrypt(&key(), "vault:v1:x", b"", b"").await.unwrap();
    let seen = active.received();
    assert!(seen[0].text.contains("hvs.token") && seen[0].text.contains("vault:v1:x"));

    let there = standby.address.to_string();
    let other = TestServer::plain(move |request| {
        let path = request.text.split(' ').nth(1).unwrap().to_owned();
        redirect(307, &format!("http://{there}{path}"))
    })
    .await;
    let refused = client_of(&other).decrypt(&key(), "vault:v1:x", b"", b"").await;
    assert_eq!(outcome(refused), (TransitHop::Decrypt, TransitOutcome::RedirectRefused));
    assert_eq!(active.received().len(), 1, "a second redirect is not followed");
}

#[tokio::test]
async fn a_token_that_its_agent_has_replaced_is_used_at_once() {
    let server = TestServer::plain(|request| match request.text.contains("hvs.new") {
        true => answer(200, r#"{"data":{"plaintext":"YQ=="}}"#),
        false => answer(403, r#"{"errors":["permission denied"]}"#),
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let path = token_file(&dir, "hvs.old\n");
    let mut settings = to(&format!("http://{}", server.address));
    settings.token = TokenSource::File(path.clone());
    let client = client(settings);
    let refused = client.decrypt(&key(), "vault:v1:x", b"", b"").await;
    assert_eq!(outcome(refused), (TransitHop::Decrypt, TransitOutcome::TokenRefused));
    assert_eq!(server.received().len(), 1, "nothing is gained by the same token");
    std::fs::write(&path, "hvs.new\n").unwrap();
    let later = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
    File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    client.decrypt(&key(), "vault:v1:x", b"", b"").await.unwrap();
}

#[tokio::test]
async fn without_its_file_no_request_leaves() {
    let server = TestServer::plain(|_| answer(200, "{}")).await;
    let mut settings = to(&format!("http://{}", server.address));
    settings.token = TokenSource::File("/nonexistent/token".into());
    let failed = client(settings).encrypt(&key(), None, b"a").await;
    assert_eq!(outcome(failed), (TransitHop::Token, TransitOutcome::TokenFileUnreadable));
    assert!(server.received().is_empty());
}

#[tokio::test]
async fn the_token_is_renewed_as_soon_as_it_is_used_and_its_end_is_known() {
    let server = TestServer::plain(|request| match is_for(request, "renew-self") {
        true => answer(200, r#"{"auth":{"lease_duration":3600,"renewable":true}}"#),
        false => answer(200, r#"{"data":{"plaintext":"YQ=="}}"#),
    })
    .await;
    let mut settings = to(&format!("http://{}", server.address));
    settings.disable_renewal = false;
    let client = client(settings);
    assert_eq!(client.token_standing(), TokenStanding::default());
    client.decrypt(&key(), "vault:v1:x", b"", b"").await.unwrap();
    while client.token_standing().expires_in.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let standing = client.token_standing();
    let left = standing.expires_in.unwrap();
    assert!(standing.is_renewed && left > Duration::from_secs(3000), "{left:?}");
    client.decrypt(&key(), "vault:v1:x", b"", b"").await.unwrap();
    let renewals = server.received().iter().filter(|one| is_for(one, "renew-self")).count();
    assert_eq!(renewals, 1);
}

#[tokio::test]
async fn an_address_is_tls_or_this_machine() {
    let open = |address: &str| TransitClient::new(to(address), Arc::new(os_random));
    for good in
        ["https://vault.test:8200", "http://127.0.0.1:8200", "http://[::1]", "http://localhost"]
    {
        assert!(open(good).is_ok(), "{good}");
    }
    for bad in
        ["http://vault.test", "http://10.0.0.1:8200", "https://vault.test/path", "ftp://vault.test"]
    {
        assert!(matches!(open(bad), Err(TransitSetupError::UnfitAddress)), "{bad}");
    }
}

#[test]
fn settings_that_differ_have_digests_that_differ() {
    let base = || to("https://vault.test");
    let mut all = vec![base().digest()];
    let mut with = |change: &dyn Fn(&mut TransitSettings)| {
        let mut settings = base();
        change(&mut settings);
        all.push(settings.digest());
    };
    with(&|one| one.namespace = None);
    with(&|one| one.server_name = Some("ns/".to_owned()));
    with(&|one| one.token = TokenSource::Nowhere);
    with(&|one| one.token = TokenSource::Given(Zeroizing::new("other".to_owned())));
    with(&|one| one.token = TokenSource::File("/other".into()));
    with(&|one| one.disable_renewal = false);
    with(&|one| one.client_certificate = Some(("/a".into(), "/b".into())));
    with(&|one| one.ca_certificates = Some(Vec::new()));
    with(&|one| one.proxy = Some("http://proxy".parse().unwrap()));
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(base().digest(), base().digest());
}
