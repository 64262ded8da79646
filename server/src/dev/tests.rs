use std::os::unix::fs::PermissionsExt;

use selkie_access::TokenText;

use super::*;
use crate::auth::Clients;
use crate::serve::load_tls;

const LOOPBACK: &str = "127.0.0.1:0";

fn dev(root_token: Option<&str>, tls: bool) -> Dev {
    Dev::new(DevSettings {
        listen_address: LOOPBACK.parse().unwrap(),
        root_token: root_token.map(|token| Zeroizing::new(token.to_owned())),
        tls,
    })
    .unwrap()
}

fn banner(dev: &Dev) -> Zeroizing<String> {
    dev.banner("127.0.0.1:8200".parse().unwrap())
}

/// The text in quotes on the line of the banner that begins like this.
fn quoted<'b>(banner: &'b str, start: &str) -> &'b str {
    let line = banner.lines().find(|line| line.trim().starts_with(start)).unwrap();
    line.split(['"', '\'']).nth(1).unwrap()
}

fn name_of(dev: &Dev, token: &str) -> String {
    let config = dev.config().unwrap();
    let clients = Clients::new(config.clients, &config.policies).unwrap();
    let token = TokenText::from_header(token.as_bytes()).unwrap();
    let client = clients.authenticate(&token, IpAddr::from(Ipv4Addr::LOCALHOST).into(), 0);
    client.unwrap().name().to_owned()
}

#[test]
fn the_printed_tokens_are_those_of_the_configuration() {
    for dev in [dev(None, false), dev(Some("root"), false)] {
        let banner = banner(&dev);
        assert_eq!(name_of(&dev, quoted(&banner, "export VAULT_TOKEN")), "root");
        assert_eq!(name_of(&dev, quoted(&banner, "token ")), "autounseal");
    }
}

#[test]
fn tokens_come_back_with_the_same_root_token_and_only_then() {
    let seal_token = |dev: &Dev| quoted(&banner(dev), "token ").to_owned();
    let first = seal_token(&dev(Some("root"), false));
    assert_eq!(first, seal_token(&dev(Some("root"), false)));
    assert_ne!(first, seal_token(&dev(Some("toor"), false)));
    assert_ne!(seal_token(&dev(None, false)), seal_token(&dev(None, false)));
}

#[test]
fn the_master_key_is_the_same_at_each_start() {
    let config = dev(None, false).config().unwrap();
    let selkie_config::SealKind::Static(seal) = &config.seals[0].kind else {
        panic!("a static seal");
    };
    let published = selkie_crypto::Kek::init_with(|key| *key = PUBLISHED_KEY).unwrap();
    assert_eq!(seal.current.id.as_str(), "dev-1");
    assert!(seal.current.key.is_same_key(&published));
}

#[test]
fn the_banner_warns_before_it_says_anything_else() {
    let text = banner(&dev(None, false));
    let warning = text.find("NEVER FOR PRODUCTION").unwrap();
    assert!(warning < text.find("Address").unwrap());
}

#[test]
fn a_root_token_cannot_break_out_of_its_quotes() {
    assert_eq!(*quoted_for_shell("it's"), r"'it'\''s'");
}

#[test]
fn who_listens_everywhere_is_reached_on_this_machine() {
    let reached = |text: &str| reachable(text.parse().unwrap()).to_string();
    assert_eq!(reached("0.0.0.0:1"), "127.0.0.1:1");
    assert_eq!(reached("[::]:1"), "[::1]:1");
    assert_eq!(reached("10.0.0.1:1"), "10.0.0.1:1");
}

#[test]
fn certificates_are_private_usable_and_gone_in_the_end() {
    let dev = dev(None, true);
    let config = dev.config().unwrap();
    assert!(load_tls(&config.listeners[0]).unwrap().is_some());
    let text = banner(&dev);
    let file = Path::new(quoted(&text, "export VAULT_CACERT")).to_owned();
    assert_eq!(file.to_str(), Some(quoted(&text, "tls_ca_cert")));
    assert!(text.contains("https://127.0.0.1:8200"));
    let dir = file.parent().unwrap();
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    drop(dev);
    assert!(!dir.exists());
}
