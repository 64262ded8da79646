use super::*;
use crate::backup::open_backup;
use crate::backup::tests::{Site, engine};

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
