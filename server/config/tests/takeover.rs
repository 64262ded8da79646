//! `takeover` in a `key`.

#![expect(clippy::expect_used, reason = "its helpers are parts of tests")]

mod sources;
mod variables;

use selkie_config::{Config, Problems, Takeover, UpstreamToken};

use crate::variables::WithVariables;

const FIELDS: &str = "address = \"https://old.example:8300\"\nmount_path = \"a/transit/\"\n\
                      key_name = \"unseal\"\ntoken = \"env://OLD\"\n";

/// What stands in the environment of a Vault's seal, which is about another server.
const OF_A_SEAL: [(&str, &str); 4] = [
    ("VAULT_ADDR", "https://b.example:8200"),
    ("VAULT_TOKEN", "hvs.other"),
    ("VAULT_NAMESPACE", "ns1"),
    ("OLD", "hvs.old"),
];

fn parse(key: &str, fields: &str) -> Result<Config, Problems> {
    let text = format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:8200\"\n  tls_disable = true\n}}\n\
         seal \"static\" {{\n  current_key_id = \"1\"\n  current_key = \"env://K\"\n}}\n\
         key \"autounseal\" {{\n{key}\ntakeover {{\n{fields}\n}}\n}}\n"
    );
    let key = ("K", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    Config::parse("x", &text, &WithVariables([&OF_A_SEAL[..], &[key]].concat()))
}

fn takeover(fields: &str) -> Takeover {
    let config = parse("generation = 1", &[FIELDS, fields].concat()).expect("is sound");
    config.takeovers.into_iter().next().expect("a takeover")
}

fn told(key: &str, fields: &str) -> String {
    parse(key, &[FIELDS, fields].concat()).expect_err("is refused").to_string()
}

#[test]
fn the_fields_are_those_of_a_seal_and_its_variables_do_not_count() {
    let one = takeover("");
    assert_eq!((one.mount.as_str(), one.key.as_str()), ("transit", "autounseal"));
    assert_eq!(one.server.address.as_str(), "https://old.example:8300/");
    assert_eq!(one.server.mount_path, "a/transit");
    assert_eq!(one.server.namespace, None);
    assert!(matches!(&one.server.token, UpstreamToken::Given(text) if text.as_str() == "hvs.old"));
    assert_eq!(one.name.as_str(), "takeover.old.example");
    assert_eq!(one.last_version, None);
    let named = takeover("name = \"old\"\nlast_version = 7\n");
    assert_eq!((named.name.as_str(), named.last_version.map(|v| v.get())), ("old", Some(7)));
}

#[test]
fn what_is_a_seals_alone_is_refused() {
    for field in ["key_id_prefix = \"x\"", "poll_interval = \"5m\""] {
        assert!(told("generation = 1", field).contains("belongs to a seal"), "{field}");
    }
    assert!(told("generation = 1", "name = \"static\"").contains("a seal has the name"));
    assert!(told("generation = 1", "tls_skip_verify = true").contains("tls_ca_cert"));
}

/// Invariant I7.
#[test]
fn a_version_that_would_not_be_above_the_old_ones_is_refused() {
    for (key, fields) in [
        ("", ""),
        ("version = 1", ""),
        ("version = 9", "last_version = 9"),
        ("generation = 1", "last_version = 10001"),
        ("generation = 1", "last_version = 10002"),
    ] {
        assert!(told(key, fields).contains("never moves"), "{key} {fields}");
    }
    for (key, fields) in [
        ("version = 2", ""),
        ("version = 10", "last_version = 9"),
        ("generation = 1", "last_version = 10000"),
        ("generation = 2", "last_version = 10001"),
    ] {
        assert!(parse(key, &[FIELDS, fields].concat()).is_ok(), "{key} {fields}");
    }
}

/// What a seal has wrapped is a ciphertext of its key: a takeover of that would hand out DEKs.
#[test]
fn the_key_of_a_seal_is_never_taken_over() {
    let told = |seal: &str, more: &str| {
        let text = format!(
            "listener \"tcp\" {{\n  address = \"127.0.0.1:8200\"\n  tls_disable = true\n}}\n\
             seal \"static\" {{\n  priority = 1\n  current_key_id = \"1\"\n  current_key = \"env://K\"\n}}\n\
             seal \"transit\" {{\n  priority = 2\n  name = \"up\"\n  token = \"env://OLD\"\n{seal}}}\n\
             key \"autounseal\" {{\n  generation = 1\n  takeover {{\n{FIELDS}{more}  }}\n}}\n"
        );
        let key = ("K", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let problems = Config::parse("x", &text, &WithVariables(vec![("OLD", "hvs.old"), key]));
        problems.err().map(|problems| problems.to_string()).unwrap_or_default()
    };
    let seal = |address: &str, mount: &str, key: &str| {
        format!("  address = \"{address}\"\n  mount_path = \"{mount}\"\n  key_name = \"{key}\"\n")
    };
    let here = "https://old.example:8300";
    for of_seal in [
        seal(here, "a/transit", "unseal"),
        seal(here, "a/transit", "unseal") + "  disabled = true\n",
        seal(here, "/transit/", "unseal") + "  namespace = \"a\"\n",
        seal(here, "a/transit", "unseal") + "  namespace = \"root\"\n",
    ] {
        assert!(told(&of_seal, "").contains("under this very key"), "{of_seal}");
    }
    let elsewhere = seal("https://b.example:8200", "a/transit", "unseal");
    assert!(told(&elsewhere, "").contains("at another address"), "{}", told(&elsewhere, ""));
    for other in [seal(here, "a/transit", "other"), seal(here, "b/transit", "unseal")] {
        assert_eq!(told(&other, ""), "", "{other}");
    }
    assert_eq!(told(&seal(here, "a/transit", "unseal"), "  namespace = \"b\"\n"), "");
}
