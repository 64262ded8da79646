//! The files under `tests/data`: one that says everything, and for each mistake one whose comments
//! at the end (`#! LINE:COLUMN: message`) are what must be told about it, neither more nor less. A
//! comment `#$ NAME=VALUE` sets a variable of its environment.

mod sources;
mod variables;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use selkie_config::{
    AuditDevice, AuditFile, AuditKind, AuditSocket, AuditSyslog, AuditTarget, Burst,
    ClientAuthorities, ClientCertificates, Config, DeclaredCertificate, DeclaredMethod, Endpoint,
    ExposedFile, Exposure, ForwardedFor, ListenerLimits, LogFormat, LogLevel, Problems,
    ProxyProtocol, SandboxMode, SealKind, Storage, TlsVersion, VersionRule, Warning, WarningKind,
};
use selkie_crypto::KeyVersion;

use crate::sources::TestSources;
use crate::variables::WithVariables;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

fn good() -> Result<Config, Problems> {
    Config::parse("good.hcl", include_str!("data/good.hcl"), &TestSources)
}

#[test]
fn every_mistake_is_told_where_it_stands_and_nothing_else_is() {
    let mut files: Vec<_> = fs::read_dir(data().join("bad"))
        .expect("lists")
        .map(|entry| entry.expect("reads").path())
        .collect();
    files.sort();
    assert!(files.len() > 20, "the files are there");
    let mut wrong = String::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("reads");
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("#! ")).collect();
        let variables = text.lines().filter_map(|line| line.strip_prefix("#$ ")?.split_once('='));
        let told = match Config::parse("x", &text, &WithVariables(variables.collect())) {
            Ok(_) => String::new(),
            Err(problems) => problems.to_string(),
        };
        let told: Vec<_> = told.lines().map(|l| l.strip_prefix("x:").unwrap_or(l)).collect();
        if told != expected || told.is_empty() {
            wrong += &format!("\n{}\n#! {}\n", path.display(), told.join("\n#! "));
        }
    }
    assert!(wrong.is_empty(), "told otherwise than expected:\n{wrong}");
}

#[test]
fn a_method_and_its_roles_read_as_written() {
    let config = good().expect("is sound");
    let [auth] = &config.auth[..] else { panic!("{:?}", config.auth) };
    assert_eq!((auth.path.as_str(), &*auth.description), ("team/machines", "of the team"));
    assert_eq!(auth.default_lease_ttl, Some(Duration::from_secs(1200)));
    assert_eq!(auth.max_lease_ttl, Some(Duration::from_secs(43_200)));
    assert!(auth.at.starts_with("good.hcl:") && auth.at.ends_with(":6"), "{}", auth.at);
    let DeclaredMethod::AppRole(roles) = &auth.method else { panic!("{:?}", auth.method) };
    let [role] = &roles[..] else { panic!("{roles:?}") };
    assert_eq!((&*role.name, &*role.role_id), ("web", "the-web"));
    assert!(role.bind_secret_id);
    assert_eq!((role.secret_id_num_uses, role.secret_id_ttl), (40, Duration::from_secs(600)));
    assert_eq!(role.token.period, Duration::from_secs(3600));
    assert_eq!(role.token.policies, ["vault-eu".parse().expect("is a name")]);
    assert_eq!(role.token.bound_cidrs, ["10.0.0.0/8".parse().expect("is a network")]);
    assert!(role.token.no_default_policy);
}

#[test]
fn the_top_level_reads_as_written() {
    let config = good().expect("is sound");
    assert_eq!(config.realm, "prod-eu");
    assert_eq!(config.realm_aliases, ["prod"]);
    assert!(config.origin_key.is_some());
    assert_eq!(config.logging.level, LogLevel::Debug);
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(config.api_addr.as_deref(), Some("https://selkie.example.com:8200"));
    assert_eq!(config.cluster_name.as_deref(), Some("selkie-eu"));
    assert_eq!(config.pid_file.as_deref(), Some(Path::new("/run/selkie.pid")));
    assert!(config.lock_all_memory);
    assert!(matches!(config.storage, Some(Storage::InMemory)));
}

#[test]
fn listeners_read_as_written() {
    let config = good().expect("is sound");
    let [tls, by_name, by_index] = config.listeners.try_into().expect("three listeners");
    assert_eq!(tls.endpoint, Endpoint::Address("[::]:8200".parse().expect("address")));
    let settings = tls.tls.expect("TLS");
    assert_eq!(settings.cert_file, Path::new("/etc/selkie/tls.crt"));
    assert_eq!(settings.key_file, Path::new("/etc/selkie/tls.key"));
    assert_eq!(
        (settings.min_version, settings.max_version),
        (TlsVersion::Tls13, TlsVersion::Tls13)
    );
    let authorities = ClientAuthorities {
        ca_file: "/etc/selkie/clients.pem".into(),
        crl_files: vec!["/etc/selkie/revoked.pem".into(), "/etc/selkie/crls".into()],
        crl_strict: true,
    };
    assert_eq!(settings.client_certificates, ClientCertificates::Required(authorities));
    assert_eq!(tls.limits, declared_limits());
    assert_eq!(by_name.endpoint, Endpoint::ActivatedName("selkie.socket".to_owned()));
    assert!(by_name.tls.is_none() && by_name.forwarded_for.is_none());
    assert_eq!(by_name.proxy_protocol, ProxyProtocol::Off);
    assert_eq!(by_index.endpoint, Endpoint::ActivatedIndex(1));
}

fn declared_limits() -> ListenerLimits {
    ListenerLimits {
        max_request_size: 1 << 20,
        max_connections: 500,
        max_in_flight_requests: 64,
        read_header_timeout: Duration::from_secs(5),
        read_timeout: Duration::from_secs(20),
        idle_timeout: Duration::from_secs(90),
    }
}

#[test]
fn what_is_said_of_proxies_reads_as_written() {
    let config = good().expect("is sound");
    let listener = config.listeners.into_iter().next().expect("a listener");
    let networks = |texts: [&str; 2]| texts.map(|text| text.parse().expect("network")).to_vec();
    let proxies = networks(["10.0.0.1/32", "192.168.0.0/16"]);
    assert_eq!(listener.proxy_protocol, ProxyProtocol::DenyUnauthorized(proxies));
    let expected = ForwardedFor {
        authorized: networks(["10.0.0.0/8", "fd00::/8"]),
        hop_skips: 1,
        reject_not_authorized: false,
        reject_not_present: false,
    };
    assert_eq!(listener.forwarded_for, Some(expected));
}

#[test]
fn alerts_read_as_written_and_print_no_secret() {
    let alerts = good().expect("is sound").alerts.expect("alerts");
    let burst = Burst { decrypts: 100, window: Duration::from_secs(600) };
    assert_eq!((alerts.learning, alerts.burst), (Duration::ZERO, burst));
    assert_eq!((alerts.prefix_v4, alerts.prefix_v6), (32, 56));
    let printed = format!("{alerts:?}");
    let webhook = alerts.webhook.expect("a webhook");
    assert_eq!(webhook.url.as_str(), "https://hooks.example.com/T0/s3cret?x=1");
    assert_eq!(webhook.ca_file.as_deref(), Some(Path::new("/etc/selkie/ca.pem")));
    assert_eq!(
        webhook.proxy.map(|proxy| proxy.to_string()).as_deref(),
        Some("http://proxy.test:3128")
    );
    let [header] = &*webhook.headers else { panic!("one header") };
    assert_eq!(
        (header.name.as_str(), header.value.as_str()),
        ("authorization", "s3cret of the file")
    );
    assert!(webhook.hmac_key.is_some());
    assert_eq!(webhook.timeout, Duration::from_secs(3));
    assert!(!printed.contains("s3cret") && !printed.contains("hunter2"), "{printed}");
}

#[test]
fn an_empty_stanza_watches_with_the_defaults_and_a_change_of_what_is_watched_shows() {
    let parse = |inside: &str| {
        let text = format!(
            "alerts {{ {inside} }}\nlistener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"static\" \
             {{\n  current_key_id = \"1\"\n  current_key = \"file:///keys/raw\"\n}}\n"
        );
        Config::parse("x", &text, &TestSources).expect("is sound")
    };
    let config = parse("");
    let forgetful = |warning: &Warning| warning.kind == WarningKind::AlertsForgetful;
    assert!(config.warnings.iter().any(forgetful));
    let alerts = config.alerts.expect("alerts");
    assert_eq!((alerts.prefix_v4, alerts.prefix_v6, alerts.burst), (24, 64, Burst::default()));
    assert_eq!(alerts.learning, Duration::from_secs(86_400));
    assert!(alerts.webhook.is_none());
    let posted = parse("\n webhook {\n url = \"https://a.test/1\"\n }\n").alerts.expect("alerts");
    assert_eq!(posted.digest(), parse("").alerts.expect("alerts").digest(), "but for the webhook");
    let other = parse("\n learning = \"1h\"\n").alerts.expect("alerts");
    assert_ne!(other.digest(), parse("").alerts.expect("alerts").digest());
}

#[test]
fn seals_come_in_order_of_priority_with_all_their_keys() {
    let config = good().expect("is sound");
    let told: Vec<_> = config
        .seals
        .iter()
        .map(|seal| {
            let SealKind::Static(keys) = &seal.kind else {
                panic!("{seal:?}");
            };
            let ids: Vec<_> = keys.keys().map(|key| key.id.as_str()).collect();
            format!("{} {} {} {}", seal.name, seal.priority, seal.disabled, ids.join(","))
        })
        .collect();
    assert_eq!(told, ["new 1 false 2026", "old 2 false 2024,2023,2022", "retired 3 true 2019"]);
}

/// Its secrets, and what it needed, may be gone.
#[test]
fn a_revoked_seal_needs_nothing_but_its_name_and_none_of_its_secrets_is_read() {
    let text = r#"
listener "tcp" {
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "file:///keys/raw"
}
seal "static" {
  name        = "stolen"
  revoked     = true
  priority    = 1
  current_key = "file:///gone"
  previous "0" {
    key = "env://GONE"
  }
}
key "k" {}
"#;
    let config = Config::parse("selkie.hcl", text, &TestSources).expect("is sound");
    let names: Vec<_> = config.seals.iter().map(|seal| seal.name.as_str()).collect();
    assert_eq!(names, ["static"]);
    let [revoked] = &config.revoked_seals[..] else { panic!("{:?}", config.revoked_seals) };
    assert_eq!((revoked.name.as_str(), revoked.kind.as_str()), ("stolen", "static"));
    assert_eq!(config.keys[0].seals.len(), 1, "no key is made for it");
}

/// What was wrapped for it names it as it was called then.
#[test]
fn a_revocation_is_of_the_aliases_as_well() {
    let text = |aliases: &str| {
        format!(
            "listener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"static\" {{\n  {aliases}\n  \
             current_key_id = \"1\"\n  current_key = \"file:///keys/raw\"\n}}\n\
             seal \"static\" {{\n  name = \"new\"\n  aliases = [\"old\"]\n  revoked = true\n}}\n"
        )
    };
    let config = Config::parse("x", &text(""), &TestSources).expect("is sound");
    let names: Vec<_> = config.revoked_seals[0].names().map(|name| name.as_str()).collect();
    assert_eq!(names, ["new", "old"]);
    let refused = Config::parse("x", &text("aliases = [\"old\"]"), &TestSources);
    let refused = refused.expect_err("it would bring it back").to_string();
    assert!(refused.contains("\"old\" is the name or an alias of a seal already"), "{refused}");
}

#[test]
fn mounts_and_keys_read_as_written() {
    let config = good().expect("is sound");
    let [first, second] = config.keys.try_into().expect("two keys");
    let names = |key: &selkie_config::DeclaredKey| {
        key.seals.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!((first.mount.as_str(), first.name.as_str()), ("transit", "autounseal"));
    assert_eq!(names(&first), ["new", "old"], "in order of priority");
    assert_eq!(first.version, VersionRule::Counted { generation: 3 });
    assert_eq!(first.min_decryption_version, KeyVersion::FIRST);
    assert_eq!(first.min_encryption_version, None);
    assert_eq!(second.mount.as_str(), "team/a/transit");
    assert_eq!(names(&second), ["new", "old"], "all that are not disabled");
    assert_eq!(Some(second.version), KeyVersion::new(7).map(VersionRule::Stated));
    assert_eq!(second.min_decryption_version.get(), 2);
    assert_eq!(second.min_encryption_version, KeyVersion::new(7));

    let aliases: Vec<_> = config.mounts.iter().map(|mount| mount.aliases.len()).collect();
    assert_eq!(aliases, [1, 0]);
}

#[test]
fn clients_and_policies_read_as_written() {
    let config = good().expect("is sound");
    let policies: Vec<_> = config.policies.iter().map(|policy| policy.name().as_str()).collect();
    assert_eq!(policies, ["vault-eu", "shared"]);
    let [vault, admin, by_certificate, by_both] = config.clients.try_into().expect("four clients");
    assert_eq!(vault.name.as_str(), "vault-eu-1");
    let hash = vault.token.expect("a token");
    assert_eq!(*hash.as_bytes(), selkie_crypto::sha256(b"test"));
    let policies: Vec<_> = vault.policies.iter().map(|name| name.as_str()).collect();
    assert_eq!(policies, ["shared", "vault-eu"]);
    assert_eq!(vault.period, Some(Duration::from_secs(86_400)));
    assert_eq!(vault.token_bound_cidrs.len(), 1);
    assert!(!vault.no_default_policy && admin.no_default_policy);
    assert_eq!((admin.period, admin.token_bound_cidrs.len()), (None, 0));
    assert!(by_certificate.token.is_none() && by_certificate.certificate.is_some());
    assert!(by_both.token.is_some() && by_both.certificate.is_some());
}

#[test]
fn what_names_a_client_by_its_certificate_reads_as_written() {
    let config = good().expect("is sound");
    let declared = config.clients.into_iter().find_map(|client| client.certificate);
    let DeclaredCertificate { rule, authorities } = declared.expect("a certificate");
    let globs = |globs: &[selkie_certificate::Glob]| {
        globs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    assert_eq!(rule.sha256, [hash.parse().expect("a fingerprint")]);
    assert_eq!(rule.spiffe_id.len(), 1);
    assert_eq!(globs(&rule.dns_san), "vault-us.example.com *.us.example.com");
    assert_eq!(globs(&rule.uri_san), "spiffe://example.org/*");
    assert_eq!(globs(&rule.email_san), "vault@example.com");
    assert_eq!(globs(&rule.common_name), "vault-us*");
    let expected = ClientAuthorities {
        ca_file: "/etc/selkie/vaults.pem".into(),
        crl_files: vec!["/etc/selkie/vaults.crl".into()],
        crl_strict: false,
    };
    assert_eq!(authorities, Some(expected));
}

#[test]
fn what_works_but_should_be_known_is_a_warning() {
    let told: Vec<_> = good().expect("is sound").warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["good.hcl:77:9: warning: storage \"inmem\" forgets all keys made through the API when \
             the server stops",]
    );
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let text = "listener \"tcp\" {\n  tls_disable = true\n}\nseal \"static\" {\n  \
                current_key_id = \"1\"\n  current_key = \"file:///keys/printable\"\n}\nkey \"a\" {}";
    let config = Config::parse("x", text, &TestSources).expect("is sound");
    assert_eq!(config.realm, "default");
    assert!(!config.lock_all_memory && config.storage.is_none() && config.origin_key.is_none());
    let listener = config.listeners.first().expect("a listener");
    assert_eq!(listener.endpoint, Endpoint::Address("127.0.0.1:8200".parse().expect("address")));
    assert_eq!(listener.limits.max_request_size, 33_554_432);
    let mounts: Vec<_> = config.mounts.iter().map(|mount| mount.path.as_str()).collect();
    assert_eq!(mounts, ["transit"]);
    let key = config.keys.first().expect("a key");
    assert_eq!((key.mount.as_str(), key.seals.len()), ("transit", 1));
    assert_eq!(key.version, VersionRule::Counted { generation: 0 });
    let warnings: Vec<_> = config.warnings.iter().map(|warning| &warning.kind).collect();
    assert_eq!(warnings, [&WarningKind::PrintableKey]);
}

#[test]
fn open_proxies_and_plain_http_are_warned_of_and_exposed_secrets_where_they_are_allowed() {
    let text = "allow_readable_secrets = true\nlistener \"tcp\" {\n  address = \"0.0.0.0:8200\"\n  tls_disable = true\n  \
                proxy_protocol_behavior = \"use_always\"\n}\nseal \"static\" {\n  \
                current_key_id = \"1\"\n  current_key = \"file:///keys/exposed\"\n}\n";
    let config = Config::parse("x", text, &TestSources).expect("is sound");
    let kinds: Vec<_> = config.warnings.into_iter().map(|warning| warning.kind).collect();
    let path = PathBuf::from("/keys/exposed");
    let exposed = ExposedFile { path, exposure: Exposure::Everyone { mode: 0o644 } };
    assert_eq!(
        kinds,
        [
            WarningKind::PlainHttp,
            WarningKind::EveryProxyBelieved,
            WarningKind::ExposedFile(exposed)
        ]
    );
}

#[test]
fn a_secret_that_others_may_read_is_refused_with_what_to_run() {
    let text = "listener \"tcp\" {\n  tls_cert_file = \"/etc/selkie/tls.crt\"\n  \
                tls_key_file = \"/etc/selkie/exposed.key\"\n}\nseal \"static\" {\n  \
                current_key_id = \"1\"\n  current_key = \"file:///keys/exposed\"\n  \
                previous_key_id = \"0\"\n  previous_key = \"file:///keys/printable\"\n}\nkey \"a\" {}";
    let problems = Config::parse("x", text, &TestSources).unwrap_err();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (at, parts) in [
        (0, ["x:3:", "/etc/selkie/exposed.key belongs to user 34", "allow_readable_secrets"]),
        (1, ["x:7:", "(mode 0644)", "chmod 0600 /keys/exposed;"]),
    ] {
        assert!(parts.iter().all(|part| told[at].contains(part)), "{told:?}");
    }
}

#[test]
fn the_sandbox_is_chosen_by_name_and_its_absence_warned_of() {
    let parsed = |word: &str| {
        let text = format!("sandbox = {word:?}\n{MINIMAL}");
        let config = Config::parse("x", &text, &TestSources);
        config.map(|config| (config.sandbox, config.warnings.len()))
    };
    let plain = parsed("auto").unwrap();
    assert_eq!(plain.0, SandboxMode::Auto);
    assert_eq!(parsed("required").unwrap(), (SandboxMode::Required, plain.1));
    assert_eq!(parsed("off").unwrap(), (SandboxMode::Off, plain.1 + 1));
    assert!(parsed("no").unwrap_err().to_string().contains("\"auto\""));
}

const MINIMAL: &str = "listener \"tcp\" {\n  tls_disable = true\n}\nseal \"static\" {\n  \
                       current_key_id = \"1\"\n  current_key = \"file:///keys/printable\"\n}\nkey \"a\" {}";

#[test]
fn neither_debug_nor_a_message_shows_a_secret() {
    let shown = format!("{:?}", good().expect("is sound"));
    assert!(shown.contains("Kek") && shown.contains("OriginKey"), "{shown}");
    for secret in ["11, 11", "0x11", "aaaa"] {
        assert!(!shown.contains(secret), "{secret}");
    }
    let literal = fs::read_to_string(data().join("bad/seal_literal.hcl")).expect("reads");
    let told = Config::parse("x", &literal, &TestSources).expect_err("a literal");
    assert!(!format!("{told} {told:?}").contains("c2VjcmV0"), "{told}");
}

#[test]
fn a_configuration_cannot_be_cloned() {
    static_assertions::assert_not_impl_any!(Config: Clone, Copy, std::fmt::Display);
    static_assertions::assert_impl_all!(Config: Send, Sync);
}

#[test]
fn audit_devices_read_as_written() {
    let audit = good().expect("is sound").audit;
    assert!(audit.key.is_some());
    let minute = Duration::from_secs(60);
    let device = |path: &str, description: &str, checkpoint_interval, kind| AuditDevice {
        path: path.to_owned(),
        description: description.to_owned(),
        checkpoint_interval,
        kind,
    };
    let file = AuditFile { path: "/var/log/selkie/audit.log".into(), mode: 0o640, fsync: true };
    let syslog =
        AuditSyslog { facility: 19, tag: "selkie-eu".to_owned(), socket: "/dev/log".into() };
    let socket = AuditSocket {
        target: AuditTarget::Udp(([127, 0, 0, 1], 9090).into()),
        write_timeout: Duration::from_secs(1),
    };
    let expected = [
        device("file", "", minute, AuditKind::File(file)),
        device("log", "the collector", minute, AuditKind::Syslog(syslog)),
        device("socket", "", Duration::from_secs(10), AuditKind::Socket(socket)),
    ];
    assert_eq!(audit.devices, expected);
}

#[test]
fn an_audit_key_is_derived_where_none_is_declared() {
    let base = "listener \"tcp\" {\n  tls_disable = true\n}\n\
                seal \"static\" {\n  current_key_id = \"1\"\n  \
                current_key = \"file:///keys/raw\"\n}\n\
                audit \"syslog\" {\n}\n";
    let id = |keys: &str| {
        let config = Config::parse("x", &format!("{keys}\n{base}"), &TestSources);
        let config = config.map_err(|problems| problems.to_string())?;
        let warned = config.warnings.iter().any(|w| w.kind == WarningKind::AuditKeyOfOneMachine);
        Ok::<_, String>((config.audit.key.map(|key| key.id()).expect("a key"), warned))
    };
    let audit = id("audit_key = \"file:///keys/new\"\norigin_key = \"file:///keys/origin\"");
    let origin = id("origin_key = \"file:///keys/origin\"\nlocal_key = \"file:///keys/new\"");
    let local = id("local_key = \"file:///keys/new\"");
    let ((audit, false), (origin, false), (local, true)) =
        (audit.expect("declared"), origin.expect("derived"), local.expect("derived"))
    else {
        panic!("warned of the wrong ones");
    };
    assert!(audit != origin && origin != local && audit != local);
    assert!(id("").expect_err("no key").contains("set \"audit_key\""));
}
