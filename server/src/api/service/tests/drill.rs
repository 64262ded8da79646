//! Drills, through the API, on two seals of which one may be in trouble.

use std::borrow::Cow;

use selkie_crypto::envelope::{Aad, Draft, Header, Purpose};
use selkie_crypto::{RecipientSecret, StateKey, os_random};
use selkie_kms::{Call as KmsCall, ClientTag, Fault, KmsError};
use selkie_storage::{MemoryStore, RecordValue, Store, Write};
use tokio::time::{Instant, sleep};

use super::*;
use crate::backup::Source;
use crate::metrics::Metrics;
use crate::seal::tests::Site;
use crate::seal::{SealCall, Seals};

type MakeFault = fn() -> Fault<Arc<RecipientSecret>>;

const STEP: &str = "sys/drill/key/transit/unseal";

async fn node_on_two(weu: &Site, neu: &Site) -> Node {
    let mut config = config();
    config.seals.clear();
    config.keys[0].seals = ["neu", "weu"].map(|name| SealName::new(name).unwrap()).to_vec();
    let rule = r#"path "sys/drill/*" { capabilities = ["update", "list"] }"#;
    let policy = Policy::parse("drills".parse().unwrap(), "drills.hcl", rule).unwrap();
    config.policies.push(policy);
    config.clients.push(client("half", "drills", None));
    let seals = Seals::new(vec![weu.seal("weu"), neu.seal("neu")]);
    let deployment = Deployment::assemble(config, seals).unwrap();
    let clock = Arc::new(crate::clock::SystemClock);
    let node = Node::begin(deployment, crate::transit::ManagedKeys::without_store(), clock).await;
    sleep(Duration::from_secs(1)).await;
    node
}

/// Seal and outcome of each result.
fn outcomes(answer: &Answer) -> Vec<(String, String)> {
    let results = answer.json()["data"]["results"].clone();
    let text = |result: &Value, member: &str| result[member].as_str().unwrap().to_owned();
    let results = results.as_array().unwrap();
    results.iter().map(|one| (text(one, "seal"), text(one, "outcome"))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(seal, outcome)| ((*seal).into(), (*outcome).into())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_drill_asks_each_kms_and_is_remembered() {
    let (weu, neu) = (Site::new(), Site::new());
    let api = Api::on(node_on_two(&weu, &neu).await);
    let plan = api.send("s.root", "LIST", "sys/drill", "").await.json();
    assert_eq!(plan["data"]["keys"], json!(["key/transit/unseal"]));
    assert_eq!(plan["data"]["untried_seals"], json!([]));
    let status = async || api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
    assert_eq!(status().await["drill"], Value::Null);
    let metrics = async || api.send("s.root", "GET", "sys/metrics", "").await.text;
    assert!(!metrics().await.contains("selkie_drill_ok"));
    let calls = || (weu.faults.on_unwrap().calls(), neu.faults.on_unwrap().calls());
    let before = calls();
    let done = api.send("s.root", "POST", STEP, "").await;
    assert_eq!(outcomes(&done), pairs(&[("neu", "ok"), ("weu", "ok")]), "{}", done.text);
    assert_eq!(done.json()["data"]["ok"], true);
    assert_eq!(calls(), (before.0 + 1, before.1 + 1));
    assert_eq!(status().await["drill"]["ok"], true);
    let text = metrics().await;
    assert!(text.contains("selkie_drill_ok 1\n"), "{text}");
    assert!(text.contains("selkie_drill_age_seconds "), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_seal_in_trouble_is_named_and_the_other_is_tried_all_the_same() {
    let faults: [(MakeFault, &str); 5] = [
        (|| Fault::fail(KmsError::Unavailable(None)), "unavailable"),
        (|| Fault::fail(KmsError::Denied(None)), "denied"),
        (|| Fault::fail(KmsError::UnknownKek(None)), "unknown_kek"),
        (Fault::other_secret, "refused"),
        (Fault::hang, "timed_out"),
    ];
    for (fault, outcome) in faults {
        let (weu, neu) = (Site::new(), Site::new());
        let api = Api::on(node_on_two(&weu, &neu).await);
        neu.faults.on_unwrap().always(fault());
        let began = Instant::now();
        let done = api.send("s.root", "POST", STEP, "").await;
        assert!(began.elapsed() < Duration::from_secs(20));
        assert_eq!(outcomes(&done), pairs(&[("neu", outcome), ("weu", "ok")]), "{}", done.text);
        let failed = &done.json()["data"]["results"][0];
        assert_eq!(
            (&failed["key"], failed["reason"].is_string()),
            (&json!("transit/unseal"), true)
        );
        let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
        assert_eq!(status["drill"]["failed_seals"], json!(["neu"]));
        let text = api.send("s.root", "GET", "sys/metrics", "").await.text;
        assert!(text.contains("selkie_drill_ok 0\n"), "{text}");
        neu.faults.on_unwrap().clear();
        let again = api.send("s.root", "POST", STEP, "").await;
        assert_eq!(again.json()["data"]["ok"], true, "{}", again.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_nobody_described_keeps_no_other_from_being_tried() {
    let (weu, neu) = (Site::new(), Site::new());
    neu.faults.on_describe().always(Fault::fail(KmsError::Denied(None)));
    let api = Api::on(node_on_two(&weu, &neu).await);
    let done = api.send("s.root", "POST", STEP, "").await;
    assert_eq!(outcomes(&done), pairs(&[("neu", "denied"), ("weu", "ok")]), "{}", done.text);
    assert!(done.json()["data"]["results"][0]["advice"].is_string());
}

#[tokio::test(start_paused = true)]
async fn a_drill_needs_sudo_and_a_step_that_there_is() {
    let (weu, neu) = (Site::new(), Site::new());
    let api = Api::on(node_on_two(&weu, &neu).await);
    for token in ["", "s.vault", "s.half"] {
        let refused = api.send(token, "POST", STEP, "").await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{token}");
    }
    assert_eq!(api.send("s.half", "LIST", "sys/drill", "").await.status, StatusCode::OK);
    assert_eq!(api.send("s.vault", "LIST", "sys/drill", "").await.status, StatusCode::FORBIDDEN);
    for step in ["state", "key/transit/none", "key/nowhere/unseal"] {
        let answer = api.send("s.root", "POST", &format!("sys/drill/{step}"), "").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{step}");
    }
}

fn state_key() -> StateKey {
    StateKey::init_with(|bytes| os_random(bytes).unwrap()).unwrap()
}

/// A store with `key` in an envelope for those of the seals of `node` that are called `names`.
async fn store_with(key: &StateKey, node: &Node, names: &[&str]) -> Arc<dyn Store> {
    let draft = Draft::new(&os_random).unwrap();
    let deadline = Instant::now() + Duration::from_secs(1);
    let call = KmsCall { client: ClientTag::SELKIE, deadline };
    let asked = SealCall { now: node.clock().unix_seconds(), call, metrics: &Metrics::new() };
    let mut recipients = Vec::new();
    for seal in node.deployment().seals.iter() {
        if names.contains(&seal.name().as_str()) {
            let kek = seal.current_kek().unwrap().kek;
            recipients.push(seal.wrap(draft.part(0).unwrap(), &kek, asked).await.unwrap());
        }
    }
    let header = Header {
        purpose: Purpose::State,
        realm: Cow::Borrowed("test"),
        mount: Cow::Borrowed("state"),
        key: Cow::Borrowed("state-key"),
        version: KeyVersion::FIRST,
        created: 0,
    };
    let aad = Aad { associated_data: &[], context: &[] };
    let json = draft.encrypt(&header, aad, key.to_plaintext(), &recipients, None).unwrap();
    let record = Write::Put("state-key".parse().unwrap(), RecordValue::new(json).unwrap());
    let store = MemoryStore::default();
    store.commit(&[], &[record]).await.unwrap();
    Arc::new(store)
}

async fn offer_state(node: &Node, names: &[&str]) {
    let key = state_key();
    let store = store_with(&key, node, names).await;
    node.offer_backups(Source { store, state_key: Arc::new(key) });
}

#[tokio::test(start_paused = true)]
async fn the_state_key_is_opened_through_each_seal_alone() {
    let (weu, neu) = (Site::new(), Site::new());
    let node = node_on_two(&weu, &neu).await;
    offer_state(&node, &["weu", "neu"]).await;
    let api = Api::on(node);
    let plan = api.send("s.root", "LIST", "sys/drill", "").await.json();
    assert_eq!(plan["data"]["keys"], json!(["state", "key/transit/unseal"]));
    let drill = async || api.send("s.root", "POST", "sys/drill/state", "").await;
    assert_eq!(outcomes(&drill().await), pairs(&[("neu", "ok"), ("weu", "ok")]));
    let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
    assert_eq!(status["drill"], Value::Null, "a drill is all of its steps");
    weu.faults.on_unwrap().always(Fault::fail(KmsError::Unavailable(None)));
    assert_eq!(outcomes(&drill().await), pairs(&[("neu", "ok"), ("weu", "unavailable")]));
}

#[tokio::test(start_paused = true)]
async fn a_seal_that_the_state_key_is_not_wrapped_for_fails_the_drill() {
    let (weu, neu) = (Site::new(), Site::new());
    let node = node_on_two(&weu, &neu).await;
    offer_state(&node, &["weu"]).await;
    let done = Api::on(node).send("s.root", "POST", "sys/drill/state", "").await;
    assert_eq!(outcomes(&done), pairs(&[("neu", "not_a_recipient"), ("weu", "ok")]));
}

#[tokio::test(start_paused = true)]
async fn an_envelope_of_another_state_key_fails_the_drill() {
    let (weu, neu) = (Site::new(), Site::new());
    let node = node_on_two(&weu, &neu).await;
    let store = store_with(&state_key(), &node, &["weu", "neu"]).await;
    node.offer_backups(Source { store, state_key: Arc::new(state_key()) });
    let done = Api::on(node).send("s.root", "POST", "sys/drill/state", "").await;
    let expected = pairs(&[("neu", "other_plaintext"), ("weu", "other_plaintext")]);
    assert_eq!(outcomes(&done), expected, "{}", done.text);
}

#[tokio::test(start_paused = true)]
async fn a_drill_without_its_state_is_no_success() {
    let (weu, neu) = (Site::new(), Site::new());
    let node = node_on_two(&weu, &neu).await;
    node.tell_state(crate::state::StateStatus::Opening);
    let api = Api::on(node);
    let refused = api.send("s.root", "POST", "sys/drill/state", "").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{}", refused.text);
    api.send("s.root", "POST", STEP, "").await;
    let status = api.send("s.root", "GET", "sys/seal-backend-status", "").await.json();
    assert_eq!(status["drill"]["ok"], false, "{status}");
}
