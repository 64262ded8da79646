//! `storage` and `telemetry`: what is read from the stanzas and what from the environment.

#![expect(clippy::expect_used, clippy::panic, reason = "its helpers are parts of tests")]

mod sources;
mod variables;

use std::path::Path;
use std::time::Duration;

use selkie_config::{Config, EtcdStorage, Storage, WarningKind};

use crate::variables::WithVariables;

fn read(stanzas: &str, variables: &[(&str, &str)]) -> Config {
    let text = format!(
        "{stanzas}\nlistener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"static\" {{\n  \
         current_key_id = \"1\"\n  current_key = \"file:///keys/raw\"\n}}\n"
    );
    Config::parse("x", &text, &WithVariables(variables.to_vec())).expect("is sound")
}

fn etcd(fields: &str, variables: &[(&str, &str)]) -> (EtcdStorage, Vec<WarningKind>) {
    let config =
        read(&format!("data_dir = \"/srv\"\nstorage \"etcd\" {{\n{fields}\n}}"), variables);
    let warnings = config.warnings.into_iter().map(|warning| warning.kind).collect();
    match config.storage {
        Some(Storage::Etcd(storage)) => (storage, warnings),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sled_lies_where_it_says_or_in_the_data_directory() {
    for (stanzas, expected) in [
        ("storage \"sled\" {\n  path = \"/srv/x\"\n}", "/srv/x"),
        ("data_dir = \"/srv\"\nstorage \"sled\" {}", "/srv/state"),
        ("data_dir = \"/srv\"\nstorage \"sled\" {\n  path = \"/x\"\n}", "/x"),
    ] {
        match read(stanzas, &[]).storage {
            Some(Storage::Sled(sled)) => assert_eq!(sled.path, Path::new(expected)),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_state_may_be_made_unless_the_storage_says_that_there_is_one() {
    let may_create = |stanza: &str| {
        read(&format!("data_dir = \"/srv\"\n{stanza}"), &[]).storage.expect("is there").may_create()
    };
    for kind in ["sled", "etcd"] {
        assert!(may_create(&format!("storage \"{kind}\" {{}}")));
        assert!(may_create(&format!("storage \"{kind}\" {{\n  create = true\n}}")));
        assert!(!may_create(&format!("storage \"{kind}\" {{\n  create = false\n}}")));
    }
    assert!(may_create("storage \"inmem\" {}"));
}

#[test]
fn an_empty_etcd_stanza_has_the_documented_defaults() {
    let (etcd, warnings) = etcd("", &[]);
    assert_eq!(etcd.endpoints, ["http://127.0.0.1:2379"]);
    assert_eq!((etcd.prefix.as_str(), etcd.request_timeout), ("selkie/", Duration::from_secs(5)));
    assert!(etcd.ca_file.is_none() && etcd.client_certificate.is_none());
    assert!(etcd.credentials.is_none() && warnings.is_empty());
}

#[test]
fn etcd_reads_as_written() {
    let (etcd, warnings) = etcd(
        "address = \"https://a:2379,https://[::1]:443/\"\npath = \"/unseal/eu//\"\n\
         tls_ca_file = \"/etc/ca.pem\"\ntls_cert_file = \"/etc/selkie/tls.crt\"\n\
         tls_key_file = \"/etc/selkie/tls.key\"\nusername = \"selkie\"\n\
         password = \"file:///keys/secret\"\nrequest_timeout = \"9s\"\netcd_api = \"v3\"",
        &[],
    );
    assert_eq!(etcd.endpoints, ["https://a:2379", "https://[::1]:443"]);
    assert_eq!((etcd.prefix.as_str(), etcd.request_timeout.as_secs()), ("/unseal/eu/", 9));
    assert_eq!(etcd.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    let certificate = etcd.client_certificate.expect("both files");
    assert_eq!(certificate.cert_file, Path::new("/etc/selkie/tls.crt"));
    assert_eq!(certificate.key_file, Path::new("/etc/selkie/tls.key"));
    let credentials = etcd.credentials.expect("both parts");
    let known = (credentials.username.as_str(), credentials.password.as_str());
    assert_eq!(known, ("selkie", "s3cret of the file"));
    assert!(!format!("{credentials:?}").contains("s3cret"));
    assert_eq!(warnings, []);
}

#[test]
fn variables_of_etcd_win_and_are_told_of() {
    let variables =
        [("ETCD_ADDR", "http://b:1"), ("ETCD_USERNAME", "u"), ("ETCD_PASSWORD", "hunter2")];
    let (etcd, mut warnings) = etcd(
        "address = \"http://a:2379\"\nusername = \"u\"\npassword = \"file:///keys/secret\"",
        &variables,
    );
    assert_eq!(etcd.endpoints, ["http://b:1"]);
    assert_eq!(etcd.credentials.expect("both").password.as_str(), "hunter2");
    warnings.sort_by_key(|kind| format!("{kind:?}"));
    let wins = |variable, field| WarningKind::VariableWins { variable, field };
    assert_eq!(
        warnings,
        [
            WarningKind::PasswordInClear,
            wins("ETCD_ADDR", "address"),
            wins("ETCD_PASSWORD", "password")
        ]
    );
}

#[test]
fn fields_of_vaults_that_change_nothing_are_warned_of() {
    let (_, warnings) = etcd("ha_enabled = \"true\"\nsync = false\nlock_timeout = \"15s\"", &[]);
    let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "\"ha_enabled\" has no effect here: every replica on the same etcd serves",
            "\"sync\" has no effect here: the members are those of \"address\"",
            "\"lock_timeout\" has no effect here: no lock is held in etcd",
        ]
    );
    let config = read("telemetry {\n  disable_hostname = true\n}", &[]);
    let told: Vec<_> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "x:2:22: warning: \"disable_hostname\" has no effect here: no metric has the host in its \
          name"
        ]
    );
}

#[test]
fn telemetry_reads_as_written_and_is_off_by_default() {
    let off = read("", &[]).telemetry;
    assert!(off.metrics.is_none() && off.tracing.is_none());
    let config = read(
        "telemetry {\n  metrics_address = \"127.0.0.1:9102\"\n  otlp_endpoint = \
         \"https://collector:4318\"\n  otlp_ca_file = \"/etc/ca.pem\"\n  otlp_headers = \
         [\"Authorization=file:///keys/secret\"]\n  trace_sample_ratio = 0.25\n}",
        &[],
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let metrics = config.telemetry.metrics.expect("an address");
    assert_eq!(metrics.address.to_string(), "127.0.0.1:9102");
    let tracing = config.telemetry.tracing.expect("an endpoint");
    assert_eq!(tracing.endpoint.as_str(), "https://collector:4318/v1/traces");
    assert_eq!(tracing.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert!((tracing.sample_ratio - 0.25).abs() < f64::EPSILON);
    let header = tracing.headers.first().expect("a header");
    assert_eq!(
        (header.name.as_str(), header.value.as_str()),
        ("authorization", "s3cret of the file")
    );
    assert!(!format!("{tracing:?}").contains("s3cret"));
}

#[test]
fn metrics_and_traces_that_others_can_read_are_warned_of() {
    let config = read(
        "telemetry {\n  metrics_address = \"0.0.0.0:9102\"\n  metrics_without_token = \
         \"public\"\n  otlp_endpoint = \"http://10.0.0.1:4318/otlp\"\n  trace_sample_ratio = 1\n}",
        &[],
    );
    let kinds: Vec<_> = config.warnings.iter().map(|warning| warning.kind.clone()).collect();
    let address = "0.0.0.0:9102".parse().expect("an address");
    let host = "10.0.0.1".to_owned();
    assert_eq!(
        kinds,
        [WarningKind::PublicMetrics { address }, WarningKind::TracesInClear { host }]
    );
    assert_eq!(config.telemetry.tracing.expect("is set").endpoint.path(), "/otlp");
}
