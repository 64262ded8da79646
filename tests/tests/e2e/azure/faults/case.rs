//! One row's own Key Vault and server.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Aim, Client, Selkie, until};
use serde_json::{Value, json};

use super::super::{Azure, decrypt, encrypt};
use super::{Answers, proof};

/// When encrypt must have answered: it has a second and a half, and this bounds a failing test.
const ENCRYPT_ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// The same for decrypt, which has fifteen seconds.
const DECRYPT_ANSWERS_WITHIN: Duration = Duration::from_secs(45);

/// A server that has encrypted something, and the Key Vault that is about to fail.
pub(super) struct Case {
    selkie: Selkie,
    azure: Azure,
    ciphertexts: Vec<String>,
    /// The seal before it was changed, if it was.
    intact: Option<String>,
    /// Whether Key Vault no longer takes the token that the server has.
    revoked: bool,
}

/// What the log said of the failed decrypt.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) reason: String,
    pub(super) advice: String,
}

impl Case {
    pub(super) fn new() -> Result<Self> {
        let mut azure = Azure::new()?;
        // With the local key the pin is trusted after a restart too.
        let local_key = azure.site.random_key("local")?;
        azure.site.extra += &format!("local_key = \"{local_key}\"\n");
        let selkie = azure.start()?;
        let mut case =
            Self { azure, selkie, ciphertexts: Vec::new(), intact: None, revoked: false };
        let (_, ciphertext) = encrypt(&case.client())?;
        case.ciphertexts.push(ciphertext);
        Ok(case)
    }

    fn client(&self) -> Client {
        self.selkie.client().with_token(&self.azure.token)
    }

    /// A client that waits no longer than this.
    fn client_of(&self, patience: Duration) -> Client {
        Client { patience, ..self.client() }
    }

    /// The end of the log, for a failing test.
    pub(super) fn last_words(&self) -> String {
        let lines = self.selkie.process.stderr();
        lines.get(lines.len().saturating_sub(6)..).unwrap_or_default().join("\n")
    }

    /// Makes the emulator answer in this way.
    pub(super) fn fault(&self, service: &str, operation: &str, how: &Value) -> Result<()> {
        self.azure.emulator.fault(Aim { service, operation }, how)
    }

    /// The same so often, and then as usual again.
    pub(super) fn fault_times(
        &self,
        (service, operation): (&str, &str),
        how: &Value,
        times: u32,
    ) -> Result<()> {
        let rule = json!({
            "match": { "service": service, "operation": operation, "authenticated": true },
            "how": how, "times": times,
        });
        self.control("POST", "faults", &rule)
    }

    /// The same for the endpoint of managed identity, of which a server asks that has no token yet.
    pub(super) fn identity_fault(&mut self, how: &Value) -> Result<()> {
        self.fault("imds", "any", how)?;
        self.restart()
    }

    /// Makes Key Vault refuse the server's token, once that is old enough for the server to believe
    /// it: five seconds.
    pub(super) fn revoke_tokens(&mut self) -> Result<()> {
        thread::sleep(Duration::from_secs(6));
        self.revoked = true;
        self.control("POST", "tokens/revoke", &json!({}))
    }

    /// Makes Key Vault refuse every change of a key.
    pub(super) fn read_only(&self) -> Result<()> {
        proof::make_read_only(&self.azure.emulator)
    }

    pub(super) fn vault(&self, change: &Value) -> Result<()> {
        self.azure.emulator.change_vault(change)
    }

    pub(super) fn key(&self, change: &Value) -> Result<()> {
        self.azure.emulator.change_key(change)
    }

    pub(super) fn control(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        self.azure.emulator.control(method, path, body)?;
        Ok(())
    }

    pub(super) fn listen(&self, how: &str) -> Result<()> {
        self.azure.emulator.listen(how)
    }

    /// Starts the server anew with another value of a field of its seal.
    pub(super) fn seal_field(&mut self, name: &str, value: &str) -> Result<()> {
        self.drop_field(name);
        self.azure.site.seal += &format!("  {name} = {value:?}\n");
        self.restart()
    }

    /// Starts the server anew as an application instead of the machine.
    pub(super) fn as_application(&mut self, credential: (&str, &str)) -> Result<()> {
        self.drop_field("imds_endpoint");
        let (tester, tenant) =
            ("7e3a0000-0000-4000-8000-0000000000c2", "7e3a0000-0000-4000-8000-000000000001");
        let authority = self.azure.emulator.url();
        for (name, value) in [
            ("client_id", tester),
            ("tenant_id", tenant),
            ("authority_host", &authority),
            credential,
        ] {
            self.azure.site.seal += &format!("  {name} = {value:?}\n");
        }
        self.restart()
    }

    fn drop_field(&mut self, name: &str) {
        let before = self.azure.site.seal.clone();
        let mut kept: Vec<_> = before.lines().collect();
        kept.retain(|line| line.trim_start().split(' ').next() != Some(name));
        self.azure.site.seal = kept.join("\n") + "\n";
        self.intact.get_or_insert(before);
    }

    /// Starts the server anew: it has no token then, but a pin that it trusts.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.selkie.stop()?;
        self.selkie = self.azure.site.start()?;
        Ok(())
    }

    /// A file in the site's directory.
    pub(super) fn file(&self, name: &str, content: &str) -> Result<String> {
        let path = self.azure.site.secret_file(name, content.as_bytes())?;
        Ok(path.display().to_string())
    }

    /// Asks as a client would and checks what it gets. Encrypt may first have to learn, by the next
    /// poll, what has changed.
    pub(super) fn look(&mut self, expected: Answers) -> Result<Seen> {
        let client = self.client_of(ENCRYPT_ANSWERS_WITHIN);
        until(&format!("encrypt answers {}", expected.encrypt), || {
            let (status, ciphertext) = encrypt(&client)?;
            self.ciphertexts.extend((status == 200).then_some(ciphertext));
            Ok((status == expected.encrypt).then_some(()))
        })
        .with_context(|| self.last_words())?;
        let before = self.selkie.process.stderr().len();
        let status = decrypt(&self.client_of(DECRYPT_ANSWERS_WITHIN), &self.ciphertexts[0])?;
        ensure!(status == expected.decrypt, "decrypt: {status}\n{}", self.last_words());
        let (status, ciphertext) = encrypt(&client)?;
        self.ciphertexts.extend((status == 200).then_some(ciphertext));
        ensure!(status == expected.encrypt, "encrypt: {status}\n{}", self.last_words());
        self.said(before, expected)
    }

    fn said(&self, from: usize, expected: Answers) -> Result<Seen> {
        if expected == (Answers { encrypt: 200, decrypt: 200 }) {
            return Ok(Seen::default());
        }
        let operation = if expected.decrypt == 200 { "encrypt" } else { "decrypt" };
        self.selkie.process.stderr_line(from, |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            let is_it = line["path"].as_str()?.contains(operation);
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            is_it.then(|| {
                Some(Seen { reason: text("reason")?, advice: text("advice").unwrap_or_default() })
            })?
        })
    }

    /// Checks that the fault was there, and that the log tells who saw it.
    pub(super) fn prove(&self, seen: &Seen) -> Result<()> {
        let emulator = &self.azure.emulator;
        proof::faults_happened(emulator)?;
        proof::nothing_else_was_asked(emulator)?;
        if self.revoked {
            proof::a_token_was_refused(emulator)?;
        }
        proof::the_request_is_named(emulator, &seen.reason)
    }

    /// Takes the fault away: everything that was ever encrypted opens again, and encrypt works.
    pub(super) fn heal(&mut self) -> Result<()> {
        self.control("POST", "reset", &json!({}))?;
        if let Some(intact) = self.intact.take() {
            self.azure.site.seal = intact;
            self.restart()?;
        }
        let client = self.client();
        let (_, newest) = until("encrypt works again", || {
            Ok(Some(encrypt(&client)?).filter(|(status, _)| *status == 200))
        })?;
        self.ciphertexts.push(newest);
        for ciphertext in &self.ciphertexts {
            until("all opens again", || Ok((decrypt(&client, ciphertext)? == 200).then_some(())))
                .with_context(|| self.last_words())?;
        }
        Ok(())
    }
}

impl Seen {
    /// Whether the log named this.
    pub(super) fn says(&self, words: &[&str]) -> bool {
        words.iter().all(|word| self.reason.contains(word))
    }
}

/// A proxy that answers every request with this status.
pub(super) fn proxy_that_refuses(status: &'static str) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming() {
            let Ok(mut connection) = connection else { return };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
            // Whether the server still listens is its own affair.
            let _ = connection.read(&mut [0; 4096]);
            let _ = connection.write_all(answer.as_bytes());
        }
    });
    Ok(format!("http://{address}"))
}
