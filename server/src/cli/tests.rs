mod validate;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;

/// The exit, and what was written to output and errors.
pub(super) fn ran(arguments: &[&str]) -> (Exit, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let words = ["selkie"].iter().chain(arguments).map(OsString::from);
    let exit = run(words, &mut output, &mut errors);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (exit, text(output), text(errors))
}

/// A file that its owner alone may read, as a server asks for.
pub(super) fn write_secret(path: &Path, content: &[u8]) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// A directory with a configuration that is complete without `further`.
fn site(further: &str) -> (TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    write_secret(&key, &[0xa5; 32]);
    let path = dir.path().join("selkie.hcl");
    let text = format!(
        "listener \"tcp\" {{ tls_disable = true }}\n\
         seal \"static\" {{\n  current_key_id = \"k1\"\n  current_key = \"file://{}\"\n}}\n\
         key \"autounseal\" {{}}\n{further}\n",
        key.display()
    );
    fs::write(&path, text).unwrap();
    (dir, path.display().to_string())
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    for arguments in [
        &["serve"][..],
        &[],
        &["server"],
        &["server", "--dev", "--config", "x"],
        &["server", "--config", "x", "--dev-tls"],
        &["server", "--dev", "--dev-root-token-id", "new\nline"],
        &["server", "--dev", "--dev-listen-address", "localhost:8200"],
        &["client", "add"],
        &["validate"],
        &["doctor"],
        &["doctor", "x", "--config", "x"],
        &["status", "--json", "--format", "table"],
    ] {
        let (exit, output, errors) = ran(arguments);
        assert_eq!((exit, output.as_str()), (Exit::Usage, ""), "{arguments:?}");
        assert!(errors.contains("--help"), "{arguments:?}: {errors}");
    }
}

#[test]
fn every_command_is_put_together_well() {
    <Arguments as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn help_and_version_are_what_was_asked_for() {
    for arguments in [&["--help"][..], &["server", "--help"], &["--version"], &["version"]] {
        let (exit, output, errors) = ran(arguments);
        assert_eq!((exit, errors.as_str()), (Exit::Success, ""));
        assert!(output.contains("selkie"), "{output}");
    }
}

#[test]
fn the_version_tells_the_commit_that_a_release_was_built_from() {
    let number = env!("CARGO_PKG_VERSION");
    assert_eq!(version(Some("6f3c")), format!("selkie {number} (6f3c)\n"));
    assert_eq!(version(None), format!("selkie {number}\n"));
    assert_eq!(ran(&["version"]).1, version(option_env!("SELKIE_COMMIT")));
}

#[test]
fn exits_have_the_codes_of_sysexits() {
    let codes = [
        (Exit::Success, 0),
        (Exit::Failure, 1),
        (Exit::Usage, 64),
        (Exit::Bug, 70),
        (Exit::Config, 78),
    ];
    for (exit, code) in codes {
        assert_eq!(ExitCode::from(exit), ExitCode::from(code));
    }
}

#[test]
fn validate_prints_what_a_good_file_comes_to() {
    let (_dir, file) = site("");
    let (exit, output, _) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Success);
    for line in [
        &format!("{file}: valid")[..],
        "  listener  http, 127.0.0.1:8200",
        "  seal      static: k1 (current)",
        "  key       transit/autounseal: version 1 under static",
    ] {
        assert!(output.lines().any(|other| other == line), "{line}: {output}");
    }
}

#[test]
fn validate_tells_of_a_key_in_key_vault_who_reaches_it_and_what_is_not_known_yet() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("selkie.hcl");
    let text = "listener \"tcp\" { tls_disable = true }\nkey \"autounseal\" {}\n\
                key \"stated\" { version = 7 }\nseal \"azurekeyvault\" {\n  name = \"weu\"\n  \
                vault_name = \"kv1\"\n  key_name = \"selkie\"\n  poll_interval = \"10s\"\n  \
                identity = \"managed_identity\"\n  client_id = \"03dc33fc-16d9-4b77-8152-3ec568f8af6e\"\n}\n";
    fs::write(&path, text).unwrap();
    let (exit, output, errors) = ran(&["validate", &path.display().to_string()]);
    assert_eq!(exit, Exit::Success, "{errors}");
    let expected = "  seal      weu: https://kv1.vault.azure.net/keys/selkie\n            \
        identity  managed identity with client id 03dc33fc-16d9-4b77-8152-3ec568f8af6e, because field \"identity\" says so\n            \
        wraps     here, under an RSA key; in Key Vault under a symmetric one\n            \
        asks      Key Vault for news every 10 s\n            \
        restart   while Key Vault is away: does not encrypt; declare data_dir, and \
        public_key_sha256 or local_key\n  \
        key       transit/autounseal: under weu, version known once the KMS of weu has listed \
        the versions of its key\n  \
        key       transit/stated: version 7 under weu\n";
    assert!(output.contains(expected), "{output}");
}

#[test]
fn validate_prints_every_problem_with_its_place() {
    let (_dir, file) = site("one = 1\ntwo = 2");
    let (exit, output, errors) = ran(&["validate", &file]);
    assert_eq!((exit, output.as_str()), (Exit::Config, ""));
    assert!(errors.contains(&format!("{file}:7:1: ")), "{errors}");
    assert!(errors.contains(&format!("{file}:8:1: ")), "{errors}");
}

#[test]
fn validate_reads_the_certificates() {
    let (_dir, file) = site(
        "listener \"tcp\" {\n  address = \"127.0.0.1:1\"\n  tls_cert_file = \"/nonexistent\"\n  \
         tls_key_file = \"/nonexistent\"\n}",
    );
    let (exit, _, errors) = ran(&["validate", &file]);
    assert_eq!(exit, Exit::Config);
    assert!(errors.contains("/nonexistent: cannot be read: No such file"), "{errors}");
}

#[test]
fn validate_refuses_what_breaks_the_previous_file() {
    let (_old_dir, old) = site("realm = \"a\"");
    let (_dir, new) = site("realm = \"b\"");
    let (exit, _, errors) = ran(&["validate", &new, "--previous", &old]);
    assert_eq!(exit, Exit::Config);
    assert!(
        errors.contains("realm \"a\" is neither the realm, which is \"b\" now, nor"),
        "{errors}"
    );
    assert_eq!(ran(&["validate", &new, "--previous", &new]).0, Exit::Success);
}

#[test]
fn a_file_that_is_not_there_is_told() {
    for arguments in [
        ["validate", "/nonexistent"],
        ["validate", "--config=/nonexistent"],
        ["doctor", "--config=/nonexistent"],
        ["server", "--config=/nonexistent"],
    ] {
        let (exit, _, errors) = ran(&arguments);
        let told = (exit, errors.as_str());
        assert_eq!(told, (Exit::Config, "selkie: /nonexistent does not exist\n"));
    }
}

#[test]
fn doctor_walks_to_each_seal_and_back() {
    let (_dir, file) = site("");
    let (exit, output, _) = ran(&["doctor", &file]);
    assert_eq!(exit, Exit::Success);
    for line in [
        "seal \"static\" (static)",
        "  ok      describe: 1 version, current k1",
        "  ok      wrap, unwrap: a random secret came back unchanged",
        "all well",
    ] {
        assert!(output.lines().any(|other| other == line), "{line}: {output}");
    }
}

#[test]
fn doctor_warns_as_validate_does_and_looks_for_collectors_and_etcd() {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("audit-key");
    write_secret(&key, &[9; 32]);
    let (_site, file) = site(&format!(
        "audit_key = \"file://{}\"\naudit \"socket\" {{\n  address = \"127.0.0.1:1\"\n}}\n\
         audit \"syslog\" {{\n  address = \"/nonexistent/log\"\n}}\nallow_faults = true\n\
         data_dir = \"{}\"\nstorage \"etcd\" {{\n  address = \"http://127.0.0.1:1\"\n  request_timeout = \"1s\"\n}}\n",
        key.display(),
        dir.path().display()
    ));
    let (exit, output, errors) = ran(&["doctor", &file]);
    assert_eq!(exit, Exit::Failure, "{output}{errors}");
    for told in [
        "audit \"socket\" (socket at tcp 127.0.0.1:1)\n  FAILED  connect: ",
        "audit \"syslog\" (syslog at /nonexistent/log)\n  FAILED  connect: ",
        "storage \"etcd\" (http://127.0.0.1:1)\n  FAILED  read: ",
        "\"allow_faults\" lets --faults",
        "3 failures, 1 warning: ",
    ] {
        assert!(output.contains(told), "{told}: {output}");
    }
}

/// A running server with managed keys and a state to back up, until the sender goes; its address.
fn serving(config: String) -> (std::net::SocketAddr, tokio::sync::oneshot::Sender<()>) {
    use crate::backup::tests::{Site, engine};
    use selkie_listener::ActivatedSockets;

    let (told, address) = std::sync::mpsc::channel();
    let (end, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = multi_threaded().unwrap();
        runtime.block_on(async {
            let config = Config::parse("test.hcl", &config, &SystemSources).unwrap();
            let mut sockets = ActivatedSockets::inherit(None);
            let server = crate::serve::serve(config, &mut sockets).await.unwrap();
            let transit = engine("default", &[("static", 0xa5)]).await;
            let site = Site::new(&transit, "store-1").await;
            site.put_key("one", 3).await;
            server.node().offer_backups(site.source().await.0);
            told.send(server.listening().next().unwrap().address).unwrap();
            let _ = ended.await;
        });
    });
    (address.recv().unwrap(), end)
}

#[test]
fn backup_and_export_ask_a_running_server() {
    use crate::backup::tests::engine;

    let (dir, file) = site(
        "client \"root\" {\n  policies = [\"root\"]\n  token_sha256 = \
         \"4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2\"\n}",
    );
    let text = fs::read_to_string(&file).unwrap();
    let listener = "{\n  tls_disable = true\n  address = \"127.0.0.1:0\"\n}";
    let (address, _end) = serving(text.replace("{ tls_disable = true }", listener));
    let address = format!("--address=http://{address}");
    let token = dir.path().join("token");
    fs::write(&token, "root\n").unwrap();
    let token = format!("--token-file={}", token.display());
    let saved = dir.path().join("state.backup");
    let saved = saved.to_str().unwrap();
    let (exit, output, errors) = ran(&["backup", "-o", saved, &address, &token]);
    assert_eq!(exit, Exit::Success, "{errors}");
    assert!(output.starts_with(saved), "{output}");
    let runtime = single_threaded().unwrap();
    let opened = runtime.block_on(async {
        let transit = engine("default", &[("static", 0xa5)]).await;
        crate::backup::open_backup(&fs::read(saved).unwrap(), &transit).await.unwrap().0
    });
    assert_eq!((opened.format.store.as_str(), opened.root.records), ("store-1", 1));
    let (exit, output, errors) = ran(&["export", "--declared", &address, &token]);
    assert_eq!(exit, Exit::Success, "{errors}");
    assert!(output.contains("key \"autounseal\" {\n"), "{output}");
    assert!(output.contains("  version = 1\n"), "{output}");
    assert!(output.contains("that were asked for:\n# - transit\n"), "{output}");
    let (_, output, _) = ran(&["export", "--declared", "--config", &file, &address, &token]);
    assert!(!output.contains("autounseal"), "declared already: {output}");
    for (command, member) in [("status", "backends"), ("drill", "results")] {
        for form in [&["--format", "json"][..], &["--json"]] {
            // Its state stays to be opened, which needs attention.
            let (_, output, _) = ran(&[&[command, &address, &token], form].concat());
            let report: serde_json::Value = serde_json::from_str(&output).unwrap();
            assert!(report[member].is_array(), "{command}: {output}");
        }
    }
    let (exit, output, errors) = ran(&["drill", "--json", &address, &token]);
    assert_eq!(exit, Exit::Success, "{output}");
    let told: Vec<_> = errors.lines().collect();
    assert!(told[0].starts_with("drill: asking http://127.0.0.1:"), "{errors}");
    let [state, key] = [(1, "state"), (2, "key/transit/autounseal")]
        .map(|(n, step)| format!("drill: {n} of 2, {step}: each seal by itself, 30 s at most"));
    assert_eq!(told[1..], [state, key]);
    assert!(output.starts_with('{'), "what is waited for is no part of the report: {output}");
    let wrong = dir.path().join("wrong");
    fs::write(&wrong, "nobody").unwrap();
    let wrong = format!("--token-file={}", wrong.display());
    let (exit, _, errors) = ran(&["backup", "-o", saved, &address, &wrong]);
    assert_eq!(exit, Exit::Failure);
    assert!(errors.contains("read and sudo on sys/storage/selkie/snapshot"), "{errors}");
}

#[test]
fn an_export_says_which_mounts_it_is_of_and_fails_without_any() {
    let client = |name: &str, path: &str| {
        let hash = base16ct::lower::encode_string(&selkie_crypto::sha256(name.as_bytes()));
        format!(
            "policy \"{name}\" {{\n  path \"{path}\" {{ capabilities = [\"list\", \"read\"] }}\n}}\n\
             client \"{name}\" {{\n  policies = [\"{name}\"]\n  token_sha256 = \"{hash}\"\n}}\n"
        )
    };
    let further = [
        "mount \"transit\" {}\nmount \"other\" {}\nkey \"hidden\" {\n  mount = \"other\"\n}\n"
            .to_owned(),
        client("one", "transit/keys*"),
        client("both", "+/keys*"),
        client("none", "sys/nothing"),
    ];
    let (dir, file) = site(&further.concat());
    let text = fs::read_to_string(&file).unwrap();
    let key = "key \"autounseal\" {\n  mount = \"transit\"\n}";
    let text = text.replace("key \"autounseal\" {}", key);
    let listener = "{\n  tls_disable = true\n  address = \"127.0.0.1:0\"\n}";
    let (address, _end) = serving(text.replace("{ tls_disable = true }", listener));
    let address = format!("--address=http://{address}");
    let export = |name: &str, further: &[&str]| {
        let token = dir.path().join(name);
        fs::write(&token, name).unwrap();
        let token = format!("--token-file={}", token.display());
        ran(&[&["export", "--declared", &address, &token], further].concat())
    };
    let (exit, output, errors) = export("one", &[]);
    assert_eq!(exit, Exit::Success, "{errors}");
    assert!(output.contains(":\n# - transit\n\nkey \"autounseal\""), "{output}");
    let (_, output, errors) = export("both", &[]);
    assert!(output.contains(":\n# - other\n# - transit\n\nkey \"hidden\""), "{output}{errors}");
    let (_, output, _) = export("both", &["--mount", "transit"]);
    assert!(output.contains(":\n# - transit\n\nkey \"autounseal\""), "{output}");
    for (name, further, said) in [
        ("none", &[][..], "the token sees no mount"),
        ("one", &["--mount", "transit", "--mount", "other"], "there is no mount other, or"),
    ] {
        let (exit, output, errors) = export(name, further);
        assert_eq!((exit, &*output), (Exit::Failure, ""), "{errors}");
        assert!(errors.contains(said), "{errors}");
    }
}

#[test]
fn a_restore_removes_the_checkpoint_that_would_stand_against_it() {
    use crate::backup::tests::{Site, engine};

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_dir, file) =
        site(&format!("data_dir = {:?}\nstorage \"sled\" {{\n  path = {:?}\n}}", at("d"), at("s")));
    fs::create_dir(at("d")).unwrap();
    let runtime = single_threaded().unwrap();
    let backup = runtime.block_on(async {
        let transit = engine("default", &[("static", 0xa5)]).await;
        let site = Site::new(&transit, "store-1").await;
        site.put_key("one", 3).await;
        site.backup(&transit).await
    });
    fs::write(at("b"), backup).unwrap();
    let checkpoint = dir.path().join("d/state-checkpoint");
    fs::write(&checkpoint, "of a store that was lost").unwrap();
    let (exit, output, errors) = ran(&["restore", "--config", &file, &at("b")]);
    assert_eq!(exit, Exit::Success, "{errors}");
    assert!(output.contains(&format!("removed {}", checkpoint.display())), "{output}");
    assert!(!checkpoint.exists());
    let (_, output, _) = ran(&["restore", "--config", &file, &at("b")]);
    assert!(!output.contains("remove"), "{output}");
    let (_dir, file) = site(&format!("storage \"sled\" {{\n  path = {:?}\n}}", at("s")));
    let (_, output, _) = ran(&["restore", "--config", &file, &at("b")]);
    assert!(output.contains("remove the file state-checkpoint"), "{output}");
}

/// All that is left is a backup, the key that people keep, and a new configuration with a new seal.
#[test]
fn a_backup_opens_by_the_break_glass_key_alone_and_its_storage_by_the_new_seals() {
    use crate::backup::offline;
    use crate::backup::tests::Site;
    use crate::state::opening::State;

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    write_secret(Path::new(&at("pass")), b"six words that nobody else knows\n");
    let keygen = |name: &str| {
        let words = ["break-glass", "keygen", "--out", &at(name), "--passphrase-file", &at("pass")];
        let (exit, stanza, errors) = ran(&words);
        assert_eq!(exit, Exit::Success, "{errors}");
        stanza
    };
    let stanza = keygen("bg.pem");
    let stranger = keygen("other.pem");
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let (_old_dir, old) = site(&stanza);
    let backup = runtime.block_on(async {
        let text = fs::read_to_string(&old).unwrap();
        let config = Config::parse("old", &text, &SystemSources).unwrap();
        let transit = offline(config).await.unwrap();
        let site = Site::new(&transit, "store-1").await;
        site.put_key("one", 3).await;
        site.backup(&transit).await
    });
    fs::write(at("b"), backup).unwrap();
    // Of another break-glass key there, too: it has the name of the one before.
    for (name, further) in [("s", ""), ("t", &*stranger)] {
        let storage = format!("storage \"sled\" {{\n  path = {:?}\n}}\n{further}", at(name));
        let (new_dir, new) = site(&storage);
        write_secret(&new_dir.path().join("key"), &[0x5a; 32]);
        let text = fs::read_to_string(&new).unwrap();
        fs::write(&new, text.replace("\"k1\"", "\"k2\"")).unwrap();
        let restore = |key: &[&str]| ran(&[&["restore", "--config", &new, &at("b")], key].concat());
        let (exit, _, errors) = restore(&[]);
        assert!(exit == Exit::Failure && errors.contains("--key"), "{errors}");
        let passphrase = ["--passphrase-file", &at("pass"), "--key"];
        let (exit, _, errors) = restore(&[&passphrase[..], &[&at("other.pem")]].concat());
        assert!(exit == Exit::Failure && errors.contains("not made for this key"), "{errors}");
        let (exit, output, errors) = restore(&[&passphrase[..], &[&at("bg.pem")]].concat());
        assert_eq!(exit, Exit::Success, "{errors}");
        assert!(output.starts_with("store store-1: 1 records"), "{output}");
        runtime.block_on(async {
            let config = Config::parse("new", &fs::read_to_string(&new).unwrap(), &SystemSources);
            let transit = offline(config.unwrap()).await.unwrap();
            let settings = selkie_storage::SledSettings::new(at(name));
            let store =
                std::sync::Arc::new(selkie_storage::SledStore::open(settings).await.unwrap());
            let opened = State::new(store, None, None).open(&transit).await.unwrap();
            assert_eq!(opened.root.records, 1, "as a server opens it");
        });
    }
}

#[test]
fn restore_and_migrate_refuse_what_keeps_nothing() {
    let (dir, without) = site("");
    let (_dir, memory) = site("storage \"inmem\" {}");
    let backup = dir.path().join("b");
    fs::write(&backup, "").unwrap();
    let backup = backup.to_str().unwrap();
    for (file, said) in [(&without, "there is no storage stanza"), (&memory, "keeps nothing")] {
        for arguments in
            [&["restore", "--config", file, backup][..], &["migrate", "--from", file, "--to", file]]
        {
            let (exit, _, errors) = ran(arguments);
            assert_eq!(exit, Exit::Config, "{errors}");
            assert!(errors.contains(said), "{errors}");
        }
    }
}

#[test]
fn a_restore_that_would_go_back_says_first_that_nothing_has_changed() {
    use crate::backup::tests::{Site, engine};

    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_dir, file) = site(&format!("storage \"sled\" {{\n  path = {:?}\n}}", at("s")));
    let runtime = single_threaded().unwrap();
    let backups = runtime.block_on(async {
        let transit = engine("default", &[("static", 0xa5)]).await;
        let site = Site::new(&transit, "store-1").await;
        let old = site.backup(&transit).await;
        site.put_key("one", 3).await;
        [("old", old), ("new", site.backup(&transit).await)]
    });
    for (name, bytes) in backups {
        fs::write(at(name), bytes).unwrap();
    }
    assert_eq!(ran(&["restore", "--config", &file, &at("new")]).0, Exit::Success);
    let (exit, _, errors) = ran(&["restore", "--config", &file, &at("old")]);
    assert_eq!(exit, Exit::Failure);
    let begins = format!("selkie: nothing has changed: with {}, the storage of {file}", at("old"));
    assert!(errors.starts_with(&begins), "{errors}");
    assert!(errors.contains("/one at version 3 would be gone"), "{errors}");
    assert!(errors.ends_with("If all of that may be lost: --force\n"), "{errors}");
}

#[test]
fn an_extract_of_what_is_not_there_says_so_and_leaves_the_output_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(at("blobs"), "of another Vault").unwrap();
    for from in ["vault-file", "record"] {
        let extract = ["extract", "--from", from, &at("none"), "-o", &at("blobs")];
        let (exit, _, errors) = ran(&extract);
        assert!(exit == Exit::Failure && errors.contains("No such file"), "{errors}");
        assert!(errors.contains(&at("none")), "{errors}");
        assert_eq!(fs::read_to_string(at("blobs")).unwrap(), "of another Vault");
    }
    std::os::unix::fs::symlink(at("nothing"), at("link")).unwrap();
    let extract = ["extract", "--from", "record", &at("blobs"), "-o", &at("link")];
    let (exit, _, errors) = ran(&extract);
    assert!(exit == Exit::Failure && errors.contains(&at("link")), "as `backup -o`: {errors}");
}

#[test]
fn a_restore_that_fails_names_backup_and_configuration_and_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_dir, file) = site(&format!("storage \"sled\" {{\n  path = {:?}\n}}", at("s")));
    let contents: [(&[u8], &str); 3] = [
        (b"no backup", "name the file that `selkie backup -o` has written"),
        (b"selkie-backup 2\n", "the version of Selkie that wrote it"),
        (b"selkie-backup 1\n", "copy the file again"),
    ];
    for (content, next) in contents {
        fs::write(at("b"), content).unwrap();
        let (exit, _, errors) = ran(&["restore", "--config", &file, &at("b")]);
        assert_eq!(exit, Exit::Failure);
        for told in [&*at("b"), &file, next] {
            assert!(errors.contains(told), "{told}: {errors}");
        }
    }
}

#[test]
fn a_restore_into_a_storage_that_is_in_use_names_it_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let (_dir, file) = site(&format!("storage \"sled\" {{\n  path = {:?}\n}}", at("s")));
    fs::write(at("b"), "no backup").unwrap();
    let runtime = multi_threaded().unwrap();
    let settings = selkie_storage::SledSettings::new(at("s"));
    let _used = runtime.block_on(selkie_storage::SledStore::open(settings)).unwrap();
    let (exit, _, errors) = ran(&["restore", "--config", &file, &at("b")]);
    assert_eq!(exit, Exit::Failure);
    assert!(errors.contains(&at("s")) && errors.contains("stop all servers"), "{errors}");
}
