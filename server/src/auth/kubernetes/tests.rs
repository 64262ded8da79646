mod served;

use std::path::Path;
use std::sync::Arc;

use selkie_config::{DeclaredMethod, KubernetesConfig};
use serde_json::{Value, json};

use super::*;
use crate::auth::configured::tests::{Bench, refusal};
use crate::auth::jwt::Algorithm;
use crate::auth::jwt::tests::signer::{NOW, Signer};
use crate::auth::jwt::tests::world::{Answer, World};

const HOST: &str = "https://kubernetes.example:6443";
const REVIEW: &str = "https://kubernetes.example:6443/apis/authentication.k8s.io/v1/tokenreviews";
const KEYS: &str = "https://kubernetes.example:6443/openid/v1/jwks";

fn token(more: &Value) -> String {
    let mut claims = json!({
        "iss": "https://kubernetes.default.svc", "aud": ["selkie"], "iat": NOW, "nbf": NOW,
        "exp": NOW + 3600, "sub": "system:serviceaccount:vault:unsealer",
        "kubernetes.io": {
            "namespace": "vault", "pod": { "name": "p", "uid": "pu" },
            "serviceaccount": { "name": "unsealer", "uid": "u-1" },
        },
    });
    for (claim, value) in more.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    SIGNER.with(|signer| signer.sign(&claims))
}

/// A token that lies in a secret, as Kubernetes makes it to this day: it has no time and no audience.
fn legacy(more: &Value) -> String {
    let mut claims = json!({
        "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:vault:unsealer",
        "kubernetes.io/serviceaccount/namespace": "vault",
        "kubernetes.io/serviceaccount/service-account.name": "unsealer",
        "kubernetes.io/serviceaccount/service-account.uid": "u-1",
        "kubernetes.io/serviceaccount/secret.name": "unsealer-token-x",
    });
    for (claim, value) in more.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    SIGNER.with(|signer| signer.sign(&claims))
}

thread_local! {
    static SIGNER: Signer = Signer::new("k", Algorithm::ES256);
}

fn vouches(world: &World) {
    world.answers(REVIEW, review(true, "system:serviceaccount:vault:unsealer", "u-1", &["selkie"]));
}

fn review(authenticated: bool, username: &str, uid: &str, audiences: &[&str]) -> String {
    json!({
        "kind": "TokenReview", "status": {
            "authenticated": authenticated, "audiences": audiences,
            "user": { "username": username, "uid": uid, "groups": ["system:serviceaccounts"] },
        },
    })
    .to_string()
}

async fn bench(world: &World, pod: &Path, config: Value) -> Bench<Kubernetes> {
    let sources = KeySources::new(Arc::new(world.clone()));
    let way = Kubernetes::in_pod(sources, Pod::at(pod.to_owned()));
    let nothing = DeclaredMethod::Kubernetes(KubernetesConfig::default(), Vec::new());
    let bench = Bench::managed(way, nothing).await;
    bench.write("config", config).await.unwrap();
    let role = json!({
        "bound_service_account_names": "unseal*", "bound_service_account_namespaces": ["vault"],
        "audience": "selkie", "token_policies": ["seal"],
    });
    assert_eq!(bench.write("role/seal", role).await, Ok(vec![]));
    bench
}

async fn log_in(bench: &Bench<Kubernetes>, jwt: &str) -> Result<Login, (AnswerKind, String)> {
    bench.log_in(json!({ "role": "seal", "jwt": jwt })).await
}

fn denied() -> Result<Login, (AnswerKind, String)> {
    refusal(AnswerKind::Forbidden, "permission denied")
}

#[tokio::test]
async fn an_account_that_the_api_server_vouches_for_logs_in() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    vouches(&world);
    let config = json!({ "kubernetes_host": HOST, "token_reviewer_jwt": "reviewer" });
    let bench = bench(&world, nowhere.path(), config).await;
    let jwt = token(&json!({}));
    let login = log_in(&bench, &jwt).await.unwrap();
    assert_eq!((login.alias.as_str(), login.display_name.as_str()), ("u-1", "vault-unsealer"));
    assert_eq!(
        json!(login.metadata),
        json!({
            "role": "seal", "service_account_name": "unsealer", "service_account_uid": "u-1",
            "service_account_namespace": "vault", "service_account_secret_name": "",
        })
    );
    let asked = world.asked().remove(0);
    assert_eq!(asked.authorization, "Bearer reviewer");
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["spec"], json!({ "token": jwt, "audiences": ["selkie"] }));
    let shown = bench.read("config").await;
    assert_eq!(shown["token_reviewer_jwt_set"], true);
    assert!(!shown.to_string().contains("\"reviewer\""), "{shown}");
}

#[tokio::test]
async fn whom_the_api_server_does_not_vouch_for_is_refused() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    let config = json!({ "kubernetes_host": HOST, "token_reviewer_jwt": "reviewer" });
    let bench = bench(&world, nowhere.path(), config).await;
    let jwt = token(&json!({}));
    let account = "system:serviceaccount:vault:unsealer";
    for (username, authenticated, uid, audiences) in [
        (account, false, "u-1", &["selkie"][..]),
        (account, true, "u-2", &["selkie"]),
        ("system:serviceaccount:vault:other", true, "u-1", &["selkie"]),
        ("system:serviceaccount:other:unsealer", true, "u-1", &["selkie"]),
        ("admin", true, "u-1", &["selkie"]),
        (account, true, "u-1", &[]),
        (account, true, "u-1", &["other"]),
    ] {
        world.answers(REVIEW, review(authenticated, username, uid, audiences));
        assert_eq!(log_in(&bench, &jwt).await, denied(), "{username} {uid} {audiences:?}");
    }
    world.answers(REVIEW, json!({ "status": { "error": "expired" } }).to_string());
    assert_eq!(log_in(&bench, &jwt).await, denied());
}

#[tokio::test]
async fn an_api_server_that_fails_is_503_and_no_verdict() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    let config = json!({ "kubernetes_host": HOST, "token_reviewer_jwt": "reviewer" });
    let bench = bench(&world, nowhere.path(), config).await;
    for answer in [
        Answer::Away,
        Answer::Body(500, "{}".into()),
        Answer::Body(403, "{}".into()),
        Answer::Body(401, "{}".into()),
        Answer::Body(200, "<html>".into()),
        Answer::Body(302, String::new()),
    ] {
        world.set(REVIEW, answer.clone());
        let (kind, _) = log_in(&bench, &token(&json!({}))).await.unwrap_err();
        assert_eq!(kind, AnswerKind::Unavailable, "{answer:?}");
    }
    tokio::time::pause();
    world.set(REVIEW, Answer::Never);
    let (kind, _) = log_in(&bench, &token(&json!({}))).await.unwrap_err();
    assert_eq!(kind, AnswerKind::Unavailable);
}

#[tokio::test]
async fn a_token_that_does_not_suit_the_role_never_reaches_the_api_server() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    vouches(&world);
    let bench = bench(&world, nowhere.path(), json!({ "kubernetes_host": HOST })).await;
    let account = |namespace: &str, name: &str| {
        token(&json!({ "kubernetes.io": {
            "namespace": namespace, "serviceaccount": { "name": name, "uid": "u-1" },
        } }))
    };
    let forbidden = |text| refusal(AnswerKind::Forbidden, text);
    let other = log_in(&bench, &account("vault", "other")).await;
    assert_eq!(other, forbidden("service account name not authorized"));
    let elsewhere = log_in(&bench, &account("vault-2", "unsealer")).await;
    assert_eq!(elsewhere, forbidden("namespace not authorized"));
    for more in [
        json!({ "aud": ["other"] }),
        json!({ "exp": NOW - 61 }),
        json!({ "kubernetes.io": {} }),
        json!({ "kubernetes.io": { "namespace": "vault", "serviceaccount": { "name": "unsealer" } } }),
    ] {
        assert_eq!(log_in(&bench, &token(&more)).await, denied(), "{more}");
    }
    assert_eq!(log_in(&bench, "x").await, denied());
    assert_eq!(log_in(&bench, "").await, refusal(AnswerKind::BadRequest, "missing jwt"));
    let unknown = bench.log_in(json!({ "role": "x", "jwt": "x" })).await;
    assert_eq!(unknown, refusal(AnswerKind::BadRequest, "invalid role name \"x\""));
    assert_eq!(world.asked(), []);
}

#[tokio::test]
async fn the_pods_own_token_and_ca_are_read_again_for_every_question() {
    let (world, pod) = (World::default(), tempfile::tempdir().unwrap());
    vouches(&world);
    let bench = bench(&world, pod.path(), json!({ "kubernetes_host": HOST })).await;
    let jwt = token(&json!({}));
    let bearer = async || {
        log_in(&bench, &jwt).await.unwrap();
        world.asked().pop().unwrap().authorization
    };
    assert_eq!(bearer().await, format!("Bearer {jwt}"), "outside a pod the client's own");
    std::fs::write(pod.path().join("token"), "first\n").unwrap();
    std::fs::write(pod.path().join("ca.crt"), "CA 1").unwrap();
    assert_eq!(bearer().await, "Bearer first");
    std::fs::write(pod.path().join("token"), "second").unwrap();
    std::fs::write(pod.path().join("ca.crt"), "CA 2").unwrap();
    assert_eq!(bearer().await, "Bearer second");
    assert_eq!(bearer().await, "Bearer second");
    assert_eq!(world.trusted(), ["", "CA 1", "CA 2"]);
    let config = json!({ "kubernetes_host": HOST, "disable_local_ca_jwt": true });
    bench.write("config", config).await.unwrap();
    assert_eq!(bearer().await, format!("Bearer {jwt}"));
    world.set(REVIEW, Answer::Body(403, "{}".into()));
    assert_eq!(log_in(&bench, &jwt).await, denied(), "its account may not create TokenReviews");
}

#[tokio::test]
async fn without_an_api_server_the_clusters_keys_and_issuer_decide() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    SIGNER.with(|signer| world.answers(KEYS, Signer::set(&[signer])));
    let config = json!({ "jwks_url": KEYS, "issuer": "https://kubernetes.default.svc" });
    let bench = bench(&world, nowhere.path(), config.clone()).await;
    assert!(log_in(&bench, &token(&json!({}))).await.is_ok());
    assert_eq!(log_in(&bench, &token(&json!({ "iss": "https://other" }))).await, denied());
    assert_eq!(log_in(&bench, &token(&json!({ "aud": ["other"] }))).await, denied());
    let forged = Signer::new("k", Algorithm::ES256).sign(&json!({ "exp": NOW + 1 }));
    assert_eq!(log_in(&bench, &forged).await, denied());
    assert_eq!(world.count(REVIEW), 0);
    assert_eq!(log_in(&bench, &legacy(&json!({ "aud": "selkie" }))).await, denied());
    let by_name = json!({ "alias_name_source": "serviceaccount_name", "audience": "" });
    let warnings = bench.write("role/seal", by_name).await.unwrap();
    assert!(warnings[0].contains("audience"), "{warnings:?}");
    let (kind, text) = log_in(&bench, &token(&json!({}))).await.unwrap_err();
    assert_eq!((kind, text.contains("'audience'")), (AnswerKind::BadRequest, true), "{text}");
}

#[tokio::test]
async fn a_token_of_a_secret_which_never_ends_logs_in_where_the_api_server_vouches_for_it() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    world.answers(REVIEW, review(true, "system:serviceaccount:vault:unsealer", "u-1", &[]));
    let config = json!({ "kubernetes_host": HOST });
    let bench = bench(&world, nowhere.path(), config).await;
    bench.write("role/seal", json!({ "audience": "" })).await.unwrap();
    let pem = SIGNER.with(Signer::pem);
    let with_keys = json!({ "kubernetes_host": HOST, "pem_keys": [pem] });
    for config in [json!({ "kubernetes_host": HOST }), with_keys] {
        bench.write("config", config).await.unwrap();
        let login = log_in(&bench, &legacy(&json!({}))).await.unwrap();
        assert_eq!(login.metadata["service_account_secret_name"], "unsealer-token-x");
        let ended = legacy(&json!({ "exp": NOW - 61 }));
        assert_eq!(log_in(&bench, &ended).await, denied());
    }
    assert_eq!(world.count(REVIEW), 2);
    world.answers(REVIEW, review(false, "", "", &[]));
    assert_eq!(log_in(&bench, &legacy(&json!({}))).await, denied(), "its secret was deleted");
}

#[tokio::test]
async fn keys_are_checked_beside_the_api_server_where_they_are_given() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    vouches(&world);
    let pem = Signer::new("other", Algorithm::ES256).pem();
    let config = json!({ "kubernetes_host": HOST, "pem_keys": [pem] });
    let bench = bench(&world, nowhere.path(), config).await;
    assert_eq!(log_in(&bench, &token(&json!({}))).await, denied());
    assert_eq!(world.count(REVIEW), 0);
    let pem = SIGNER.with(Signer::pem);
    let config = json!({ "kubernetes_host": HOST, "pem_keys": [pem] });
    bench.write("config", config).await.unwrap();
    assert!(log_in(&bench, &token(&json!({}))).await.is_ok());
    assert_eq!(world.count(REVIEW), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    let bench = bench(&world, nowhere.path(), json!({ "kubernetes_host": HOST })).await;
    for config in [
        json!({}),
        json!({ "kubernetes_host": "http://kubernetes.example" }),
        json!({ "kubernetes_host": HOST, "pem_keys": ["x"] }),
        json!({ "jwks_url": KEYS }),
        json!({ "jwks_url": KEYS, "pem_keys": ["x"], "issuer": "i" }),
    ] {
        assert!(bench.write("config", config.clone()).await.is_err(), "{config}");
    }
    let names = |names: &[&str], namespaces: &[&str]| {
        json!({
            "bound_service_account_names": names, "bound_service_account_namespaces": namespaces,
        })
    };
    for role in [
        names(&[], &["a"]),
        names(&["a"], &[]),
        names(&["*", "a"], &["a"]),
        names(&["*"], &["*"]),
        json!({ "bound_service_account_namespace_selector": "{}" }),
        json!({ "alias_name_source": "name" }),
    ] {
        assert!(bench.write("role/seal", role.clone()).await.is_err(), "{role}");
    }
    let elsewhere = names(&["*"], &["a"]);
    assert!(bench.write("role/seal", elsewhere).await.is_ok());
}

#[tokio::test]
async fn a_url_of_keys_that_nobody_can_ask_lets_nobody_in() {
    let (world, nowhere) = (World::default(), tempfile::tempdir().unwrap());
    let config = json!({ "jwks_url": "https://user@kubernetes.example/keys",
        "issuer": "https://kubernetes.default.svc" });
    let bench = bench(&world, nowhere.path(), config).await;
    let forged = log_in(&bench, &token(&json!({}))).await;
    assert_eq!(forged, refusal(AnswerKind::BadRequest, "could not load backend configuration"));
}
