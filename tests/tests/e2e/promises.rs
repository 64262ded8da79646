//! A restart with a file that loses ciphertexts: told at every start, until it is put right or let go.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, Result};
use selkie_tests::{Client, Selkie, Signal, Site, binary};
use serde_json::json;

use crate::azure::{decrypt, encrypt};

/// How the line of a loss begins.
const LOSS: &str = "ciphertexts may be lost";

/// A realm, two static seals, one of them under the key `autounseal`, the other under `second`.
struct Kept {
    site: Site,
    token: String,
    token_file: String,
}

/// What differs from one start to the next.
#[derive(Clone, Copy)]
struct File<'f> {
    key: &'f str,
    realm: &'f str,
    has_second: bool,
}

const WHOLE: File<'_> = File { key: "autounseal", realm: "realm = \"eu\"\n", has_second: true };

impl Kept {
    fn new() -> Result<Self> {
        let mut site = Site::new()?;
        site.random_key("second")?;
        let local_key = site.random_key("local")?;
        let data_dir = site.dir().join("data");
        fs::create_dir(&data_dir)?;
        site.seal += "  priority = 1\n";
        let token = site.client("c", &["root"], "")?;
        site.extra +=
            &format!("data_dir = \"{}\"\nlocal_key = \"{local_key}\"\n", data_dir.display());
        let token_file = site.secret_file("token", token.as_bytes())?.display().to_string();
        Ok(Self { site, token, token_file })
    }

    fn write(&mut self, file: File<'_>) -> Result<String> {
        let second = self.site.dir().join("second");
        self.site.keys = format!("{}key \"{}\" {{ seals = [\"static\"] }}\n", file.realm, file.key);
        if file.has_second {
            self.site.keys += &format!(
                "seal \"static\" {{\n  name = \"second\"\n  priority = 2\n  current_key_id = \"s1\"\n  \
                 current_key = \"file://{}\"\n}}\nkey \"second\" {{ seals = [\"second\"] }}\n",
                second.display()
            );
        }
        Ok(self.site.write()?.display().to_string())
    }

    /// A server with this file; all that it has to say of it has been said.
    fn start(&mut self, file: File<'_>) -> Result<Selkie> {
        self.write(file)?;
        let selkie = self.site.start()?;
        reload(&selkie)?;
        Ok(selkie)
    }

    fn client(&self, selkie: &Selkie) -> Client {
        selkie.client().with_token(&self.token)
    }

    /// How many losses the log, the status and the metric tell, who are of one mind.
    fn losses(&self, selkie: &Selkie) -> Result<usize> {
        let status =
            run(&["status", "--address", &selkie.url(), "--token-file", &self.token_file])?;
        let told = String::from_utf8_lossy(&status.stdout).into_owned();
        let lines = losses(selkie);
        assert_eq!(told.matches("! left behind").count(), lines.len(), "{told}{lines:?}");
        assert_eq!(status.status.code(), Some(i32::from(!lines.is_empty())), "{told}");
        assert_eq!(self.metric(selkie)?, lines.len());
        Ok(lines.len())
    }

    fn metric(&self, selkie: &Selkie) -> Result<usize> {
        let text = self.client(selkie).get("sys/metrics")?.text();
        let value = text.lines().find_map(|line| line.strip_prefix("selkie_promises_broken "));
        Ok(value.with_context(|| text.clone())?.parse()?)
    }

    /// A start with this file is silent.
    fn assert_silent(&mut self, file: File<'_>) -> Result<()> {
        let mut selkie = self.start(file)?;
        assert_eq!(self.losses(&selkie)?, 0, "{}", selkie.log());
        assert!(!selkie.log().contains("\"ERROR\""), "{}", selkie.log());
        selkie.stop()
    }
}

/// The lines of the log that tell of a loss; each is an error, and says what to do.
fn losses(selkie: &Selkie) -> Vec<String> {
    let log = selkie.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains(LOSS)).map(str::to_owned).collect();
    for line in &lines {
        assert!(line.contains("\"ERROR\"") && line.contains("selkie accept-losses FILE"), "{line}");
    }
    lines
}

fn reload(selkie: &Selkie) -> Result<()> {
    let before = selkie.process.stderr().len();
    selkie.process.signal(Signal::HUP)?;
    selkie.process.stderr_line(before, |line| line.contains("was reloaded").then_some(()))
}

fn run(arguments: &[&str]) -> Result<Output> {
    Ok(Command::new(binary()?).env_clear().args(arguments).output()?)
}

#[test]
fn a_misspelt_key_is_told_at_every_start_until_it_is_put_back() -> Result<()> {
    let mut kept = Kept::new()?;
    let mut selkie = kept.start(WHOLE)?;
    assert_eq!(kept.losses(&selkie)?, 0, "{}", selkie.log());
    let (code, ciphertext) = encrypt(&kept.client(&selkie))?;
    assert_eq!(code, 200);
    selkie.stop()?;
    let slip = File { key: "autounsael", ..WHOLE };
    for _start in 0..2 {
        let mut selkie = kept.start(slip)?;
        assert_eq!(kept.losses(&selkie)?, 1);
        let line = losses(&selkie).concat();
        for part in ["autounseal", "but \\\"autounsael\\\" is there", "declare the key again"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        assert_ne!(decrypt(&kept.client(&selkie), &ciphertext)?, 200, "it does not open");
        // What the slip did not touch goes on, and is no reason to miss the slip.
        let body = json!({ "plaintext": "YQ==" });
        assert_eq!(kept.client(&selkie).put("transit/encrypt/second", &body)?.status, 200);
        selkie.kill()?;
    }
    let mut selkie = kept.start(WHOLE)?;
    assert_eq!(kept.losses(&selkie)?, 0, "{}", selkie.log());
    assert_eq!(decrypt(&kept.client(&selkie), &ciphertext)?, 200);
    selkie.stop()
}

#[test]
fn a_realm_and_a_seal_that_go_are_told_until_they_are_let_go() -> Result<()> {
    let mut kept = Kept::new()?;
    kept.assert_silent(WHOLE)?;
    let less = File { realm: "", has_second: false, ..WHOLE };
    for _start in 0..2 {
        let mut selkie = kept.start(less)?;
        let lines = losses(&selkie).concat();
        for part in ["realm \\\"eu\\\"", "alias \\\"second\\\" any more", "key \\\"second\\\""] {
            assert!(lines.contains(part), "{part}: {lines}");
        }
        assert_eq!(kept.losses(&selkie)?, 4, "the realm, the seal, its key, what was for it alone");
        selkie.stop()?;
    }
    let file = kept.write(less)?;
    let doctor = run(&["doctor", &file])?;
    let doctor = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert_eq!(doctor.matches("FAILED  ciphertexts").count(), 4, "{doctor}");
    let mut selkie = kept.start(less)?;
    let accepted = run(&["accept-losses", &file])?;
    let accepted = String::from_utf8_lossy(&accepted.stdout).into_owned();
    assert_eq!(accepted.matches("accepted: ").count(), 4, "{accepted}");
    assert_eq!(kept.metric(&selkie)?, 4, "it looks again when it is told to");
    reload(&selkie)?;
    assert_eq!(kept.metric(&selkie)?, 0);
    selkie.stop()?;
    kept.assert_silent(less)?;
    // What came back and goes again was promised again.
    let realms = "realm = \"eu\"\nrealm_aliases = [\"default\"]\n";
    kept.assert_silent(File { realm: realms, ..WHOLE })?;
    let selkie = kept.start(less)?;
    assert_eq!(kept.losses(&selkie)?, 4);
    Ok(())
}

/// Under the sandbox, which by default is there.
#[test]
fn promises_that_cannot_be_kept_or_believed_stop_no_server_and_are_told() -> Result<()> {
    let mut kept = Kept::new()?;
    let path = kept.site.dir().join("data").join("promises.json");
    kept.assert_silent(WHOLE)?;
    let text = fs::read_to_string(&path)?;
    for secret in ["k1", "second", "local"] {
        let secret = fs::read(kept.site.dir().join(secret))?;
        let hex = base16ct::lower::encode_string(&secret);
        assert!(!text.contains(&hex), "no secret is in it");
    }
    // As if the data directory of another server had been copied here, which has another local key.
    kept.site.random_key("local")?;
    let told = "what earlier configurations promised is not believed";
    let mut selkie = kept.start(File { realm: "", ..WHOLE })?;
    assert!(selkie.log().contains(told) && losses(&selkie).is_empty(), "{}", selkie.log());
    assert_eq!(encrypt(&kept.client(&selkie))?.0, 200);
    selkie.stop()?;
    assert_eq!(fs::read_to_string(refused(&path))?, text);
    assert_ne!(fs::read_to_string(&path)?, text);
    // A place where nothing can be written.
    fs::remove_file(&path)?;
    fs::create_dir(&path)?;
    let mut selkie = kept.start(WHOLE)?;
    assert!(selkie.log().contains("promised cannot be read"), "{}", selkie.log());
    assert_eq!(encrypt(&kept.client(&selkie))?.0, 200);
    selkie.stop()
}

fn refused(path: &Path) -> std::path::PathBuf {
    path.with_extension("json.refused")
}
