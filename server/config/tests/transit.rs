//! `seal "transit"`: what is read from the stanza and what from the environment.

#![expect(clippy::expect_used, clippy::panic, reason = "its helpers are parts of tests")]

mod sources;
mod variables;

use std::time::Duration;

use selkie_config::{
    Config, DistantKey, Problems, Regression, SealKind, TransitSeal, UpstreamToken, WarningKind,
};

use crate::variables::WithVariables;

/// What an empty stanza needs, from the environment.
const ALL: [(&str, &str); 3] = [
    ("VAULT_ADDR", "https://b.example:8200"),
    ("VAULT_TRANSIT_SEAL_MOUNT_PATH", "transit/"),
    ("VAULT_TRANSIT_SEAL_KEY_NAME", "unseal"),
];

/// The same, as fields.
const FIELDS: &str = "address = \"https://b.example:8200\"\nmount_path = \"transit/\"\n\
                      key_name = \"unseal\"\n";

fn file(stanzas: &str) -> String {
    format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:8200\"\n  tls_disable = true\n}}\n{stanzas}"
    )
}

fn parse(fields: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let text = file(&format!("seal \"transit\" {{\n{fields}\n}}\n"));
    Config::parse("x", &text, &WithVariables(variables.to_vec()))
}

fn seal(fields: &str, variables: &[(&str, &str)]) -> TransitSeal {
    let config = parse(fields, variables).expect("is sound");
    match config.seals.into_iter().next().expect("a seal").kind {
        SealKind::Transit(seal) => *seal,
        other => panic!("{other:?}"),
    }
}

fn told(fields: &str, variables: &[(&str, &str)]) -> String {
    parse(fields, variables).expect_err("is refused").to_string()
}

#[test]
fn an_empty_stanza_is_read_from_the_environment_as_in_vault() {
    let token = [("VAULT_TOKEN", "hvs.t"), ("VAULT_NAMESPACE", "ns1/")];
    let renewal = [("VAULT_TRANSIT_SEAL_DISABLE_RENEWAL", "true"), ("VAULT_SKIP_VERIFY", "0")];
    let seal = seal("", &[&ALL[..], &token, &renewal].concat());
    assert_eq!(seal.address.as_str(), "https://b.example:8200/");
    assert_eq!((seal.mount_path.as_str(), seal.key_name.as_str()), ("transit", "unseal"));
    assert_eq!(seal.namespace.as_deref(), Some("ns1/"));
    assert!(matches!(&seal.token, UpstreamToken::Given(text) if text.as_str() == "hvs.t"));
    assert!(seal.disable_renewal);
    assert_eq!(format!("{:?}", seal.token), "Given");
}

#[test]
fn fields_say_the_same_and_defaults_are_vaults() {
    let seal = seal(FIELDS, &[]);
    assert_eq!(seal.address.as_str(), "https://b.example:8200/");
    assert_eq!((seal.mount_path.as_str(), seal.key_name.as_str()), ("transit", "unseal"));
    assert!(matches!(seal.token, UpstreamToken::Nowhere));
    assert!(!seal.disable_renewal && seal.ca_certificates.is_none());
    assert!(seal.client_certificate.is_none() && seal.server_name.is_none());
    assert!(seal.namespace.is_none() && seal.proxy.is_none());
    assert_eq!(seal.key_id_prefix, "transit/transit/unseal");
    assert_eq!(seal.poll_interval, Duration::from_secs(300));
}

#[test]
fn a_token_is_a_reference_whose_file_may_come_later() {
    let with = |text: &str| format!("{FIELDS}token = {text:?}\n");
    let file = seal(&with("file:///run/agent/token"), &[]);
    assert!(matches!(file.token, UpstreamToken::File(path) if path.ends_with("agent/token")));
    let named = seal(&with("env://SELKIE_UPSTREAM"), &[("SELKIE_UPSTREAM", "hvs.x\n")]);
    assert!(matches!(named.token, UpstreamToken::Given(text) if text.as_str() == "hvs.x"));
    for (text, reason) in [
        ("hvs.literal", "never stands in this file"),
        ("file://relative", "must be absolute"),
        ("env://MISSING", "is not set"),
    ] {
        let told = told(&with(text), &[]);
        assert!(told.contains(reason), "{told}");
    }
    let told = told(&with("hvs.literal"), &[("VAULT_TOKEN", "hvs.y")]);
    assert!(told.contains("never stands in this file") && !told.contains("hvs.literal"), "{told}");
}

#[test]
fn the_way_is_never_in_clear_nor_unverified_nor_to_ourselves() {
    let at = |address: &str| {
        format!("address = {address:?}\nmount_path = \"transit\"\nkey_name = \"unseal\"\n")
    };
    for good in
        ["https://b.example", "http://127.0.0.1:8300", "http://localhost:8100", "https://[::2]"]
    {
        assert!(parse(&at(good), &[]).is_ok(), "{good}");
    }
    for (bad, reason) in [
        ("http://b.example:8200", "in clear"),
        ("http://10.0.0.1:8200", "in clear"),
        ("https://b.example/path", "without path"),
        ("https://user@b.example", "without path, query or user"),
        ("unix:///run/vault.sock", "expected a URL"),
        ("b.example:8200", "expected a URL"),
        ("http://127.0.0.1:8200", "listener of this very server"),
        ("https://localhost:8200", "listener of this very server"),
        ("https://[::1]:8200", "listener of this very server"),
    ] {
        let told = told(&at(bad), &[]);
        assert!(told.contains(reason), "{bad}: {told}");
    }
    let here = told(FIELDS, &[("VAULT_ADDR", "http://127.0.0.1:8200")]);
    assert!(here.contains("listener of this very server") && here.contains("unset it"), "{here}");
    for skips in ["tls_skip_verify = true\n", ""] {
        let variables: &[_] = if skips.is_empty() { &[("VAULT_SKIP_VERIFY", "1")] } else { &[] };
        let told = told(&format!("{FIELDS}{skips}"), variables);
        assert!(told.contains("tls_ca_cert"), "{told}");
    }
    assert!(parse(&format!("{FIELDS}tls_skip_verify = false\n"), &[]).is_ok());
}

#[test]
fn what_is_missing_or_unfit_is_named() {
    for (fields, reason) in [
        ("mount_path = \"t\"\nkey_name = \"k\"", "missing field \"address\" (or VAULT_ADDR)"),
        ("key_name = \"k\"", "missing field \"mount_path\" (or VAULT_TRANSIT_SEAL_MOUNT_PATH)"),
        ("mount_path = \"t\"", "missing field \"key_name\" (or VAULT_TRANSIT_SEAL_KEY_NAME)"),
        ("mount_path = \"a/../b\"", "a mount path has"),
        ("key_name = \"a/b\"", "a key's name has"),
        ("namespace = \"a b\"", "a namespace has"),
        ("tls_server_name = \"\"", "must not be empty"),
        ("tls_client_cert = \"/cert.pem\"", "missing field \"tls_client_key\""),
        ("tls_client_key = \"/key.pem\"", "missing field \"tls_client_cert\""),
        ("key_id_prefix = \"a b\"", "a key id prefix has"),
        ("poll_interval = \"0s\"", "must be from 1s"),
        ("retries = 3", "retries"),
    ] {
        let told = told(fields, &[]);
        assert!(told.contains(reason), "{fields}: {told}");
    }
    let told = told("", &[&ALL[..], &[("VAULT_TRANSIT_SEAL_DISABLE_RENEWAL", "yes")]].concat());
    assert!(told.contains("VAULT_TRANSIT_SEAL_DISABLE_RENEWAL") && told.contains("\"false\""));
}

#[test]
fn a_variable_wins_and_that_is_told() {
    let config = parse(FIELDS, &[("VAULT_ADDR", "https://other.example")]).expect("is sound");
    let wins = WarningKind::VariableWins { variable: "VAULT_ADDR", field: "address" };
    assert!(config.warnings.iter().any(|warning| warning.kind == wins));
}

fn two(first: &str, second: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let stanza = |name: &str, number: u8, fields: &str| {
        format!("seal \"transit\" {{\n  name = {name:?}\n  priority = {number}\n{fields}\n}}\n")
    };
    let text = file(&(stanza("a", 1, first) + &stanza("b", 2, second)));
    Config::parse("x", &text, &WithVariables(variables.to_vec()))
}

#[test]
fn two_upstreams_need_ids_of_their_own_and_share_no_variable() {
    let other = FIELDS.replace("b.example", "c.example");
    let told = two(FIELDS, &other, &[]).expect_err("the same ids").to_string();
    assert!(told.contains("key_id_prefix") && told.contains("transit/transit/unseal/vN"), "{told}");
    let own = format!("{other}key_id_prefix = \"c\"\n");
    assert!(two(FIELDS, &own, &[]).is_ok());
    let told = two(FIELDS, &own, &[("VAULT_TOKEN", "hvs.x")]).expect_err("shared").to_string();
    assert!(told.contains("VAULT_TOKEN") && told.contains("\"token\""), "{told}");
}

#[test]
fn an_upstream_may_move_and_a_key_may_not_be_exchanged() {
    let promises = |fields: &str| parse(fields, &[]).expect("is sound").promises();
    let before = promises(FIELDS);
    let moved = FIELDS.replace("b.example", "new.example");
    assert_eq!(promises(&moved).check_against_previous(&before), []);
    let renamed = FIELDS.replace("unseal", "other");
    let kept = format!("{renamed}key_id_prefix = \"transit/transit/unseal\"\n");
    assert_eq!(promises(&kept).check_against_previous(&before), []);
    let found = promises(&renamed).check_against_previous(&before);
    let was = DistantKey::Transit { key_id_prefix: "transit/transit/unseal".to_owned() };
    assert!(
        matches!(&found[..], [Regression::MasterKeyRemoved { was: found, .. }] if *found == was),
        "{found:?}"
    );
}
