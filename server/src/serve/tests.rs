use std::fs;
use std::path::Path;

use rcgen::generate_simple_self_signed;
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::deployment::Deployment;
use crate::key_per_reference::KeyPerReference;
use crate::telemetry::captured::Log;

const TIME: Duration = Duration::from_secs(5);
const PLAIN: &str = "address = \"127.0.0.1:0\"\ntls_disable = true\n";
/// Of the client "root", whose token is `root`.
const ROOT: &str = "client \"root\" {\n  policies = [\"root\"]\n  token_sha256 = \
                    \"4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2\"\n}\n";

fn config(listener: &str, further: &str) -> Config {
    let text = format!(
        "listener \"tcp\" {{\n{listener}\n}}\nkey \"autounseal\" {{}}\n{ROOT}{further}\n\
         seal \"static\" {{\n  current_key_id = \"1\"\n  current_key = \"env://K\"\n}}\n"
    );
    Config::parse("test.hcl", &text, &KeyPerReference).unwrap()
}

async fn served(config: Config) -> Result<Server, ServeError> {
    serve(config, &mut ActivatedSockets::inherit(None)).await
}

fn address(server: &Server) -> SocketAddr {
    server.listening().next().unwrap().address
}

/// The status of the answer to an encrypt with the token `root`.
async fn encrypt(address: SocketAddr) -> io::Result<String> {
    let body = r#"{"plaintext":"YQ=="}"#;
    let request = format!(
        "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\nX-Vault-Token: root\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).unwrap_or_default().to_owned())
}

/// Certificate and key of a new identity, as `cert.pem` and `key.pem`.
fn write_identity(dir: &Path) {
    let identity = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), identity.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), identity.signing_key.serialize_pem()).unwrap();
}

fn tls_listener(dir: &TempDir) -> String {
    let dir = dir.path().display();
    format!(
        "address = \"127.0.0.1:0\"\ntls_cert_file = \"{dir}/cert.pem\"\n\
         tls_key_file = \"{dir}/key.pem\"\n"
    )
}

#[tokio::test]
async fn a_server_serves_until_it_is_drained() {
    let mut server = served(config(PLAIN, "")).await.unwrap();
    let address = address(&server);
    assert_eq!(encrypt(address).await.unwrap(), "200");
    server.drain(TIME);
    server.ended().await;
    assert!(encrypt(address).await.is_err());
    let error = assert_refused(&mut server, config(PLAIN, "")).await;
    assert!(matches!(error, ReloadError::Stopping), "{error}");
}

#[tokio::test]
async fn a_server_that_has_lost_a_listener_ends() {
    let second = format!("{PLAIN}}}\nlistener \"tcp\" {{\n{PLAIN}");
    let mut server = served(config(&second, "")).await.unwrap();
    let address = address(&server);
    assert_eq!(encrypt(address).await.unwrap(), "200");
    server.accept_loops.spawn(async { panic!("as asked") });
    server.ended().await;
    assert!(encrypt(address).await.is_err());
}

#[tokio::test]
async fn a_reload_reaches_requests_on_open_listeners() {
    let mut server = served(config(PLAIN, "")).await.unwrap();
    let small = format!("{PLAIN}max_request_size = 4");
    server.reload(config(&small, ""), TIME).await.unwrap();
    assert_ne!(encrypt(address(&server)).await.unwrap(), "200");
    server.reload(config(PLAIN, ""), TIME).await.unwrap();
    assert_eq!(encrypt(address(&server)).await.unwrap(), "200");
}

#[tokio::test]
async fn a_listener_that_speaks_otherwise_stays_at_its_address() {
    let dir = tempdir().unwrap();
    write_identity(dir.path());
    let mut server = served(config(&tls_listener(&dir), "")).await.unwrap();
    let listening = server.listening().next().unwrap();
    assert!(listening.is_tls);
    let fewer = format!("{PLAIN}max_connections = 10");
    server.reload(config(&fewer, ""), TIME).await.unwrap();
    let now = server.listening().next().unwrap();
    assert_eq!((now.address, now.is_tls), (listening.address, false));
    assert_eq!(encrypt(now.address).await.unwrap(), "200");
}

/// Asserts that a reload with `config` is refused and that nothing has come of it.
async fn assert_refused(server: &mut Server, config: Config) -> ReloadError {
    let before: Arc<Deployment> = server.node().deployment();
    let error = server.reload(config, TIME).await.unwrap_err();
    assert!(Arc::ptr_eq(&before, &server.node().deployment()), "{error}");
    error
}

#[tokio::test]
async fn a_broken_certificate_changes_nothing() {
    let dir = tempdir().unwrap();
    write_identity(dir.path());
    let listener = tls_listener(&dir);
    let mut server = served(config(&listener, "")).await.unwrap();
    fs::write(dir.path().join("cert.pem"), "no certificate").unwrap();
    let error = assert_refused(&mut server, config(&listener, "realm = \"new\"")).await;
    assert!(matches!(error, ReloadError::Serve(ServeError::Tls { .. })), "{error}");
}

/// A certificate that is good in these years, as `cert.pem` and `key.pem`.
fn write_identity_of(dir: &Path, years: (i32, i32)) {
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
    params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
    write_signed(dir, &params);
}

fn write_signed(dir: &Path, params: &rcgen::CertificateParams) {
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(dir.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(dir.join("key.pem"), key.serialize_pem()).unwrap();
}

#[tokio::test]
async fn a_reload_keeps_a_good_certificate_from_one_that_clients_refuse() {
    let dir = tempdir().unwrap();
    write_identity(dir.path());
    let listener = tls_listener(&dir);
    let mut server = served(config(&listener, "")).await.unwrap();
    for years in [(2020, 2021), (2120, 2121)] {
        write_identity_of(dir.path(), years);
        let error = assert_refused(&mut server, config(&listener, "")).await;
        assert!(matches!(error, ReloadError::Certificate { .. }), "{error}");
    }
    write_identity(dir.path());
    server.reload(config(&listener, ""), TIME).await.unwrap();
}

#[tokio::test]
async fn a_reload_takes_a_certificate_of_an_authority_whose_clock_is_a_little_ahead() {
    let dir = tempdir().unwrap();
    write_identity(dir.path());
    let listener = tls_listener(&dir);
    let mut server = served(config(&listener, "")).await.unwrap();
    let now = server.node().clock().unix_seconds();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    let mut good_from = |seconds| {
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        write_signed(dir.path(), &params);
    };
    good_from(now + 3600);
    let error = assert_refused(&mut server, config(&listener, "")).await;
    assert!(error.to_string().contains("clock"), "{error}");
    good_from(now + 200);
    server.reload(config(&listener, ""), TIME).await.unwrap();
}

#[tokio::test]
async fn a_start_and_the_reloads_after_it_take_an_expired_certificate_for_want_of_a_better() {
    let dir = tempdir().unwrap();
    write_identity_of(dir.path(), (2020, 2021));
    let listener = tls_listener(&dir);
    let mut server = served(config(&listener, "")).await.unwrap();
    write_identity_of(dir.path(), (2020, 2022));
    server.reload(config(&listener, ""), TIME).await.unwrap();
}

const SAFE: &str = r#"
listener "tcp" {
  address = "127.0.0.1:0"
  tls_disable = true
}
realm = "one"
mount "transit" {}
seal "static" {
  current_key_id = "2"
  current_key = "env://K2"
  previous "1" {
    key = "env://K1"
  }
}
key "autounseal" {}
"#;

fn changed(changes: &[(&str, &str)]) -> Config {
    let mut text = SAFE.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replace(old, new);
    }
    Config::parse("test.hcl", &text, &KeyPerReference).unwrap()
}

#[tokio::test]
async fn a_reload_refuses_what_would_leave_ciphertexts_behind() {
    let raised = ("key \"autounseal\" {}", "key \"autounseal\" {\n  generation = 1\n}");
    let only = "previous \"1\" {\n    key = \"env://K1\"\n  }\n";
    let current = "current_key_id = \"2\"\n  current_key = \"env://K2\"";
    let cases: [(&str, &[(&str, &str)]); 7] = [
        ("realm \"one\"", &[("realm = \"one\"", "realm = \"two\"")]),
        ("mount \"transit\"", &[("mount \"transit\" {}", "mount \"other\" {}")]),
        ("key \"autounseal\" in mount", &[("key \"autounseal\"", "key \"autounsael\"")]),
        ("key id \"1\"", &[(only, ""), raised]),
        (
            "key id \"2\"",
            &[(current, "current_key_id = \"3\"\n  current_key = \"env://K3\""), raised],
        ),
        ("another key", &[("env://K2", "env://K9")]),
        (
            "\"origin_key\" is new",
            &[("realm = \"one\"", "realm = \"one\"\norigin_key = \"env://O\"")],
        ),
    ];
    let mut server = served(changed(&[])).await.unwrap();
    for (left_behind, changes) in cases {
        let error = assert_refused(&mut server, changed(changes)).await.to_string();
        assert!(error.contains(left_behind), "{error}");
        // As `validate --previous` tells it.
        assert_ne!(
            changed(changes).promises().check_against_previous(&changed(&[]).promises()),
            []
        );
    }
}

/// The control of the one above: what leaves nothing behind, and what says that it does not.
#[tokio::test]
async fn a_reload_takes_what_leaves_nothing_behind() {
    let cases: [&[(&str, &str)]; 5] = [
        &[],
        &[("key \"autounseal\" {}", "key \"autounseal\" {}\nkey \"another\" {}")],
        &[("realm = \"one\"", "realm = \"two\"\nrealm_aliases = [\"one\"]")],
        &[("mount \"transit\" {}", "mount \"other\" {\n  aliases = [\"transit\"]\n}")],
        &[(
            "current_key_id = \"2\"\n  current_key = \"env://K2\"",
            "current_key_id = \"3\"\n  current_key = \"env://K3\"\n  previous \"2\" {\n    key = \"env://K2\"\n  }",
        )],
    ];
    for changes in cases {
        let mut server = served(changed(&[])).await.unwrap();
        server.reload(changed(changes), TIME).await.unwrap();
        assert_eq!(
            changed(changes).promises().check_against_previous(&changed(&[]).promises()),
            []
        );
    }
}

/// It must be put out of use at once, and what is lost by it is told in the log.
#[tokio::test]
async fn a_reload_revokes_a_stolen_seal_although_it_is_a_keys_only_one() {
    let new = "realm = \"one\"\nseal \"static\" {\n  name = \"new\"\n  current_key_id = \"n\"\n  \
               current_key = \"env://N\"\n}";
    let changes = [
        ("realm = \"one\"", new),
        ("current_key_id = \"2\"", "revoked = true\n  current_key_id = \"2\""),
        ("key \"autounseal\" {}", "key \"autounseal\" {\n  generation = 1\n}"),
    ];
    assert_ne!(changed(&changes).promises().check_against_previous(&changed(&[]).promises()), []);
    let mut server = served(changed(&[])).await.unwrap();
    server.reload(changed(&changes), TIME).await.unwrap();
}

/// What a start with `config` loses, and the metric that says how much.
async fn started_and_stopped(config: Config) -> (Vec<String>, bool) {
    let mut server = served(config).await.unwrap();
    let losses: Vec<_> =
        server.node().deployment().memory.losses().iter().map(ToString::to_string).collect();
    let text = server.node().metrics_text(&server.node().deployment()).unwrap();
    assert_eq!(encrypt(address(&server)).await.unwrap(), "200", "it serves all the same");
    server.drain(TIME);
    server.ended().await;
    let is_told = text.contains(&format!("selkie_promises_broken {}\n", losses.len()));
    (losses, is_told)
}

#[tokio::test]
async fn a_start_tells_what_its_file_loses_until_it_is_kept_again() {
    let dir = tempdir().unwrap();
    let config = |further: &str| {
        config(PLAIN, &format!("data_dir = {:?}\n{further}", dir.path().display().to_string()))
    };
    assert_eq!(started_and_stopped(config("")).await, (Vec::new(), true));
    for _start in 0..2 {
        let (losses, is_told) = started_and_stopped(config("realm = \"other\"")).await;
        assert!(is_told && losses.len() == 1 && losses[0].contains("\"default\""), "{losses:?}");
    }
    let kept = "realm_aliases = [\"other\"]\n";
    assert_eq!(started_and_stopped(config(kept)).await, (Vec::new(), true));
    // What a reload adds is promised as well.
    let mut server = served(config(kept)).await.unwrap();
    server.reload(config(&format!("{kept}key \"another\" {{}}")), TIME).await.unwrap();
    server.drain(TIME);
    server.ended().await;
    let (losses, _) = started_and_stopped(config(kept)).await;
    assert!(losses.len() == 1 && losses[0].contains("\"another\""), "{losses:?}");
}

/// A start goes on, for a client may not look; but the server says so.
#[tokio::test]
async fn an_expired_certificate_is_served_and_told_of_until_it_is_renewed() {
    let dir = tempdir().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(dir.path().join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    let listener = tls_listener(&dir);
    let mut server = served(config(&listener, "")).await.unwrap();
    let told = |server: &Server| {
        let node = server.node();
        node.metrics_text(&node.deployment()).unwrap()
    };
    let expired = format!(
        "selkie_listener_certificate_not_after_timestamp_seconds{{listener=\"{}\"}} 1609459200",
        address(&server)
    );
    assert!(told(&server).contains(&expired), "{}", told(&server));
    write_identity(dir.path());
    server.reload(config(&listener, ""), TIME).await.unwrap();
    assert!(!told(&server).contains(&expired), "{}", told(&server));
    assert!(told(&server).contains("selkie_listener_certificate_not_after_timestamp_seconds{"));
}

#[tokio::test]
async fn what_counts_at_the_start_alone_is_refused_at_a_reload() {
    let mut server = served(config(PLAIN, "")).await.unwrap();
    let elsewhere = "address = \"127.0.0.2:0\"\ntls_disable = true";
    let second = format!("{PLAIN}}}\nlistener \"tcp\" {{\n{elsewhere}");
    for listeners in [elsewhere, second.as_str()] {
        let error = assert_refused(&mut server, config(listeners, "")).await;
        assert!(matches!(error, ReloadError::ListenersChanged), "{error}");
    }
    for (field, further) in [
        ("pid_file", "pid_file = \"/tmp/x\""),
        ("disable_mlock", "disable_mlock = false"),
        ("data_dir", "data_dir = \"/tmp/x\""),
        ("local_key", "local_key = \"env://L\""),
        ("log_format", "log_format = \"json\""),
        ("alerts", "alerts {}"),
        ("storage", "storage \"inmem\" {}"),
    ] {
        let error = assert_refused(&mut server, config(PLAIN, further)).await;
        assert!(error.to_string().contains(field), "{error}");
    }
}

/// It would seem to be in force, and the next start would find another store.
#[tokio::test]
async fn a_reload_with_another_place_of_the_storage_is_refused() {
    let dir = tempdir().unwrap();
    let sled = |name: &str, further: &str| {
        let path = dir.path().join(name);
        config(PLAIN, &format!("storage \"sled\" {{\n path = {path:?}\n{further}}}\n"))
    };
    let mut server = served(sled("one", "")).await.unwrap();
    for other in [sled("other", ""), sled("other", "create = false\n"), config(PLAIN, "")] {
        let error = assert_refused(&mut server, other).await;
        assert!(matches!(error, ReloadError::OtherStorage { field: "storage" }), "{error}");
    }
    assert!(!dir.path().join("other").exists());
    let log = Log::start();
    server.reload(sled("one", ""), TIME).await.unwrap();
    assert!(!log.take().contains("storage stanza"));
    let log = Log::start();
    server.reload(sled("one", "create = false\n"), TIME).await.unwrap();
    assert!(log.take().contains("what the storage stanza says has changed"));
}

/// A certificate that is renewed must not wait for a restart that the storage needs.
#[tokio::test]
async fn a_reload_with_another_way_to_the_same_etcd_is_taken_and_one_to_another_etcd_is_not() {
    let dir = tempdir().unwrap();
    let etcd = |address: &str, further: &str| {
        let etcd = format!("address = \"{address}\"\n{further}");
        let data_dir = dir.path();
        config(PLAIN, &format!("data_dir = {data_dir:?}\nstorage \"etcd\" {{\n{etcd}\n}}\n"))
    };
    let mut server = served(etcd("http://127.0.0.1:1,http://127.0.0.1:2", "")).await.unwrap();
    for other in [
        etcd("http://127.0.0.1:3", ""),
        etcd("http://127.0.0.1:1,http://127.0.0.1:2", "path = \"other/\""),
    ] {
        let error = assert_refused(&mut server, other).await;
        assert!(matches!(error, ReloadError::OtherStorage { field: "storage" }), "{error}");
    }
    for (address, further) in [
        ("http://127.0.0.1:2,http://127.0.0.1:3", ""),
        ("https://127.0.0.1:1", ""),
        ("http://127.0.0.1:1,http://127.0.0.1:2", "request_timeout = \"7s\""),
        ("http://127.0.0.1:1,http://127.0.0.1:2", "create = false"),
    ] {
        let log = Log::start();
        server.reload(etcd(address, further), TIME).await.unwrap();
        assert!(log.take().contains("what the storage stanza says has changed"), "{address}");
    }
}

/// With the identity in `dir`, on an etcd that is not there. Below another path it is asked before the
/// storage counts as open.
fn on_etcd(dir: &TempDir) -> Config {
    let path = dir.path().display();
    let tls = format!("tls_cert_file = \"{path}/cert.pem\"\ntls_key_file = \"{path}/key.pem\"");
    let etcd = format!("address = \"https://127.0.0.1:1\"\npath = \"outer/inner/\"\n{tls}");
    config(PLAIN, &format!("data_dir = \"{path}\"\nstorage \"etcd\" {{\n{etcd}\n}}\n"))
}

#[test]
fn credentials_for_etcd_are_told_from_others_by_what_is_in_their_files() {
    let dir = tempdir().unwrap();
    let storage = || on_etcd(&dir).storage;
    assert!(credentials_of(storage().as_ref()).is_err());
    write_identity(dir.path());
    let before = credentials_of(storage().as_ref()).unwrap();
    assert!(before.is_some());
    assert_eq!(credentials_of(storage().as_ref()).unwrap(), before);
    write_identity(dir.path());
    assert_ne!(credentials_of(storage().as_ref()).unwrap(), before);
    assert_eq!(storage().unwrap().told(), storage().unwrap().told());
}

/// Every attempt to open the storage reads them again.
#[tokio::test]
async fn credentials_that_change_before_etcd_is_reached_need_no_restart() {
    let dir = tempdir().unwrap();
    write_identity(dir.path());
    let log = Log::start();
    let mut server = served(on_etcd(&dir)).await.unwrap();
    write_identity(dir.path());
    server.reload(on_etcd(&dir), TIME).await.unwrap();
    let told = log.take();
    assert!(!told.contains("have changed"), "{told}");
}

#[tokio::test]
async fn a_port_that_metrics_want_and_another_has_is_told_with_their_field() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let metrics = format!("telemetry {{\n  metrics_address = \"{address}\"\n}}");
    let text = served(config(PLAIN, &metrics)).await.unwrap_err().to_string();
    assert!(text.contains("\"metrics_address\"") && !text.contains("listener stanza"), "{text}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_with_the_way_out() {
    let server = served(config(PLAIN, "")).await.unwrap();
    let address = address(&server);
    let same = format!("address = \"{address}\"\ntls_disable = true");
    let text = served(config(&same, "")).await.unwrap_err().to_string();
    assert!(text.contains(&address.to_string()), "{text}");
    assert!(text.contains("\"address\" in the listener stanza") && !text.contains("dev"), "{text}");
}

#[tokio::test]
async fn a_socket_that_was_not_passed_is_named() {
    let activated = "activated_socket = \"api\"\ntls_disable = true";
    let error = served(config(activated, "")).await.unwrap_err();
    assert!(error.to_string().contains("activated_socket \"api\""), "{error}");
}

#[tokio::test]
async fn the_pid_file_lasts_as_long_as_the_server() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("pid");
    let further = format!("pid_file = \"{}\"", file.display());
    let server = served(config(PLAIN, &further)).await.unwrap();
    let pid = fs::read_to_string(&file).unwrap();
    assert_eq!(pid, format!("{}\n", std::process::id()));
    drop(server);
    assert!(!file.exists());
}

#[tokio::test]
async fn metrics_are_told_without_a_token_at_their_own_address_and_nothing_else_is() {
    let telemetry = "telemetry {\n  metrics_address = \"127.0.0.1:0\"\n}";
    let mut server = served(config(PLAIN, telemetry)).await.unwrap();
    assert_eq!(encrypt(address(&server)).await.unwrap(), "200");
    let metrics = server.metrics_address().unwrap();
    for path in ["/metrics", "/v1/sys/metrics"] {
        let told = get(metrics, path).await;
        assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
        assert!(told.contains("selkie_request_seconds_count{operation=\"encrypt\"} 1"), "{told}");
    }
    assert!(get(metrics, "/v1/sys/health").await.starts_with("HTTP/1.1 404 "));
    assert_eq!(encrypt(metrics).await.unwrap(), "404");
    let error = assert_refused(&mut server, config(PLAIN, "")).await;
    assert!(matches!(error, ReloadError::NeedsRestart { field: "metrics_address" }), "{error}");
    server.drain(TIME);
    server.ended().await;
}

/// Whether the head and as many bytes as it announces are there.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let length = text.split_once("content-length: ").and_then(|(_, rest)| rest.split_once('\r'));
    let length = length.and_then(|(length, _)| length.parse::<usize>().ok());
    let head = request.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    matches!((head, length), (Some(head), Some(length)) if request.len() >= head + 4 + length)
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_traced_by_name_alone() {
    let collector = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", collector.local_addr().unwrap());
    let taken = tokio::spawn(async move {
        let (mut stream, _) = collector.accept().await.unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 4096]);
        while !is_whole(&request) {
            let length = stream.read(&mut part).await.unwrap();
            assert_ne!(length, 0, "the whole export comes");
            request.extend_from_slice(&part[..length]);
        }
        let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(reply).await.unwrap();
        String::from_utf8_lossy(&request).into_owned()
    });
    let telemetry = format!("telemetry {{\n  otlp_endpoint = \"{endpoint}\"\n}}");
    let mut server = served(config(PLAIN, &telemetry)).await.unwrap();
    assert_eq!(encrypt(address(&server)).await.unwrap(), "200");
    let key = server.node().deployment();
    let seal = key.seals.iter().next().unwrap().name().as_str().to_owned();
    let request = crate::traces::request(&http::Method::PUT, "decrypt").unwrap();
    let below = async { crate::traces::kms_call(&seal, "unwrap").unwrap().end("throttled") };
    opentelemetry::context::FutureExt::with_context(below, request.clone()).await;
    crate::traces::answered(&request, 503);
    assert!(crate::traces::kms_call(&seal, "describe").is_none(), "it is for no request");
    server.drain(TIME);
    server.ended().await;
    let exported = taken.await.unwrap();
    assert!(exported.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{exported}");
    assert!(exported.contains("http.request.method") && exported.contains("encrypt"), "{exported}");
    assert!(exported.contains("kms unwrap") && exported.contains("throttled"), "{exported}");
    assert!(!exported.contains("YQ==") && !exported.contains("x-vault-token"), "{exported}");
}
