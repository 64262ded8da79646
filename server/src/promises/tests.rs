use std::fs;
use std::path::Path;
use std::sync::Arc;

use selkie_config::Config;
use selkie_crypto::PinKey;
use tempfile::tempdir;

use super::*;
use crate::continuity::Discontinuity;
use crate::deployment::Deployment;
use crate::key_per_reference::KeyPerReference;
use crate::node::{Node, NodeError};

const FULL: &str = r#"
listener "tcp" {
  tls_disable = true
}
realm = "one"
realm_aliases = ["zero"]
storage "sled" {
  path = "/var/lib/selkie/state"
}
origin_key = "env://ORIGIN"
mount "transit" {
  aliases = ["old"]
}
seal "static" {
  name           = "s"
  aliases        = ["earlier"]
  priority       = 1
  current_key_id = "s2"
  current_key    = "env://S2"
  previous "s1" {
    key = "env://S1"
  }
}
seal "azurekeyvault" {
  name       = "weu"
  priority   = 2
  vault_name = "kv-weu"
  key_name   = "k"
  former_vaults = ["kv-old.vault.azure.net"]
  identity   = "managed_identity"
}
seal "break-glass" {
  name       = "offline"
  public_key = "MCowBQYDK2VuAyEAhSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo="
}
seal "static" {
  name     = "gone"
  priority = 3
  revoked  = true
}
key "counted" {
  generation = 3
}
key "stated" {
  seals   = ["s", "weu"]
  quorum  = 2
  version = 7
}
"#;

fn promises_of(text: &str) -> Promises {
    Promises::parse_by_reference("test.hcl", text).unwrap()
}

/// The configuration above with `new` for each `old`.
fn now_text(changes: &[(&str, &str)]) -> String {
    let mut text = FULL.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    text
}

fn changed(changes: &[(&str, &str)]) -> Promises {
    promises_of(&now_text(changes))
}

fn local_key(fill: u8) -> Option<Arc<PinKey>> {
    Some(Arc::new(PinKey::init_with(|page| page.fill(fill)).unwrap()))
}

fn read(dir: &Path, key: Option<Arc<PinKey>>) -> Result<Option<Remembered>, PromiseFileError> {
    PromiseFile::new(dir, key).read()
}

fn keeping(dir: &Path, local_key: Option<Arc<PinKey>>) -> Keeping {
    Keeping { data_dir: Some(dir.to_owned()), local_key }
}

#[test]
fn a_file_reads_as_written_with_a_local_key_and_without() {
    let full = changed(&[]);
    for key in [None, local_key(1)] {
        let dir = tempdir().unwrap();
        assert!(read(dir.path(), key.clone()).unwrap().is_none());
        let file = PromiseFile::new(dir.path(), key.clone());
        file.write(&[full.clone(), changed(&[("\"one\"", "\"two\"")])]).unwrap();
        let read = read(dir.path(), key).unwrap().unwrap();
        assert!(read.is_proven);
        let [first, second] = &read.promises[..] else { panic!("{read:?}") };
        assert_eq!(first.to_json().unwrap(), full.to_json().unwrap());
        assert_eq!(full.check_against_previous(first), []);
        assert_eq!(full.losses_since(slice::from_ref(second)).len(), 1);
    }
}

#[test]
fn the_file_tells_keys_apart_by_fingerprints() {
    let dir = tempdir().unwrap();
    PromiseFile::new(dir.path(), None).write(&[changed(&[])]).unwrap();
    let before = read(dir.path(), None).unwrap().unwrap().promises;
    let lost = |changes: &[(&str, &str)]| {
        let losses = Outlook::of(&changed(changes), before.clone()).losses;
        losses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(lost(&[]), [""; 0]);
    assert!(lost(&[("env://S1", "env://OTHER")])[0].contains("\"s1\" now names another key"));
    assert!(lost(&[("env://ORIGIN", "env://OTHER")])[0].contains("\"origin_key\" changed"));
}

#[test]
fn a_file_that_is_damaged_or_newer_or_under_another_key_is_told_as_such() {
    let dir = tempdir().unwrap();
    let file = PromiseFile::new(dir.path(), local_key(1));
    file.write(&[changed(&[])]).unwrap();
    let text = fs::read_to_string(file.path()).unwrap();
    let other = read(dir.path(), local_key(2));
    assert!(matches!(other, Err(PromiseFileError::WrongMac { .. })), "{other:?}");
    for length in [0, 1, text.len() / 2, text.len() - 1] {
        fs::write(file.path(), &text[..length]).unwrap();
        assert!(matches!(file.read(), Err(PromiseFileError::Malformed(_))), "{length}");
    }
    fs::write(file.path(), text.replace("counted", "kounted")).unwrap();
    assert!(matches!(file.read(), Err(PromiseFileError::WrongMac { .. })));
    for damaged in ["[]", "{\"content\":\"{}\"}", "{\"content\":\"\",\"mac\":\"00\"}"] {
        fs::write(file.path(), damaged).unwrap();
        assert!(matches!(file.read(), Err(PromiseFileError::Malformed(_))), "{damaged}");
    }
    fs::write(file.path(), r#"{"content":"{\"format\":2,\"more\":1}"}"#).unwrap();
    assert!(matches!(file.read(), Err(PromiseFileError::OtherFormat { found: 2 })));
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    assert!(matches!(file.read(), Err(PromiseFileError::Unreadable(_))));
}

#[test]
fn a_file_that_is_not_used_is_replaced_and_kept_aside() {
    for content in ["damaged", r#"{"content":"{\"format\":2}"}"#] {
        let dir = tempdir().unwrap();
        let path = dir.path().join("promises.json");
        fs::write(&path, content).unwrap();
        let memory = PromiseMemory::new(&keeping(dir.path(), None));
        memory.follow(&Arc::new(changed(&[])));
        assert_eq!(memory.losses(), []);
        let aside = dir.path().join("promises.json.refused");
        assert_eq!(fs::read_to_string(aside).unwrap(), content);
        assert_eq!(read(dir.path(), None).unwrap().unwrap().promises.len(), 1);
    }
}

#[test]
fn a_file_that_nobody_signed_is_signed_once_there_is_a_local_key() {
    let dir = tempdir().unwrap();
    PromiseMemory::new(&keeping(dir.path(), None)).follow(&Arc::new(changed(&[])));
    let unsigned = read(dir.path(), local_key(1)).unwrap().unwrap();
    assert!(!unsigned.is_proven);
    let memory = PromiseMemory::new(&keeping(dir.path(), local_key(1)));
    memory.follow(&Arc::new(changed(&[("\"one\"", "\"two\"")])));
    assert_eq!(memory.losses().len(), 1, "it still counts");
    assert!(read(dir.path(), local_key(1)).unwrap().unwrap().is_proven);
}

/// Each start as a process of its own would make it.
fn started(dir: &Path, promises: &Promises) -> Vec<String> {
    let memory = PromiseMemory::new(&keeping(dir, local_key(1)));
    memory.follow(&Arc::new(promises.clone()));
    memory.losses().iter().map(ToString::to_string).collect()
}

fn realm(name: &str, aliases: &str) -> Promises {
    changed(&[("\"one\"", &format!("{name:?}")), ("\"zero\"", aliases)])
}

fn lost(realm: &str, now: &str) -> String {
    format!(
        "realm {realm:?} is neither the realm, which is {now:?} now, nor an alias: its ciphertexts do \
         not open"
    )
}

/// Something is encrypted under `key` while these promises are in use.
fn made(dir: &Path, promises: &Promises, key: &str) {
    let memory = PromiseMemory::new(&keeping(dir, local_key(1)));
    let promises = Arc::new(promises.clone());
    memory.follow(&promises);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let memory = Arc::new(memory);
        let (mount, key) = ("transit".parse().unwrap(), key.parse().unwrap());
        memory.note_making(&promises, &mount, &key).unwrap().await;
        assert!(memory.note_making(&promises, &mount, &key).is_none(), "once is enough");
    });
}

#[test]
fn a_loss_is_told_at_every_start_until_it_is_kept_again() {
    let dir = tempdir().unwrap();
    assert_eq!(started(dir.path(), &realm("one", "\"zero\"")), [""; 0]);
    for _start in 0..2 {
        assert_eq!(started(dir.path(), &realm("two", "\"zero\"")), [lost("one", "two")]);
    }
    // Another slip on top of it hides nothing.
    let further = changed(&[("\"one\"", "\"two\""), ("\"counted\"", "\"kounted\"")]);
    let told = started(dir.path(), &further);
    assert!(told.len() == 2 && told[0] == lost("one", "two"), "{told:?}");
    assert!(told[1].contains("\"counted\"") && told[1].contains("but \"kounted\" is"), "{told:?}");
    // Nothing was made meanwhile, so what was meant all along is all there is to keep.
    assert_eq!(started(dir.path(), &realm("one", "\"zero\"")), [""; 0]);
    assert_eq!(started(dir.path(), &realm("two", "\"zero\"")), [lost("one", "two")]);
}

#[test]
fn what_is_made_under_a_configuration_that_loses_something_is_promised_too() {
    let dir = tempdir().unwrap();
    started(dir.path(), &realm("one", "\"zero\""));
    let slip = changed(&[("\"one\"", "\"two\""), ("\"counted\"", "\"kounted\"")]);
    for _start in 0..3 {
        made(dir.path(), &slip, "stated");
        assert_eq!(read(dir.path(), local_key(1)).unwrap().unwrap().promises.len(), 2);
    }
    assert_eq!(started(dir.path(), &realm("one", "\"zero\"")), [lost("two", "one")]);
    assert_eq!(started(dir.path(), &realm("one", "\"zero\", \"two\"")), [""; 0]);
    // Now the key with the slip in its name is used as well.
    made(dir.path(), &slip, "kounted");
    let told = started(dir.path(), &realm("one", "\"zero\", \"two\""));
    assert!(told.len() == 1 && told[0].contains("key \"kounted\""), "{told:?}");
}

#[test]
fn what_is_let_go_is_not_missed_and_the_rest_is() {
    let every_loss = [
        ("realm = \"one\"", "realm = \"two\""),
        ("realm_aliases = [\"zero\"]", ""),
        ("origin_key = \"env://ORIGIN\"", "origin_key = \"env://OTHER\""),
        ("aliases = [\"old\"]", ""),
        ("  aliases        = [\"earlier\"]\n", ""),
        ("  previous \"s1\" {\n    key = \"env://S1\"\n  }\n", ""),
        ("current_key    = \"env://S2\"", "current_key = \"env://OTHER\""),
        ("\"kv-weu\"", "\"kv-neu\""),
        ("  former_vaults = [\"kv-old.vault.azure.net\"]\n", ""),
        ("key \"counted\" {", "key \"other\" {"),
        ("storage \"sled\" {\n  path = \"/var/lib/selkie/state\"\n}\n", "storage \"inmem\" {}\n"),
    ];
    for loss in every_loss {
        let dir = tempdir().unwrap();
        assert_eq!(started(dir.path(), &changed(&[])), [""; 0]);
        let now = changed(&[loss]);
        let told = started(dir.path(), &now);
        assert_eq!(told.len(), 1, "{told:?}");
        let file = PromiseFile::new(dir.path(), local_key(1));
        let mut promises = file.read().unwrap().unwrap().promises;
        promises.iter_mut().for_each(|one| one.let_go(&now));
        file.write(&promises).unwrap();
        // It may not be used in the end: then nothing is missed either.
        assert_eq!(Outlook::of(&changed(&[]), promises.clone()).losses, [], "{loss:?}");
        // What nobody has let go is still told.
        let other = promises_of(&now_text(&[loss]).replace("\"stated\"", "\"gone\""));
        let told = Outlook::of(&other, promises).losses;
        assert!(told.len() == 1 && told[0].to_string().contains("\"stated\""), "{told:?}");
        assert_eq!(started(dir.path(), &now), [""; 0], "{loss:?}");
    }
}

#[test]
fn a_seal_that_is_revoked_is_not_missed_then_nor_when_its_stanza_goes() {
    let dir = tempdir().unwrap();
    let stanza = "name           = \"s\"\n  priority       = 1";
    let alone = |seal: &str| {
        let text = format!(
            "listener \"tcp\" {{\n  tls_disable = true\n}}\n{seal}seal \"static\" {{\n  \
             name = \"t\"\n  priority = 2\n  current_key_id = \"t1\"\n  current_key = \"env://T\"\n}}\n\
             key \"k\" {{\n  seals = [\"{}\"]\n}}\n",
            if seal.contains("revoked") || seal.is_empty() { "t" } else { "s" }
        );
        promises_of(&text)
    };
    let seal = |further: &str| {
        format!(
            "seal \"static\" {{\n  {stanza}\n  current_key_id = \"s1\"\n  current_key = \"env://S\"\n\
             {further}}}\n"
        )
    };
    assert_eq!(started(dir.path(), &alone(&seal(""))), [""; 0]);
    // The control: what is only dropped is missed.
    let dropped = started(dir.path(), &alone(""));
    assert!(dropped.len() == 2 && dropped[0].contains("alias \"s\""), "{dropped:?}");
    assert_eq!(started(dir.path(), &alone(&seal("  revoked = true\n"))), [""; 0]);
    assert_eq!(started(dir.path(), &alone("")), [""; 0]);
}

#[test]
fn a_version_that_does_not_rise_is_told_once_and_loses_nothing() {
    let before = changed(&[]);
    let now = changed(&[("generation = 3", "generation = 2")]);
    let outlook = Outlook::of(&now, vec![before]);
    assert_eq!((outlook.losses.len(), outlook.doubts.len()), (0, 1));
    let again = Outlook::of(&now, outlook.promises);
    assert_eq!((again.losses.len(), again.doubts.len()), (0, 0));
}

#[tokio::test]
async fn a_storage_that_is_dropped_is_told_at_every_start_until_it_is_put_back() {
    let dir = tempdir().unwrap();
    let start = async |storage: &str| {
        let text = format!(
            "listener \"tcp\" {{\n tls_disable = true\n}}\ndata_dir = {:?}\n{storage}\n\
             seal \"static\" {{\n current_key_id = \"s1\"\n current_key = \"env://S1\"\n}}\n",
            dir.path()
        );
        let config = Config::parse("test.hcl", &text, &KeyPerReference).unwrap();
        let node = Node::start(config).await.unwrap();
        node.follow_promises().await;
        let losses = node.deployment().memory.losses();
        losses.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(start("").await, [""; 0]);
    assert_eq!(start("storage \"sled\" {}").await, [""; 0]);
    for _ in 0..2 {
        let told = start("").await;
        assert!(told.len() == 1 && told[0].starts_with("there is no \"storage\""), "{told:?}");
    }
    assert_eq!(start("storage \"sled\" {}").await, [""; 0]);
    assert_eq!(start("storage \"sled\" {}\nrealm = \"default\"").await, [""; 0]);
}

/// A node with a realm, whose promises are told.
async fn in_realm(dir: &Path, realm: &str) -> Node {
    let node = Node::start(realm_config(dir, realm)).await.unwrap();
    node.follow_promises().await;
    node
}

fn realm_config(dir: &Path, realm: &str) -> Config {
    let text = format!(
        "listener \"tcp\" {{\n tls_disable = true\n}}\ndata_dir = {dir:?}\nrealm = {realm:?}\n\
         seal \"static\" {{\n current_key_id = \"s1\"\n current_key = \"env://S1\"\n}}\n\
         key \"k\" {{}}\n"
    );
    Config::parse("test.hcl", &text, &KeyPerReference).unwrap()
}

/// Something is encrypted under `k` of this deployment, which nobody has noted before.
async fn encrypted(deployment: &Deployment) {
    let (mount, key) = ("transit".parse().unwrap(), "k".parse().unwrap());
    deployment.memory.note_making(&deployment.promises, &mount, &key).unwrap().await;
}

#[tokio::test]
async fn a_slip_that_nothing_was_encrypted_under_is_put_right_by_a_reload() {
    let dir = tempdir().unwrap();
    let of = |realm: &str| realm_config(dir.path(), realm);
    drop(in_realm(dir.path(), "one").await);
    let slip = in_realm(dir.path(), "two").await;
    assert_eq!(slip.deployment().memory.losses().len(), 1);
    // Not what is missing of the slip, which promised nothing: whoever reads it would let that go.
    let Err(NodeError::Discontinuity(Discontinuity::StillLost(broken))) =
        slip.reload(of("three")).await
    else {
        panic!("it puts nothing right")
    };
    assert!(broken.len() == 1 && broken[0].to_string() == lost("one", "three"), "{broken:?}");
    slip.reload(of("one")).await.unwrap();
    assert_eq!(slip.deployment().memory.losses(), []);
    assert!(slip.reload(of("two")).await.is_err(), "nor is it a slip any more");

    // Who encrypted under the slip as it was put right is missed at once.
    let slip = in_realm(dir.path(), "two").await;
    let deployment = slip.deployment();
    slip.reload(of("one")).await.unwrap();
    encrypted(&deployment).await;
    let told = slip.deployment().memory.losses();
    assert!(told.len() == 1 && told[0].to_string() == lost("two", "one"), "{told:?}");
}

#[tokio::test]
async fn a_reload_leaves_nothing_behind_that_was_encrypted_under_a_slip() {
    let dir = tempdir().unwrap();
    drop(in_realm(dir.path(), "one").await);
    let slip = in_realm(dir.path(), "two").await;
    encrypted(&slip.deployment()).await;
    assert!(slip.reload(realm_config(dir.path(), "one")).await.is_err());
    let mut both = realm_config(dir.path(), "one");
    both.realm_aliases = vec!["two".into()];
    slip.reload(both).await.unwrap();
    assert_eq!(slip.deployment().memory.losses(), []);
}

#[test]
fn without_a_data_directory_nothing_is_remembered() {
    let memory = PromiseMemory::new(&Keeping::default());
    memory.follow(&Arc::new(changed(&[])));
    memory.follow(&Arc::new(changed(&[("\"one\"", "\"two\"")])));
    assert_eq!(memory.losses(), []);
}
