//! Claims about managed keys that this replica has not heard of, in paused time.

use super::faulty_store::Mood;
use super::replicas::{is_store_error, replica, store};
use super::*;

/// All that needs a key to be there. What is refused for another reason has found it.
const OPERATIONS: [&str; 10] = [
    "has",
    "read",
    "encrypt",
    "decrypt",
    "rewrap",
    "encrypt anew",
    "rotate",
    "configure",
    "trim",
    "delete",
];

async fn ask(engine: &Transit, what: &str) -> Result<(), TransitError> {
    let rewrap = permit(operation::Rewrap, "k");
    let missing = || TransitError::KeyNotFound;
    let done = match what {
        "has" => {
            let has = engine.has_key(&"transit".parse().unwrap(), &"k".parse().unwrap()).await?;
            has.then_some(()).ok_or_else(missing)
        }
        "read" => {
            engine.read_key(permit(operation::ReadKey, "k")).await?.map(drop).ok_or_else(missing)
        }
        "encrypt" => encrypt(engine, "k", "x").await.map(drop),
        "decrypt" => engine.decryption(&permit(operation::Decrypt, "k")).await.map(drop),
        "rewrap" => engine.rewrap_decryption(&rewrap).await.map(drop),
        "encrypt anew" => engine.re_encryption(&rewrap).await.map(drop),
        "rotate" => engine.rotate_key(permit(operation::RotateKey, "k")).await.map(drop),
        "configure" => {
            let none = KeyChanges::default();
            engine.configure_key(permit(operation::ConfigureKey, "k"), none).await.map(drop)
        }
        "trim" => engine.trim_key(permit(operation::TrimKey, "k"), None).await.map(drop),
        _ => engine.delete_key(permit(operation::DeleteKey, "k")).await,
    };
    match done {
        Err(TransitError::Setting(_)) => Ok(()),
        other => other,
    }
}

/// The watch of none of these has told of it.
#[tokio::test(start_paused = true)]
async fn a_key_that_another_replica_has_just_made_is_found_by_every_operation() {
    let store = store();
    let mut others = Vec::new();
    for what in OPERATIONS {
        others.push((what, replica(&store).await));
    }
    create(&replica(&store).await, "k").await;
    for (what, replica) in others {
        let outcome = ask(&replica, what).await;
        assert!(outcome.is_ok(), "{what}: {outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_says_that_a_key_is_missing_who_cannot_ask_the_store() {
    let store = store();
    let one = replica(&store).await;
    for what in OPERATIONS {
        assert!(matches!(ask(&one, what).await, Err(TransitError::KeyNotFound)), "{what}");
    }
    for mood in [Mood::Away, Mood::Hanging] {
        store.is(Mood::Well);
        let one = replica(&store).await;
        store.is(mood);
        for what in OPERATIONS {
            let began = Instant::now();
            let outcome = ask(&one, what).await;
            assert!(is_store_error(&outcome), "{what}: {outcome:?}");
            assert!(began.elapsed() <= Duration::from_secs(1), "{what}: {:?}", began.elapsed());
        }
        let hurried = Transit { until: Instant::now(), ..one.clone() };
        let began = Instant::now();
        assert!(is_store_error(&ask(&hurried, "encrypt").await));
        assert_eq!(began.elapsed(), Duration::ZERO, "what is left of a request's time is kept to");
    }
}

/// Another server's key of the same name and seals, two versions ahead.
async fn encrypted_ahead() -> String {
    let ahead = replica(&store()).await;
    create(&ahead, "k").await;
    for _ in 0..2 {
        ahead.rotate_key(permit(operation::RotateKey, "k")).await.unwrap();
    }
    encrypt(&ahead, "k", "x").await.unwrap().ciphertext
}

/// A batch has thousands of them.
#[tokio::test(start_paused = true)]
async fn garbage_of_a_version_not_heard_of_costs_no_look() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let renamed = encrypted_ahead().await.replacen(":v3:", ":v9:", 1);
    let before = store.gets();
    for garbage in ["vault:v99:AAAA", "vault:v99:e30=", &renamed] {
        let refused = decrypt(&one, "k", garbage).await.unwrap_err();
        assert!(matches!(refused, TransitError::NewerVersion(_)), "{refused}");
    }
    assert_eq!(store.gets(), before);
}

#[tokio::test(start_paused = true)]
async fn all_items_of_a_version_not_heard_of_cost_one_look_together() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let ciphertext = encrypted_ahead().await;
    let item = || DecryptionItem {
        ciphertext: &ciphertext,
        associated_data: Vec::new(),
        context: Vec::new(),
    };
    let before = store.gets();
    let decryption = one.decryption(&permit(operation::Decrypt, "k")).await.unwrap();
    let (first, second) = (item(), item());
    let both = tokio::join!(decryption.decrypt(&first), decryption.decrypt(&second));
    assert!(both.0.is_ok() && both.1.is_ok());
    assert!(decryption.decrypt(&item()).await.is_ok());
    assert_eq!(store.gets() - before, 1);
}

/// Invariant I1: that nobody may ask any more keeps nothing from being opened.
#[tokio::test(start_paused = true)]
async fn who_decrypts_versions_not_heard_of_is_no_flood_at_the_store_and_is_answered() {
    let store = store();
    let one = replica(&store).await;
    create(&one, "k").await;
    let ciphertext = encrypted_ahead().await;
    let before = store.gets();
    for _ in 0..100 {
        assert_eq!(decrypt(&one, "k", &ciphertext).await.unwrap(), b"x");
    }
    assert_eq!(store.gets() - before, 25);
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_keys_that_are_not_there_is_no_flood_at_the_store() {
    let store = store();
    let one = replica(&store).await;
    let before = store.gets();
    let mut is_refused = false;
    for _ in 0..100 {
        for what in OPERATIONS {
            let outcome = ask(&one, what).await;
            is_refused = matches!(outcome, Err(TransitError::NotLookedUp));
            assert!(is_refused || matches!(outcome, Err(TransitError::KeyNotFound)), "{outcome:?}");
        }
    }
    assert!(is_refused);
    assert_eq!(store.gets() - before, 25);
    create(&one, "k").await;
    assert!(ask(&one, "encrypt").await.is_ok(), "what is there is served all the same");
}
