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
use crate::kms::{self, Cloud, Kind, Mood, SimKms};
use crate::life::Life;
use crate::model::{Changes, Expected, Key, Model, Token};
use crate::seeds::{note, told};
use crate::server::{Answer, ROOT, Server, Site};
use crate::store::{self, SimStore};
use crate::world::SEALS;

const KEYS: [&str; 2] = ["k", "l"];
const POLICIES: [&str; 2] = ["p", "q"];
/// So many histories are run if nobody says how many.
const HISTORIES: u64 = 250;
/// What a token may live, and what passes at a time: a history whose steps add up to a life to the
/// second, which takes many, would not tell which of the two was over first.
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
    /// Their texts, in the model's order; so are the blobs.
    tokens: Vec<String>,
    blobs: Vec<Blob>,
    mistake: Option<Mistake>,
    /// The first answer that held another plaintext than its own, or one where there must be none.
    mixed_up: Option<String>,
}

/// What a client keeps, and what it must get back for it, in base64.
struct Blob {
    ciphertext: String,
    plaintext: String,
}

/// For controls: what the judge has wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    ForgetsRevocations,
    /// It takes each blob for the one before.
    MixesUpBlobs,
}

impl World {
    async fn new(mistake: Option<Mistake>) -> Self {
        let began = Instant::now();
        let road = |name| kms::Road::new(&Cloud::new(name, Kind::Remote), Chance::new(0, name));
        let mut model = Model::new();
        model.forgets_revocations = mistake == Some(Mistake::ForgetsRevocations);
        let mut world = Self {
            model,
            mistake,
            server: None,
            life: Life::new(),
            lives: 0,
            memory: Arc::new(MemoryStore::new()),
            roads: SEALS.map(road),
            clock: Arc::new(SimClock::new(began, 0)),
            began,
            tokens: vec![ROOT.to_owned()],
            blobs: Vec::new(),
            mixed_up: None,
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
        self.mixed_up.take().map_or(Ok(()), Err)
    }

    async fn ask(&mut self, step: &Step) -> Option<(Expected, Answer)> {
        match step {
            Step::Encrypt(..) | Step::Decrypt(..) | Step::Rewrap(..) => self.use_key(step).await,
            Step::WritePolicy(..) | Step::DeletePolicy(_) => Some(self.change_policy(step).await),
            Step::CreateToken { .. } => Some(self.create_token(step).await),
            Step::Revoke(_) | Step::LookUp(_) => self.ask_about_token(step).await,
            Step::Pass(_) | Step::Seal(..) | Step::Restart => {
                self.befall(step).await;
                None
            }
            of_key => Some(self.change_key(of_key).await),
        }
    }

    async fn change_key(&mut self, step: &Step) -> (Expected, Answer) {
        let (expected, method, path, body) = match step {
            Step::Create(key) => {
                let found = self.model.keys.entry(key).or_insert_with(Key::new);
                (Expected::Version(found.latest), "POST", (*key).to_owned(), json!({}))
            }
            Step::Read(key) => {
                let found = self.model.keys.get(key);
                let expected = found.map_or(Expected::Status(404), |k| Expected::Version(k.latest));
                (expected, "GET", (*key).to_owned(), Value::Null)
            }
            Step::Rotate(key) => {
                (self.model.rotate(key), "POST", format!("{key}/rotate"), json!({}))
            }
            Step::Configure(key, changes) => {
                let body = changes.body();
                (self.model.configure(key, *changes), "POST", format!("{key}/config"), body)
            }
            Step::Trim(key, least) => {
                let body = json!({ "min_available_version": least });
                (self.model.trim(key, *least), "POST", format!("{key}/trim"), body)
            }
            Step::Delete(key) => (self.model.delete(key), "DELETE", (*key).to_owned(), Value::Null),
            other => unreachable!("{other:?} changes no key"),
        };
        (expected, self.send(0, method, &format!("transit/keys/{path}"), body).await)
    }

    async fn use_key(&mut self, step: &Step) -> Option<(Expected, Answer)> {
        if let Step::Encrypt(by, key, version) = step {
            let by = self.token(*by);
            let expected = self.model.encrypt(by, key, *version);
            let plaintext = format!("{:04}", self.blobs.len());
            let body = json!({ "plaintext": plaintext, "key_version": version });
            let answer = self.send(by, "POST", &format!("transit/encrypt/{key}"), body).await;
            self.keep(&answer, plaintext);
            return Some((expected, answer));
        }
        let (Step::Decrypt(by, blob) | Step::Rewrap(by, blob)) = step else { return None };
        let (by, blob) = (self.token(*by), self.blob(*blob)?);
        let key = self.model.blobs[blob].0;
        let (expected, what) = match step {
            Step::Decrypt(..) => (self.model.decrypt(by, blob), "decrypt"),
            _ => (self.model.rewrap(by, blob), "rewrap"),
        };
        let body = json!({ "ciphertext": self.blobs[blob].ciphertext });
        let answer = self.send(by, "POST", &format!("transit/{what}/{key}"), body).await;
        let is_opened = what == "decrypt" && answer.is_ok();
        let told = answer.data("plaintext").as_str();
        if told != is_opened.then(|| self.plaintext_of(blob)) {
            self.mixed_up = Some(format!("another plaintext: {step:?}: {answer:?}"));
        }
        self.keep(&answer, self.blobs[blob].plaintext.clone());
        Some((expected, answer))
    }

    fn keep(&mut self, answer: &Answer, plaintext: String) {
        if let Some(ciphertext) = answer.data("ciphertext").as_str() {
            self.blobs.push(Blob { ciphertext: ciphertext.to_owned(), plaintext });
        }
    }

    fn plaintext_of(&self, blob: usize) -> &str {
        match self.mistake {
            Some(Mistake::MixesUpBlobs) => &self.blobs[blob.saturating_sub(1)].plaintext,
            _ => &self.blobs[blob].plaintext,
        }
    }

    async fn change_policy(&mut self, step: &Step) -> (Expected, Answer) {
        let (name, method, body) = match step {
            Step::WritePolicy(name, keys) => {
                let rule = |key: &&str| {
                    format!("path \"transit/+/{key}\" {{ capabilities = [\"update\"] }}\n")
                };
                let rules: String = keys.iter().map(rule).collect();
                let create = "path \"auth/token/create\" { capabilities = [\"update\"] }";
                self.model.policies.insert(name, keys.iter().copied().collect());
                (name, "POST", json!({ "policy": format!("{rules}{create}") }))
            }
            Step::DeletePolicy(name) => {
                self.model.policies.remove(name);
                (name, "DELETE", Value::Null)
            }
            other => unreachable!("{other:?} changes no policy"),
        };
        (Expected::Done, self.send(0, method, &format!("sys/policies/acl/{name}"), body).await)
    }

    async fn create_token(&mut self, step: &Step) -> (Expected, Answer) {
        let Step::CreateToken { policy, parent, ttl, uses } = step else {
            unreachable!("{step:?} makes no token")
        };
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
        (expected, answer)
    }

    async fn ask_about_token(&mut self, step: &Step) -> Option<(Expected, Answer)> {
        match step {
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
            other => unreachable!("{other:?} is about no token"),
        }
    }

    async fn befall(&mut self, step: &Step) {
        match step {
            Step::Pass(seconds) => sleep(Duration::from_secs(*seconds)).await,
            Step::Seal(seal, is_up) => {
                self.model.is_up[*seal] = *is_up;
                self.roads[*seal].is(if *is_up { Mood::Well } else { Mood::Away });
                // Until it is known again to be well.
                sleep(Duration::from_secs(94)).await;
            }
            _ => {
                self.model.is_up = [true; 2];
                self.roads.iter().for_each(|road| road.is(Mood::Well));
                self.restart().await;
            }
        }
    }
}

impl Changes {
    fn body(&self) -> Value {
        let mut body = json!({});
        let mut set = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body[name] = value;
            }
        };
        set("min_decryption_version", self.min_decryption.map(Value::from));
        set("min_encryption_version", self.min_encryption.map(Value::from));
        set("deletion_allowed", self.deletion_allowed.map(Value::from));
        body
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
fn histories(cases: u32, mistake: Option<Mistake>) -> Result<(), String> {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let history = proptest::collection::vec(step(), 1..60);
    let ran = TestRunner::new(config).run(&history, |steps| {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new(mistake).await;
            for step in &steps {
                world.take(step).await.map_err(TestCaseError::fail)?;
            }
            Ok(())
        })
    });
    ran.map_err(|failed| failed.to_string())
}

#[test]
fn whole_histories_of_a_server_are_as_the_model_has_them() {
    let cases = u32::try_from(told("SELKIE_HISTORIES").unwrap_or(HISTORIES)).unwrap();
    if let Err(failed) = histories(cases, None) {
        panic!("{failed}");
    }
    note(&format!(
        "evidence: whole histories of a server are as a model of a few maps has them | \
         SELKIE_HISTORIES={cases} cargo test -p selkie-simulation -- --nocapture | {cases} histories \
         of up to 60 steps, every answer and plaintext compared | a model that forgets revocations and \
         one that mixes up ciphertexts are each found wrong"
    ));
}

#[test]
fn a_model_that_forgets_revocations_is_found_wrong() {
    let failed = histories(500, Some(Mistake::ForgetsRevocations)).unwrap_err();
    assert!(failed.contains("Revoke"), "{failed}");
}

#[test]
fn a_model_that_mixes_up_ciphertexts_is_found_wrong() {
    let failed = histories(500, Some(Mistake::MixesUpBlobs)).unwrap_err();
    assert!(failed.contains("another plaintext"), "{failed}");
}
