use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use selkie_crypto::{StateKey, os_random};
use selkie_storage::{MemoryStore, Store};

use super::*;
use crate::auth::Auth;

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

    pub(super) fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

pub(super) fn state_key() -> Arc<StateKey> {
    Arc::new(StateKey::init_with(|key| key.fill(9)).unwrap())
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
        policies: vec!["default".parse().unwrap(), "seal".parse().unwrap()],
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
    }
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
