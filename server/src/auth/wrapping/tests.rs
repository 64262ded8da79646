use std::sync::atomic::{AtomicU64, Ordering};

use selkie_crypto::os_random;
use selkie_storage::{MemoryStore, Page, Store};

use super::*;

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Replica {
    wrapping: Wrapping,
    records: Records,
    key: StateKey,
    clock: Arc<SetClock>,
}

impl Replica {
    async fn on(store: &Arc<dyn Store>) -> Self {
        let clock = Arc::new(SetClock(1000.into()));
        let wrapping = Wrapping::new(Arc::clone(&clock) as _, Arc::new(os_random));
        let records = Records::new(true, wrapping.mirrors());
        records.attach(Arc::clone(store)).await.unwrap();
        let key = StateKey::init_with(|page| page.fill(7)).unwrap();
        Self { wrapping, records, key, clock }
    }

    async fn wrap(&self, ttl: u64) -> WrapInfo {
        let order = WrapOrder { path: "a/b".into(), ttl: Duration::from_secs(ttl), accessor: None };
        let response = Plaintext::new(b"response".to_vec());
        self.wrapping.wrap(&self.records, &self.key, response, order).await.unwrap()
    }

    async fn unwrap(&self, token: &TokenText) -> Option<Vec<u8>> {
        let response = self.wrapping.unwrap(&self.records, &self.key, token).await.ok()?;
        Some(response.expose_for_reply().to_vec())
    }

    fn knows(&self, token: &TokenText) -> bool {
        self.wrapping.look(&self.key, token).unwrap().is_some()
    }
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn a_response_is_given_once() {
    let one = Replica::on(&store()).await;
    let info = one.wrap(60).await;
    assert!(one.knows(&info.token) && one.knows(&info.token), "a look uses nothing up");
    assert_eq!(one.unwrap(&info.token).await.as_deref(), Some(b"response".as_slice()));
    assert_eq!(one.unwrap(&info.token).await, None);
    assert!(!one.knows(&info.token));
}

#[tokio::test]
async fn of_two_replicas_that_unwrap_one_gets_it() {
    let store = store();
    let one = Replica::on(&store).await;
    let info = one.wrap(60).await;
    let two = Replica::on(&store).await;
    assert!(one.unwrap(&info.token).await.is_some());
    assert_eq!(two.unwrap(&info.token).await, None, "it had not heard of the first");
}

#[tokio::test]
async fn when_its_time_is_over_a_response_is_gone_and_then_swept() {
    let store = store();
    let one = Replica::on(&store).await;
    let info = one.wrap(60).await;
    one.clock.0.store(1059, Ordering::Relaxed);
    assert!(one.knows(&info.token));
    one.clock.0.store(1060, Ordering::Relaxed);
    assert!(!one.knows(&info.token));
    assert_eq!(one.unwrap(&info.token).await, None);
    assert_eq!(one.wrapping.mirror.names().len(), 1);
    one.wrap(60).await;
    assert_eq!(one.wrapping.mirror.names().len(), 1, "the new one");
}

#[tokio::test]
async fn a_rewrapped_response_is_the_other_tokens_alone() {
    let one = Replica::on(&store()).await;
    let first = one.wrap(60).await;
    let second = one.wrapping.rewrap(&one.records, &one.key, &first.token).await.unwrap();
    assert_eq!((second.wrapped.ttl, second.wrapped.path.as_str()), (60, "a/b"));
    assert_eq!(one.unwrap(&first.token).await, None);
    assert_eq!(one.unwrap(&second.token).await.as_deref(), Some(b"response".as_slice()));
}

#[tokio::test]
async fn what_is_in_the_store_holds_neither_response_nor_token() {
    let store = store();
    let one = Replica::on(&store).await;
    let info = one.wrap(60).await;
    let page = Page::under("wrap".parse().unwrap());
    let record = store.list(&page).await.unwrap().records.remove(0);
    let holds = |text: &[u8]| record.value.as_bytes().windows(text.len()).any(|at| at == text);
    assert!(holds(b"a/b"), "the control");
    assert!(!holds(b"response") && !holds(info.token.expose_for_hash()));
}

#[tokio::test]
async fn what_is_kept_is_bounded_in_bytes_too() {
    let mut one = Replica::on(&store()).await;
    one.wrapping.most_bytes = 1000;
    let order = WrapOrder { path: "a/b".into(), ttl: Duration::from_secs(60), accessor: None };
    let wrap = || {
        let response = Plaintext::new(vec![b'x'; 400]);
        one.wrapping.wrap(&one.records, &one.key, response, order.clone())
    };
    wrap().await.unwrap();
    let second = wrap().await.unwrap();
    assert!(matches!(wrap().await, Err(WrapError::Full)));
    one.unwrap(&second.token).await.unwrap();
    wrap().await.unwrap();
}
