//! What is wrong in files: the configuration's, and the pins'.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use selkie_tests::until;

use super::{Azure, decrypt, encrypt};
use crate::config::{EX_CONFIG, validated};

#[test]
fn a_wrong_stanza_is_refused_with_its_place() -> Result<()> {
    for (field, line, said) in [
        ("endpoint = \"http://localhost:8443\"", "endpoint", "must begin with \"https://\""),
        ("key_name = \"selkie/0123456789abcdef0123456789abcdef\"", "key_name", "has no \"/\""),
        ("client_secret = \"in clear\"", "client_secret", "file:///"),
        ("client_certificate_file = \"/nowhere.pem\"", "client_certificate_file", ""),
        ("public_key_sha256 = [\"00\"]", "public_key_sha256", "64"),
        ("ca_file = \"/nowhere/ca.pem\"", "ca_file", "/nowhere/ca.pem"),
    ] {
        let mut azure = Azure::new()?;
        let seal = &mut azure.site.seal;
        let kept = seal.lines().filter(|kept| !kept.trim_start().starts_with(line));
        *seal = kept.collect::<Vec<_>>().join("\n") + "\n";
        *seal += &format!("  {field}\n");
        refused_at(&azure, field, said)?;
    }
    Ok(())
}

/// The refusal names the file, the line in which `field` stands, and what is wrong with it.
fn refused_at(azure: &Azure, field: &str, said: &str) -> Result<()> {
    let text = azure.site.text();
    let line = text.lines().position(|line| line.contains(field)).context("no such line")? + 1;
    let (code, message) = validated(&azure.site)?;
    ensure!(code == EX_CONFIG, "{field}: {code} {message}");
    let place = format!("selkie.hcl:{line}:");
    ensure!(message.contains(&place) && message.contains(said), "no {place} in: {message}");
    Ok(())
}

#[test]
fn two_identities_at_once_are_refused() -> Result<()> {
    let mut azure = Azure::new()?;
    let secret = azure.site.secret_file("secret", b"secret")?;
    let token = azure.site.secret_file("token", b"token")?;
    azure.site.seal = azure
        .site
        .seal
        .lines()
        .filter(|line| !line.contains("imds"))
        .fold(String::new(), |seal, line| seal + line + "\n");
    azure.site.seal += &format!(
        "  tenant_id = \"7e3a0000-0000-4000-8000-000000000001\"\n  \
         client_id = \"7e3a0000-0000-4000-8000-0000000000c2\"\n  \
         client_secret = \"file://{}\"\n  federated_token_file = {token:?}\n",
        secret.display()
    );
    let (code, message) = validated(&azure.site)?;
    assert_eq!(code, EX_CONFIG, "{message}");
    assert!(message.contains("selkie.hcl:"), "{message}");
    assert!(message.contains("client_secret") && message.contains("federated"), "{message}");
    Ok(())
}

/// The file in which the server keeps what it has learned of the master key.
fn pin_file(azure: &Azure) -> PathBuf {
    azure.site.dir().join("data/pins/azurekeyvault.json")
}

/// A site with the local key, whose pin file has been written by a server that has ended.
fn pinned() -> Result<(Azure, String)> {
    let azure = Azure::new()?;
    let local_key = azure.site.random_key("local")?;
    pinned_under(azure, &local_key)
}

fn pinned_under(mut azure: Azure, local_key: &str) -> Result<(Azure, String)> {
    azure.site.extra += &format!("local_key = \"{local_key}\"\n");
    let mut selkie = azure.start()?;
    let (_, ciphertext) = encrypt(&selkie.client().with_token(&azure.token))?;
    selkie.stop()?;
    Ok((azure, ciphertext))
}

/// With Key Vault away the pin counts for nothing and the log names its file; with Key Vault there
/// all goes well, old ciphertexts included; and what was found in the file is still to be had.
fn assert_pin_is_refused(azure: &Azure, ciphertext: &str, bad: &[u8]) -> Result<()> {
    let path = pin_file(azure);
    fs::write(&path, bad)?;
    azure.emulator.listen("closed")?;
    let mut selkie = azure.site.start()?;
    let client = selkie.client().with_token(&azure.token);
    let (status, _) = encrypt(&client)?;
    ensure!(status == 503, "encrypt under a bad pin: {status}\n{}", selkie.log());
    selkie.says("azurekeyvault.json").context("no file is named")?;
    azure.emulator.listen("open")?;
    until("encrypt works again", || Ok((encrypt(&client)?.0 == 200).then_some(())))?;
    ensure!(decrypt(&client, ciphertext)? == 200, "{}", selkie.log());
    let kept = [path.clone(), path.with_extension("json.refused")];
    let kept = kept.iter().filter_map(|path| fs::read(path).ok()).any(|found| found == bad);
    ensure!(kept, "what was refused was overwritten");
    selkie.stop()
}

#[test]
fn a_truncated_pin_file_is_not_used_and_not_overwritten() -> Result<()> {
    let (azure, ciphertext) = pinned()?;
    let pin = fs::read(pin_file(&azure))?;
    assert_pin_is_refused(&azure, &ciphertext, &pin[..pin.len() / 2])?;
    assert_pin_is_refused(&azure, &ciphertext, b"")
}

#[test]
fn an_edited_pin_file_is_not_used_and_not_overwritten() -> Result<()> {
    let (azure, ciphertext) = pinned()?;
    let mut pin = fs::read(pin_file(&azure))?;
    // A digit or letter in the middle: the file stays well-formed.
    let middle = pin.len() / 2;
    let at = (middle..pin.len()).find(|at| pin[*at].is_ascii_alphanumeric()).context("no text")?;
    pin[at] = if pin[at] == b'A' { b'B' } else { b'A' };
    assert_pin_is_refused(&azure, &ciphertext, &pin)
}

#[test]
fn a_pin_file_of_another_vault_is_not_used_and_not_overwritten() -> Result<()> {
    let (azure, ciphertext) = pinned()?;
    // The very key that vouches for the pin: only the vault is another one.
    let local_key = format!("file://{}", azure.site.dir().join("local").display());
    let (other, _) = pinned_under(Azure::new()?, &local_key)?;
    let pin = fs::read(pin_file(&other))?;
    assert_pin_is_refused(&azure, &ciphertext, &pin)
}
