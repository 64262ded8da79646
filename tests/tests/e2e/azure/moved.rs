//! A vault that is lost for good, and its key restored into another one.

use std::process::Command;

use anyhow::{Context, Result};
use base64ct::{Base64, Encoding};
use selkie_tests::{Client, Selkie, Signal, binary, until};
use serde_json::{Value, json};

use super::{Azure, decrypt, encrypt, stanza};

/// A server whose vault is gone. Its key is in another vault, where the server is led.
struct Moved {
    azure: Azure,
    /// `HOST:PORT` of the vault that is gone.
    former: String,
    /// By the declared key.
    ciphertext: String,
    /// By a managed key, which is in the sealed state.
    of_state: String,
}

impl Moved {
    fn new() -> Result<Self> {
        let mut azure = Azure::new()?;
        let state = azure.site.dir().join("state");
        azure.site.extra += &format!("storage \"sled\" {{ path = {state:?} }}\n");
        let mut selkie = azure.start()?;
        let client = selkie.client().with_token(&azure.token);
        let (_, ciphertext) = encrypt(&client)?;
        until("the state is open", || {
            let made = client.put("transit/keys/app", &json!({}))?;
            Ok((made.status == 200).then_some(()))
        })?;
        let of_state = managed(&client)?;
        selkie.stop()?;
        let former = format!("localhost:{}", azure.emulator.https.port());
        let backup = azure.emulator.backup()?;
        azure.emulator.stop()?;
        azure.emulator = Azure::empty_vault()?;
        azure.emulator.restore(&backup)?;
        azure.site.seal = stanza(&azure.emulator);
        Ok(Self { azure, former, ciphertext, of_state })
    }

    /// Says in the stanza where the key was.
    fn declare(&mut self) {
        let former = &self.former;
        self.azure.site.seal += &format!("  former_vaults = [{former:?}]\n");
    }

    fn client(&self, selkie: &Selkie) -> Client {
        selkie.client().with_token(&self.azure.token)
    }

    fn assert_opens(&self, selkie: &Selkie) -> Result<()> {
        let client = self.client(selkie);
        assert_eq!(decrypt(&client, &self.ciphertext)?, 200, "{}", selkie.log());
        let body = json!({ "ciphertext": self.of_state });
        let opened = until("the state is open", || {
            let answer = client.put("transit/decrypt/app", &body)?;
            Ok((answer.status == 200).then_some(answer))
        });
        let opened = opened.with_context(|| selkie.log())?;
        assert_eq!(opened.field("plaintext")?, "c2VjcmV0");
        Ok(())
    }
}

fn managed(client: &Client) -> Result<String> {
    let answer = client.put("transit/encrypt/app", &json!({ "plaintext": "c2VjcmV0" }))?;
    answer.field("ciphertext")
}

/// Waits for a line of the log that has all of `parts`.
fn says(selkie: &Selkie, parts: &[&str]) -> Result<()> {
    let has_all = |line: &str| parts.iter().all(|part| line.contains(part)).then_some(());
    selkie.process.stderr_line(0, has_all).with_context(|| selkie.log())
}

#[test]
fn a_key_restored_into_another_vault_opens_what_it_wrapped_in_the_one_before() -> Result<()> {
    let mut moved = Moved::new()?;
    moved.declare();
    let selkie = moved.azure.start()?;
    moved.assert_opens(&selkie)?;
    assert!(!selkie.log().contains("ciphertexts may be lost"), "{}", selkie.log());
    // What is encrypted from now on is of the vault that there is.
    let (_, made) = encrypt(&moved.client(&selkie))?;
    let text = made.splitn(3, ':').nth(2).context("no ciphertext")?;
    let envelope: Value = serde_json::from_slice(&Base64::decode_vec(text)?)?;
    let kek = envelope["recipients"][0]["header"]["kid"].as_str();
    let present = format!("https://localhost:{}/", moved.azure.emulator.https.port());
    assert!(kek.is_some_and(|kek| kek.starts_with(&present)), "{envelope}");
    Ok(())
}

#[test]
fn a_key_restored_into_another_vault_opens_nothing_until_that_is_declared() -> Result<()> {
    let mut moved = Moved::new()?;
    let mut selkie = moved.azure.start()?;
    let body = json!({ "ciphertext": moved.ciphertext });
    let refused = moved.client(&selkie).put("transit/decrypt/autounseal", &body)?;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["errors"], json!(["cipher: message authentication failed"]));
    let (former, present) = (moved.former.clone(), &moved.azure.emulator.https);
    let named = format!("names https://{former}/keys/selkie/");
    let ours = format!("localhost:{}: the ciphertext names another vault", present.port());
    let what_to_do = "`former_vaults`";
    says(&selkie, &["request refused", &named, &ours, what_to_do])?;
    says(&selkie, &["the state key does not open", &named, what_to_do])?;
    says(&selkie, &["ciphertexts may be lost", &former, "\\\"former_vaults\\\""])?;
    // A reload is enough; nothing is to be restarted.
    moved.declare();
    moved.azure.site.write()?;
    let before = selkie.process.stderr().len();
    selkie.process.signal(Signal::HUP)?;
    selkie.process.stderr_line(before, |line| line.contains("was reloaded").then_some(()))?;
    moved.assert_opens(&selkie)?;
    selkie.stop()
}

#[test]
fn a_former_vault_that_is_no_longer_named_is_missed() -> Result<()> {
    let mut moved = Moved::new()?;
    let without = moved.azure.site.seal.clone();
    moved.declare();
    moved.azure.start()?.stop()?;
    moved.azure.site.seal = without;
    let config = moved.azure.site.write()?;
    let output = Command::new(binary()?).env_clear().arg("doctor").arg(&config).output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let key = format!("the key https://{}/keys/selkie is no longer its master key", moved.former);
    assert!(told.contains(&key), "{told}");
    Ok(())
}
