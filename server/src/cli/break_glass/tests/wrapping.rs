//! What is wrapped for on the day on which the servers are gone, by what is left of their files.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use selkie_config::{BreakGlassSeal, Config, Seal, SealKind, StaticKey, StaticSeal, VersionRule};
use selkie_crypto::{EcPrivateKey, Kek, KekId, Plaintext, PublicKey, SealName};
use selkie_kms::{KekDescription, KekState, KekVersion, Wrapping};

use super::super::blob::{Blob, read};
use super::super::error::{BreakGlassError, WrapObstacle};
use super::super::key_file::Unlocked;
use super::super::wrapping::KnownSeals;
use super::{Desk, PASSPHRASE};
use crate::backup::offline;
use crate::seal::PinFile;
use crate::transit::EncryptionItem;
use crate::transit::tests::{config_of, permit};

const LISTENER: &str = "listener \"tcp\" {\n  tls_disable = true\n}\n";

fn name(text: &str) -> SealName {
    SealName::new(text).unwrap()
}

/// A static key whose bytes are all `byte`, under the id `k<byte>`.
fn of_static(byte: u8) -> SealKind {
    let key = Kek::init_with(|bytes| bytes.fill(byte)).unwrap();
    let current = StaticKey { id: KekId::new(&format!("k{byte}")).unwrap(), key };
    SealKind::Static(StaticSeal { current, previous: Vec::new() })
}

fn offline_key(public_key: &PublicKey) -> SealKind {
    let kek = BreakGlassSeal::kek_of(public_key).unwrap();
    SealKind::BreakGlass(BreakGlassSeal { public_key: public_key.clone(), kek, private_key: None })
}

/// What a key in Key Vault wraps locally under its version `kek`.
fn distant_key(public_key: &PublicKey, kek: &str) -> SealKind {
    let kek = KekId::new(kek).unwrap();
    SealKind::BreakGlass(BreakGlassSeal { public_key: public_key.clone(), kek, private_key: None })
}

/// A ciphertext that is for all of these.
fn blob(seals: Vec<(&str, SealKind)>) -> Vec<Blob> {
    let names: Vec<_> = seals.iter().map(|(name, _)| *name).collect();
    let rule = VersionRule::Counted { generation: 0 };
    let mut config = config_of(&[("unseal", rule)], &names);
    config.seals = seals
        .into_iter()
        .zip(1..)
        .map(|((of, kind), priority)| Seal {
            name: name(of),
            aliases: Vec::new(),
            priority,
            disabled: false,
            kind,
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made = runtime.block_on(async {
        let engine = offline(config).await.unwrap();
        let item = EncryptionItem {
            plaintext: Plaintext::new(b"root key".to_vec()),
            associated_data: Vec::new(),
            context: Vec::new(),
            version: None,
        };
        let permit = permit(selkie_access::operation::Encrypt, "unseal");
        engine.encryption(&permit).await.unwrap().encrypt(item).await.unwrap().ciphertext
    });
    read(&made).unwrap()
}

/// A desk with the unlocked key, and what `serve` makes of files there.
struct Night {
    desk: Desk,
    own: PublicKey,
}

impl Night {
    fn new() -> Self {
        let desk = Desk::new();
        let own = desk.keygen("own", &[]);
        Self { desk, own }
    }

    /// A file here, as a configuration names it.
    fn file(&self, name: &str) -> String {
        format!("file://{}", self.desk.path(name).display())
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.desk.path(name), content).unwrap();
    }

    fn put_public_key(&self, name: &str, key: &PublicKey) {
        let mut text = Vec::new();
        selkie_crypto::base64::encode_into(key.spki_der(), &mut text);
        self.put(name, text);
    }

    fn known(&self, config: &str, pins: Option<&str>) -> KnownSeals {
        self.put("config", format!("{LISTENER}{config}"));
        let path = self.desk.path("config");
        KnownSeals::read(Some(&path), pins.map(|name| self.desk.path(name))).unwrap()
    }

    fn seals(
        &self,
        blobs: &[Blob],
        (config, pins): (&str, Option<&str>),
        given_up: &[&str],
    ) -> Result<Vec<Seal>, BreakGlassError> {
        let text = fs::read_to_string(self.desk.path("own")).unwrap();
        let key = EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).unwrap();
        let given_up: Vec<_> = given_up.iter().map(|text| name(text)).collect();
        self.known(config, pins).seals_of(blobs, Unlocked::new(key).unwrap(), &given_up)
    }
}

/// Its names, and the digest of the public key or the id of the static one.
fn told(seal: &Seal) -> (Vec<String>, String) {
    let names = std::iter::once(&seal.name).chain(&seal.aliases).map(ToString::to_string);
    let key = match &seal.kind {
        SealKind::Static(keys) => keys.current.id.to_string(),
        SealKind::BreakGlass(seal) => BreakGlassSeal::kek_of(&seal.public_key).unwrap().to_string(),
        other => panic!("{other:?}"),
    };
    (names.collect(), key)
}

fn names(seals: &[Seal]) -> Vec<String> {
    seals.iter().map(|seal| told(seal).0.join(" ")).collect()
}

fn key_id(key: &PublicKey) -> String {
    BreakGlassSeal::kek_of(key).unwrap().to_string()
}

fn obstacle(outcome: Result<Vec<Seal>, BreakGlassError>) -> WrapObstacle {
    match outcome {
        Err(BreakGlassError::CannotWrap { reason, .. }) => reason,
        other => panic!("{:?}", other.map(|seals| names(&seals))),
    }
}

fn static_stanza(name: &str, byte: u8, priority: u8, file: &str) -> String {
    format!(
        "seal \"static\" {{\n  name = \"{name}\"\n  priority = {priority}\n  \
         current_key_id = \"k{byte}\"\n  current_key = \"{file}\"\n}}\n"
    )
}

fn offline_stanza(name: &str, key: &str) -> String {
    format!("seal \"break-glass\" {{\n  name = \"{name}\"\n  public_key = \"{key}\"\n}}\n")
}

/// Two offline keys in two safes, and a secret of the servers that is not on the laptop.
#[test]
fn a_second_offline_key_is_wrapped_for_by_its_own_file_or_not_at_all() {
    let night = Night::new();
    let (second, other) = (night.desk.keygen("second", &[]), night.desk.keygen("other", &[]));
    let own = offline_key(&night.own);
    let blobs = blob(vec![("s", of_static(1)), ("one", own), ("two", offline_key(&second))]);
    let gone = static_stanza("s", 1, 1, &night.file("gone"));
    let offline = ["one", "two"].map(|name| offline_stanza(name, &night.file(name)));
    let config = format!("{gone}{}{}", offline[0], offline[1]);
    let seals = || night.seals(&blobs, (&config, None), &["s"]);
    assert_eq!(obstacle(seals()), WrapObstacle::KeyNotAtHand);
    night.put_public_key("two", &other);
    assert_eq!(obstacle(seals()), WrapObstacle::OtherKey);
    night.put_public_key("two", &second);
    let wraps: Vec<_> = seals().unwrap().iter().map(told).collect();
    let (one, two) =
        ((vec!["one".into()], key_id(&night.own)), (vec!["two".into()], key_id(&second)));
    assert_eq!(wraps, [one.clone(), two.clone()]);
    night.put_public_key("one", &night.own);
    let wraps: Vec<_> = seals().unwrap().iter().map(told).collect();
    assert_eq!(wraps, [one, two], "all files of public keys at hand");
}

/// Whatever is missing: what is left to wrap for is never made up.
#[test]
fn no_key_is_made_up_for_a_file_that_is_not_at_hand() {
    let night = Night::new();
    let gone = night.file("gone");
    let of_static = static_stanza("s", 1, 1, &gone);
    let previous = "seal \"static\" {\n  name = \"t\"\n  priority = 2\n  current_key_id = \"k2\"\n";
    night.put("k2", [2; 32]);
    let previous = format!(
        "{previous}  current_key = \"{}\"\n  previous \"k0\" {{\n    key = \"{gone}\"\n  }}\n}}\n",
        night.file("k2")
    );
    let keys = format!(
        "origin_key = \"{gone}\"\nlocal_key = \"env://SELKIE_NO_SUCH_VARIABLE\"\n\
         audit \"file\" {{\n  file_path = \"/var/log/selkie.log\"\n}}\n\
         key \"k\" {{\n  quorum = 2\n  seals = [\"s\", \"t\"]\n}}\n\
         key \"l\" {{\n  seals = [\"s\", \"b\"]\n}}\nkey \"m\" {{}}\n\
         policy \"p\" {{\n  file = \"/nonexistent/policy\"\n}}\nmount \"transit\" {{}}\n"
    );
    let offline = offline_stanza("b", &gone) + &offline_stanza("c", &night.file("c"));
    night.put_public_key("c", &night.own);
    let known = night.known(&format!("{keys}{of_static}{previous}{offline}"), None);
    let config = known.config.unwrap();
    let is_read =
        [config.origin_key.is_some(), config.local_key.is_some(), config.audit_key.is_some()];
    assert_eq!(is_read, [false; 3]);
    let unread: Vec<_> = config.unread_seals.iter().map(|seal| seal.name.as_str()).collect();
    assert_eq!(unread, ["s", "b"]);
    assert_eq!(
        config.seals.iter().map(told).collect::<Vec<_>>(),
        [(vec!["t".into()], "k2".into()), (vec!["c".into()], key_id(&night.own)),]
    );
    assert!(matches!(&config.seals[0].kind, SealKind::Static(keys) if keys.previous.is_empty()));
}

fn pin(dir: &Path, seal: &str, target: &str, (kek, key): (&str, &PublicKey), mac: Option<u8>) {
    let version = KekVersion {
        id: KekId::new(kek).unwrap(),
        wrapping: Wrapping::Local(key.clone()),
        state: KekState::Enabled,
        created: None,
        expires: None,
    };
    let keks = KekDescription::new(vec![version], &KekId::new(kek).unwrap()).unwrap();
    let mac =
        mac.map(|byte| Arc::new(selkie_crypto::PinKey::init_with(|page| page.fill(byte)).unwrap()));
    PinFile::new(dir, &name(seal), target, mac).write(&keks).unwrap();
}

const KEK: &str = "https://kv1.vault.azure.net/keys/selkie/0123";

fn key_vault_stanza(night: &Night, further: &str) -> String {
    format!(
        "local_key = \"{}\"\ndata_dir = \"{}\"\n\
         seal \"azurekeyvault\" {{\n  name = \"weu\"\n  priority = 1\n  tenant_id = \"7f1d2c3b-0a4e-4f5d-8c6b-9a0e1d2c3b4f\"\n  \
         client_id = \"8f1d2c3b-0a4e-4f5d-8c6b-9a0e1d2c3b4f\"\n  client_certificate_file = \"/nonexistent/cert.pem\"\n  \
         vault_name = \"kv1\"\n  key_name = \"selkie\"\n{further}}}\n\
         seal \"transit\" {{\n  name = \"upstream\"\n  priority = 2\n  \
         address = \"https://up.test:8200\"\n  token = \"file:///nonexistent/token\"\n  \
         key_name = \"k\"\n  mount_path = \"transit\"\n  \
         tls_ca_cert = \"/nonexistent/ca.pem\"\n}}\n",
        night.file("local"),
        night.desk.path("").display(),
    )
}

/// Its certificate, the token and the CA of another seal are on hosts that are gone.
#[test]
fn a_pin_file_is_enough_to_wrap_for_a_key_far_away() {
    let night = Night::new();
    let distant = night.desk.keygen("distant", &[]);
    let blobs = blob(vec![("weu", distant_key(&distant, KEK)), ("own", offline_key(&night.own))]);
    let target = "https://kv1.vault.azure.net/keys/selkie";
    let dir = night.desk.path("");
    let config = key_vault_stanza(&night, "");
    let seals = |pins| night.seals(&blobs, (&config, pins), &[]);
    night.put("local", [7; 32]);
    assert_eq!(obstacle(seals(None)), WrapObstacle::Unknown);
    pin(&dir, "weu", target, (KEK, &distant), Some(7));
    let made = seals(None).unwrap();
    assert_eq!(told(&made[1]), (vec!["weu".into()], key_id(&distant)));
    pin(&dir, "weu", target, (KEK, &distant), Some(8));
    assert_eq!(obstacle(seals(None)), WrapObstacle::Untrusted);
    pin(&dir, "weu", "https://kv2.vault.azure.net/keys/selkie", (KEK, &distant), Some(7));
    assert_eq!(obstacle(seals(None)), WrapObstacle::Untrusted);
    let contradicted = config.replacen(
        "key_name = \"selkie\"",
        &format!("key_name = \"selkie\"\n  public_key_sha256 = \"{}\"", "00".repeat(32)),
        1,
    );
    pin(&dir, "weu", target, (KEK, &distant), Some(7));
    let refused = night.seals(&blobs, (&contradicted, Some("pins")), &[]);
    assert_eq!(obstacle(refused), WrapObstacle::NotDeclared);
    fs::remove_file(night.desk.path("local")).unwrap();
    pin(&dir, "weu", target, (KEK, &distant), Some(7));
    assert_eq!(obstacle(seals(None)), WrapObstacle::Untrusted, "nothing proves it");
    let vouched = seals(Some("pins")).unwrap();
    assert_eq!(told(&vouched[1]), (vec!["weu".into()], key_id(&distant)), "but a person does");
}

/// A rename does not move a key's version, so a Vault has ciphertexts under both names.
#[test]
fn a_seal_is_one_under_all_names_that_it_had() {
    let night = Night::new();
    let own = || offline_key(&night.own);
    let mut blobs = blob(vec![("old", of_static(1)), ("bg-old", own())]);
    blobs.extend(blob(vec![("new", of_static(1)), ("bg", own())]));
    let alias = |stanza: String, alias: &str| {
        stanza.replacen("{\n", &format!("{{\n  aliases = [\"{alias}\"]\n"), 1)
    };
    night.put_public_key("bg", &night.own);
    let offline = alias(offline_stanza("bg", &night.file("bg")), "bg-old");
    let config =
        format!("{}{offline}", alias(static_stanza("new", 1, 1, &night.file("k1")), "old"));
    let seals = |given_up: &[&str]| night.seals(&blobs, (&config, None), given_up);
    assert_eq!(obstacle(seals(&[])), WrapObstacle::KeyNotAtHand);
    for given_up in ["old", "new"] {
        assert_eq!(names(&seals(&[given_up]).unwrap()), ["bg bg-old"]);
    }
    night.put("k1", [1; 32]);
    assert_eq!(names(&seals(&[]).unwrap()), ["bg bg-old", "new old"]);
    let disabled = config.replacen("priority = 1", "priority = 1\n  disabled = true", 1)
        + &static_stanza("another", 2, 2, &night.file("k1")).replace("k1\"", "gone\"");
    assert_eq!(names(&night.seals(&blobs, (&disabled, None), &[]).unwrap()), ["bg bg-old"]);
    fs::remove_file(night.desk.path("k1")).unwrap();
    assert_eq!(names(&night.seals(&blobs, (&disabled, None), &[]).unwrap()), ["bg bg-old"]);
}

#[test]
fn without_a_configuration_the_unlocked_seal_has_the_names_of_all_its_recipients() {
    let night = Night::new();
    let mut blobs = blob(vec![("s", of_static(1)), ("bg-old", offline_key(&night.own))]);
    blobs.extend(blob(vec![("s", of_static(1)), ("bg", offline_key(&night.own))]));
    let text = fs::read_to_string(night.desk.path("own")).unwrap();
    let key = EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).unwrap();
    let mut known = KnownSeals::default();
    let seals = known.seals_of(&blobs, Unlocked::new(key).unwrap(), &[name("s")]).unwrap();
    let mut all = told(&seals[0]).0;
    all.sort();
    assert_eq!((seals.len(), all), (1, vec!["bg".to_owned(), "bg-old".to_owned()]));
}

/// What was stolen goes by the name that it had when the envelope was made.
#[test]
fn a_revocation_is_of_all_names_and_no_pin_file_brings_one_back() {
    let night = Night::new();
    let stolen = night.desk.keygen("stolen", &[]);
    let blobs = blob(vec![("old", distant_key(&stolen, KEK)), ("own", offline_key(&night.own))]);
    pin(&night.desk.path(""), "old", "x", (KEK, &stolen), None);
    let config = static_stanza("s", 1, 1, &night.file("gone"))
        + "seal \"azurekeyvault\" {\n  name = \"new\"\n  aliases = [\"old\"]\n  revoked = true\n}\n";
    assert_eq!(names(&night.seals(&blobs, (&config, Some("pins")), &[]).unwrap()), ["own"]);
}

/// The file that `serve` makes up goes through the checks of any other, around the seals it is given.
#[test]
fn the_configuration_that_is_made_up_has_the_seals_that_it_is_given() {
    let night = Night::new();
    let blobs = blob(vec![("own", offline_key(&night.own))]);
    let lost = static_stanza("s", 1, 1, &night.file("gone"));
    let seals = || night.seals(&blobs, (&lost, None), &[]).unwrap();
    let text = format!("{LISTENER}mount \"transit\" {{}}\nkey \"k\" {{\n  version = 7\n}}\n");
    let config = Config::parse_around(seals(), "x", &text).unwrap();
    assert_eq!(
        (names(&config.seals), &config.keys[0].seals),
        (vec!["own".into()], &vec![name("own")])
    );
    Config::parse_around(seals(), "x", &format!("{text}{lost}")).unwrap_err();
}

/// No server starts with two seals on one key. Whoever has only that configuration left is not to mend
/// it first.
#[test]
fn two_copies_of_one_key_are_read_in_an_emergency() {
    let night = Night::new();
    night.put_public_key("one", &night.own);
    night.put_public_key("other", &night.own);
    let copies =
        offline_stanza("b", &night.file("one")) + &offline_stanza("c", &night.file("other"));
    let config = static_stanza("s", 1, 1, &night.file("gone")) + &copies;
    let text = format!("{LISTENER}{config}");
    let served = Config::parse("x", &text, &selkie_config::SystemSources).unwrap_err().to_string();
    assert!(served.contains("the seal \"b\" has this master key already"), "{served}");
    let blobs = blob(vec![("b", offline_key(&night.own)), ("c", offline_key(&night.own))]);
    assert_eq!(names(&night.seals(&blobs, (&config, None), &[]).unwrap()), ["b c"]);
}
