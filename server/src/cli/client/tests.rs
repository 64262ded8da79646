use crate::auth::Origin;
use std::net::{IpAddr, Ipv4Addr};

use clap::Parser;
use selkie_access::{Bare, Capability, TokenText};
use selkie_config::Config;

use super::*;
use crate::auth::{Client, Clients};
use crate::key_per_reference::KeyPerReference;

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn printed(arguments: &str) -> String {
    let command = Command::try_parse_from(arguments.split(' ')).unwrap();
    let mut output = Vec::new();
    add(command.arguments, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

/// What the two parts are pasted into: Selkie's configuration, and the token of the stanza.
fn pasted(printed: &str) -> (Config, TokenText) {
    let (ours, theirs) = printed.split_once("# 2.").unwrap();
    let text = format!(
        "listener \"tcp\" {{ tls_disable = true }}\n\
         seal \"static\" {{\n  current_key_id = \"1\"\n  current_key = \"env://K\"\n}}\n{ours}"
    );
    let line = theirs.lines().find(|line| line.trim().starts_with("token "));
    let token = line.unwrap().split('"').nth(1).unwrap();
    let config = Config::parse("selkie.hcl", &text, &KeyPerReference).unwrap();
    (config, TokenText::from_header(token.as_bytes()).unwrap())
}

fn client(printed: &str) -> std::sync::Arc<Client> {
    let (config, token) = pasted(printed);
    let clients = Clients::new(config.clients, &config.policies).unwrap();
    clients.authenticate(&token, HOME.into(), 0).unwrap()
}

#[test]
fn what_is_printed_authenticates_when_pasted() {
    let client = client(&printed("add vault-eu"));
    assert_eq!(client.name(), "vault-eu");
    assert!(
        matches!(client.origin, Origin::Declared { period, .. } if period == Some(Duration::from_secs(86_400)))
    );
}

#[test]
fn the_policy_allows_the_key_and_no_more() {
    let client = client(&printed("add EU --key k --mount team/transit/ --period 90s"));
    let may = |path: &str| client.acl.on(Bare).check(path, Capability::Update).is_ok();
    assert!(may("team/transit/encrypt/k") && may("team/transit/decrypt/k"));
    assert!(!may("team/transit/encrypt/other") && !may("transit/encrypt/k"));
    assert!(!may("team/transit/keys/k/rotate"));
    assert!(client.acl.on(Bare).check("team/transit/encrypt/k", Capability::Create).is_err());
    assert!(
        matches!(client.origin, Origin::Declared { period, .. } if period == Some(Duration::from_secs(90)))
    );
}

/// That the commands work with it is checked by the end-to-end test of the same claim.
#[test]
fn an_operator_may_watch_and_save_and_use_no_key() {
    let printed = printed("add Ann --operator --mount team/transit");
    let token = printed.lines().find(|line| line.starts_with("hvs.")).unwrap();
    let (ours, theirs) = printed.split_once("# 2.").unwrap();
    assert!(!ours.contains(token) && !theirs.contains("seal"));
    let client = client(&format!("{ours}# 2.\ntoken = \"{token}\"\n"));
    let may = |path: &str, capability| client.acl.on(Bare).check(path, capability).is_ok();
    for (path, capability) in [
        ("sys/seal-backend-status", Capability::Read),
        ("sys/takeover", Capability::Read),
        ("sys/tokens/in-use", Capability::Read),
        ("sys/drill/", Capability::List),
        ("sys/drill/state", Capability::Update),
        ("sys/storage/selkie/snapshot", Capability::Read),
        ("team/transit/keys", Capability::List),
        ("team/transit/keys/k", Capability::Read),
    ] {
        assert!(may(path, capability), "{path}");
    }
    for path in ["encrypt/k", "decrypt/k", "keys/k", "keys/k/rotate", "keys/k/config"] {
        let path = format!("team/transit/{path}");
        assert!(!may(&path, Capability::Update) && !may(&path, Capability::Create), "{path}");
    }
}

#[test]
fn the_token_stands_in_the_output_once() {
    let printed = printed("add vault-eu");
    let (_, token) = pasted(&printed);
    assert_eq!(printed.matches(token.expose_for_reply()).count(), 1);
    assert!(token.expose_for_reply().starts_with("hvs."));
    assert_eq!(token.expose_for_reply().len(), 47);
}

#[test]
fn what_could_not_be_pasted_is_refused() {
    for arguments in [
        "add a\"b",
        "add a --key k/k",
        "add a --mount ../x",
        "add a --period 24",
        "add a --period 0s",
        "add a --period 1h\"",
        "add a --operator --key k",
        "add a --operator --period 1h",
        "add a --address SELKIE:8200",
        "add a --address https://x\"y ",
    ] {
        let parsed = Command::try_parse_from(arguments.split(' '));
        assert!(parsed.is_err(), "{arguments}");
    }
}
