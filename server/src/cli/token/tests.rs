use std::thread;

use selkie_config::Config;
use selkie_listener::ActivatedSockets;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::Exit;
use crate::cli::tests::{ran, write_secret};
use crate::key_per_reference::KeyPerReference;
use crate::serve::serve;

/// With a client "root", whose token is `root`.
const CONFIG: &str = r#"
listener "tcp" {
  address     = "127.0.0.1:0"
  tls_disable = true
}
seal "static" {
  current_key_id = "1"
  current_key    = "env://K"
}
storage "inmem" {}
client "root" {
  policies     = ["root"]
  token_sha256 = "4813494d137e1631bba301d5acab6e7bb7aa74ce1185d456565ef51d737677b2"
}
"#;

/// A server in a thread that ends with the test's process; its URL.
fn server() -> String {
    let (told, url) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let config = Config::parse("test.hcl", CONFIG, &KeyPerReference).unwrap();
            let mut server = serve(config, &mut ActivatedSockets::inherit(None)).await.unwrap();
            let address = server.listening().next().unwrap().address;
            told.send(format!("http://{address}")).unwrap();
            server.ended().await;
        });
    });
    url.recv().unwrap()
}

struct Site {
    dir: TempDir,
    url: String,
}

impl Site {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), url: server() }
    }

    /// What `selkie token` comes to with the token `own`.
    fn token(&self, own: &str, arguments: &[&str]) -> (Exit, String) {
        let file = self.dir.path().join("token");
        write_secret(&file, own.as_bytes());
        let server = ["--address", &self.url, "--token-file", file.to_str().unwrap()];
        let (exit, output, errors) = ran(&[&["token"], arguments, &server].concat());
        (exit, output + &errors)
    }

    /// A new token with the policy `default` alone.
    fn default_token(&self) -> String {
        let wanted = ["create", "--policy", "default", "--format", "json"];
        let (exit, text) = self.token("root", &wanted);
        assert_eq!(exit, Exit::Success, "{text}");
        let made: Value = serde_json::from_str(&text).unwrap();
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_token_with_the_default_policy_alone_looks_itself_up_renews_and_ends_itself() {
    let site = Site::new();
    let own = site.default_token();
    for (arguments, told) in
        [(&["lookup"][..], "default"), (&["renew"], "default"), (&["revoke", "--self"], "Success!")]
    {
        let (exit, text) = site.token(&own, arguments);
        assert!(exit == Exit::Success && text.contains(told), "{arguments:?}: {exit:?} {text}");
    }
}

#[test]
fn a_token_that_may_not_is_told_the_right_that_it_lacks_and_where() {
    let site = Site::new();
    let own = site.default_token();
    for (arguments, right) in [
        (&["create"][..], "lacks update on auth/token/create"),
        (&["create", "--role", "seal"], "lacks update on auth/token/create/seal"),
        (&["lookup", "s.other"], "lacks update on auth/token/lookup"),
        (&["lookup", "--accessor", "a"], "lacks update on auth/token/lookup-accessor"),
        (&["renew", "s.other"], "lacks update on auth/token/renew"),
        (&["revoke", "s.other"], "lacks update on auth/token/revoke"),
        (&["list"], "lacks list and sudo on auth/token/accessors/"),
    ] {
        let (exit, text) = site.token(&own, arguments);
        let ends = text.trim_end().ends_with(right);
        assert!(exit == Exit::Failure && ends, "{arguments:?}: {exit:?} {text}");
    }
    // Another 403, which no right would mend.
    let (exit, text) = site.token("root", &["lookup", "s.other"]);
    assert!(exit == Exit::Failure && text.contains("403 Forbidden: bad token"), "{text}");
    let (exit, text) = site.token("root", &["list"]);
    assert_eq!(exit, Exit::Success, "{text}");
}
