//! The commands on files of their own, with what people give them by mistake.

mod wrapping;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use selkie_access::{Acl, Bare, MountPath, Policy, operation};
use selkie_config::{Config, Seal, SealKind, StaticKey, StaticSeal, VersionRule};
use selkie_crypto::{EcPrivateKey, Kek, KekId, Plaintext, PublicKey, SealName};
use tempfile::TempDir;

use super::BreakGlassError;
use crate::backup::offline;
use crate::cli::{Exit, run};
use crate::transit::EncryptionItem;
use crate::transit::tests::config_of;

pub(super) const PASSPHRASE: &str = "correct horse battery staple";

pub(super) struct Desk {
    dir: TempDir,
}

impl Desk {
    pub(super) fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(desk.path("pass"), format!("{PASSPHRASE}\n")).unwrap();
        fs::write(desk.path("wrong"), "another passphrase\n").unwrap();
        desk
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// `selkie break-glass`; words that begin with `@` are files here.
    fn run(&self, words: &[&str]) -> (Exit, Vec<u8>, String) {
        let word = |word: &&str| match word.strip_prefix('@') {
            Some(name) => self.path(name).into_os_string(),
            None => OsString::from(word),
        };
        let words = ["selkie", "break-glass"].iter().chain(words).map(word);
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let exit = run(words, &mut output, &mut errors);
        (exit, output, String::from_utf8(errors).unwrap())
    }

    fn refused(&self, words: &[&str], because: &str) {
        let (exit, output, errors) = self.run(words);
        assert_ne!(exit, Exit::Success, "{words:?}");
        assert_eq!(output, b"", "{words:?}");
        assert!(errors.contains(because), "{words:?}: {errors}");
    }

    /// A key pair; the public one as it stands in the printed stanza.
    pub(super) fn keygen(&self, name: &str, further: &[&str]) -> PublicKey {
        let out = format!("@{name}");
        let words = [&["keygen", "--out", &out, "--passphrase-file", "@pass"], further].concat();
        let (exit, output, errors) = self.run(&words);
        assert_eq!(exit, Exit::Success, "{errors}");
        let stanza = String::from_utf8(output).unwrap();
        let text = format!(
            "listener \"tcp\" {{ tls_disable = true }}\nseal \"static\" {{\n  current_key_id = \"1\"\n  \
             current_key = \"env://K\"\n}}\n{stanza}"
        );
        let config = Config::parse("x", &text, &crate::key_per_reference::KeyPerReference).unwrap();
        let key = config.seals.into_iter().find_map(|seal| match seal.kind {
            SealKind::BreakGlass(seal) => Some(seal.public_key),
            _ => None,
        });
        key.unwrap()
    }
}

/// A ciphertext of a server that has a static seal and one for `key`.
async fn ciphertext(key: Option<&PublicKey>) -> String {
    ciphertext_in("test", "transit", key).await
}

/// The same in another realm, at another mount.
pub(super) async fn ciphertext_in(realm: &str, mount: &str, key: Option<&PublicKey>) -> String {
    let kek = Kek::init_with(|bytes| bytes.fill(1)).unwrap();
    let current = StaticKey { id: KekId::new("k1").unwrap(), key: kek };
    let of_static = SealKind::Static(StaticSeal { current, previous: Vec::new() });
    let named = |name: &str, kind| Seal {
        name: SealName::new(name).unwrap(),
        aliases: Vec::new(),
        priority: 1,
        disabled: false,
        kind,
    };
    let mut seals = vec![named("static", of_static)];
    seals.extend(key.map(|key| {
        let kek = selkie_config::BreakGlassSeal::kek_of(key).unwrap();
        let public_key = key.clone();
        let seal = selkie_config::BreakGlassSeal { public_key, kek, private_key: None };
        named("break-glass", SealKind::BreakGlass(seal))
    }));
    let names: Vec<_> = seals.iter().map(|seal| seal.name.as_str().to_owned()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let rule = VersionRule::Counted { generation: 0 };
    let mut config = Config { seals, ..config_of(&[("unseal", rule)], &names) };
    let mount: MountPath = mount.parse().unwrap();
    realm.clone_into(&mut config.realm);
    config.mounts[0].path = mount.clone();
    config.keys[0].mount = mount.clone();
    let engine = offline(config).await.unwrap();
    let item = EncryptionItem {
        plaintext: Plaintext::new(b"root key".to_vec()),
        associated_data: Vec::new(),
        context: Vec::new(),
        version: None,
    };
    let acl = Acl::new([&Policy::root()]);
    let permit = acl.on(Bare).permit(operation::Encrypt, mount, "unseal".parse().unwrap());
    let encryption = engine.encryption(&permit.unwrap()).await.unwrap();
    encryption.encrypt(item).await.unwrap().ciphertext
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn what_was_made_for_a_key_opens_with_its_file_and_passphrase_alone() {
    let desk = Desk::new();
    let key = desk.keygen("key", &[]);
    assert_eq!(mode(&desk.path("key")), 0o600);
    let blob = ciphertext(Some(&key)).await;
    let open = ["open", "--key", "@key", "--passphrase-file", "@pass", "--yes-print"];
    let (exit, output, errors) = desk.run(&[&open[..], &[&blob]].concat());
    assert_eq!((exit, &*output), (Exit::Success, &b"root key"[..]), "{errors}");
    for told in ["realm    test", "mount    transit", "key      unseal, version 2", "break-glass"] {
        assert!(errors.contains(told), "{told}: {errors}");
    }
    let into_file = [&open[..], &["--base64", "--out", "@plain", &blob]].concat();
    assert_eq!(desk.run(&into_file).0, Exit::Success);
    assert_eq!(fs::read(desk.path("plain")).unwrap(), b"cm9vdCBrZXk=\n");
    assert_eq!(mode(&desk.path("plain")), 0o600);
    desk.refused(&into_file, "exists");
    desk.refused(&["keygen", "--out", "@key", "--passphrase-file", "@pass"], "never overwritten");
}

#[tokio::test]
async fn each_mistake_is_told_for_what_it_is() {
    let desk = Desk::new();
    let key = desk.keygen("key", &["--x25519"]);
    desk.keygen("other", &[]);
    let blob = ciphertext(Some(&key)).await;
    let without = ciphertext(None).await;
    let open = |key: &str, passphrase: &str, blob: &str, because: &str| {
        let words = ["open", "--key", key, "--passphrase-file", passphrase, "--yes-print", blob];
        desk.refused(&words, because);
    };
    open("@key", "@wrong", &blob, "another passphrase");
    open("@other", "@pass", &blob, "not made for this key");
    open("@key", "@pass", &without, "not made for this key");
    open("@key", "@pass", &blob[..blob.len() - 40], "not an envelope");
    open("@key", "@pass", &blob[..blob.len() - 41], "cut off or changed");
    open("@key", "@pass", &blob.replace("vault:v2:", "vault:v3:"), "version 3 outside and 2");
    open("@key", "@pass", "@pass", "no ciphertext there");
    open("@pass", "@pass", &blob, "not an ENCRYPTED PRIVATE KEY");
    open("@nothing", "@pass", &blob, "nothing");
    fs::write(desk.path("two"), format!("a v2 {blob}\nb v2 {blob}\n")).unwrap();
    open("@key", "@pass", "@two", "--record NAME; there are a, b");
    fs::write(desk.path("short"), "short").unwrap();
    desk.refused(&["keygen", "--out", "@new", "--passphrase-file", "@short"], "too short");
    assert!(!desk.path("new").exists());
}

#[tokio::test]
async fn shares_open_together_and_not_alone() {
    let desk = Desk::new();
    let key = desk.keygen("key", &["--shares", "3", "--needed", "2"]);
    assert!(!desk.path("key").exists(), "the whole key is nowhere");
    let blob = ciphertext(Some(&key)).await;
    let open = |keys: [&str; 2]| {
        let [one, two] = keys;
        desk.run(&[
            "open",
            "--key",
            one,
            "--key",
            two,
            "--passphrase-file",
            "@pass",
            "--yes-print",
            &blob,
        ])
    };
    let (exit, output, errors) = open(["@key.3", "@key.1"]);
    assert_eq!((exit, &*output), (Exit::Success, &b"root key"[..]), "{errors}");
    assert!(
        open(["@key.2", "@key.2"]).2.contains("1 different shares are given, and 2 are needed")
    );
    let text = fs::read_to_string(desk.path("key.2")).unwrap();
    fs::write(desk.path("key.4"), text.replace("share 2,", "share 3,")).unwrap();
    assert!(open(["@key.1", "@key.4"]).2.contains("one was changed"));
    fs::write(desk.path("key.4"), text.replace("needed 2", "needed x")).unwrap();
    assert!(open(["@key.1", "@key.4"]).2.contains("first line"));
}

#[test]
fn a_set_of_shares_that_cannot_be_finished_leaves_nothing() {
    let desk = Desk::new();
    // Seen only as the file is made: there is nothing behind it.
    std::os::unix::fs::symlink(desk.path("nowhere"), desk.path("key.3")).unwrap();
    let words = ["--passphrase-file", "@pass", "--shares", "3", "--needed", "2"];
    desk.refused(&[&["keygen", "--out", "@key"], &words[..]].concat(), "exists");
    assert!(!desk.path("key.1").exists() && !desk.path("key.2").exists());
}

#[tokio::test]
async fn a_disabled_seal_is_left_out_as_the_servers_do() {
    let desk = Desk::new();
    let key = desk.keygen("key", &[]);
    let blobs = super::blob::read(&ciphertext(Some(&key)).await).unwrap();
    let text = fs::read_to_string(desk.path("key")).unwrap();
    let private_key = || EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).unwrap();
    let seals_of = |disabled: bool| {
        let config = format!(
            "listener \"tcp\" {{ tls_disable = true }}\nseal \"static\" {{\n  disabled = {disabled}\n  \
             priority = 1\n  current_key_id = \"k1\"\n  current_key = \"env://K\"\n}}\n\
             seal \"static\" {{\n  name = \"other\"\n  priority = 2\n  current_key_id = \"k2\"\n  \
             current_key = \"env://L\"\n}}\n"
        );
        let config =
            Config::parse("x", &config, &crate::key_per_reference::KeyPerReference).unwrap();
        let mut known = super::wrapping::KnownSeals::default();
        known.config = Some(config.into());
        let key = super::key_file::Unlocked::new(private_key()).unwrap();
        let seals = known.seals_of(&blobs, key, &[]).unwrap();
        seals.iter().map(|seal| seal.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(seals_of(false), ["break-glass", "static"]);
    assert_eq!(seals_of(true), ["break-glass"]);
}

#[tokio::test]
async fn nothing_is_served_that_would_not_open_later() {
    let desk = Desk::new();
    let key = desk.keygen("key", &[]);
    fs::write(desk.path("blobs"), ciphertext(Some(&key)).await).unwrap();
    let serve = [
        "serve",
        "--key",
        "@key",
        "--passphrase-file",
        "@pass",
        "--blobs",
        "@blobs",
        "--plain-http",
    ];
    desk.refused(&serve, "nothing can be wrapped for the seal static (k1)");
    let elsewhere = [&serve[..], &["--listen", "192.0.2.1:8200"]].concat();
    desk.refused(&elsewhere, "for addresses of this machine alone");
    let other_name = [&serve[..], &["--key-name", "other"]].concat();
    desk.refused(&other_name, "of the key \"unseal\", not of \"other\"");
    fs::create_dir(desk.path("pins")).unwrap();
    fs::write(desk.path("pins/static.json"), "{").unwrap();
    let by_pins = [&serve[..], &["--pins", "@pins"]].concat();
    desk.refused(&by_pins, "its pin file is damaged");
    let warning = "which seals are revoked or disabled: leave each of them out with --without SEAL";
    desk.refused(&by_pins, warning);
    assert!(!desk.run(&serve).2.contains(warning));
}

#[test]
fn a_static_key_that_is_not_at_hand_is_named_and_can_be_given_up() {
    let desk = Desk::new();
    let key = desk.keygen("key", &[]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let blobs = super::blob::read(&runtime.block_on(ciphertext(Some(&key)))).unwrap();
    let text = fs::read_to_string(desk.path("key")).unwrap();
    let seals_of = |given_up: &[SealName]| {
        let config = format!(
            "listener \"tcp\" {{ tls_disable = true }}\norigin_key = \"file://{0}\"\n\
             seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{0}\"\n}}\n",
            desk.path("gone").display()
        );
        fs::write(desk.path("config"), config).unwrap();
        let config = desk.path("config");
        let mut known = super::wrapping::KnownSeals::read(Some(&config), None).unwrap();
        assert!(known.config.as_ref().unwrap().origin_key.is_none());
        assert!(known.config.as_ref().unwrap().audit_key.is_none());
        let private_key = EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).unwrap();
        let key = super::key_file::Unlocked::new(private_key).unwrap();
        known.seals_of(&blobs, key, given_up).map(|seals| seals.len())
    };
    let refused = seals_of(&[]).unwrap_err().to_string();
    assert!(refused.contains("its key is not where that configuration says"), "{refused}");
    assert_eq!(seals_of(&[SealName::new("static").unwrap()]).unwrap(), 1);
    let mistyped = seals_of(&[SealName::new("sttic").unwrap()]).unwrap_err();
    assert!(matches!(mistyped, BreakGlassError::NotARecipient { .. }), "{mistyped}");
}

#[test]
fn a_protected_key_is_what_openssl_calls_one() {
    let desk = Desk::new();
    desk.keygen("key", &[]);
    let text = fs::read_to_string(desk.path("key")).unwrap();
    assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"));
    assert!(EcPrivateKey::unprotect(&text, PASSPHRASE.as_bytes()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_server_for_minutes_ends_by_itself() {
    let text = "listener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n\
                seal \"static\" {\n  current_key_id = \"1\"\n  current_key = \"env://K\"\n}\n";
    let config = Config::parse("x", text, &crate::key_per_reference::KeyPerReference).unwrap();
    let mut sockets = selkie_listener::ActivatedSockets::inherit(None);
    let server = crate::serve::serve(config, &mut sockets).await.unwrap();
    let signals = crate::cli::server::signals::Signals::new().unwrap();
    let (began, time) = (tokio::time::Instant::now(), std::time::Duration::from_secs(1800));
    super::serve::serve_for(server, signals, time).await.unwrap();
    assert!(began.elapsed() >= time);
}

/// A key's seals are counted whether or not a server can ask them.
#[test]
fn a_key_with_more_seals_than_an_envelope_has_room_for_is_refused() {
    let listener = "listener \"tcp\" {\n  address = \"127.0.0.1:0\"\n  tls_disable = true\n}\n";
    let refusal = |count: usize, quorum: &str| {
        let seal = |at| {
            format!(
                "seal \"static\" {{\n  name = \"s{at}\"\n  priority = {at}\n  \
                 current_key_id = \"{at}\"\n  current_key = \"env://K{at}\"\n}}\n"
            )
        };
        let seals: String = (1..=count).map(seal).collect();
        let key = format!("mount \"transit\" {{}}\nkey \"k\" {{\n{quorum}}}\n");
        let text = format!("{listener}{seals}{key}");
        Config::parse("x", &text, &crate::key_per_reference::KeyPerReference)
            .err()
            .map(|bad| bad.to_string())
    };
    for quorum in ["", "  quorum = 1\n", "  quorum = 2\n"] {
        assert_eq!(refusal(16, quorum), None, "{quorum}");
        let refused = refusal(17, quorum).unwrap_or_default();
        assert!(refused.contains("17 seals are more than the 16"), "{quorum}: {refused}");
        assert_eq!(refused.matches("17 seals").count(), 1, "told once: {refused}");
    }
}
