//! A real transit server that unseals a real Vault, replaced by Selkie at the same address, mount and
//! key, without a word to the Vault.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Client, Peer, SealArguments, Selkie, Signal, Site, UpstreamVault, binary, free_port, key_ids,
    until,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::vault::Deployment;

const KEY: &str = "autounseal";

/// The old server, at version 3 of its key, and what is to stand in its place.
struct Stage {
    program: PathBuf,
    old: UpstreamVault,
    site: Site,
    /// The Vault's token, of the old server and then of Selkie.
    vault_token: String,
    admin: String,
}

/// The root token.
fn token(old: &UpstreamVault) -> Result<&str> {
    old.root.token.as_deref().context("no token")
}

impl Stage {
    fn new() -> Result<Option<(Self, PathBuf)>> {
        let Some(program) = Peer::VaultCore.find()? else { return Ok(None) };
        let mut site = Site::new()?;
        let old = UpstreamVault::start(&program, &site.dir().join("old"))?;
        old.root.put(&format!("transit/keys/{KEY}"), &json!({}))?.data()?;
        for _ in 0..2 {
            old.root.put(&format!("transit/keys/{KEY}/rotate"), &json!({}))?;
        }
        site.port = old.root.address.port();
        let vault_token = token(&old)?.to_owned();
        let hash = base16ct::lower::encode_string(&Sha256::digest(&vault_token));
        site.extra += &format!(
            "client \"vault-eu\" {{\n  token_sha256 = \"{hash}\"\n  policies = [\"seal\"]\n}}\n"
        );
        site.policy(
            "seal",
            &[("transit/encrypt/+", &["update"]), ("transit/decrypt/+", &["update"])],
        );
        let admin = site.client("admin", &["root"], "")?;
        let origin = site.random_key("origin")?;
        let data = site.dir().join("data");
        let local = site.random_key("local")?;
        site.extra +=
            &format!("origin_key = \"{origin}\"\nlocal_key = \"{local}\"\ndata_dir = {data:?}\n");
        let stage = Self { program: program.clone(), old, site, vault_token, admin };
        Ok(Some((stage, program)))
    }

    /// The Vault, which knows one address and never learns of another.
    fn vault(&self, program: PathBuf) -> Deployment {
        let seal = SealArguments {
            address: format!("http://127.0.0.1:{}", self.site.port),
            token: self.vault_token.clone(),
            key: KEY.to_owned(),
            further: Vec::new(),
        };
        Deployment { program, storage: self.site.dir().join("vault"), seal }
    }

    /// Declares the key with this rule for its version, and these fields in `takeover`.
    fn declare(&mut self, version: &str, further: &str) -> Result<()> {
        let (address, token) = (self.old.root.address, token(&self.old)?);
        let token = self.site.secret_file("old-token", token.as_bytes())?;
        self.site.keys = format!(
            "key \"{KEY}\" {{\n  {version}\n  takeover {{\n    address = \"http://{address}\"\n    \
             mount_path = \"transit\"\n    key_name = \"{KEY}\"\n    token = \"file://{}\"\n    \
             disable_renewal = true\n    {further}\n  }}\n}}\n",
            token.display()
        );
        Ok(())
    }

    fn move_old_away(&mut self) -> Result<()> {
        self.old.process.kill()?;
        self.old = UpstreamVault::start(&self.program, &self.site.dir().join("old"))?;
        Ok(())
    }

    /// The old server moves elsewhere, and Selkie takes its place.
    fn replace(&mut self, version: &str) -> Result<Selkie> {
        self.move_old_away()?;
        self.declare(version, "")?;
        self.site.start()
    }

    fn admin(&self, selkie: &Selkie) -> Client {
        selkie.client().with_token(&self.admin)
    }

    fn run(&self, arguments: &[&str]) -> Result<Output> {
        let token = self.site.secret_file("admin-token", self.admin.as_bytes())?;
        let mut command = Command::new(binary()?);
        command
            .env_clear()
            .arg("takeover")
            .args(arguments)
            .args(["--address", &format!("http://127.0.0.1:{}", self.site.port)])
            .arg("--token-file")
            .arg(token);
        Ok(command.output()?)
    }

    /// What `selkie takeover status` says, and its exit code.
    fn status(&self) -> Result<(String, Option<i32>)> {
        let output = self.run(&["status"])?;
        Ok((String::from_utf8(output.stdout)?, output.status.code()))
    }
}

fn assert_tells(status: &(String, Option<i32>), lines: &[&str]) {
    for line in lines {
        assert!(status.0.contains(line), "{line} in {}", status.0);
    }
    assert!(status.0.contains("snapshots and backups") && status.0.contains("standby nodes"));
}

#[test]
fn a_vault_moves_to_selkie_by_itself_and_outlives_the_old_server() -> Result<()> {
    let Some((mut stage, program)) = Stage::new()? else { return Ok(()) };
    let vault = stage.vault(program);
    let root = vault.with_secret()?;
    assert_eq!(key_ids(&vault.storage)?, ["v3", "v3"]);

    let mut selkie = stage.replace("generation = 1")?;
    let status = stage.status()?;
    assert_tells(&status, &["version           10001; of the old key: 3, as the old server says"]);
    assert_tells(&status, &["no client has opened anything yet: there is no evidence"]);
    assert_eq!(status.1, Some(0));

    vault.assert_comes_up_by_itself(&root)?;
    assert_eq!(key_ids(&vault.storage)?, ["v10001", "v10001"]);
    let status = stage.status()?;
    assert_tells(&status, &["client vault-eu\n    last of the old server   v3, ", "none seen"]);
    assert_tells(&status, &["speaks for nothing yet: vault-eu"]);

    stage.old.process.kill()?;
    vault.assert_comes_up_by_itself(&root)?;
    let status = stage.status()?;
    assert_tells(&status, &["last of the old server   v3, ", "last of Selkie's own     v10001, "]);
    assert_tells(&status, &["in data_dir, by this replica alone"]);

    // The evidence outlives a restart.
    selkie.stop()?;
    selkie.restart()?;
    let status = stage.status()?;
    assert_tells(&status, &["last of the old server   v3, ", "last of Selkie's own     v10001, "]);
    vault.assert_comes_up_by_itself(&root)
}

#[test]
fn a_version_that_is_not_above_the_old_one_is_refused_where_it_can_be_told() -> Result<()> {
    let Some((mut stage, _program)) = Stage::new()? else { return Ok(()) };
    for (version, further, needed) in [
        ("", "", "set \"generation = 1\""),
        ("version = 3", "last_version = 3", "the key's \"version\" is 3"),
        ("generation = 1", "last_version = 10001", "set \"generation = 2\""),
    ] {
        stage.move_old_away()?;
        stage.declare(version, further)?;
        let file = stage.site.write()?;
        let output = Command::new(binary()?).env_clear().arg("validate").arg(file).output()?;
        let said = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains(needed) && said.contains("never moves"), "{said}");
    }
    Ok(())
}

#[test]
fn a_vault_whose_stored_version_selkie_repeats_stays_until_the_alarm_is_heeded() -> Result<()> {
    let Some((mut stage, program)) = Stage::new()? else { return Ok(()) };
    let vault = stage.vault(program);
    let root = vault.with_secret()?;
    // Nothing in the file tells that the old key is at version 3 by now.
    let selkie = stage.replace("version = 3")?;
    vault.assert_comes_up_by_itself(&root)?;
    assert_eq!(key_ids(&vault.storage)?, ["v3", "v3"], "it was told nothing new");
    let alarm = "the key's version is not above that of the old key";
    selkie.process.stderr_line(0, |line| line.contains(alarm).then_some(()))?;
    let (text, code) = stage.status()?;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("! what to do        raise the key's \"generation\""), "{text}");

    stage.declare("generation = 1", "")?;
    stage.site.write()?;
    selkie.process.signal(Signal::HUP)?;
    until("the version rises", || Ok((stage.status()?.1 == Some(0)).then_some(())))?;
    vault.assert_comes_up_by_itself(&root)?;
    assert_eq!(key_ids(&vault.storage)?, ["v10001", "v10001"]);
    stage.old.process.kill()?;
    vault.assert_comes_up_by_itself(&root)
}

#[test]
fn an_old_server_that_is_away_is_503_and_a_forgery_is_the_usual_400() -> Result<()> {
    let Some((mut stage, _program)) = Stage::new()? else { return Ok(()) };
    let made = stage.old.root.put(
        &format!("transit/encrypt/{KEY}"),
        &json!({ "plaintext": "YQ==", "associated_data": "YWFk" }),
    )?;
    let ciphertext = made.data()?["ciphertext"].as_str().context("no ciphertext")?.to_owned();
    let selkie = stage.replace("generation = 1")?;
    let client = selkie.client().with_token(&stage.vault_token);
    let decrypt = |ciphertext: &str, associated_data: &str| {
        let body = json!({ "ciphertext": ciphertext, "associated_data": associated_data });
        client.put(&format!("transit/decrypt/{KEY}"), &body)
    };
    assert_eq!(decrypt(&ciphertext, "YWFk")?.data()?["plaintext"], "YQ==");
    let refused = "cipher: message authentication failed";
    for (text, associated_data) in [
        (ciphertext.clone(), "eHg="),
        (ciphertext.replace("vault:v3:", "vault:v2:"), "YWFk"),
        (ciphertext.replace("vault:v3:", "vault:v7:"), "YWFk"),
    ] {
        let answer = decrypt(&text, associated_data)?;
        assert_eq!((answer.status, answer.json()["errors"][0].as_str()), (400, Some(refused)));
    }
    stage.old.process.kill()?;
    let answer = decrypt(&ciphertext, "YWFk")?;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let (text, code) = stage.status()?;
    assert!(code == Some(1) && text.contains("; now: unavailable"), "{text}");
    let metrics = stage.admin(&selkie).get("sys/metrics")?.text();
    for figure in [
        "selkie_takeover_old_server_up{key=\"transit/autounseal\"} 0",
        "selkie_takeover_opened{key=\"transit/autounseal\",whose=\"old\"} 1",
        "selkie_takeover_version_conflict{key=\"transit/autounseal\"} 0",
    ] {
        assert!(metrics.contains(figure), "{figure} in {metrics}");
    }
    Ok(())
}

/// So many ciphertexts of the old server, of the plaintexts `0`, `1`, ...
fn foreign(old: &UpstreamVault, count: usize) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(count);
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(1000) {
        let items = some.iter().map(|number| json!({ "plaintext": plaintext(*number) }));
        let body = json!({ "batch_input": items.collect::<Vec<_>>() });
        let results = old.root.put(&format!("transit/encrypt/{KEY}"), &body)?.data()?;
        let results = results["batch_results"].as_array().context("no results")?.clone();
        all.extend(results.iter().filter_map(|one| one["ciphertext"].as_str().map(str::to_owned)));
    }
    ensure!(all.len() == count, "{} of {count}", all.len());
    Ok(all)
}

/// Base64 of 48 bytes that say which they are.
fn plaintext(number: usize) -> String {
    // 48 bytes of base64's own alphabet are base64 of 36.
    format!("{number:0>48}")
}

fn opened(client: &Client, ciphertexts: &[String]) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for some in ciphertexts.chunks(500) {
        let items: Vec<_> = some.iter().map(|text| json!({ "ciphertext": text })).collect();
        let body = json!({ "batch_input": items });
        let results = client.put(&format!("transit/decrypt/{KEY}"), &body)?.data()?;
        let results = results["batch_results"].as_array().context("no results")?.clone();
        all.extend(results.into_iter().map(|one| one["plaintext"].clone()));
    }
    Ok(all)
}

fn lines(path: &Path) -> Result<Vec<String>> {
    Ok(fs::read_to_string(path)?.lines().map(str::to_owned).collect())
}

#[test]
fn a_rewrap_keeps_the_order_tells_what_failed_and_goes_on_where_it_was_cut_off() -> Result<()> {
    let Some((mut stage, _program)) = Stage::new()? else { return Ok(()) };
    let mut foreign = foreign(&stage.old, 300)?;
    let forged = foreign[17].replace("vault:v3:", "vault:v2:");
    foreign[17].clone_from(&forged);
    let selkie = stage.replace("generation = 1")?;
    let (input, output) = (stage.site.dir().join("in"), stage.site.dir().join("out"));
    fs::write(&input, foreign.join("\n") + "\n")?;
    let (from, to) = (input.display().to_string(), output.display().to_string());
    let arguments = ["rewrap", "--key", KEY, "--batch", "40", "--input", &from, "--output", &to];
    let first = stage.run(&arguments)?;
    let said = String::from_utf8(first.stderr)?;
    assert_eq!(first.status.code(), Some(1), "{said}");
    assert!(said.contains("300 lines: 299 rewrapped, 0 left as they were, 1 failed"), "{said}");
    let failures = fs::read_to_string(output.with_extension("failures"))?;
    assert_eq!(failures, "line 18: cipher: message authentication failed\n");
    let rewrapped = lines(&output)?;
    assert_eq!(rewrapped[17], forged, "it stays as it was");

    // As a crash leaves it: the last line is not whole.
    let whole = fs::read_to_string(&output)?;
    let cut = whole.match_indices('\n').nth(99).context("no line")?.0 + 20;
    fs::write(&output, &whole[..cut])?;
    let again = stage.run(&arguments)?;
    let said = String::from_utf8(again.stderr)?;
    assert!(said.contains("300 lines, 100 of them earlier: 299 rewrapped"), "{said}");
    assert_eq!(again.status.code(), Some(1), "what failed earlier is still to be done: {said}");
    let resumed = lines(&output)?;
    assert_eq!(resumed[..100], rewrapped[..100]);

    // Without the old server all opens, in the order of the input.
    stage.old.process.kill()?;
    let client = selkie.client().with_token(&stage.vault_token);
    let mut sound = resumed;
    sound.remove(17);
    let wanted: Vec<_> =
        (0..300).filter(|number| *number != 17).map(|number| json!(plaintext(number))).collect();
    assert_eq!(opened(&client, &sound)?, wanted);

    // What is Selkie's already stays as it is, letter by letter.
    fs::write(&input, sound.join("\n") + "\n")?;
    fs::remove_file(&output)?;
    let idle = stage.run(&arguments)?;
    assert_eq!(idle.status.code(), Some(0));
    assert_eq!(lines(&output)?, sound);
    Ok(())
}

#[test]
fn a_rewrap_stops_when_the_old_server_is_away_and_loses_nothing() -> Result<()> {
    let Some((mut stage, _program)) = Stage::new()? else { return Ok(()) };
    let foreign = foreign(&stage.old, 3)?;
    let _selkie = stage.replace("generation = 1")?;
    stage.old.process.kill()?;
    let (input, output) = (stage.site.dir().join("in"), stage.site.dir().join("out"));
    fs::write(&input, foreign.join("\n") + "\n")?;
    let (input, output) = (input.display().to_string(), output.display().to_string());
    let arguments = ["rewrap", "--key", KEY, "--input", &input, "--output", &output];
    let stopped = stage.run(&arguments)?;
    let said = String::from_utf8(stopped.stderr)?;
    assert_eq!(stopped.status.code(), Some(1), "{said}");
    assert!(said.contains("stopped after 0 lines"), "{said}");
    assert_eq!(fs::read_to_string(&output)?, "");
    Ok(())
}

/// As many as a large site has; what the command says of its rate is told.
#[test]
fn a_hundred_thousand_blobs_are_rewrapped() -> Result<()> {
    let Some((mut stage, _program)) = Stage::new()? else { return Ok(()) };
    let foreign = foreign(&stage.old, 100_000)?;
    let _selkie = stage.replace("generation = 1")?;
    let (input, output) = (stage.site.dir().join("in"), stage.site.dir().join("out"));
    fs::write(&input, foreign.join("\n") + "\n")?;
    let (input, output) = (input.display().to_string(), output.display().to_string());
    let done = stage.run(&["rewrap", "--key", KEY, "--input", &input, "--output", &output])?;
    let said = String::from_utf8(done.stderr)?;
    writeln!(std::io::stderr(), "{said}")?;
    let rewrapped = lines(Path::new(&output))?;
    ensure!(done.status.success() && rewrapped.len() == 100_000);
    ensure!(rewrapped.iter().all(|line| line.starts_with("vault:v10001:")));
    Ok(())
}

#[test]
fn the_place_of_the_old_server_cannot_be_that_of_selkie_itself() -> Result<()> {
    let mut site = Site::new()?;
    site.port = free_port()?;
    site.keys = format!(
        "key \"{KEY}\" {{\n  generation = 1\n  takeover {{\n    address = \"http://127.0.0.1:{}\"\n    \
         mount_path = \"transit\"\n    key_name = \"{KEY}\"\n  }}\n}}\n",
        site.port
    );
    let output = Command::new(binary()?).env_clear().arg("validate").arg(site.write()?).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert!(output.status.code() == Some(78) && said.contains("itself"), "{said}");
    Ok(())
}
