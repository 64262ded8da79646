use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use selkie_access::PolicyName;
use selkie_crypto::{StateKey, os_random};
use selkie_storage::{
    Guard, Listing, MemoryStore, Page, Record, RecordKey, Revision, Store, StoreError, StoreFuture,
    Watch, Write,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::super::documents::DocumentName;
use super::super::{AuthMount, Outcome};
use super::*;
use crate::api::fields::Fields;
use crate::auth::Credentials;
use crate::clock::Clock;
use crate::look_budget::{LOOK_PATIENCE, LOOKS_PER_SECOND};
use crate::state::records::{Batch, Kept};

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

const SECRET: &str = "0123456789abcdef";

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
        let request =
            MethodRequest { mount, rest, operation, fields, credentials, tools, room: None };
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

    /// The role `web` with these policies, as an earlier Selkie took it.
    async fn keep_policies(&self, policies: Vec<PolicyName>) {
        let name = DocumentName::new(self.mount.uuid, "web");
        let current = self.method.roles.get(&name).unwrap().unwrap();
        let mut role = Role::clone(&current.value);
        role.token.policies = policies;
        let mut batch = Batch::default();
        batch.put(&name, &role, Some(current.revision)).unwrap();
        self.records.commit(&batch).await.unwrap();
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

/// Names of so many bytes in all, as the bound counts them.
fn policies(bytes: usize) -> Vec<PolicyName> {
    let name = |number: usize, length: usize| format!("{number:03}{}", "a".repeat(length - 6));
    let whole = (0..bytes / 100 - 1).map(|number| name(number, 100));
    let last = name(999, 100 + bytes % 100);
    whole.chain([last]).map(|name| name.parse().unwrap()).collect()
}

#[tokio::test]
async fn a_role_has_no_more_policies_than_a_token_of_it_with_default() {
    let bench = Bench::new().await;
    let with = async |bytes: usize, no_default: bool| {
        let names: Vec<_> = policies(bytes).iter().map(ToString::to_string).collect();
        let body = json!({ "token_policies": names, "token_no_default_policy": no_default });
        bench.ask("role/web", body).await.map_err(|error| error.to_string())
    };
    let many = "policies: at most 4096 bytes of names in all";
    assert!(with(4086, false).await.is_ok() && with(4096, true).await.is_ok());
    assert_eq!(with(4087, false).await.unwrap_err(), many);
    assert_eq!(with(4097, true).await.unwrap_err(), many);
    let with_default = json!({ "token_no_default_policy": false });
    assert_eq!(bench.ask("role/web", with_default).await.unwrap_err().to_string(), many);
}

#[tokio::test]
async fn a_login_that_can_come_to_no_token_takes_no_use_of_its_secret_id() {
    let bench = Bench::new().await;
    bench.done("role/web/custom-secret-id", json!({ "secret_id": SECRET, "num_uses": 1 })).await;
    for (policies, told) in [
        (policies(4087), "policies: at most 4096 bytes of names in all"),
        (vec!["root".parse().unwrap()], "auth methods cannot create root tokens"),
    ] {
        bench.keep_policies(policies).await;
        for _ in 0..2 {
            assert_eq!(bench.login("web-id", SECRET).await.unwrap_err().to_string(), told);
        }
        let stranger = bench.login("web-id", "wrong").await.unwrap_err();
        assert_eq!(stranger.to_string(), "invalid role or secret ID");
    }
    bench.keep_policies(policies(4086)).await;
    bench.login("web-id", SECRET).await.unwrap();
    bench.login("web-id", SECRET).await.unwrap_err();
}
