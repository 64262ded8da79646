//! A replica that has not heard yet of what another one did a moment ago refuses nothing for good, and
//! allows nothing that was denied.

use std::sync::atomic::{AtomicU64, Ordering};

use selkie_storage::{MemoryStore, Store, Write};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::look_budget::LOOKS_PER_SECOND;
use crate::state::Backend;
use crate::transit::ManagedKeys;
use crate::transit::tests::faulty_store::{FaultyStore, Mood};

#[derive(Debug)]
struct SetClock(AtomicU64);

impl Default for SetClock {
    fn default() -> Self {
        Self(AtomicU64::new(1_800_000_000))
    }
}

impl SetClock {
    fn advance(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn unix_seconds(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Pair {
    one: Api,
    /// Hears of nothing that `one` does.
    two: Api,
    /// What `two` has.
    store: Arc<FaultyStore>,
}

impl Pair {
    /// `two` begins once `before` was done on `one`.
    async fn after(before: &[(&str, &str, Value)]) -> Self {
        let memory = Arc::new(MemoryStore::new());
        let one = Api::sharing(&FaultyStore::new(&memory)).await;
        let store = FaultyStore::new(&memory);
        for (method, path, body) in before {
            one.done("s.root", method, path, body).await;
        }
        store.is(Mood::Deaf);
        Self { one, two: Api::sharing(&store).await, store }
    }

    /// What `two` answers: for now while its store is like this, and then for good.
    async fn answer_of_two(&self, ill: &[Mood], ask: impl AsyncFn(&Api) -> Answer) -> Answer {
        for mood in ill {
            self.store.is(*mood);
            for _ in 0..2 {
                let answer = ask(&self.two).await;
                assert_eq!(answer.status, 503, "{mood:?}: {}", answer.text);
            }
        }
        self.store.is(Mood::Deaf);
        ask(&self.two).await
    }
}

impl Api {
    async fn sharing(store: &Arc<FaultyStore>) -> Self {
        Self::sharing_by(store, Arc::new(SystemClock)).await
    }

    async fn sharing_by(store: &Arc<FaultyStore>, clock: Arc<dyn Clock>) -> Self {
        let deployment = Deployment::connect(Config { storage: None, ..config() }).await.unwrap();
        let keys = ManagedKeys::awaiting_store();
        let node = Node::begin(deployment, keys, clock).await;
        node.keep_state(Backend::Opened(Arc::clone(store) as _), "faulty").await;
        Self::on(node)
    }

    async fn done(&self, token: &str, method: &str, path: &str, body: &Value) -> Value {
        let answer = self.send(token, method, path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.text);
        if answer.text.is_empty() { Value::Null } else { answer.json() }
    }

    async fn a_token(&self, from: &str, body: Value) -> String {
        let made = self.done(from, "POST", "auth/token/create", &body).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn write_policy(&self, name: &str, capability: &str) {
        let (path, body) = (format!("sys/policies/acl/{name}"), policy(capability));
        self.done("s.root", "POST", &path, &body).await;
    }

    async fn use_of(&self, token: &str) -> Answer {
        self.send(token, "PUT", "transit/encrypt/unseal", r#"{"plaintext":"YQ=="}"#).await
    }

    async fn a_secret_id(&self) -> Value {
        let made = self.done("s.root", "POST", "auth/approle/role/web/secret-id", &json!({})).await;
        made["data"]["secret_id"].clone()
    }

    async fn login(&self, role_id: &str, secret_id: &Value) -> Answer {
        let body = json!({ "role_id": role_id, "secret_id": secret_id });
        self.send("", "POST", "auth/approle/login", body).await
    }
}

fn policy(capability: &str) -> Value {
    json!({ "policy": format!(r#"path "transit/encrypt/unseal" {{ capabilities = ["{capability}"] }}"#) })
}

fn mount() -> (&'static str, &'static str, Value) {
    ("POST", "sys/auth/approle", json!({ "type": "approle" }))
}

fn role(body: &Value) -> (&'static str, &'static str, Value) {
    let mut role = json!({ "role_id": "web-id", "token_policies": ["seal"] });
    role.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    ("POST", "auth/approle/role/web", role)
}

#[tokio::test]
async fn a_policy_that_denies_is_in_force_wherever_a_token_with_it_is_known() {
    let pair = Pair::after(&[]).await;
    pair.one.write_policy("no-seal", "deny").await;
    let token = pair.one.a_token("s.root", json!({ "policies": ["seal", "no-seal"] })).await;
    let ill = [Mood::Away, Mood::Unlisted];
    assert_eq!(
        pair.answer_of_two(&ill, async |two: &Api| two.use_of(&token).await).await.status,
        403
    );
}

#[tokio::test]
async fn a_policy_is_as_it_was_when_a_token_was_made_wherever_that_is_known() {
    let written = ("POST", "sys/policies/acl/some", policy("update"));
    let pair = Pair::after(&[written]).await;
    pair.one.write_policy("some", "read").await;
    let token = pair.one.a_token("s.root", json!({ "policies": ["some"] })).await;
    let ill = [Mood::Away, Mood::Unlisted];
    assert_eq!(
        pair.answer_of_two(&ill, async |two: &Api| two.use_of(&token).await).await.status,
        403
    );
}

#[tokio::test]
async fn a_policy_that_is_nowhere_makes_no_token_wait_for_it() {
    let pair = Pair::after(&[]).await;
    for kind in ["service", "batch"] {
        let token = json!({ "policies": ["seal", "nowhere"], "type": kind });
        let token = pair.one.a_token("s.root", token).await;
        let answer =
            pair.answer_of_two(&[Mood::Unlisted], async |two: &Api| two.use_of(&token).await).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
        pair.store.is(Mood::Away);
        assert_eq!(pair.two.use_of(&token).await.status, 200, "{kind}");
    }
}

#[tokio::test]
async fn a_policy_that_denies_is_in_force_wherever_a_batch_token_with_it_is_shown() {
    let pair = Pair::after(&[]).await;
    pair.one.write_policy("no-seal", "deny").await;
    let token = json!({ "policies": ["seal", "no-seal"], "type": "batch" });
    let token = pair.one.a_token("s.root", token).await;
    let ill = [Mood::Away, Mood::Unlisted];
    assert_eq!(
        pair.answer_of_two(&ill, async |two: &Api| two.use_of(&token).await).await.status,
        403
    );
}

/// By somebody who can write to etcd.
#[tokio::test]
async fn i5_a_policy_that_was_dropped_from_the_store_denies_as_before() {
    let memory = Arc::new(MemoryStore::new());
    let one = Api::sharing(&FaultyStore::new(&memory)).await;
    one.write_policy("no-seal", "deny").await;
    let batch = async |policy: &str| {
        let token = json!({ "policies": ["seal", policy], "type": "batch" });
        one.a_token("s.root", token).await
    };
    let (denied, nowhere) = (batch("no-seal").await, batch("nowhere").await);
    let two = Api::sharing(&FaultyStore::new(&memory)).await;
    let dropped = Write::Delete("policy/no-seal".parse().unwrap());
    memory.commit(&[], &[dropped]).await.unwrap();
    let is_told = async || {
        let written = two.send("s.root", "POST", "sys/policies/acl/other", policy("read")).await;
        written.status == 503
    };
    while !is_told().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(two.use_of(&nowhere).await.status, 503);
    assert_eq!(two.use_of(&denied).await.status, 403, "it is held as it was");
}

#[tokio::test]
async fn a_policy_that_is_nowhere_costs_no_look_where_the_token_was_made() {
    let pair = Pair::after(&[]).await;
    let token = json!({ "policies": ["seal", "nowhere"], "type": "batch" });
    let token = pair.two.a_token("s.root", token).await;
    pair.store.is(Mood::Unlisted);
    assert_eq!(pair.two.use_of(&token).await.status, 200);
}

/// Nobody can hear in an outage whether there is such a policy.
#[tokio::test]
async fn an_outage_keeps_no_batch_token_out_from_before_it_for_a_policy_that_is_nowhere() {
    let (memory, clock) = (Arc::new(MemoryStore::new()), Arc::new(SetClock::default()));
    let one = Api::sharing_by(&FaultyStore::new(&memory), Arc::clone(&clock) as _).await;
    let nowhere = json!({ "policies": ["seal", "nowhere"], "type": "batch" });
    let before = one.a_token("s.root", nowhere.clone()).await;
    clock.advance(31);
    let store = FaultyStore::new(&memory);
    store.is(Mood::Deaf);
    let two = Api::sharing_by(&store, Arc::clone(&clock) as _).await;
    clock.advance(1);
    let since = one.a_token("s.root", nowhere).await;
    clock.advance(90);
    for mood in [Mood::Away, Mood::Hanging] {
        store.is(mood);
        for _ in 0..2 {
            assert_eq!(two.use_of(&before).await.status, 200, "{mood:?}");
            assert_eq!(two.use_of(&since).await.status, 503, "{mood:?}");
        }
    }
    one.write_policy("nowhere", "deny").await;
    store.is(Mood::Deaf);
    assert_eq!(two.use_of(&before).await.status, 403, "it is heard again");
}

/// By that clock the token is from before the outage, and so would be the policy.
#[tokio::test]
async fn a_clock_that_is_behind_makes_no_denial_void_in_an_outage() {
    let (memory, clock) = (Arc::new(MemoryStore::new()), Arc::new(SetClock::default()));
    let behind = Arc::new(SetClock(AtomicU64::new(clock.unix_seconds() - 20)));
    let one = Api::sharing_by(&FaultyStore::new(&memory), Arc::clone(&behind) as _).await;
    let store = FaultyStore::new(&memory);
    store.is(Mood::Deaf);
    let two = Api::sharing_by(&store, Arc::clone(&clock) as _).await;
    store.is(Mood::Away);
    let advance = |seconds| {
        behind.advance(seconds);
        clock.advance(seconds);
    };
    advance(5);
    one.write_policy("no-seal", "deny").await;
    let denied = json!({ "policies": ["seal", "no-seal"], "type": "batch" });
    let denied = one.a_token("s.root", denied).await;
    advance(65);
    assert_eq!(two.use_of(&denied).await.status, 503);
    store.is(Mood::Deaf);
    assert_eq!(two.use_of(&denied).await.status, 403);
}

/// Nobody makes up one that opens.
#[tokio::test]
async fn batch_tokens_are_good_however_many_come_in_a_second_and_in_an_outage() {
    let (memory, clock) = (Arc::new(MemoryStore::new()), Arc::new(SetClock::default()));
    let one = Api::sharing_by(&FaultyStore::new(&memory), Arc::clone(&clock) as _).await;
    let nowhere = json!({ "policies": ["seal", "nowhere"], "type": "batch" });
    let mut tokens = Vec::new();
    for _ in 0..=LOOKS_PER_SECOND + 1 {
        tokens.push(one.a_token("s.root", nowhere.clone()).await);
    }
    clock.advance(40);
    let store = FaultyStore::new(&memory);
    store.is(Mood::Deaf);
    let two = Api::sharing_by(&store, Arc::clone(&clock) as _).await;
    let kept = tokens.pop().unwrap();
    for token in &tokens {
        let answer = two.use_of(token).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    clock.advance(90);
    store.is(Mood::Away);
    for _ in 0..=LOOKS_PER_SECOND {
        let answer = two.use_of(&kept).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_token_is_good_on_every_replica_though_its_ancestors_are_new_too() {
    let pair = Pair::after(&[]).await;
    let family = json!({ "policies": ["root"] });
    for kind in ["service", "batch"] {
        let oldest = pair.one.a_token("s.root", family.clone()).await;
        let parent = pair.one.a_token(&oldest, family.clone()).await;
        let child = json!({ "policies": ["seal"], "type": kind });
        let child = pair.one.a_token(&parent, child).await;
        let answer =
            pair.answer_of_two(&[Mood::Away], async |two: &Api| two.use_of(&child).await).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
        let revoked = json!({ "token": parent });
        pair.two.done("s.root", "POST", "auth/token/revoke", &revoked).await;
        assert_eq!(pair.two.use_of(&child).await.status, 403, "{kind}");
    }
}

#[tokio::test]
async fn a_token_whose_parent_is_new_too_is_looked_up_and_revoked_on_every_replica() {
    let pair = Pair::after(&[]).await;
    let parent = pair.one.a_token("s.root", json!({ "policies": ["root"] })).await;
    let child =
        json!({ "token": pair.one.a_token(&parent, json!({ "policies": ["seal"] })).await });
    let look = async |two: &Api| two.send("s.root", "POST", "auth/token/lookup", &child).await;
    let found = pair.answer_of_two(&[Mood::Away], look).await;
    assert_eq!(found.status, 200, "{}", found.text);
}

#[tokio::test]
async fn a_token_of_a_login_is_good_on_every_replica_though_the_mount_is_new_too() {
    for kind in ["service", "batch"] {
        let pair = Pair::after(&[]).await;
        for (method, path, body) in [mount(), role(&json!({ "token_type": kind }))] {
            pair.one.done("s.root", method, path, &body).await;
        }
        let login = pair.one.login("web-id", &pair.one.a_secret_id().await).await.json();
        let token = login["auth"]["client_token"].as_str().unwrap().to_owned();
        let ill = [Mood::Away, Mood::Unlisted];
        let answer = pair.answer_of_two(&ill, async |two: &Api| two.use_of(&token).await).await;
        assert_eq!(answer.status, 200, "{kind}: {}", answer.text);
    }
}

/// Whoever is told that a wrapping token is none takes it that somebody else has used it.
#[tokio::test]
async fn a_wrapping_token_is_good_on_every_replica_once() {
    let pair = Pair::after(&[]).await;
    for (by_itself, step) in
        [(true, "unwrap"), (false, "unwrap"), (true, "lookup"), (true, "rewrap")]
    {
        let request = Request::post("/v1/auth/token/create").header("x-vault-token", "s.root");
        let request = request.header("x-vault-wrap-ttl", "60s").body(Body::from("{}")).unwrap();
        let wrapped = pair.one.exchange(request).await.json();
        let token = wrapped["wrap_info"]["token"].as_str().unwrap().to_owned();
        let path = format!("sys/wrapping/{step}");
        let ask = async |two: &Api| match by_itself {
            true => two.send(&token, "POST", &path, "").await,
            false => two.send("s.root", "POST", &path, json!({ "token": token })).await,
        };
        let answer = pair.answer_of_two(&[Mood::Away], ask).await;
        assert_eq!(answer.status, 200, "{step} {by_itself}: {}", answer.text);
        let again = ask(&pair.two).await;
        assert_eq!(again.status.as_u16(), if step == "lookup" { 200 } else { 400 }, "{step}");
    }
}

#[tokio::test]
async fn a_secret_id_logs_in_on_every_replica_as_its_role_was_when_it_was_made() {
    let pair = Pair::after(&[mount(), role(&json!({}))]).await;
    let (method, path, narrowed) = role(&json!({ "token_policies": ["less"] }));
    pair.one.done("s.root", method, path, &narrowed).await;
    let secret = pair.one.a_secret_id().await;
    let ill = [Mood::Away, Mood::Unlisted];
    let login =
        pair.answer_of_two(&ill, async |two: &Api| two.login("web-id", &secret).await).await;
    assert_eq!(login.status, 200, "{}", login.text);
    assert_eq!(login.json()["auth"]["policies"], json!(["default", "less"]));
}

/// The token is the replica's own, so that nothing is looked for at its first use.
#[tokio::test]
async fn a_login_is_judged_by_the_policies_of_its_role_on_every_replica_though_they_are_new_too() {
    for (before, after, policies, status) in [
        (None, "update", &["some"][..], 200),
        (None, "deny", &["seal", "some"], 403),
        (Some("update"), "read", &["some"], 403),
    ] {
        let before = before.map(|before| ("POST", "sys/policies/acl/some", policy(before)));
        let pair = Pair::after(&[mount()].into_iter().chain(before).collect::<Vec<_>>()).await;
        pair.one.write_policy("some", after).await;
        let (method, path, body) = role(&json!({ "token_policies": policies }));
        pair.one.done("s.root", method, path, &body).await;
        let secret = pair.one.a_secret_id().await;
        let ill = [Mood::Away, Mood::Unlisted];
        let login =
            pair.answer_of_two(&ill, async |two: &Api| two.login("web-id", &secret).await).await;
        assert_eq!(login.status, 200, "{}", login.text);
        let token = login.json()["auth"]["client_token"].as_str().unwrap().to_owned();
        pair.store.is(Mood::Unlisted);
        assert_eq!(pair.two.use_of(&token).await.status, status, "{policies:?}, {after}");
    }
}

#[tokio::test]
async fn a_role_logs_in_on_every_replica_though_it_or_its_role_id_is_new_too() {
    let ill = [Mood::Away, Mood::Unlisted];
    let new_id = role(&json!({ "role_id": "new-id" }));
    let renamed = [role(&json!({})), new_id.clone()];
    for (before, after) in [(&[][..], &[new_id.clone()][..]), (&renamed[..1], &renamed[1..])] {
        let before: Vec<_> = [mount()].into_iter().chain(before.iter().cloned()).collect();
        let pair = Pair::after(&before).await;
        for (method, path, body) in after {
            pair.one.done("s.root", method, path, body).await;
        }
        let secret = pair.one.a_secret_id().await;
        let login =
            pair.answer_of_two(&ill, async |two: &Api| two.login("new-id", &secret).await).await;
        assert_eq!(login.status, 200, "{}", login.text);
    }
}

#[tokio::test]
async fn a_role_without_secret_ids_logs_in_on_every_replica_though_it_is_new() {
    let pair = Pair::after(&[mount()]).await;
    let open = json!({ "bind_secret_id": false, "secret_id_bound_cidrs": ["0.0.0.0/0", "::/0"] });
    let (method, path, body) = role(&open);
    pair.one.done("s.root", method, path, &body).await;
    let ill = [Mood::Away, Mood::Unlisted];
    let login = async |two: &Api| two.login("web-id", &json!("")).await;
    let login = pair.answer_of_two(&ill, login).await;
    assert_eq!(login.status, 200, "{}", login.text);
}

#[tokio::test]
async fn a_wrong_login_waits_for_the_store_whether_there_is_such_a_role_or_not() {
    let pair = Pair::after(&[mount(), role(&json!({}))]).await;
    for role_id in ["web-id", "other-id"] {
        for secret in ["wrong", ""] {
            let login = async |two: &Api| two.login(role_id, &json!(secret)).await;
            let refused = pair.answer_of_two(&[Mood::Away, Mood::Unlisted], login).await;
            assert_eq!(refused.status, 400, "{role_id} {secret}: {}", refused.text);
        }
    }
}

/// Whoever is told that it is done looks no further.
#[tokio::test]
async fn what_is_deleted_through_a_replica_that_has_not_heard_of_it_is_gone() {
    let uncertain = [Mood::Away];
    let role = json!({ "allowed_policies": "seal" });
    let pair = Pair::after(&[
        mount(),
        ("POST", "sys/auth/cert", json!({ "type": "cert" })),
        ("POST", "sys/auth/jwt", json!({ "type": "jwt" })),
    ])
    .await;
    let jwt = json!({ "role_type": "jwt", "user_claim": "sub", "bound_subject": "a" });
    let certificate = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let certificate = json!({ "certificate": certificate.cert.pem() });
    for (path, body) in [
        ("sys/policies/acl/some", policy("update")),
        ("auth/token/roles/some", role),
        ("auth/approle/role/some", json!({})),
        ("auth/jwt/role/some", jwt),
        ("auth/cert/certs/some", certificate),
        ("sys/auth/late", json!({ "type": "approle" })),
    ] {
        pair.one.done("s.root", "POST", path, &body).await;
        let delete = async |two: &Api| two.send("s.root", "DELETE", path, "").await;
        let answer = pair.answer_of_two(&uncertain, delete).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.text);
        let three = Api::sharing(&FaultyStore::new(&pair.store.inner)).await;
        let left = three.send("s.root", "GET", path, "").await;
        assert!(matches!(left.status.as_u16(), 400 | 404), "{path}: {}", left.text);
        let again = delete(&pair.two).await;
        assert_eq!(again.status, 204, "{path}: {}", again.text);
    }
}

/// The same text each time, as where a tool makes anew what it has on record.
fn secret_id() -> (&'static str, &'static str, Value) {
    let secret = json!({ "secret_id": "a secret that is known" });
    ("POST", "auth/approle/role/web/custom-secret-id", secret)
}

#[tokio::test]
async fn a_secret_id_is_destroyed_through_a_replica_that_has_not_heard_of_it() {
    let (role, gone) = (role(&json!({})), ("DELETE", "auth/approle/role/web", json!({})));
    let held = [mount(), role.clone(), secret_id()];
    for (what, before, after) in [
        ("new", &held[..2], vec![]),
        ("and so is its role", &held[..1], vec![role.clone()]),
        ("its role is another by now", &held[..], vec![gone, role]),
    ] {
        for (path, member) in
            [("secret-id", "secret_id"), ("secret-id-accessor", "secret_id_accessor")]
        {
            let pair = Pair::after(before).await;
            for (method, path, body) in &after {
                pair.one.done("s.root", method, path, body).await;
            }
            let (method, at, body) = secret_id();
            let made = pair.one.done("s.root", method, at, &body).await["data"].take();
            let named = json!({ member: made[member] });
            let path = format!("auth/approle/role/web/{path}/destroy");
            let destroy = async |two: &Api| two.send("s.root", "POST", &path, &named).await;
            let answer = pair.answer_of_two(&[Mood::Away, Mood::Unlisted], destroy).await;
            assert_eq!(answer.status, 204, "{what}, {member}: {}", answer.text);
            let three = Api::sharing(&FaultyStore::new(&pair.store.inner)).await;
            let login = three.login("web-id", &made["secret_id"]).await;
            assert_eq!(login.status, 400, "{what}, {member}");
            let again = destroy(&pair.two).await.status.as_u16();
            assert_eq!(again, if member == "secret_id" { 204 } else { 404 }, "{what}, {member}");
        }
    }
}

#[tokio::test]
async fn a_secret_id_is_found_on_every_replica_though_it_and_its_role_are_new() {
    for (path, member) in [("secret-id", "secret_id"), ("secret-id-accessor", "secret_id_accessor")]
    {
        let pair = Pair::after(&[mount()]).await;
        let (method, at, body) = role(&json!({}));
        pair.one.done("s.root", method, at, &body).await;
        let (method, at, body) = secret_id();
        let made = pair.one.done("s.root", method, at, &body).await["data"].take();
        let named = json!({ member: made[member] });
        let path = format!("auth/approle/role/web/{path}/lookup");
        let look = async |two: &Api| two.send("s.root", "POST", &path, &named).await;
        let found = pair.answer_of_two(&[Mood::Away, Mood::Unlisted], look).await;
        assert_eq!(found.status, 200, "{member}: {}", found.text);
        let accessor = &found.json()["data"]["secret_id_accessor"];
        assert_eq!(*accessor, made["secret_id_accessor"], "{member}");
        pair.store.is(Mood::Away);
        assert_eq!(look(&pair.two).await.status, 200, "{member}: it is held");
    }
}

#[tokio::test]
async fn a_field_of_a_role_is_reset_through_a_replica_that_has_not_heard_of_the_role() {
    let pair = Pair::after(&[mount()]).await;
    let (method, path, body) = role(&json!({}));
    pair.one.done("s.root", method, path, &body).await;
    let field = format!("{path}/policies");
    let reset = async |two: &Api| two.send("s.root", "DELETE", &field, "").await;
    let answer = pair.answer_of_two(&[Mood::Away], reset).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
    let three = Api::sharing(&FaultyStore::new(&pair.store.inner)).await;
    let left = three.send("s.root", "GET", path, "").await.json();
    assert_eq!(left["data"]["token_policies"], json!([]));
}

#[tokio::test]
async fn a_token_is_found_and_revoked_by_its_accessor_though_it_and_its_parent_are_new() {
    for step in ["lookup", "revoke"] {
        let pair = Pair::after(&[]).await;
        let parent = pair.one.a_token("s.root", json!({ "policies": ["root"] })).await;
        let wanted = json!({ "policies": ["seal"] });
        let made = pair.one.done(&parent, "POST", "auth/token/create", &wanted).await;
        let of = json!({ "accessor": made["auth"]["accessor"] });
        let path = format!("auth/token/{step}-accessor");
        let ask = async |two: &Api| two.send("s.root", "POST", &path, &of).await;
        let answer = pair.answer_of_two(&[Mood::Away, Mood::Unlisted], ask).await;
        assert!(answer.status.is_success(), "{step}: {}", answer.text);
        let three = Api::sharing(&FaultyStore::new(&pair.store.inner)).await;
        let token = made["auth"]["client_token"].as_str().unwrap();
        let status = if step == "revoke" { 403 } else { 200 };
        assert_eq!(three.use_of(token).await.status, status, "{step}");
        let none = json!({ "accessor": "none" });
        let none = pair.two.send("s.root", "POST", &path, none).await;
        assert_eq!(none.status, if step == "revoke" { 200 } else { 400 }, "{}", none.text);
    }
}
