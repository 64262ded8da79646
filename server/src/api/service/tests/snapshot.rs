use std::sync::mpsc;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::task::{spawn_blocking, yield_now};

use super::*;
use crate::backup::tests::{Site, engine};
use crate::backup::{MAX_SNAPSHOT_BYTES, open_backup};

const PATH: &str = "sys/storage/selkie/snapshot";

async fn fetch(api: &Api, token: &str) -> (StatusCode, Vec<u8>) {
    let request = Request::builder().uri(format!("/v1/{PATH}")).header("x-vault-token", token);
    let mut request = request.body(Body::empty()).unwrap();
    let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 40_000));
    request.extensions_mut().insert(Arc::new(ConnectionInfo::plain("test", peer)));
    let (parts, body) = api.0.clone().oneshot(request).await.unwrap().into_parts();
    (parts.status, to_bytes(body, usize::MAX).await.unwrap().to_vec())
}

fn with_backup_policies() -> Config {
    let policy = |name: &str, capabilities: &str| {
        let text = format!("path \"{PATH}\" {{ capabilities = [{capabilities}] }}");
        Policy::parse(name.parse().unwrap(), "p.hcl", &text).unwrap()
    };
    // The tests offer a state of their own.
    let mut config = Config { storage: None, ..config() };
    config.policies.push(policy("reader", "\"read\""));
    config.policies.push(policy("backup", "\"read\", \"sudo\""));
    config.clients.push(client("reader", "reader", None));
    config.clients.push(client("backup", "backup", None));
    config
}

#[tokio::test]
async fn a_backup_needs_read_and_sudo_and_holds_all_state() {
    let transit = engine("test", &[("dev", 7)]).await;
    let site = Site::new(&transit, "store-1").await;
    site.put_key("one", 3).await;
    let (source, snapshot) = site.source().await;
    let node = Node::start(with_backup_policies()).await.unwrap();
    node.offer_backups(source);
    let api = Api::on(node);
    for refused in ["s.vault", "s.reader", "s.nobody"] {
        assert_eq!(fetch(&api, refused).await.0, StatusCode::FORBIDDEN, "{refused}");
    }
    let (status, file) = fetch(&api, "s.backup").await;
    assert_eq!(status, StatusCode::OK);
    let (held, _) = open_backup(&file, &transit).await.unwrap();
    assert_eq!(held, snapshot);
}

#[tokio::test]
async fn there_is_no_backup_while_the_state_is_not_open() {
    let api = Api::start_with(with_backup_policies()).await;
    assert_eq!(fetch(&api, "s.backup").await.0, StatusCode::SERVICE_UNAVAILABLE);
    let written = api.send("s.root", "PUT", PATH, "{}").await;
    assert_eq!(written.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// Has the one thread for work that takes long wait, once it gets to it: told then, and until the other
/// end is dropped.
fn occupy() -> (oneshot::Receiver<()>, mpsc::Sender<()>) {
    let (begin, began) = oneshot::channel();
    let (release, released) = mpsc::channel::<()>();
    spawn_blocking(move || {
        let _nobody_asks = begin.send(());
        released.recv()
    });
    (began, release)
}

#[test]
fn a_backup_that_nobody_waits_for_keeps_its_room_until_its_work_is_done() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    for is_verified in [false, true] {
        runtime.block_on(async {
            let transit = engine("test", &[("dev", 7)]).await;
            let (source, _) = Site::new(&transit, "store-1").await.source().await;
            let node = Node::start(with_backup_policies()).await.unwrap();
            node.offer_backups(source);
            let budget = node.bytes().clone();
            let is_free = || budget.take(2 * MAX_SNAPSHOT_BYTES).now_or_never().is_some();
            let api = Api::on(node);
            let (_, mut release) = occupy();
            let mut fetching = Box::pin(fetch(&api, "s.backup"));
            for _ in 0..100 {
                assert!(fetching.as_mut().now_or_never().is_none());
                yield_now().await;
            }
            if is_verified {
                let (began, next) = occupy();
                release = next;
                began.await.unwrap();
                for _ in 0..100 {
                    assert!(fetching.as_mut().now_or_never().is_none());
                    yield_now().await;
                }
            }
            drop(fetching);
            assert!(!is_free(), "its records are still there (verified: {is_verified})");
            drop(release);
            // There is one thread, so what comes after it ends after it.
            spawn_blocking(|| ()).await.unwrap();
            assert!(is_free(), "nothing is left (verified: {is_verified})");
        });
    }
}
