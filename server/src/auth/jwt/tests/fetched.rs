//! The keys of a provider: when they are fetched, and when not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, advance, sleep, timeout};

use super::signer::Signer;
use super::world::{Answer, World};
use crate::auth::jwt::key_set::{
    LAST_GOOD, Location, NoKeys, PAUSE, REFRESH, RemoteKeys, WORTH_WAITING,
};
use crate::auth::jwt::web::{Outside, PATIENCE, https};
use crate::auth::jwt::{Algorithm, Compact};

const KEYS: &str = "https://id.example/keys";
const CONFIGURATION: &str = "https://id.example/.well-known/openid-configuration";

fn keys(world: &World) -> Arc<RemoteKeys> {
    RemoteKeys::new(Location::Set(https(KEYS).unwrap()), world.trusting("").unwrap())
}

async fn accepts(keys: &Arc<RemoteKeys>, token: &str) -> bool {
    let token = Compact::parse(token).unwrap();
    let set = keys.for_token(&token).await.unwrap();
    token.check_signature(&[], &set.keys).is_ok()
}

/// Whether nobody can say that the key is unknown.
async fn is_undecided(keys: &Arc<RemoteKeys>, token: &str) -> bool {
    keys.for_token(&Compact::parse(token).unwrap()).await.is_err_and(|NoKeys| true)
}

/// A provider, its only key, what has been fetched of it, and a token.
async fn fetched() -> (World, Signer, Arc<RemoteKeys>, String) {
    let world = World::default();
    let signer = Signer::new("k", Algorithm::ES256);
    world.answers(KEYS, Signer::set(&[&signer]));
    let keys = keys(&world);
    let token = signer.sign(&json!({}));
    assert!(accepts(&keys, &token).await);
    (world, signer, keys, token)
}

#[tokio::test(start_paused = true)]
async fn keys_are_fetched_once_and_again_for_a_name_that_is_new() {
    let world = World::default();
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&old]));
    let keys = keys(&world);
    let (by_old, by_new) = (old.sign(&json!({})), new.sign(&json!({})));
    assert!(accepts(&keys, &by_old).await);
    assert!(accepts(&keys, &by_old).await);
    assert_eq!(world.count(KEYS), 1);
    advance(PAUSE).await;
    world.answers(KEYS, Signer::set(&[&old, &new]));
    assert!(accepts(&keys, &by_new).await, "a rotation works at once");
    assert!(accepts(&keys, &by_old).await);
    assert_eq!(world.count(KEYS), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_invented_names_costs_one_fetch_in_ten_seconds() {
    let world = World::default();
    let signer = Signer::new("k", Algorithm::ES256);
    world.answers(KEYS, Signer::set(&[&signer]));
    let keys = keys(&world);
    let forged: Vec<_> =
        (0..50).map(|n| signer.renamed(&format!("x{n}")).sign(&json!({}))).collect();
    let at_once = forged.iter().map(|token| accepts(&keys, token));
    let accepted = futures_util::future::join_all(at_once).await;
    assert_eq!(accepted, vec![false; 50]);
    assert_eq!(world.count(KEYS), 1);
    advance(PAUSE - Duration::from_millis(1)).await;
    assert!(!accepts(&keys, &forged[0]).await);
    assert_eq!(world.count(KEYS), 1);
    advance(Duration::from_millis(1)).await;
    assert!(!accepts(&keys, &forged[0]).await);
    assert_eq!(world.count(KEYS), 2);
    // A signature that is wrong under a known name is no reason to fetch.
    let wrong = Signer::new("k", Algorithm::ES256).sign(&json!({}));
    advance(PAUSE).await;
    assert!(!accepts(&keys, &wrong).await);
    assert_eq!(world.count(KEYS), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_keys_are_used_for_a_day_while_the_provider_is_away() {
    let (world, signer, keys, token) = fetched().await;
    world.set(KEYS, Answer::Away);
    advance(LAST_GOOD - Duration::from_secs(1)).await;
    assert!(accepts(&keys, &token).await, "as nobody can say that it was withdrawn");
    advance(Duration::from_secs(1)).await;
    assert_eq!(keys.for_token(&Compact::parse(&token).unwrap()).await.unwrap_err(), NoKeys);
    world.answers(KEYS, Signer::set(&[&signer]));
    advance(PAUSE).await;
    assert!(accepts(&keys, &token).await, "it recovers by itself");
}

/// On a mount where nobody has logged in since as well.
#[tokio::test(start_paused = true)]
async fn a_withdrawn_key_is_unknown_after_ten_minutes_to_the_first_who_comes() {
    for waited in [REFRESH, LAST_GOOD - Duration::from_secs(1)] {
        let world = World::default();
        let [old, new] = ["old", "new"].map(|name| Signer::new(name, Algorithm::ES256));
        world.answers(KEYS, Signer::set(&[&old, &new]));
        let keys = keys(&world);
        let (by_old, by_new) = (old.sign(&json!({})), new.sign(&json!({})));
        assert!(accepts(&keys, &by_old).await);
        world.answers(KEYS, Signer::set(&[&new]));
        advance(waited).await;
        let at_once = (0..20).map(|_| accepts(&keys, &by_old));
        assert_eq!(futures_util::future::join_all(at_once).await, vec![false; 20], "{waited:?}");
        assert!(accepts(&keys, &by_new).await);
        assert_eq!(world.count(KEYS), 2, "one fetch for all");
    }
}

/// Each login would be half a second longer for as long as that lasts.
#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_or_hangs_delays_logins_with_known_keys_half_a_second_in_all() {
    for (answer, delay) in [(Answer::Away, Duration::ZERO), (Answer::Never, WORTH_WAITING)] {
        let (world, _signer, keys, token) = fetched().await;
        world.set(KEYS, answer.clone());
        advance(REFRESH).await;
        let began = Instant::now();
        for _ in 0..100 {
            assert!(accepts(&keys, &token).await, "{answer:?}");
        }
        assert_eq!(began.elapsed(), delay, "{answer:?}");
        assert_eq!(world.count(KEYS), 2, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_answer_is_given_up_and_not_asked_by_everyone() {
    let world = World::default();
    world.set(KEYS, Answer::Never);
    let keys = keys(&world);
    let token = Signer::new("k", Algorithm::ES256).sign(&json!({}));
    let token = Compact::parse(&token).unwrap();
    let asked = timeout(Duration::from_secs(11), keys.for_token(&token)).await;
    assert_eq!(asked.unwrap().unwrap_err(), NoKeys);
    let at_once = timeout(Duration::ZERO, keys.for_token(&token)).await;
    assert!(at_once.is_err() || at_once.unwrap().is_err());
    assert_eq!(world.count(KEYS), 1);
}

/// They hold places for logins meanwhile, which those with a known key need.
#[tokio::test(start_paused = true)]
async fn a_provider_that_hangs_keeps_invented_names_waiting_for_half_a_second_in_all() {
    let world = World::default();
    let (signer, new) = (Signer::new("k", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&signer]));
    let keys = keys(&world);
    let known = signer.sign(&json!({}));
    assert!(accepts(&keys, &known).await);
    advance(PAUSE).await;
    world.set(KEYS, Answer::Never);
    let began = Instant::now();
    for n in 0..100 {
        assert!(is_undecided(&keys, &signer.renamed(&format!("x{n}")).sign(&json!({}))).await);
    }
    // As of a token whose signature may be that of a new key.
    assert_eq!(keys.renewed().await.unwrap_err(), NoKeys);
    assert_eq!(began.elapsed(), WORTH_WAITING, "the first has waited for all");
    assert!(accepts(&keys, &known).await);
    assert_eq!(world.count(KEYS), 2);
    // The fetch that nobody waits for goes on to its end, and its pause begins then.
    sleep(PATIENCE + PAUSE).await;
    world.answers(KEYS, Signer::set(&[&signer, &new]));
    assert!(accepts(&keys, &new.sign(&json!({}))).await, "it recovers by itself");
}

/// A refusal would be for good, and the token may be one of those that the provider signs from now on.
#[tokio::test(start_paused = true)]
async fn no_key_is_called_unknown_while_the_provider_cannot_be_asked() {
    let world = World::default();
    let (old, new) = (Signer::new("old", Algorithm::ES256), Signer::new("new", Algorithm::ES256));
    world.answers(KEYS, Signer::set(&[&old]));
    let keys = keys(&world);
    let (by_old, by_new) = (old.sign(&json!({})), new.sign(&json!({})));
    assert!(!accepts(&keys, &by_new).await, "unknown to what was fetched just now");
    advance(PAUSE).await;
    world.set(KEYS, Answer::Never);
    assert!(is_undecided(&keys, &by_new).await, "the fetch goes on");
    assert!(is_undecided(&keys, &by_new).await, "who comes later does not wait");
    sleep(PATIENCE).await;
    assert!(is_undecided(&keys, &by_new).await, "the fetch has failed");
    assert!(accepts(&keys, &by_old).await);
    advance(PAUSE).await;
    world.answers(KEYS, Signer::set(&[&old, &new]));
    assert!(accepts(&keys, &by_new).await);
    assert_eq!(world.count(KEYS), 3);
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_keys_are_refused() {
    let token = Signer::new("k", Algorithm::ES256).sign(&json!({}));
    let token = Compact::parse(&token).unwrap();
    for answer in [
        Answer::Body(200, "<html>".into()),
        Answer::Body(200, "{}".into()),
        Answer::Body(302, String::new()),
        Answer::Body(500, r#"{"keys":[]}"#.into()),
        Answer::Away,
    ] {
        let world = World::default();
        world.set(KEYS, answer.clone());
        assert_eq!(keys(&world).for_token(&token).await.unwrap_err(), NoKeys, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_is_believed_only_about_itself() {
    let signer = Signer::new("k", Algorithm::ES256);
    let token = signer.sign(&json!({}));
    for (issuer, jwks_uri, fits) in [
        ("https://id.example", KEYS, true),
        ("https://id.example/", KEYS, true),
        ("https://other.example", KEYS, false),
        ("https://id.example", "http://id.example/keys", false),
        ("https://id.example", "https://user@id.example/keys", false),
    ] {
        let world = World::default();
        let configuration = json!({ "issuer": issuer, "jwks_uri": jwks_uri, "more": [] });
        world.answers(CONFIGURATION, configuration.to_string());
        world.answers(KEYS, Signer::set(&[&signer]));
        let location = Location::Provider("https://id.example/".into());
        let keys = RemoteKeys::new(location, world.trusting("").unwrap());
        let found = keys.for_token(&Compact::parse(&token).unwrap()).await;
        assert_eq!(found.is_ok(), fits, "{issuer} {jwks_uri}");
        if let Ok(set) = found {
            assert_eq!(set.issuers, [issuer]);
        }
    }
}

#[test]
fn only_https_is_asked_and_nobody_is_logged_in_by_a_url() {
    for text in ["", "id.example", "http://id.example/keys", "https://", "https://a:b@id.example/"]
    {
        assert!(https(text).is_err(), "{text}");
    }
    assert!(https("https://id.example:8443/keys?x=1").is_ok());
}
