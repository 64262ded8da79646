//! The authorities of the system, which are renewed while the server runs.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context, Result};
use selkie_tests::{Emulator, Selkie, Signal, binary, until};
use serde_json::json;

use super::{Azure, decrypt, encrypt};

#[test]
fn a_reload_trusts_the_systems_authorities_as_they_are_then_and_forgets_nothing() -> Result<()> {
    let mut azure = Azure::new()?;
    let bundle = azure.site.dir().join("bundle.pem");
    // What an update puts into the place of a file is another file.
    let renew = |text: &[u8]| -> Result<()> {
        let new = bundle.with_extension("new");
        fs::write(&new, text)?;
        Ok(fs::rename(new, &bundle)?)
    };
    let other = Emulator::new()?;
    let (ours, others) = (fs::read(azure.emulator.ca_file())?, fs::read(other.ca_file())?);
    renew(&ours)?;
    let kept = |line: &&str| !line.contains("ca_file");
    azure.site.seal =
        azure.site.seal.lines().filter(kept).map(|line| format!("{line}\n")).collect();
    let environment = vec![("SSL_CERT_FILE", bundle.clone().into_os_string())];
    let arguments: Vec<OsString> =
        vec!["server".into(), "--config".into(), azure.site.write()?.into()];
    let selkie = Selkie::start_in(&binary()?, arguments, 1, environment)?;
    let client = selkie.client().with_token(&azure.token);
    let ciphertext = until("it encrypts", || {
        let (status, ciphertext) = encrypt(&client)?;
        Ok((status == 200).then_some(ciphertext))
    });
    let ciphertext = ciphertext.with_context(|| selkie.log())?;
    let reload = || -> Result<()> {
        let before = selkie.process.stderr().len();
        selkie.process.signal(Signal::HUP)?;
        selkie.process.stderr_line(before, |line| line.contains("was reloaded").then_some(()))
    };
    renew(&others)?;
    reload()?;
    assert_eq!(decrypt(&client, &ciphertext)?, 503, "nobody is trusted as Key Vault now");
    assert_eq!(encrypt(&client)?.0, 200, "what was learned of the master key stays");
    renew(&ours)?;
    reload()?;
    assert_eq!(decrypt(&client, &ciphertext)?, 200, "{}", selkie.log());
    let log = selkie.log();
    for alarm in ["is not used", "contradicts", "may be lost"] {
        assert!(!log.contains(alarm), "{alarm}: {log}");
    }
    Ok(())
}

/// A token under a key that the provider may have made just now is refused only once it was asked.
#[test]
fn a_reload_has_providers_of_logins_trusted_by_the_systems_authorities_as_they_are_then()
-> Result<()> {
    let mut azure = Azure::new()?;
    let bundle = azure.site.dir().join("bundle.pem");
    let other = Emulator::new()?;
    azure.site.extra += &format!(
        "auth \"jwt\" {{\n  jwks_url = \"{}/tenant/discovery/v2.0/keys\"\n  bound_issuer = \"id\"\n  \
         role \"ci\" {{\n    user_claim = \"sub\"\n    bound_audiences = [\"selkie\"]\n  }}\n}}\n",
        azure.emulator.url()
    );
    fs::copy(azure.emulator.ca_file(), &bundle)?;
    let environment = vec![("SSL_CERT_FILE", bundle.clone().into_os_string())];
    let arguments: Vec<OsString> =
        vec!["server".into(), "--config".into(), azure.site.write()?.into()];
    let selkie = Selkie::start_in(&binary()?, arguments, 1, environment)?;
    let client = selkie.client();
    // {"alg":"RS256","kid":"x"}, {}.
    let jwt = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.e30.eA";
    let (refused, undecided) = ("no known key", "error fetching the provider's keys");
    let is_told = |text: &str| {
        let asked = until(text, || {
            let answer = client.put("auth/jwt/login", &json!({ "role": "ci", "jwt": jwt }))?;
            Ok(answer.json().to_string().contains(text).then_some(()))
        });
        asked.with_context(|| selkie.log())
    };
    let reload = || -> Result<()> {
        let before = selkie.process.stderr().len();
        selkie.process.signal(Signal::HUP)?;
        selkie.process.stderr_line(before, |line| line.contains("was reloaded").then_some(()))
    };
    is_told(refused)?;
    fs::copy(other.ca_file(), &bundle)?;
    reload()?;
    is_told(undecided)?;
    fs::copy(azure.emulator.ca_file(), &bundle)?;
    reload()?;
    is_told(refused)
}
