//! A key that takes another server's over, through the API.

use super::*;
use crate::seal::Seals;
use crate::seal::tests::Site;
use crate::takeover::Takeovers;
use crate::takeover::tests::{FakeServer, foreign, old_key};

async fn node_taking_over(server: &Arc<FakeServer>) -> Node {
    let mut config = config();
    config.seals.clear();
    config.keys[0].seals = vec![SealName::new("weu").unwrap()];
    let seals = Seals::new(vec![Site::without_data_dir().seal("weu")]);
    let mut deployment = Deployment::assemble(config, seals).unwrap();
    deployment.takeovers = Takeovers::new(vec![old_key(server, None)]);
    let clock = Arc::new(crate::clock::SystemClock);
    let node = Node::begin(deployment, crate::transit::ManagedKeys::without_store(), clock).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    node
}

fn body(ciphertext: &str) -> String {
    json!({ "ciphertext": ciphertext }).to_string()
}

#[tokio::test(start_paused = true)]
async fn what_each_client_opens_is_told_to_those_alone_who_may_read_it() {
    let server = Arc::<FakeServer>::default();
    *server.newest.lock().unwrap() = Some(3);
    let api = Api::on(node_taking_over(&server).await);
    let opened =
        api.send("s.vault", "PUT", "transit/decrypt/unseal", &body(&foreign(3, "x"))).await;
    assert_eq!(opened.json()["data"]["plaintext"], "eA==", "{}", opened.text);
    let refused = api.send("s.vault", "GET", "sys/takeover", "").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let told = api.send("s.root", "GET", "sys/takeover", "").await.json();
    let takeover = &told["data"]["takeovers"][0];
    assert_eq!(takeover["key"], "transit/unseal");
    assert_eq!(
        (&takeover["old_version"], &takeover["old_version_source"]),
        (&json!(3), &json!("read"))
    );
    assert_eq!(takeover["reencrypts"], false, "ours is version 1");
    let client = &takeover["clients"][0];
    assert_eq!((&client["client"], &client["foreign"]), (&json!("vault"), &json!(1)));
    assert_eq!(client["last_foreign"]["version"], 3);
    assert_eq!(told["data"]["kept_in"], "memory");
}

#[tokio::test(start_paused = true)]
async fn a_rewrap_of_a_foreign_ciphertext_makes_an_envelope_of_ours() {
    let server = Arc::<FakeServer>::default();
    let api = Api::on(node_taking_over(&server).await);
    let made = api.send("s.root", "PUT", "transit/rewrap/unseal", &body(&foreign(3, "x"))).await;
    let ours = made.json()["data"]["ciphertext"].as_str().unwrap().to_owned();
    assert!(ours.starts_with("vault:v1:eyJ"), "{ours}");
    *server.fault.lock().unwrap() = Some(selkie_kms::KmsError::Unavailable(None));
    let opened = api.send("s.root", "PUT", "transit/decrypt/unseal", &body(&ours)).await;
    assert_eq!(opened.json()["data"]["plaintext"], "eA==", "{}", opened.text);
    let away = api.send("s.root", "PUT", "transit/decrypt/unseal", &body(&foreign(3, "x"))).await;
    assert_eq!(away.status, StatusCode::SERVICE_UNAVAILABLE);
}

/// No audit device is declared: what was opened is told to those who watch all the same, and once.
#[tokio::test(start_paused = true)]
async fn what_was_opened_before_the_client_hung_up_is_told_without_audit_too() {
    let server = Arc::<FakeServer>::default();
    *server.hangs.lock().unwrap() = true;
    let node = Arc::new(node_taking_over(&server).await);
    let in_flight = InFlight::new(8, Duration::ZERO);
    let api = Api(router(Arc::clone(&node), BodyLimits::default(), in_flight));
    let ours = json!({ "ciphertext": api.encrypt("unseal").await });
    let mut watch = node.audit().events().watch();
    let decrypt = |items: Value| {
        let body = json!({ "batch_input": items });
        api.send("s.vault", "PUT", "transit/decrypt/unseal", body)
    };
    assert_eq!(decrypt(json!([ours, ours])).await.status, StatusCode::OK);
    let theirs = json!({ "ciphertext": foreign(3, "x") });
    let patience = Duration::from_secs(1);
    tokio::time::timeout(patience, decrypt(json!([ours, theirs]))).await.err().unwrap();
    for expected in [(200, 2), (0, 1)] {
        let told = tokio::time::timeout(patience, watch.next()).await.unwrap().unwrap();
        assert_eq!((told.status, told.used.decrypted), expected, "{told:?}");
    }
}
