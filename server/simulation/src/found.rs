//! What seeds found, each as a history of its own.

use std::sync::Arc;
use std::time::Duration;

use selkie_kms::Kms;
use selkie_storage::MemoryStore;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::kms::{self, Cloud, Kind, SimKms};
use crate::life::Life;
use crate::server::{ROOT, Server, Site};
use crate::store::{self, Mood, SimStore};

/// One replica on a store that others share.
struct One {
    server: Server,
    store: Arc<store::Road>,
    kms: Arc<kms::Road>,
}

/// Two replicas of which nothing is wrong, with the policy `use` for the key `k`.
async fn two() -> [One; 2] {
    let (memory, cloud, began) =
        (Arc::new(MemoryStore::new()), Cloud::new("alpha", Kind::Remote), Instant::now());
    let start = async |number: u64| {
        let life = Life::new();
        let kms = kms::Road::new(&cloud, Chance::new(number, "kms"));
        let store = store::Road::new(Arc::clone(&memory), 0, usize::try_from(number).unwrap());
        let site = Site {
            seals: vec![("alpha", SimKms::new(&kms, &life) as Arc<dyn Kms>, false)],
            generation: 0,
            store: SimStore::new(&store, &life),
            clock: Arc::new(SimClock::new(began, 0)),
            chance: Chance::new(number, "server"),
            life,
        };
        One { server: Server::start(site).await, store, kms }
    };
    let both = [start(1).await, start(2).await];
    both[0].did("transit/keys/k", json!({})).await;
    let policy = r#"path "transit/*" { capabilities = ["update"] }"#;
    both[0].did("sys/policies/acl/use", json!({ "policy": policy })).await;
    sleep(Duration::from_secs(5)).await;
    both
}

impl One {
    async fn did(&self, path: &str, body: Value) -> Value {
        let answer = self.server.send(ROOT, "POST", path, body).await;
        assert!(answer.is_ok(), "{answer:?}");
        answer.json
    }

    async fn token(&self, body: Value) -> String {
        let made = self.did("auth/token/create", body).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn encrypt(&self, token: &str) -> (u16, Duration) {
        let body = json!({ "plaintext": "YQ==" });
        let answer = self.server.send(token, "POST", "transit/encrypt/k", body).await;
        (answer.status, answer.took)
    }
}

/// Seed 154: it was answered 204, and the token lived on everywhere.
#[tokio::test(start_paused = true)]
async fn a_token_is_revoked_through_a_replica_that_has_not_heard_of_it() {
    let [one, behind] = two().await;
    behind.store.is(Mood::StaleWatch);
    let token = one.token(json!({ "policies": ["use"], "period": "24h" })).await;
    behind.did("auth/token/revoke", json!({ "token": token })).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(one.encrypt(&token).await.0, 403);

    let token = one.token(json!({ "policies": ["use"], "period": "24h" })).await;
    behind.store.is(Mood::Away);
    let revoke = json!({ "token": token });
    let answer = behind.server.send(ROOT, "POST", "auth/token/revoke", revoke).await;
    assert_eq!(answer.status, 503, "nobody can tell whether there is such a token");
    assert_eq!(one.encrypt(&token).await.0, 200);
}

/// Seed 100: no mark of the token clock had been kept yet, and so nothing was ever stale.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_cut_off_before_the_first_mark_does_not_believe_tokens_for_ever() {
    let [one, _] = two().await;
    let token = one.token(json!({ "policies": ["use"], "ttl": "240h" })).await;
    one.store.is(Mood::Partitioned);
    assert_eq!(one.encrypt(&token).await.0, 200);
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(one.encrypt(&token).await.0, 200, "it is believed for an hour");
    sleep(Duration::from_secs(200)).await;
    assert_eq!(one.encrypt(&token).await.0, 503);
}

/// Its own marks of the token clock told it that it was in touch.
#[tokio::test(start_paused = true)]
async fn a_replica_that_cannot_watch_the_store_does_not_believe_revoked_tokens_for_ever() {
    let [one, deaf] = two().await;
    let token = one.token(json!({ "policies": ["use"], "ttl": "240h" })).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(deaf.encrypt(&token).await.0, 200);
    deaf.store.is(Mood::NoWatch);
    one.did("auth/token/revoke", json!({ "token": token })).await;
    sleep(Duration::from_secs(3_500)).await;
    assert_eq!(deaf.encrypt(&token).await.0, 200, "it is believed for an hour");
    sleep(Duration::from_secs(200)).await;
    assert_eq!(deaf.encrypt(&token).await.0, 503);
    deaf.store.is(Mood::Well);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(deaf.encrypt(&token).await.0, 403);
}

/// Seed 73, invariant I10: the look for the token alone took 5 s.
#[tokio::test(start_paused = true)]
async fn a_seal_client_whose_token_must_be_looked_for_is_answered_within_its_patience() {
    let [one, behind] = two().await;
    for mood in [Mood::Partitioned, Mood::Slow] {
        behind.store.is(Mood::StaleWatch);
        let token = one.token(json!({ "policies": ["use"], "period": "24h" })).await;
        behind.store.is(mood);
        let (status, took) = behind.encrypt(&token).await;
        assert!(took <= Duration::from_millis(1_500), "{status} after {took:?}");
        behind.store.is(Mood::Well);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(behind.encrypt(&token).await.0, 200);
    }
}

/// Seeds 702048 and 766414, invariant I10: the look for the key alone took 5 s.
#[tokio::test(start_paused = true)]
async fn a_rewrap_of_a_version_not_heard_of_is_answered_within_its_patience() {
    let [one, behind] = two().await;
    behind.store.is(Mood::Partitioned);
    behind.kms.is(kms::Mood::Hanging);
    one.did("transit/keys/k/rotate", json!({})).await;
    let made = one.did("transit/encrypt/k", json!({ "plaintext": "YQ==" })).await;
    let body = json!({ "ciphertext": made["data"]["ciphertext"] });
    let answer = behind.server.send(ROOT, "POST", "transit/rewrap/k", body).await;
    assert_eq!(answer.status, 503);
    assert!(answer.took <= Duration::from_millis(16_550), "after {:?}", answer.took);
}
