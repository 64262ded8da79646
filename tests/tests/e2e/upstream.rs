//! The bridge: a Selkie whose master key is a transit key of another server.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Client, Peer, SealArguments, Selkie, Site, UpstreamVault, VaultCore, key_ids, until,
};
use serde_json::{Value, json};

/// What the documentation tells to grant, and the least that works.
const FULL: &str = r#"
    path "transit/encrypt/bridge" { capabilities = ["update"] }
    path "transit/decrypt/bridge" { capabilities = ["update"] }
    path "transit/keys/bridge" { capabilities = ["read"] }
"#;
const LEAST: &str = r#"
    path "transit/encrypt/bridge" { capabilities = ["update"] }
    path "transit/decrypt/bridge" { capabilities = ["update"] }
"#;

/// What a renewal of our token is worth. A third of it is left for a busy machine to renew in.
const PERIOD: Duration = Duration::from_secs(20);

/// A Selkie that wraps under the transit key `bridge` at `address`, with the token in a file.
struct Bridge {
    site: Site,
    token_file: PathBuf,
    client_token: String,
}

impl Bridge {
    fn new(address: &str, token: &str) -> Result<Self> {
        let mut site = Site::new()?;
        let token_file = site.secret_file("upstream-token", token.as_bytes())?;
        site.seal_type = "transit";
        site.seal = format!(
            "  address = \"{address}\"\n  mount_path = \"transit/\"\n  key_name = \"bridge\"\n  \
             token = \"file://{}\"\n  poll_interval = \"1s\"\n",
            token_file.display()
        );
        site.policy(
            "unseal",
            &[
                ("transit/encrypt/autounseal", &["update"]),
                ("transit/decrypt/autounseal", &["update"]),
                ("transit/keys/autounseal", &["read"]),
            ],
        );
        let client_token = site.client("vault", &["unseal"], "")?;
        Ok(Self { site, token_file, client_token })
    }

    fn start(&self) -> Result<(Selkie, Client)> {
        let selkie = self.site.start()?;
        let client = selkie.client().with_token(&self.client_token);
        Ok((selkie, client))
    }

    /// What `selkie doctor` ends with and says.
    fn doctor(&self) -> Result<(Option<i32>, String)> {
        let config = self.site.write()?;
        let output = Command::new(selkie_tests::binary()?).arg("doctor").arg(config).output()?;
        let text = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8(text).context("no text")?))
    }

    /// As an agent does it: another file in its place.
    fn write_token(&self, token: &str) -> Result<()> {
        let next = self.token_file.with_extension("next");
        fs::write(&next, token)?;
        Ok(fs::rename(next, &self.token_file)?)
    }

    /// With the name of this one, the other end of a chain.
    fn seal_arguments(&self, selkie: &Selkie) -> SealArguments {
        SealArguments {
            address: selkie.url(),
            token: self.client_token.clone(),
            key: "autounseal".to_owned(),
            further: Vec::new(),
        }
    }
}

/// The client's patience bounds a failing test: that an encrypt waits a second and a half at most,
/// whatever becomes of the upstream (I10), is tested where time stands still.
fn encrypt(client: &Client) -> Result<(u16, Value)> {
    let answer = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "c2VjcmV0" }))?;
    Ok((answer.status, answer.json()))
}

fn ciphertext(client: &Client) -> Result<String> {
    until("it encrypts", || {
        let (status, answer) = encrypt(client)?;
        let text = answer["data"]["ciphertext"].as_str().map(str::to_owned);
        Ok(text.filter(|_| status == 200))
    })
}

fn opens(client: &Client, ciphertext: &str) -> Result<bool> {
    let answer = client.put("transit/decrypt/autounseal", &json!({ "ciphertext": ciphertext }))?;
    Ok(answer.status == 200 && answer.field("plaintext")? == "c2VjcmV0")
}

fn vault_upstream(dir: &Path) -> Result<Option<UpstreamVault>> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(None) };
    let vault = UpstreamVault::start(&program, &dir.join("upstream"))?;
    vault.put("transit/keys/bridge", &json!({}))?;
    Ok(Some(vault))
}

/// A Selkie whose key another one wraps under, and the policy of that one's token.
fn far_site() -> Result<Site> {
    let mut far = Site::new()?;
    far.keys = "key \"bridge\" {}\n".into();
    far.policy(
        "bridge",
        &[
            ("transit/encrypt/bridge", &["update"]),
            ("transit/decrypt/bridge", &["update"]),
            ("transit/keys/bridge", &["read"]),
        ],
    );
    Ok(far)
}

#[test]
fn vault_unseals_over_a_chain_of_two() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let mut far = far_site()?;
    let token = far.client("near", &["bridge"], "")?;
    let far = far.start()?;
    let bridge = Bridge::new(&far.url(), &token)?;
    let (near, client) = bridge.start()?;
    ciphertext(&client)?;
    let storage = bridge.site.dir().join("vault");
    let seal = bridge.seal_arguments(&near);
    let mut vault = VaultCore::start(&program, &storage, &seal)?;
    let root = vault.initialise()?;
    vault.write_secret("over two hops")?;
    vault.process.kill()?;
    let mut vault = VaultCore::start(&program, &storage, &seal)?;
    vault.client.token = Some(root);
    vault.unsealed()?;
    assert_eq!(vault.read_secret()?, "over two hops");
    vault.process.kill()?;
    assert_eq!(key_ids(&storage)?, ["v1", "v1"]);
    Ok(())
}

#[test]
fn a_real_vault_as_upstream_is_gone_comes_back_and_rotates() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(mut vault) = vault_upstream(dir.path())? else { return Ok(()) };
    let token = vault.token("bridge", FULL, &json!({ "period": "1h" }))?;
    let bridge = Bridge::new(&vault.url(), &token)?;
    let (selkie, client) = bridge.start()?;
    let first = ciphertext(&client)?;
    assert!(first.starts_with("vault:v1:") && opens(&client, &first)?);

    vault.process.kill()?;
    let (status, answer) = encrypt(&client)?;
    assert_eq!(status, 503, "{answer}");
    let log = selkie.log();
    assert!(!log.contains(&token), "no token in the log");
    vault.restart()?;
    until("the upstream's return is noticed", || Ok(opens(&client, &first)?.then_some(())))?;
    ciphertext(&client)?;

    vault.put("transit/keys/bridge/rotate", &json!({}))?;
    let second = until("the rotation moves our version", || {
        Ok(Some(ciphertext(&client)?).filter(|text| text.starts_with("vault:v2:")))
    })?;
    assert!(opens(&client, &first)? && opens(&client, &second)?);
    Ok(())
}

#[test]
fn a_token_is_renewed_and_one_that_is_revoked_is_replaced_by_its_file() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(vault) = vault_upstream(dir.path())? else { return Ok(()) };
    let token = vault.token("bridge", LEAST, &json!({ "period": PERIOD.as_secs() }))?;
    let bridge = Bridge::new(&vault.url(), &token)?;
    let (selkie, client) = bridge.start()?;
    let first = ciphertext(&client)?;
    let began = Instant::now();
    until("the token has outlived its period twice", || {
        // That a slow upstream is not waited for is no matter here: refused for the token, it stays so.
        let (status, answer) = encrypt(&client)?;
        ensure!(matches!(status, 200 | 503), "{status} {answer}\n{}", selkie.log());
        Ok((began.elapsed() > 2 * PERIOD).then_some(()))
    })?;
    ciphertext(&client)?;
    let renewals = vault.root.put("auth/token/lookup", &json!({ "token": token }))?.json();
    assert!(renewals["data"]["last_renewal"].is_string(), "{renewals}");

    vault.put("auth/token/revoke", &json!({ "token": token }))?;
    until("the refusal is told", || Ok((encrypt(&client)?.0 != 200).then_some(())))?;
    until("the log names what mends it", || {
        Ok(selkie.log().contains("vault token create").then_some(()))
    })?;
    let token = vault.token("bridge", LEAST, &json!({ "period": "1h" }))?;
    bridge.write_token(&token)?;
    until("the new token is used", || Ok(opens(&client, &first)?.then_some(())))?;
    Ok(())
}

#[test]
fn an_upstream_that_answers_garbage_is_not_believed() -> Result<()> {
    for body in ["<html>gateway</html>", r#"{"data":{"ciphertext":"x","plaintext":"%"}}"#] {
        let address = garbage(body)?;
        let bridge = Bridge::new(&format!("http://{address}"), "hvs.x")?;
        let (selkie, client) = bridge.start()?;
        let (status, answer) = encrypt(&client)?;
        assert_eq!(status, 503, "{answer}");
        until("the log names the hop", || {
            Ok(selkie.log().contains("the answer makes no sense").then_some(()))
        })?;
        assert!(!selkie.log().contains("gateway"), "nothing of the answer is logged");
    }
    Ok(())
}

/// A server that answers everything with 200 and `body`, for as long as the test runs.
fn garbage(body: &'static str) -> Result<std::net::SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut request = [0; 4096];
                while stream.read(&mut request).is_ok_and(|read| read > 0) {
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    if stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(address)
}

#[test]
fn a_loop_of_two_ends_and_is_answered_in_time() -> Result<()> {
    let mut one = Bridge::new("http://127.0.0.1:1", "hvs.one")?;
    let mut other = Bridge::new("http://127.0.0.1:1", "hvs.other")?;
    for bridge in [&mut one, &mut other] {
        bridge.site.keys = "key \"bridge\" {}\nkey \"autounseal\" {}\n".into();
        bridge.site.policy("bridge", &[("transit/*", &["update", "read"])]);
    }
    let tokens =
        [one.site.client("other", &["bridge"], "")?, other.site.client("one", &["bridge"], "")?];
    let [to_one, to_other] =
        [one.site.port, other.site.port].map(|port| format!("127.0.0.1:{port}"));
    one.site.seal = one.site.seal.replace("127.0.0.1:1\"", &format!("{to_other}\""));
    other.site.seal = other.site.seal.replace("127.0.0.1:1\"", &format!("{to_one}\""));
    other.write_token(&tokens[0])?;
    one.write_token(&tokens[1])?;
    let (_first, client) = one.start()?;
    let (_second, _) = other.start()?;
    for _ in 0..3 {
        let (status, answer) = encrypt(&client)?;
        assert_eq!(status, 503, "{answer}");
    }
    Ok(())
}

#[test]
fn doctor_walks_to_the_upstream_and_names_what_fails() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(vault) = vault_upstream(dir.path())? else { return Ok(()) };
    let token = vault.token("bridge", FULL, &json!({ "period": "1h" }))?;
    let bridge = Bridge::new(&vault.url(), &token)?;
    let (_, text) = bridge.doctor()?;
    for told in [
        "its renewal works",
        "transit key",
        "a random DEK is wrapped under",
        "the same DEK comes back",
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
    bridge.write_token("hvs.unknown")?;
    let (code, text) = bridge.doctor()?;
    assert!(code != Some(0) && text.contains("our token is unknown"), "{code:?} {text}");
    assert!(!text.contains("hvs."), "{text}");
    Ok(())
}

/// Of a Selkie, and of a Vault where there is one.
#[test]
fn a_token_that_may_not_renew_itself_is_told_with_the_path_that_it_lacks() -> Result<()> {
    let mut far = far_site()?;
    let fields = "no_default_policy = true\n  period = \"1h\"";
    let token = far.client("near", &["bridge"], fields)?;
    let far = far.start()?;
    let dir = tempfile::tempdir()?;
    let vault = vault_upstream(dir.path())?;
    let mut upstreams = vec![(far.url(), token)];
    if let Some(vault) = &vault {
        let fields = json!({ "period": "1h", "no_default_policy": true });
        upstreams.push((vault.url(), vault.token("bridge", FULL, &fields)?));
    }
    for (url, token) in upstreams {
        let bridge = Bridge::new(&url, &token)?;
        let (_, text) = bridge.doctor()?;
        assert!(text.contains("the token is not renewed"), "{text}");
        assert!(text.contains("`update` on auth/token/renew-self"), "{text}");
        assert!(text.contains("the same DEK comes back"), "{text}");
        let (selkie, client) = bridge.start()?;
        ciphertext(&client)?;
        selkie.says("`update` on auth/token/renew-self")?;
    }
    Ok(())
}

/// Everything but this Selkie tells takes the new key for the old one: it encrypts and decrypts.
#[test]
fn an_upstream_key_made_anew_under_its_name_is_told_and_not_encrypted_under() -> Result<()> {
    for (is_running, rights) in [(true, LEAST), (false, LEAST), (false, FULL)] {
        let dir = tempfile::tempdir()?;
        let Some(vault) = vault_upstream(dir.path())? else { return Ok(()) };
        let kept =
            json!({ "exportable": true, "allow_plaintext_backup": true, "deletion_allowed": true });
        vault.put("transit/keys/bridge/config", &kept)?;
        let backup = vault.root.get("transit/backup/bridge")?.field("backup")?;
        let token = vault.token("bridge", rights, &json!({ "period": "1h" }))?;
        let mut bridge = Bridge::new(&vault.url(), &token)?;
        if !is_running {
            let data_dir = bridge.site.dir().join("data");
            fs::create_dir(&data_dir)?;
            bridge.site.extra += &format!("data_dir = {data_dir:?}\n");
        }
        let (mut selkie, client) = bridge.start()?;
        let old = ciphertext(&client)?;
        if !is_running {
            selkie.says("pin written")?;
            // What it will be asked to open is in a file of its own.
            let canaries = bridge.site.dir().join("data/pins/transit.canaries");
            until("a canary is kept", || Ok(canaries.exists().then_some(())))?;
            selkie.stop()?;
        }
        ensure!(vault.root.delete("transit/keys/bridge")?.status == 204);
        if is_running {
            selkie.says("the KMS does not describe its master key")?;
        }
        vault.put("transit/keys/bridge", &json!({}))?;
        if !is_running {
            selkie.restart()?;
        }
        selkie.says("it does not open what it wrapped then")?;
        let client = selkie.client().with_token(&bridge.client_token);
        let (status, answer) = encrypt(&client)?;
        ensure!(status == 400, "{status} {answer}\n{}", selkie.log());
        vault.put("transit/restore/bridge", &json!({ "backup": backup, "force": true }))?;
        selkie.says("the seal is well again")?;
        ciphertext(&client)?;
        ensure!(opens(&client, &old)?, "{}", selkie.log());
    }
    Ok(())
}

#[test]
fn an_upstream_version_that_was_trimmed_is_told_and_stops_no_encryption() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let Some(vault) = vault_upstream(dir.path())? else { return Ok(()) };
    let token = vault.token("bridge", FULL, &json!({ "period": "1h" }))?;
    let bridge = Bridge::new(&vault.url(), &token)?;
    let (selkie, client) = bridge.start()?;
    ciphertext(&client)?;
    vault.put("transit/keys/bridge/rotate", &json!({}))?;
    let is_second = |text: &String| text.starts_with("vault:v2:");
    until("our version moves", || Ok(Some(ciphertext(&client)?).filter(is_second)))?;
    let least = json!({ "min_decryption_version": 2, "min_encryption_version": 2 });
    vault.put("transit/keys/bridge/config", &least)?;
    selkie.says("an older version of the master key opens nothing")?;
    vault.put("transit/keys/bridge/trim", &json!({ "min_available_version": 2 }))?;
    ciphertext(&client).with_context(|| selkie.log())?;
    ensure!(!selkie.log().contains("ERROR"), "{}", selkie.log());
    Ok(())
}
