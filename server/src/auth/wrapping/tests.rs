use std::sync::atomic::{AtomicU64, Ordering};

use selkie_crypto::os_random;
use selkie_storage::{MemoryStore, Page, RecordValue, Store};

use super::*;
use crate::state::records::Kept;

#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

struct Replica {
    wrapping: Wrapping,
    records: Records,
    key: StateKey,
    clock: Arc<SetClock>,
}

impl Replica {
    async fn on(store: &Arc<dyn Store>) -> Self {
        Self::at(store, 1000).await
    }

    async fn at(store: &Arc<dyn Store>, unix_seconds: u64) -> Self {
        let clock = Arc::new(SetClock(unix_seconds.into()));
        let wrapping = Wrapping::new(Arc::clone(&clock) as _, Arc::new(os_random));
        let records = Records::new(true, wrapping.mirrors(), Arc::clone(&clock) as _);
        records.attach(Arc::clone(store)).await.unwrap();
        let key = StateKey::init_with(|page| page.fill(7)).unwrap();
        Self { wrapping, records, key, clock }
    }

    async fn wrap(&self, ttl: u64) -> WrapInfo {
        let room = self.wrapping.room("one").unwrap();
        self.wrap_into(room, b"response".to_vec(), ttl).await.unwrap()
    }

    async fn wrap_into(
        &self,
        room: Room<'_>,
        response: Vec<u8>,
        ttl: u64,
    ) -> Result<WrapInfo, WrapError> {
        let order = WrapOrder { path: "a/b".into(), ttl: Duration::from_secs(ttl), accessor: None };
        let response = Plaintext::new(response);
        self.wrapping.wrap(&self.records, &self.key, response, (order, room)).await
    }

    async fn rewrap(&self, token: &TokenText, longest: u64) -> WrapInfo {
        let longest = Duration::from_secs(longest);
        let shown = ShownWrapping { token, from: HERE };
        let wrapped = self.wrapping.rewrap(&self.records, &self.key, (shown, longest));
        wrapped.await.unwrap()
    }

    async fn unwrap(&self, token: &TokenText) -> Option<Vec<u8>> {
        let shown = ShownWrapping { token, from: HERE };
        let response = self.wrapping.unwrap(&self.records, &self.key, shown).await.ok()?;
        Some(response.expose_for_reply().to_vec())
    }

    fn knows(&self, token: &TokenText) -> bool {
        self.wrapping.knows(&self.key, token)
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
    one.wrap(60).await;
    assert_eq!(one.wrapping.mirror.names().len(), 2);
    assert_eq!(one.wrapping.sweep(&one.records, Some(1060)).await.unwrap(), 1);
    assert_eq!(one.wrapping.mirror.names().len(), 1, "the new one");
}

/// Other replicas, and this one once its clock is right again, still have it.
#[tokio::test(start_paused = true)]
async fn a_leap_of_the_wall_clock_removes_no_response() {
    let one = Replica::on(&store()).await;
    let info = one.wrap(60).await;
    one.clock.0.fetch_add(365 * 86_400, Ordering::Relaxed);
    for token_time in [None, Some(1059)] {
        assert_eq!(one.wrapping.sweep(&one.records, token_time).await.unwrap(), 0);
    }
    one.clock.0.fetch_sub(365 * 86_400, Ordering::Relaxed);
    assert!(one.knows(&info.token));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(one.wrapping.sweep(&one.records, None).await.unwrap(), 0, "its clock stands");
    one.clock.0.fetch_add(60, Ordering::Relaxed);
    assert_eq!(one.wrapping.sweep(&one.records, None).await.unwrap(), 1);
}

/// Before there is a token clock, a process knows by itself alone how much time has gone by.
#[tokio::test(start_paused = true)]
async fn a_response_is_swept_though_every_process_ends_before_its_time_is_over() {
    const WEEK: u64 = 7 * 86_400;
    let store = store();
    Replica::on(&store).await.wrap(WEEK).await;
    for (age, left) in [(WEEK - 60, 60), (WEEK + 60, 0)] {
        let one = Replica::at(&store, 1000 + age).await;
        one.clock.0.fetch_add(left, Ordering::Relaxed);
        assert_eq!(one.wrapping.sweep(&one.records, None).await.unwrap(), 0, "it may have leapt");
        sleep(Duration::from_secs(left + 3600)).await;
        let over = one.wrapping.mirror.find(|ends| ends.before(1000 + age + left, None, 9));
        assert_eq!(over.len(), 1, "{age}");
    }
    let young = Replica::at(&store, 1060).await;
    sleep(Duration::from_secs(WEEK - 120)).await;
    assert_eq!(young.wrapping.mirror.find(|ends| ends.before(u64::MAX, None, 9)), []);
    let behind = Replica::at(&store, 0).await;
    sleep(Duration::from_secs(WEEK)).await;
    let over = behind.wrapping.mirror.find(|ends| ends.before(1000 + WEEK, None, 9));
    assert_eq!(over.len(), 1, "never longer than it is kept for");
}

#[tokio::test]
async fn a_rewrapped_response_is_the_other_tokens_alone() {
    let one = Replica::on(&store()).await;
    let first = one.wrap(60).await;
    let second = one.rewrap(&first.token, 3600).await;
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

/// Each client has room for 2 responses of 24 KiB together, all have room for 4 of 64 KiB.
async fn narrow() -> Replica {
    let mut one = Replica::on(&store()).await;
    one.wrapping.share = Usage { count: 2, bytes: 24 << 10 };
    one.wrapping.most = Usage { count: 4, bytes: 64 << 10 };
    one
}

#[tokio::test]
async fn a_client_fills_its_own_share_alone() {
    let one = narrow().await;
    let wrap = async |owner: &str| {
        let room = one.wrapping.room(owner)?;
        one.wrap_into(room, b"x".to_vec(), 60).await
    };
    wrap("a").await.unwrap();
    let second = wrap("a").await.unwrap();
    assert!(matches!(wrap("a").await, Err(WrapError::Full)));
    wrap("b").await.unwrap();
    let rewrapped = one.rewrap(&second.token, 60).await;
    assert!(matches!(wrap("a").await, Err(WrapError::Full)), "it is a's as it was");
    one.unwrap(&rewrapped.token).await.unwrap();
    wrap("a").await.unwrap();
}

#[tokio::test]
async fn what_all_have_together_is_bounded_too() {
    let one = narrow().await;
    for owner in ["a", "b", "c", "d"] {
        let room = one.wrapping.room(owner).unwrap();
        one.wrap_into(room, b"x".to_vec(), 60).await.unwrap();
    }
    assert!(matches!(one.wrapping.room("e"), Err(WrapError::Full)));
    assert!(matches!(one.wrapping.room(""), Err(WrapError::Full)), "nobody knows yet who it is");
}

#[tokio::test]
async fn what_is_kept_is_bounded_in_bytes_too() {
    let one = narrow().await;
    let wrap = async |bytes| one.wrap_into(one.wrapping.room("a")?, vec![b'x'; bytes], 60).await;
    let first = wrap(6 << 10).await.unwrap();
    assert!(matches!(wrap(20 << 10).await, Err(WrapError::Full)));
    one.unwrap(&first.token).await.unwrap();
    wrap(20 << 10).await.unwrap();
    assert!(matches!(one.wrapping.room("a"), Err(WrapError::Full)), "before anything is done");
}

/// Otherwise all who ask at the same time would find the same room.
#[tokio::test]
async fn room_is_taken_before_there_is_a_response_and_given_back_without_one() {
    let one = narrow().await;
    let of_nobody = one.wrapping.room("").unwrap();
    let of_a = one.wrapping.room("a").unwrap();
    assert!(matches!(one.wrapping.room("a"), Err(WrapError::Full)));
    assert!(matches!(of_nobody.claim("a"), Err(WrapError::Full)), "of one who logs in as a");
    of_nobody.claim("b").unwrap();
    assert!(matches!(one.wrapping.room("b"), Err(WrapError::Full)));
    drop((of_nobody, of_a));
    assert!(one.wrapping.room("a").is_ok());
    assert_eq!(one.wrapping.taken().all(), Usage::default());
}

#[tokio::test]
async fn a_rewrapped_response_is_kept_no_longer_than_a_new_one() {
    let one = Replica::on(&store()).await;
    let first = one.wrap(9_000_000_000).await;
    assert_eq!(one.rewrap(&first.token, 3600).await.wrapped.ttl, 3600);
}

/// What was kept before it was noted whose it is.
#[test]
fn a_record_without_an_owner_is_read() {
    let head = br#"{"format":1,"accessor":"a","created":1000,"ttl":60,"path":"a/b"}"#;
    let value = RecordValue::new([head.as_slice(), b"\nsealed"].concat()).unwrap();
    let key = StateKey::init_with(|page| page.fill(7)).unwrap();
    let id = WrapId::of(&key, &TokenText::from_header(b"hvs.a").unwrap());
    let wrapped = Wrapped::decode(&id, &value).unwrap();
    assert_eq!((wrapped.owner.as_str(), wrapped.sealed.as_slice()), ("", b"sealed".as_slice()));
    assert_eq!(wrapped.encode().unwrap().as_bytes(), value.as_bytes());
}
