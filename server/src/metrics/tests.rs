use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use selkie_access::TokenText;
use selkie_config::Config;
use selkie_config::{AuditDevice, AuditFile, AuditKind};
use selkie_crypto::AuditKey;

use super::*;
use crate::key_per_reference::KeyPerReference;
use crate::state::writes::WriteFigures;
use crate::takeover::{self, Evidence, Opened, Pair, Takeovers, Usage};

const ORIGIN_KEY: &str = "origin_key = \"env://O\"\n";

async fn deployment(further: &str) -> Deployment {
    let text = format!(
        "{further}listener \"tcp\" {{\n  tls_disable = true\n}}\nseal \"static\" {{\n  \
         current_key_id = \"1\"\n  current_key = \"env://K\"\n}}\nkey \"unseal\" {{}}\n\
         client \"vault-eu\" {{\n  policies = [\"root\"]\n  token_sha256 = \
         \"4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2\"\n}}\n"
    );
    Deployment::connect(Config::parse("x", &text, &KeyPerReference).unwrap()).await.unwrap()
}

fn decrypted(deployment: &Deployment) -> Decrypted {
    let token = TokenText::from_header(b"root").unwrap();
    let client = deployment
        .clients
        .authenticate(&token, std::net::IpAddr::from([127, 0, 0, 1]).into(), 0)
        .unwrap();
    Decrypted {
        client: client.tag,
        mount: "transit".parse().unwrap(),
        key: "unseal".to_owned(),
        version: selkie_crypto::KeyVersion::FIRST,
    }
}

/// The text of a server about which there is everything to tell.
async fn full_text() -> String {
    let mut deployment = deployment(ORIGIN_KEY).await;
    deployment.takeovers = Takeovers::new(vec![takeover::tests::old_key(&Arc::default(), None)]);
    let metrics = Metrics::new();
    metrics.operation("encrypt", "ok");
    metrics.request("encrypt", Duration::from_millis(3));
    let seal = SealName::new("static").unwrap();
    metrics.kms_call(&seal, &HotCalls::default(), "unwrap", "ok", Duration::from_millis(3));
    metrics.hedged(&seal);
    metrics.overtaken(&seal);
    metrics.decrypted(10_000, 20_000, || decrypted(&deployment));
    let (is_up, lag) = (Some(true), Some(Duration::from_secs(7)));
    let writes = WriteFigures { made: 6, failed: 54, is_last_failed: true, since_failed: None };
    metrics.tokens(vec![TokenInUse {
        accessor: "a".to_owned(),
        display_name: "seal".to_owned(),
        seconds_left: 60,
        ttl: 600,
        used: 0,
        renewed: None,
        is_periodic: true,
    }]);
    metrics.store(StoreFigures { is_up, is_open: true, sequence: Some(5), lag, writes });
    metrics.drill(19_000, true);
    metrics.last_reload(&ReloadStanding { succeeded: 15_000, refused: None });
    metrics.alerts().example();
    metrics.certificates(LastSeen {
        certificates: [("vault-eu".to_owned(), End::new(30_000))].into(),
        lists: [("127.0.0.1:8200".to_owned(), End::new(40_000))].into(),
    });
    // A static seal has no governor, no expiry and nobody who describes it.
    let mut registry = Registry::with_prefix("selkie");
    governed::register_example(&mut registry);
    upstream::register_example(&mut registry);
    let (gauges, seal) = (SealGauges::default(), OfSeal { seal: "weu".to_owned() });
    gauges.age.get_or_create(&seal).set(5);
    gauges.protected.get_or_create(&seal).set(1);
    gauges.days.get_or_create(&seal).set(40.5);
    gauges.register(&mut registry);
    let script = "fault \"slow\" {\n delay = \"1s\"\n}\n";
    let bench = Bench::new(selkie_config::Faults::parse("x", script).unwrap());
    let asked = crate::faults::BenchRequest { operation: None, key: None, client: None };
    assert!(bench.befalls(asked).is_some());
    let validity = Validity { from: 10_000, until: 50_000, issuers_until: None, is_ca: false };
    metrics.listener_certificates([("127.0.0.1:8200".to_owned(), validity)].into());
    let mut text = metrics.text(&deployment, &audit(), &evidence(), Some(&bench), 20_000).unwrap();
    encode(&mut text, &registry).unwrap();
    text
}

/// The names under which Prometheus keeps what `text` tells.
fn names(text: &str) -> BTreeSet<String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let name = |(name, kind): (&str, &str)| match kind {
        "counter" => format!("{name}_total"),
        "info" => format!("{name}_info"),
        _ => name.to_owned(),
    };
    types.map(name).collect()
}

fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository_file(path)).unwrap()
}

#[tokio::test]
async fn the_monitoring_guide_names_every_metric_and_no_other() {
    let guide = read("docs/monitoring.md");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `selkie_")?.split_once('`'));
    let told: BTreeSet<_> = rows.map(|(name, _)| format!("selkie_{name}")).collect();
    assert_eq!(told, names(&full_text().await));
}

#[tokio::test]
async fn the_board_and_the_alerts_ask_for_metrics_that_exist() {
    let known = names(&full_text().await);
    for path in ["deploy/grafana/selkie.json", "deploy/prometheus/alerts.yml"] {
        let text = read(path);
        let is_part = |one: char| one.is_ascii_lowercase() || one == '_';
        let used = text.split(|one| !is_part(one)).filter(|word| word.starts_with("selkie_"));
        let used: BTreeSet<_> =
            used.map(|name| name.strip_suffix("_bucket").unwrap_or(name)).collect();
        assert!(used.len() > 8, "{path}");
        for name in used {
            assert!(known.contains(name), "{path}: {name}");
        }
    }
    let board = serde_json::from_str::<serde_json::Value>(&read("deploy/grafana/selkie.json"));
    assert!(board.unwrap()["panels"].as_array().is_some_and(|panels| panels.len() > 10));
}

#[test]
fn what_the_monitoring_guide_tells_to_alarm_on_has_a_rule() {
    let (guide, rules) = (read("docs/monitoring.md"), read("deploy/prometheus/alerts.yml"));
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let expressions = expressions.collect::<Vec<_>>().join("\n");
    let rows = guide.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let alarming = rows.filter(|(_, says)| says.contains("larm "));
    let mut names: Vec<_> = alarming.map(|(name, _)| name).collect();
    names.retain(|name| name.starts_with("selkie_"));
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let is_asked = |rule: &str| {
            rule.contains(&format!("{name} "))
                || rule.contains(&format!("{name}["))
                || rule.contains(&format!("{name})"))
                || rule.contains(&format!("{name}{{"))
        };
        assert!(expressions.lines().any(is_asked), "no rule for {name}");
    }
}

/// Where there is no promtool, and nothing requires it; said past the capture of tests' output.
fn skips_promtool() -> bool {
    let is_here = Command::new("promtool").arg("--version").output().is_ok();
    if !is_here {
        std::io::stderr()
            .write_all(b"SKIPPED for want of promtool: `tests/run peers` installs it\n")
            .unwrap();
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "promtool must be there");
    }
    !is_here
}

fn promtool(arguments: &[&str], path: &str) {
    let checked = Command::new("promtool").args(arguments).arg(repository_file(path)).output();
    let checked = checked.unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_accepts_the_alerts() {
    if !skips_promtool() {
        promtool(&["check", "rules"], "deploy/prometheus/alerts.yml");
    }
}

#[test]
fn a_daily_drill_that_stays_away_alarms_also_after_restarts() {
    if !skips_promtool() {
        promtool(&["test", "rules"], "deploy/prometheus/alerts-test.yml");
    }
}

#[tokio::test]
async fn the_age_of_a_drill_counts_from_the_start_until_there_is_one() {
    let (metrics, deployment) = (Metrics::new(), deployment("").await);
    metrics.undrilled_since(19_500);
    let text = metrics.text(&deployment, &audit(), &evidence(), None, 20_000).unwrap();
    assert!(text.contains("\nselkie_drill_age_seconds 500\n"), "{text}");
    assert!(!text.contains("selkie_drill_ok"), "{text}");
    metrics.drill(19_900, true);
    let text = metrics.text(&deployment, &audit(), &evidence(), None, 20_000).unwrap();
    assert!(text.contains("\nselkie_drill_age_seconds 100\n"), "{text}");
}

#[tokio::test]
async fn figures_that_others_report_are_told_as_they_were_reported() {
    let text = full_text().await;
    for line in [
        "selkie_store_up 1",
        "selkie_store_writable 0",
        "selkie_store_writes_total{outcome=\"made\"} 6",
        "selkie_store_writes_total{outcome=\"failed\"} 54",
        "selkie_token_expiry_seconds{client=\"seal\",accessor=\"a\"} 60",
        "selkie_state_open 1",
        "selkie_state_sequence 5",
        "selkie_store_lag_seconds 7",
        "selkie_drill_age_seconds 1000",
        "selkie_drill_ok 1",
        "selkie_config_last_reload_successful 1",
        "selkie_config_last_reload_success_timestamp_seconds 15000",
        "selkie_client_certificate_not_after_timestamp_seconds{client=\"vault-eu\"} 30000",
        "selkie_client_crl_next_update_timestamp_seconds{listener=\"127.0.0.1:8200\"} 40000",
        concat!("selkie_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "selkie_last_aged_decrypt_timestamp_seconds{client=\"vault-eu\",key=\"transit/unseal\",\
         version=\"1\"} 20000",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn evidence_counts_only_where_an_origin_key_vouches_for_it() {
    let (with, without) = (deployment(ORIGIN_KEY).await, deployment("").await);
    let metrics = Metrics::new();
    metrics.decrypted(10_000, 20_000, || decrypted(&with));
    assert_eq!(metrics.last_aged_decrypts(&with).map(|all| all.len()), Some(1));
    assert_eq!(metrics.last_aged_decrypts(&without), None);
}

#[tokio::test]
async fn a_request_is_in_flight_until_it_is_dropped() {
    let (metrics, deployment) = (Metrics::new(), deployment("").await);
    let in_flight = || {
        let text = metrics.text(&deployment, &audit(), &evidence(), None, 0).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix("selkie_requests_in_flight "));
        value.unwrap().to_owned()
    };
    let request = metrics.request_begins();
    assert_eq!(in_flight(), "1");
    drop(request);
    assert_eq!(in_flight(), "0");
}

/// With a device, so that there is something to tell.
fn audit() -> Audit {
    let path = "/dev/null".into();
    let file = AuditFile { path, mode: 0o600, fsync: false };
    let device = AuditDevice {
        path: "file".to_owned(),
        description: String::new(),
        checkpoint_interval: Duration::from_secs(60),
        kind: AuditKind::File(file),
    };
    let key = AuditKey::init_with(|page| page.fill(1)).unwrap();
    let declared = selkie_config::Audit { key: Some(key), devices: vec![device] };
    Audit::start(declared, Arc::new(crate::clock::SystemClock)).unwrap()
}

fn evidence() -> Evidence {
    let records =
        crate::state::records::Records::new(false, Vec::new(), Arc::new(crate::clock::SystemClock));
    let keeping = crate::seal::Keeping::default();
    let evidence = Evidence::open(Arc::new(records), Arc::default(), &keeping);
    let last_foreign = Some(Opened { time: 5, version: 3 });
    let pair = Pair { key: "transit/unseal".into(), client: "vault-eu".into() };
    evidence.note(pair, Usage { foreign: 1, last_foreign, ..Usage::default() });
    evidence
}

#[test]
fn a_revocation_list_that_is_no_more_is_not_told_of() {
    let metrics = Metrics::new();
    let told = |lists: &[&str]| {
        let lists = lists.iter().map(|whose| ((*whose).to_owned(), End::new(30_000))).collect();
        metrics.certificates(LastSeen { lists, ..LastSeen::default() });
        ["client a", "127.0.0.1:8200"].map(|listener| {
            let label = OfListener { listener: listener.to_owned() };
            metrics.revocation_lists.get(&label).is_some()
        })
    };
    assert_eq!(told(&["client a", "127.0.0.1:8200"]), [true, true]);
    assert_eq!(told(&["127.0.0.1:8200"]), [false, true]);
}
