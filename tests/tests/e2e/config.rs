//! The configuration file's life: validated, loaded, reloaded, extended by `client add`.

use std::fs;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use selkie_tests::{Client, Selkie, Signal, Site, binary};
use serde_json::json;

use crate::answer::assert_envelope;

/// Exit code of a configuration that is not one (style §6.5).
pub(crate) const EX_CONFIG: i32 = 78;

fn said(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!("{}{}", String::from_utf8_lossy(out), String::from_utf8_lossy(err))
}

/// What `selkie validate` says of a site's configuration, and its exit code.
pub(crate) fn validated(site: &Site) -> Result<(i32, String)> {
    let file = site.write()?;
    let output = Command::new(binary()?).env_clear().arg("validate").arg(&file).output()?;
    Ok((output.status.code().context("killed")?, said(&output)))
}

fn encrypts(client: &Client) -> Result<u16> {
    let answer = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    Ok(answer.status)
}

/// Sends SIGHUP and waits for what the log says about it.
fn reload(selkie: &Selkie) -> Result<String> {
    let before = selkie.process.stderr().len();
    selkie.process.signal(Signal::HUP)?;
    selkie.process.stderr_line(before, |line| {
        line.to_ascii_lowercase().contains("reload").then(|| line.to_owned())
    })
}

#[test]
fn validate_is_content_with_a_good_file() -> Result<()> {
    let (code, said) = validated(&Site::new()?)?;
    assert_eq!(code, 0, "{said}");
    Ok(())
}

#[test]
fn validate_names_file_line_column_and_the_likely_meaning() -> Result<()> {
    for (field, message) in [
        (
            "tls_cert_fle = \"x\"",
            "unknown field \"tls_cert_fle\" in listener \"tcp\"; did you mean \"tls_cert_file\"?",
        ),
        ("max_connections = \"many\"", "field \"max_connections\": "),
        ("tls_min_version = 12", "field \"tls_min_version\": expected a string, found a number"),
        ("address = \"localhost:1\"", "field \"address\" is set twice"),
    ] {
        let mut site = Site::new()?;
        site.listener = field.into();
        let (code, said) = validated(&site)?;
        assert_eq!(code, EX_CONFIG, "{field}: {said}");
        let text = site.text();
        let line = 1 + text.lines().position(|line| line.contains(field)).context("no line")?;
        let expected = format!("{}:{line}:", site.dir().join("selkie.hcl").display());
        let told = said.lines().find(|line| line.contains(&expected)).with_context(|| said.clone());
        let told = told?;
        assert!(told.contains(message), "{told}");
    }
    Ok(())
}

#[test]
fn validate_tells_all_mistakes_at_once() -> Result<()> {
    let mut site = Site::new()?;
    site.listener = "one = 1\n  two = 2".into();
    site.extra = "client \"c\" { policies = [\"nobody\"] }\n".into();
    let (code, said) = validated(&site)?;
    assert_eq!(code, EX_CONFIG);
    for word in ["\"one\"", "\"two\"", "token_sha256", "nobody"] {
        assert!(said.contains(word), "no {word}: {said}");
    }
    Ok(())
}

#[test]
fn a_secret_in_the_file_itself_is_refused_and_not_echoed() -> Result<()> {
    let mut site = Site::new()?;
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    site.seal = format!("  current_key_id = \"k\"\n  current_key = \"{secret}\"\n");
    let (code, said) = validated(&site)?;
    assert_eq!(code, EX_CONFIG, "{said}");
    assert!(said.contains("env://") && said.contains("file://"), "{said}");
    assert!(!said.contains(secret), "{said}");
    Ok(())
}

#[test]
fn a_server_does_not_start_with_a_bad_file() -> Result<()> {
    let mut site = Site::new()?;
    site.extra = "nonsense = 1\n".into();
    let file = site.write()?;
    let output =
        Command::new(binary()?).env_clear().args(["server", "--config"]).arg(file).output()?;
    assert_eq!(output.status.code(), Some(EX_CONFIG), "{}", said(&output));
    assert!(said(&output).contains("unknown field \"nonsense\""), "{}", said(&output));
    Ok(())
}

#[test]
fn a_raised_generation_is_what_a_changed_list_of_seals_needs() -> Result<()> {
    let mut site = Site::new()?;
    site.seal += "  priority = 1\n";
    let old = site.dir().join("old.hcl");
    fs::copy(site.write()?, &old)?;
    let k2 = site.random_key("k2")?;
    site.extra = format!(
        "seal \"static\" {{\n  name = \"new\"\n  priority = 2\n  current_key_id = \"k2\"\n  \
         current_key = \"{k2}\"\n}}\n"
    );
    let check = |site: &Site| {
        let file = site.write()?;
        let mut command = Command::new(binary()?);
        command.env_clear().arg("validate").arg(file).arg("--previous").arg(&old);
        let output = command.output()?;
        anyhow::Ok((output.status.code(), said(&output)))
    };
    // Another seal and as many versions: the number would stay, and no Vault would move.
    site.keys = "key \"autounseal\" { seals = [\"new\"] }\n".into();
    let (code, told) = check(&site)?;
    assert!(code != Some(0) && told.contains("generation"), "{code:?} {told}");
    site.keys = "key \"autounseal\" {\n  seals = [\"new\"]\n  generation = 1\n}\n".into();
    let (code, told) = check(&site)?;
    assert_eq!(code, Some(0), "{told}");
    Ok(())
}

#[test]
fn secrets_come_from_the_environment_and_from_files() -> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    let raw = site.start()?;
    let client = raw.client().with_token(&token);
    let answer = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    let ciphertext = answer.field("ciphertext")?;
    drop(raw);
    let key = fs::read(site.dir().join("k1"))?;
    let hex = base16ct::lower::encode_string(&key);
    site.seal = "  current_key_id = \"k1\"\n  current_key = \"env://SELKIE_KEY\"\n".into();
    let mut command = Command::new(binary()?);
    command.env_clear().env("SELKIE_KEY", hex).args(["server", "--config"]).arg(site.write()?);
    let process = selkie_tests::Process::start(command)?;
    process.stdout_line(|line| line.starts_with("selkie: listening on ").then_some(()))?;
    let body = json!({ "ciphertext": ciphertext });
    let opened = client.put("transit/decrypt/autounseal", &body)?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    Ok(())
}

#[test]
fn a_reload_takes_new_clients_in_and_lets_old_ones_go() -> Result<()> {
    let mut site = Site::new()?;
    let first = site.client("first", &["root"], "")?;
    let selkie = site.start()?;
    let [first, second] = {
        site.extra.clear();
        let second = site.client("second", &["root"], "")?;
        [first, second].map(|token| selkie.client().with_token(&token))
    };
    assert_eq!((encrypts(&first)?, encrypts(&second)?), (200, 403));
    site.write()?;
    let told = reload(&selkie)?;
    assert_eq!((encrypts(&first)?, encrypts(&second)?), (403, 200), "{told}");
    Ok(())
}

#[test]
fn an_invalid_file_changes_nothing_at_a_reload() -> Result<()> {
    let mut site = Site::new()?;
    let first = site.client("first", &["root"], "")?;
    let selkie = site.start()?;
    site.extra.clear();
    let second = site.client("second", &["root"], "")?;
    site.extra += "policy \"p\" {\n  path \"x\" { capabilites = [] }\n}\n";
    site.write()?;
    let told = reload(&selkie)?;
    let first = selkie.client().with_token(&first);
    let second = selkie.client().with_token(&second);
    assert_eq!((encrypts(&first)?, encrypts(&second)?), (200, 403), "{told}");
    selkie.says("capabilites").with_context(|| format!("the mistake; told was {told}"))?;
    Ok(())
}

/// What `validate --previous` refuses, a reload refuses; a restart is how to insist.
#[test]
fn a_reload_that_would_leave_a_key_behind_is_refused_and_the_old_ciphertext_still_opens()
-> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    let made = client.put("transit/encrypt/autounseal", &json!({ "plaintext": "YQ==" }))?;
    let body = json!({ "ciphertext": made.field("ciphertext")? });
    let whole = site.keys.clone();
    site.keys = "key \"autounsael\" {}\n".to_owned();
    site.write()?;
    let told = reload(&selkie)?;
    let opened = client.put("transit/decrypt/autounseal", &body)?;
    assert_eq!(opened.field("plaintext")?, "YQ==", "{told}");
    assert!(told.contains("reload refused") && told.contains("restart"), "{told}");
    assert!(selkie.log().contains("is no longer declared, but"), "{}", selkie.log());
    // The control.
    site.keys = format!("{whole}key \"another\" {{}}\n");
    site.write()?;
    let told = reload(&selkie)?;
    assert!(told.contains("was reloaded"), "{told}");
    Ok(())
}

#[test]
fn managed_keys_outlive_a_reload() -> Result<()> {
    let mut site = Site::new()?;
    site.extra += "storage \"inmem\" {}\n";
    let token = site.client("admin", &["root"], "")?;
    let selkie = site.start()?;
    let admin = selkie.client().with_token(&token);
    let answer = admin.put("transit/encrypt/managed", &json!({ "plaintext": "YQ==" }))?;
    let ciphertext = answer.field("ciphertext")?;
    reload(&selkie)?;
    let opened = admin.put("transit/decrypt/managed", &json!({ "ciphertext": ciphertext }))?;
    assert_eq!(opened.field("plaintext")?, "YQ==");
    Ok(())
}

/// The first block in a text that starts like this, with its braces balanced.
fn block(text: &str, start: &str) -> Result<String> {
    let at = text.find(start).with_context(|| format!("no {start} in: {text}"))?;
    let rest = text.get(at..).unwrap_or_default();
    let mut depth = 0;
    for (end, character) in rest.char_indices() {
        depth += i32::from(character == '{') - i32::from(character == '}');
        if character == '}' && depth == 0 {
            return Ok(rest.get(..=end).unwrap_or_default().to_owned());
        }
    }
    anyhow::bail!("{start} does not end: {text}")
}

/// The text in quotes after `name =` in a block.
pub(crate) fn field(block: &str, name: &str) -> Result<String> {
    let line = block.lines().find(|line| line.trim_start().starts_with(name));
    let line = line.with_context(|| format!("no {name} in: {block}"))?;
    let (_, value) = line.split_once('"').with_context(|| line.to_owned())?;
    let (value, _) = value.split_once('"').with_context(|| line.to_owned())?;
    Ok(value.to_owned())
}

#[test]
fn what_client_add_prints_works_when_pasted() -> Result<()> {
    let output =
        Command::new(binary()?).env_clear().args(["client", "add", "vault-eu"]).output()?;
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8(output.stdout)?;
    let client = block(&printed, "client \"vault-eu\"")?;
    let policy = block(&printed, "policy \"")?;
    let seal = block(&printed, "seal \"transit\"")?;
    let (token, key) = (field(&seal, "token")?, field(&seal, "key_name")?);
    assert!(!client.contains(&token), "the declaration holds the hash only");

    let mut site = Site::new()?;
    site.keys = format!("key \"{key}\" {{}}\n");
    site.extra = format!("{client}\n{policy}\n");
    let selkie = site.start()?;
    let vault = selkie.client().with_token(&token);
    let mount = field(&seal, "mount_path")?;
    let mount = mount.trim_end_matches('/');
    let sealed = vault.put(&format!("{mount}/encrypt/{key}"), &json!({ "plaintext": "YQ==" }))?;
    assert_envelope(&sealed)?;
    let body = json!({ "ciphertext": sealed.field("ciphertext")? });
    assert_eq!(vault.put(&format!("{mount}/decrypt/{key}"), &body)?.field("plaintext")?, "YQ==");
    let renewed = vault.put("auth/token/renew-self", &json!({ "increment": 0 }))?;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
    assert_eq!(renewed.json()["auth"]["client_token"], json!(token));
    assert_eq!(vault.get(&format!("{mount}/keys/{key}"))?.status, 403);
    Ok(())
}

#[test]
fn client_add_never_gives_a_credential_twice() -> Result<()> {
    let token = || {
        let output = Command::new(binary()?).env_clear().args(["client", "add", "a"]).output()?;
        field(&block(&said(&output), "seal \"transit\"")?, "token")
    };
    assert_ne!(token()?, token()?);
    Ok(())
}
