//! Invariant I10 under attack: whatever strangers do, and clients that have gone wrong, the server's
//! memory stays within a stated bound, an honest seal client is served meanwhile, and afterwards all is
//! as before.

mod audit;
mod connections;
mod controls;
mod descriptors;
mod dribble;
mod heads;
mod honest;
mod large;
mod malformed;
mod pipelining;
mod slow;
mod smuggling;
mod storm;

use std::fmt;
use std::fs;

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Authority, Client, Resident, Selkie, Site, open_files, raise_open_files, until,
};
use serde_json::json;

use honest::{Honest, Met};

/// Descriptors that may come and go without any connection of ours: logs, timers, a last close.
const LOOSE_FILES: usize = 8;

/// How these tests are run by hand.
const COMMAND: &str = "cargo test -p selkie-tests --test e2e abuse::";

/// A server that is attacked, and the honest client of it.
struct Victim {
    selkie: Selkie,
    site: Site,
    /// With a token that may do everything.
    client: Client,
}

/// What an attack came to.
#[derive(Clone, Copy, Debug)]
struct Toll {
    met: Met,
    /// Resident memory before and at the most, KiB.
    memory: [u64; 2],
}

impl Victim {
    /// A server of plain HTTP with these fields in its listener.
    fn plain(listener: &str) -> Result<Self> {
        let mut site = Site::new()?;
        site.listener = listener.into();
        Self::of(site, None)
    }

    /// The same over TLS.
    fn tls(listener: &str) -> Result<Self> {
        let authority = Authority::new()?;
        let mut site = Site::new()?;
        let (cert, key) = authority.issue("selkie")?.write(site.dir())?;
        fs::write(site.dir().join("ca.pem"), authority.certificate())?;
        site.tls = true;
        site.listener = format!("tls_cert_file = {cert:?}\n  tls_key_file = {key:?}\n  {listener}");
        Self::of(site, Some(&authority))
    }

    fn of(mut site: Site, authority: Option<&Authority>) -> Result<Self> {
        let token = site.client("honest", &["root"], "period = \"1h\"")?;
        // What it writes at debug for each request is no part of what is measured.
        let text = site.text().replace("log_level = \"debug\"", "log_level = \"info\"");
        let file = site.secret_file("selkie.hcl", text.as_bytes())?;
        let selkie = Selkie::configured(&file, 1)?;
        Self::started(site, selkie, &token, authority)
    }

    fn started(
        site: Site,
        selkie: Selkie,
        token: &str,
        authority: Option<&Authority>,
    ) -> Result<Self> {
        raise_open_files()?;
        let tls = authority.map(Authority::trusted).transpose()?;
        let client = Client { tls, ..selkie.client().with_token(token) };
        Ok(Self { site, selkie, client })
    }

    fn process(&self) -> u32 {
        self.selkie.process.id()
    }

    /// Attacks while the honest client works, and holds the server to `bound_mib` of memory and to
    /// being itself again.
    fn endures(
        &mut self,
        bound_mib: u64,
        attack: impl FnOnce(&Self, &Honest<'_>) -> Result<()>,
    ) -> Result<Toll> {
        // Everything that is made on first use is there before anything is counted.
        Honest::new(&self.client).asks_once()?;
        let files = open_files(self.process())?;
        Resident::reset_peak(self.process());
        let before = Resident::of(self.process())?.now;
        let honest = Honest::new(&self.client);
        let met = honest.while_it_works(|honest| attack(self, honest));
        let met = met.with_context(|| self.selkie.log())?;
        let peak = Resident::of(self.process())?.peak;
        let toll = Toll { met, memory: [before, peak] };
        ensure!(peak <= bound_mib << 10, "more than {bound_mib} MiB: {toll}");
        until("the descriptors are free again", || {
            Ok((open_files(self.process())? <= files + LOOSE_FILES).then_some(()))
        })?;
        Honest::new(&self.client).asks_once()?;
        ensure!(self.selkie.process.is_running()?, "it has ended");
        ensure!(!self.selkie.log().contains("panic"), "{}", self.selkie.log());
        Ok(toll)
    }

    /// The head of a request to encrypt, with this token, whose body has a length of `length`.
    fn head(token: Option<&str>, length: usize) -> String {
        let token = token.map(|token| format!("X-Vault-Token: {token}\r\n")).unwrap_or_default();
        format!(
            "PUT /v1/transit/encrypt/autounseal HTTP/1.1\r\nHost: x\r\n{token}\
             Content-Length: {length}\r\n\r\n"
        )
    }

    fn token(&self) -> Result<&str> {
        self.client.token.as_deref().context("no token")
    }
}

impl fmt::Display for Toll {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [before, peak] = self.memory.map(|kib| kib >> 10);
        write!(f, "memory {before} MiB before, {peak} MiB at most; {}", self.met)
    }
}

/// What a test may be told to do more of by the environment.
#[expect(clippy::disallowed_methods, reason = "how long a proof takes is the caller's to say")]
fn count(variable: &str, default: usize) -> Result<usize> {
    match std::env::var(variable) {
        Ok(text) => text.parse().with_context(|| format!("{variable}={text}")),
        Err(_) => Ok(default),
    }
}

fn sealing(plaintext: &str) -> serde_json::Value {
    json!({ "plaintext": plaintext })
}
