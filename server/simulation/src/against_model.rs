//! Whole histories of one server, through its real router, against the model.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use selkie_kms::Kms;
use selkie_storage::MemoryStore;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::clock::SimClock;
use crate::kms::{self, Cloud, Mood, SimKms};
use crate::life::Life;
use crate::model::{Changes, Expected, Key, Model, Token};
use crate::seeds::told;
use crate::server::{Answer, ROOT, Server, Site};
use crate::store::{self, SimStore};
use crate::world::SEALS;

const KEYS: [&str; 2] = ["k", "l"];
const POLICIES: [&str; 2] = ["p", "q"];
/// So many histories are run if nobody says how many.
const HISTORIES: u64 = 250;
/// What a token may live, and what passes at a time: no sum of the second comes near the first.
const TTLS: [u64; 2] = [300, 1000];
const PAUSES: [u64; 2] = [47, 409];

/// Tokens and blobs are counted from behind, so that histories shrink well.
#[derive(Clone, Debug)]
enum Step {
    Create(&'static str),
    Read(&'static str),
    Rotate(&'static str),
    Configure(&'static str, Changes),
    Trim(&'static str, u32),
    Delete(&'static str),
    Encrypt(usize, &'static str, u32),
    Decrypt(usize, usize),
    Rewrap(usize, usize),
    WritePolicy(&'static str, Vec<&'static str>),
    DeletePolicy(&'static str),
    CreateToken { policy: &'static str, parent: usize, ttl: Option<u64>, uses: Option<u32> },
    Revoke(usize),
    LookUp(usize),
    Pass(u64),
    Seal(usize, bool),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || proptest::sample::select(&KEYS[..]);
    let policy = || proptest::sample::select(&POLICIES[..]);
    let (token, blob) = (|| 0..6_usize, || 0..6_usize);
    let version = || proptest::option::of(0..4_u32);
    let changes = (version(), version(), proptest::option::of(any::<bool>())).prop_map(
        |(min_decryption, min_encryption, deletion_allowed)| Changes {
            min_decryption,
            min_encryption,
            deletion_allowed,
        },
    );
    let ttl = proptest::option::of(proptest::sample::select(&TTLS[..]));
    let made = (policy(), token(), ttl, proptest::option::weighted(0.3, 1..4_u32));
    let some_keys = proptest::sample::subsequence(&KEYS[..], 0..=2);
    prop_oneof![
        3 => key().prop_map(Step::Create),
        1 => key().prop_map(Step::Read),
        4 => key().prop_map(Step::Rotate),
        4 => (key(), changes).prop_map(|(key, changes)| Step::Configure(key, changes)),
        2 => (key(), 0..4_u32).prop_map(|(key, least)| Step::Trim(key, least)),
        1 => key().prop_map(Step::Delete),
        8 => (token(), key(), 0..4_u32).prop_map(|(by, key, v)| Step::Encrypt(by, key, v / 2)),
        8 => (token(), blob()).prop_map(|(by, blob)| Step::Decrypt(by, blob)),
        3 => (token(), blob()).prop_map(|(by, blob)| Step::Rewrap(by, blob)),
        3 => (policy(), some_keys).prop_map(|(policy, keys)| Step::WritePolicy(policy, keys)),
        1 => policy().prop_map(Step::DeletePolicy),
        5 => made.prop_map(|(policy, parent, ttl, uses)| {
            Step::CreateToken { policy, parent, ttl, uses }
        }),
        2 => token().prop_map(Step::Revoke),
        2 => token().prop_map(Step::LookUp),
        2 => proptest::sample::select(&PAUSES[..]).prop_map(Step::Pass),
        2 => (0..2_usize, any::<bool>()).prop_map(|(seal, is)| Step::Seal(seal, is)),
        1 => Just(Step::Restart),
    ]
}

struct World {
    model: Model,
    server: Option<Server>,
    life: Life,
    lives: u64,
    memory: Arc<MemoryStore>,
    roads: [Arc<kms::Road>; 2],
    clock: Arc<SimClock>,
    began: Instant,
    /// Their texts, in the model's order; so are the ciphertexts.
    tokens: Vec<String>,
    blobs: Vec<String>,
}

impl World {
    async fn new() -> Self {
        let began = Instant::now();
        let road = |name| kms::Road::new(&Cloud::new(name), Chance::new(0, name));
        let mut world = Self {
            model: Model::new(),
            server: None,
            life: Life::new(),
            lives: 0,
            memory: Arc::new(MemoryStore::new()),
            roads: SEALS.map(road),
            clock: Arc::new(SimClock::new(began, 0)),
            began,
            tokens: vec![ROOT.to_owned()],
            blobs: Vec::new(),
        };
        world.restart().await;
        world
    }

    async fn restart(&mut self) {
        self.life.end();
        self.life = Life::new();
        self.lives += 1;
        let seal = |kms: usize| {
            (SEALS[kms], SimKms::new(&self.roads[kms], &self.life) as Arc<dyn Kms>, false)
        };
        let site = Site {
            seals: vec![seal(0), seal(1)],
            generation: 0,
            store: SimStore::new(&store::Road::new(Arc::clone(&self.memory), 0, 0), &self.life),
            clock: Arc::clone(&self.clock) as _,
            chance: Chance::new(self.lives, "server"),
            life: self.life.clone(),
        };
        self.server = Some(Server::start(site).await);
        sleep(Duration::from_secs(3)).await;
    }

    async fn send(&self, by: usize, method: &str, path: &str, body: Value) -> Answer {
        self.server.as_ref().unwrap().send(&self.tokens[by], method, path, body).await
    }

    fn token(&self, from_behind: usize) -> usize {
        (self.tokens.len() - 1).saturating_sub(from_behind)
    }

    fn blob(&self, from_behind: usize) -> Option<usize> {
        self.blobs.len().checked_sub(1 + from_behind)
    }

    async fn take(&mut self, step: &Step) -> Result<(), String> {
        self.model.now = self.began.elapsed().as_secs();
        let Some((expected, answer)) = self.ask(step).await else { return Ok(()) };
        let is_as_expected = match expected {
            Expected::Done => answer.is_ok(),
            Expected::Status(status) => answer.status == status,
            Expected::Version(version) => answer.is_ok() && version_in(&answer) == Some(version),
        };
        if !is_as_expected {
            return Err(format!("{step:?}: expected {expected:?}, is {answer:?}"));
        }
        if let Some(ciphertext) = answer.data("ciphertext").as_str() {
            self.blobs.push(ciphertext.to_owned());
        }
        Ok(())
    }

    async fn ask(&mut self, step: &Step) -> Option<(Expected, Answer)> {
        let key_path = |key: &str, rest: &str| format!("transit/keys/{key}{rest}");
        Some(match step {
            Step::Create(key) => {
                self.model.keys.entry(key).or_insert_with(Key::new);
                let expected = Expected::Version(self.model.keys[key].latest);
                (expected, self.send(0, "POST", &key_path(key, ""), json!({})).await)
            }
            Step::Read(key) => {
                let found = self.model.keys.get(key);
                let expected =
                    found.map_or(Expected::Status(404), |key| Expected::Version(key.latest));
                (expected, self.send(0, "GET", &key_path(key, ""), Value::Null).await)
            }
            Step::Rotate(key) => {
                let expected = self.model.rotate(key);
                (expected, self.send(0, "POST", &key_path(key, "/rotate"), json!({})).await)
            }
            Step::Configure(key, changes) => {
                let mut body = json!({});
                let mut set = |name: &str, value: Option<Value>| {
                    if let Some(value) = value {
                        body[name] = value;
                    }
                };
                set("min_decryption_version", changes.min_decryption.map(Value::from));
                set("min_encryption_version", changes.min_encryption.map(Value::from));
                set("deletion_allowed", changes.deletion_allowed.map(Value::from));
                let expected = self.model.configure(key, *changes);
                (expected, self.send(0, "POST", &key_path(key, "/config"), body).await)
            }
            Step::Trim(key, least) => {
                let body = json!({ "min_available_version": least });
                let expected = self.model.trim(key, *least);
                (expected, self.send(0, "POST", &key_path(key, "/trim"), body).await)
            }
            Step::Delete(key) => {
                let expected = self.model.delete(key);
                (expected, self.send(0, "DELETE", &key_path(key, ""), Value::Null).await)
            }
            Step::Encrypt(by, key, version) => {
                let by = self.token(*by);
                let expected = self.model.encrypt(by, key, *version);
                let body = json!({ "plaintext": "YQ==", "key_version": version });
                (expected, self.send(by, "POST", &format!("transit/encrypt/{key}"), body).await)
            }
            Step::Decrypt(by, blob) => {
                let (by, blob) = (self.token(*by), self.blob(*blob)?);
                let key = self.model.blobs[blob].0;
                let expected = self.model.decrypt(by, blob);
                let body = json!({ "ciphertext": self.blobs[blob] });
                let path = format!("transit/decrypt/{key}");
                let answer = self.send(by, "POST", &path, body).await;
                assert!(!answer.is_ok() || *answer.data("plaintext") == "YQ==");
                (expected, answer)
            }
            Step::Rewrap(by, blob) => {
                let (by, blob) = (self.token(*by), self.blob(*blob)?);
                let key = self.model.blobs[blob].0;
                let expected = self.model.rewrap(by, blob);
                let body = json!({ "ciphertext": self.blobs[blob] });
                (expected, self.send(by, "POST", &format!("transit/rewrap/{key}"), body).await)
            }
            other => return self.ask_about_tokens(other).await,
        })
    }

    async fn ask_about_tokens(&mut self, step: &Step) -> Option<(Expected, Answer)> {
        match step {
            Step::WritePolicy(name, keys) => {
                let rule = |key: &&str| {
                    format!("path \"transit/+/{key}\" {{ capabilities = [\"update\"] }}\n")
                };
                let rules: String = keys.iter().map(rule).collect();
                let create = "path \"auth/token/create\" { capabilities = [\"update\"] }";
                let body = json!({ "policy": format!("{rules}{create}") });
                self.model.policies.insert(name, keys.iter().copied().collect());
                let path = format!("sys/policies/acl/{name}");
                Some((Expected::Done, self.send(0, "POST", &path, body).await))
            }
            Step::DeletePolicy(name) => {
                self.model.policies.remove(name);
                let path = format!("sys/policies/acl/{name}");
                Some((Expected::Done, self.send(0, "DELETE", &path, Value::Null).await))
            }
            Step::CreateToken { policy, parent, ttl, uses } => {
                let by = self.token(*parent);
                let policy = self.model.tokens[by].policy.unwrap_or(policy);
                let mut body = json!({ "policies": [policy] });
                if let Some(ttl) = ttl {
                    body["ttl"] = json!(format!("{ttl}s"));
                }
                if let Some(uses) = uses {
                    body["num_uses"] = json!(uses);
                }
                let ends = ttl.map(|ttl| self.model.now + ttl);
                let (policy, uses_left, parent) = (Some(policy), *uses, (by != 0).then_some(by));
                let token = Token { policy, parent, ends, uses_left, is_gone: false };
                let expected = self.model.create_token(by, token);
                let answer = self.send(by, "POST", "auth/token/create", body).await;
                if let Some(text) = answer.json["auth"]["client_token"].as_str() {
                    self.tokens.push(text.to_owned());
                }
                Some((expected, answer))
            }
            Step::Revoke(token) => {
                let token = self.token(*token);
                if token == 0 {
                    return None;
                }
                self.model.revoke(token);
                let body = json!({ "token": self.tokens[token] });
                Some((Expected::Done, self.send(0, "POST", "auth/token/revoke", body).await))
            }
            Step::LookUp(token) => {
                let token = self.token(*token);
                let expected = match self.model.admit(token) {
                    true => Expected::Done,
                    false => Expected::Status(403),
                };
                let path = "auth/token/lookup-self";
                Some((expected, self.send(token, "GET", path, Value::Null).await))
            }
            Step::Pass(seconds) => {
                sleep(Duration::from_secs(*seconds)).await;
                None
            }
            Step::Seal(seal, is_up) => {
                self.model.is_up[*seal] = *is_up;
                self.roads[*seal].is(if *is_up { Mood::Well } else { Mood::Away });
                // Until it is known again to be well.
                sleep(Duration::from_secs(94)).await;
                None
            }
            _ => {
                self.model.is_up = [true; 2];
                self.roads.iter().for_each(|road| road.is(Mood::Well));
                self.restart().await;
                None
            }
        }
    }
}

/// The version of the ciphertext, or the latest of the key.
fn version_in(answer: &Answer) -> Option<u32> {
    if let Some(latest) = answer.data("latest_version").as_u64() {
        return u32::try_from(latest).ok();
    }
    let ciphertext = answer.data("ciphertext").as_str()?;
    ciphertext.strip_prefix("vault:v")?.split(':').next()?.parse().ok()
}

/// Runs so many histories, and what the first one is that is not as the model has it.
fn histories(cases: u32, forgets_revocations: bool) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let history = proptest::collection::vec(step(), 1..60);
    let ran = TestRunner::new(config).run(&history, |steps| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            world.model.forgets_revocations = forgets_revocations;
            for step in &steps {
                world.take(step).await.map_err(TestCaseError::fail)?;
            }
            Ok(())
        })
    });
    ran.map_err(|failed| failed.to_string())
}

#[test]
#[expect(clippy::print_stdout, reason = "what `make proof` collects")]
fn whole_histories_of_a_server_are_as_the_model_has_them() {
    let cases = u32::try_from(told("SELKIE_HISTORIES").unwrap_or(HISTORIES)).unwrap();
    if let Err(failed) = histories(cases, false) {
        panic!("{failed}");
    }
    println!(
        "evidence: whole histories of a server are as a model of a few maps has them | \
         SELKIE_HISTORIES={cases} cargo test -p selkie-simulation -- --nocapture | {cases} histories \
         of up to 60 steps, every answer compared | a model that forgets revocations is found wrong"
    );
}

#[test]
fn a_model_that_forgets_revocations_is_found_wrong() {
    let failed = histories(500, true).unwrap_err();
    assert!(failed.contains("Revoke"), "{failed}");
}
