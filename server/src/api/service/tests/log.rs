use selkie_listener::ForwardedFor;

use super::*;
pub(super) use crate::telemetry::captured::Log;

#[tokio::test]
async fn a_token_in_an_unknown_path_is_not_logged() {
    let (log, api) = (Log::start(), Api::start().await);
    for path in ["auth/token/renew/s.secret", "auth/token%2frenew%2fs.secret", "a/b/s.secret"] {
        for token in ["", "s.root"] {
            assert!(api.send(token, "PUT", path, "{}").await.status.is_client_error());
            let text = log.take();
            assert!(text.contains("request refused") && !text.contains("s.secret"), "{text}");
        }
    }
    api.send("s.root", "PUT", "transit/decrypt/unseal", "{}").await;
    assert!(log.take().contains("path=\"/v1/transit/decrypt/unseal\""));
}

#[tokio::test]
async fn the_log_alone_knows_why_a_token_is_refused() {
    let mut config = config();
    for client in config.clients.iter_mut().filter(|client| client.name.as_str() == "vault") {
        client.token_bound_cidrs = vec!["192.0.2.0/24".parse().unwrap()];
    }
    let (log, api) = (Log::start(), Api::start_with(config).await);
    let mut answers = Vec::new();
    for (token, reason) in [
        ("", "reason=\"no token\""),
        ("s.nobody", "reason=\"unknown token\""),
        ("s.vault", "reason=\"the client's token was used from outside its token_bound_cidrs\""),
    ] {
        answers.push(api.send(token, "PUT", "transit/encrypt/unseal", "{}").await);
        let text = log.take();
        assert!(text.contains(reason), "{text}");
        assert_eq!(text.contains("client=\"vault\""), token == "s.vault", "{text}");
    }
    for answer in &answers {
        assert_eq!(answer.text, answers[0].text);
        assert_eq!((answer.status, &answer.headers), (StatusCode::FORBIDDEN, &answers[0].headers));
    }
}

#[tokio::test]
async fn of_a_refused_token_the_log_tells_its_accessor_where_it_is_known_and_what_to_do() {
    let (log, api) = (Log::start(), Api::start().await);
    let wanted = json!({ "policies": ["seal"] });
    let far = json!({ "token_bound_cidrs": "192.0.2.0/24" });
    assert!(api.send("s.root", "PUT", "auth/token/roles/far", far).await.status.is_success());
    for (path, reason) in [("create", "permission denied"), ("create/far", "token_bound_cidrs")] {
        let path = format!("auth/token/{path}");
        let made = api.send("s.root", "PUT", &path, &wanted).await.json();
        let text = made["auth"]["client_token"].as_str().unwrap();
        log.take();
        api.send(text, "PUT", "transit/keys/k", "{}").await;
        let told = log.take();
        let accessor = format!("accessor={}", made["auth"]["accessor"]);
        assert!(told.contains(&accessor) && told.contains(reason), "{accessor}: {told}");
        assert!(!told.contains(text), "{told}");
    }
    api.send("s.nobody", "PUT", "transit/encrypt/unseal", "{}").await;
    let told = log.take();
    let advice = "make a new token (selkie token create, or selkie client add), put it into";
    assert!(told.contains(advice) && !told.contains("accessor="), "{told}");
}

#[tokio::test]
async fn the_log_alone_knows_what_a_denied_client_has_misspelt() {
    let (log, api) = (Log::start(), Api::start().await);
    let mut answers = Vec::new();
    for (path, told) in [
        ("transt/encrypt/unseal", r#"no mount for this path, which begins with \"transt\""#),
        ("transit/encrypt/unsael", r#"no key \"unsael\" in mount \"transit\""#),
        ("transit/decrypt/unsael", r#"no key \"unsael\" in mount \"transit\""#),
        ("transit/rewrap/unseal", "the client's policies do not cover this path"),
        ("sys/metrics", "the client's policies do not cover this path"),
    ] {
        answers.push(api.send("s.vault", "PUT", path, "{}").await);
        let text = log.take();
        assert!(text.contains("advice=") && text.contains(told), "{path}: {text}");
        assert!(text.contains("reason=\"permission denied\""), "{text}");
    }
    for answer in &answers {
        assert_eq!(answer.text, answers[0].text);
        assert_eq!((answer.status, &answer.headers), (StatusCode::FORBIDDEN, &answers[0].headers));
    }
}

#[tokio::test]
async fn the_log_alone_knows_a_ciphertext_of_another_server() {
    let (log, api) = (Log::start(), Api::start().await);
    let ciphertext = |bytes: &[u8]| {
        let text = selkie_crypto::Ciphertext::print(KeyVersion::FIRST, bytes);
        json!({ "ciphertext": text }).to_string()
    };
    let told = "looks like another transit server's";
    let [foreign, cut] = [ciphertext(&[0x8a; 44]), ciphertext(&[b'{'; 44])];
    let theirs = api.send("s.vault", "PUT", "transit/decrypt/unseal", &foreign).await;
    let text = log.take();
    assert!(text.contains("no envelope of Selkie's") && text.contains(told), "{text}");
    let ours = api.send("s.vault", "PUT", "transit/decrypt/unseal", &cut).await;
    let text = log.take();
    assert!(text.contains("not an envelope in its one spelling") && !text.contains(told), "{text}");
    assert_eq!((theirs.status, &theirs.text), (ours.status, &ours.text));
}

#[tokio::test]
async fn a_batch_of_failures_is_one_line() {
    let (log, api) = (Log::start(), Api::start().await);
    let good = api.encrypt("unseal").await;
    let bad = json!({ "ciphertext": "vault:v7:AAAA" });
    let body = json!({ "batch_input": [{ "ciphertext": good }, bad, bad, bad] });
    api.send("s.root", "PUT", "transit/decrypt/unseal", body).await;
    let text = log.take();
    assert_eq!(text.matches("WARN").count(), 1, "{text}");
    for told in ["items=3", "first_item=1", "key=\"unseal\"", "reason=", "advice=", "client="] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[tokio::test]
async fn strangers_do_not_suppress_the_refusals_of_clients() {
    let (log, api) = (Log::start(), Api::start().await);
    for _ in 0..300 {
        api.send("s.nobody", "PUT", "transit/encrypt/unseal", "{}").await;
    }
    log.take();
    api.send("s.vault", "PUT", "transit/keys/k", "{}").await;
    let text = log.take();
    assert!(text.contains("request refused") && text.contains("client=\"vault\""), "{text}");
}

#[tokio::test]
async fn a_refused_forwarded_for_is_logged_with_the_peers_address() {
    let (log, api) = (Log::start(), Api::start().await);
    let mut connection = ConnectionInfo::plain("test", "192.0.2.9:1".parse().unwrap());
    connection.forwarded_for = Some(Arc::new(ForwardedFor {
        authorized: Vec::new(),
        hop_skips: 0,
        reject_not_authorized: true,
        reject_not_present: true,
    }));
    let mut request = Request::builder().uri("/v1/sys/mounts").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Arc::new(connection));
    let reply = api.0.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::BAD_REQUEST);
    let text = log.take();
    assert!(text.contains("address=\"192.0.2.9\""), "{text}");
}
