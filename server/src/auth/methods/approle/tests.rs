use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use selkie_crypto::{StateKey, os_random};
use selkie_storage::{
    Guard, Listing, MemoryStore, Page, Record, RecordKey, Revision, Store, StoreError, StoreFuture,
    Watch, Write,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::{AuthMount, Outcome};
use super::*;
use crate::api::fields::Fields;
use crate::auth::Credentials;
use crate::clock::Clock;
use crate::look_budget::{LOOK_PATIENCE, LOOKS_PER_SECOND};
use crate::state::records::Kept;

/// A store that others write to as well, and what it was asked.
#[derive(Debug, Default)]
struct Watched {
    inner: MemoryStore,
    asked: Mutex<Vec<String>>,
    /// Whether it answers for no single record, for ever.
    reads_hang: AtomicBool,
}

impl Watched {
    fn note(&self, what: &str, place: Option<&RecordKey>) {
        let first = place.and_then(|place| place.as_str().split('/').next());
        self.asked.lock().unwrap().push(format!("{what} {}", first.unwrap_or_default()));
    }
}

impl Store for Watched {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.note("get", Some(key));
        Box::pin(async move {
            if self.reads_hang.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            self.inner.get(key).await
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.note("list", page.under.as_ref());
        self.inner.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.inner.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }
}

#[derive(Debug)]
struct Standing;

impl Clock for Standing {
    fn unix_seconds(&self) -> u64 {
        1_800_000_000
    }
}

/// A replica that hears of nothing, with the role `web` whose role id is `web-id`.
struct Bench {
    method: AppRole,
    records: Records,
    mount: AuthMount,
    key: StateKey,
    store: Arc<Watched>,
}

impl Bench {
    async fn new() -> Self {
        let (method, store) = (AppRole::default(), Arc::<Watched>::default());
        let records = Records::new(true, method.mirrors(), Arc::new(Standing));
        records.attach(Arc::clone(&store) as _).await.unwrap();
        let mount = AuthMount::managed("approle".parse().unwrap(), "approle", Uuid::new_v4());
        let key = StateKey::init_with(|key| key.fill(9)).unwrap();
        let bench = Self { method, records, mount, key, store };
        bench.done("role/web", json!({ "role_id": "web-id" })).await;
        bench
    }

    async fn ask(&self, rest: &str, body: Value) -> Result<MethodReply, MethodError> {
        let body = body.to_string();
        let mut fields = Fields::parse(body.as_bytes(), None).unwrap();
        let (records, clock, random, state_key) =
            (&self.records, &Standing, &os_random, Some(&self.key));
        let tools = Tools { records, state_key, clock, token_time: None, random };
        let address = IpAddr::from(Ipv4Addr::LOCALHOST);
        let credentials = Credentials { token: None, certificate: None, address };
        let (mount, fields, operation) = (&self.mount, &mut fields, Operation::Update);
        let request = MethodRequest { mount, rest, operation, fields, credentials, tools };
        self.method.answer(request).await
    }

    async fn done(&self, rest: &str, body: Value) {
        self.ask(rest, body).await.unwrap();
    }

    async fn login(&self, role_id: &str, secret_id: &str) -> Result<(), MethodError> {
        let body = json!({ "role_id": role_id, "secret_id": secret_id });
        self.ask("login", body).await.map(|reply| match reply.outcome {
            Outcome::Login(_) => {}
            other => panic!("{other:?}"),
        })
    }

    /// Another replica writes a role that concerns nobody.
    async fn somebody_writes(&self) {
        let place: RecordKey = format!("{}/{}/other", Role::ROOT, Uuid::nil()).parse().unwrap();
        let value = Role::new(Uuid::nil(), Uuid::nil()).encode().unwrap();
        self.store.commit(&[], &[Write::Put(place, value)]).await.unwrap();
    }
}

/// By the looks that logins have, and by what each asks of the store.
#[tokio::test(start_paused = true)]
async fn nobody_learns_which_role_ids_there_are_by_what_the_store_is_asked() {
    for secret in ["wrong", ""] {
        let mut seen = Vec::new();
        for role_id in ["web-id", "other-id"] {
            let bench = Bench::new().await;
            bench.store.asked.lock().unwrap().clear();
            let (mut answers, began) = (Vec::new(), Instant::now());
            for _ in 0..LOOKS_PER_SECOND + 5 {
                bench.somebody_writes().await;
                answers.push(bench.login(role_id, secret).await.unwrap_err().to_string());
            }
            let asked = bench.store.asked.lock().unwrap().clone();
            seen.push((answers, asked, began.elapsed()));
        }
        let of_none = seen.pop().unwrap();
        assert_eq!(seen.pop().unwrap(), of_none, "{secret}");
        let (answers, asked, _) = of_none;
        let refused = RecordsError::NotLookedUp.to_string();
        let looks = usize::try_from(LOOKS_PER_SECOND).unwrap();
        assert_eq!(
            answers.iter().position(|answer| *answer == refused),
            Some(looks),
            "{answers:?}"
        );
        let listings = asked.iter().filter(|one| **one == format!("list {}", Role::ROOT));
        assert_eq!(listings.count(), looks, "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_login_waits_a_second_for_the_store_whatever_of_it_hangs() {
    let bench = Bench::new().await;
    bench.store.reads_hang.store(true, Ordering::Relaxed);
    let began = Instant::now();
    let late = bench.login("web-id", "wrong").await.unwrap_err();
    let MethodError::Records(RecordsError::Store(StoreError::Unavailable { .. })) = late else {
        panic!("{late:?}");
    };
    assert_eq!(began.elapsed().as_millis() / 10, LOOK_PATIENCE.as_millis() / 10);
}
