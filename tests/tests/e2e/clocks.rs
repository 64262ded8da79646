//! Leaps of the wall clock under a running server: a day back, then two days forward. What counts
//! against tokens is a clock of their own (docs/compatibility.md): a leap costs a token a minute at
//! most, or gives it one, and makes none live for ever. The audit log goes on as one chain.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Selkie, Site, binary, evidence, skip, until};
use serde_json::{Value, json};

use crate::azure::encrypt;

/// A mark of the token clock is kept at least so often.
const BEAT: Duration = Duration::from_secs(26);
/// What a leap may cost a token, or give it, and what a busy machine takes besides.
const LEEWAY: u64 = 60 + 30;

/// libfaketime, which tells a process another time than the machine's.
fn library() -> Result<Option<PathBuf>> {
    for directory in fs::read_dir("/usr/lib")? {
        let path = directory?.path().join("faketime/libfaketimeMT.so.1");
        if path.exists() {
            return Ok(Some(path));
        }
    }
    skip("libfaketime", "apt-get install libfaketime").map(|()| None)
}

/// A server whose wall clock a test sets, and a client who may do everything.
struct Leaping {
    selkie: Selkie,
    site: Site,
    root: Client,
}

impl Leaping {
    fn start(library: PathBuf) -> Result<Self> {
        let mut site = Site::new()?;
        let key = site.random_key("audit")?;
        // It reads a file for the time, which a confined server could not.
        site.extra += &format!(
            "sandbox = \"off\"\naudit_key = \"{key}\"\nstorage \"inmem\" {{}}\n\
             audit \"file\" {{ file_path = {:?} }}\n",
            site.dir().join("audit.log")
        );
        site.policy("seal", &[("transit/+/+", &["update"])]);
        let token = site.client("root", &["root"], "")?;
        let offset = site.dir().join("offset");
        fs::write(&offset, "+0")?;
        let environment = vec![
            ("LD_PRELOAD", library.into_os_string()),
            ("FAKETIME_TIMESTAMP_FILE", offset.into_os_string()),
            ("FAKETIME_NO_CACHE", "1".into()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
            ("DONT_FAKE_MONOTONIC", "1".into()),
        ];
        let arguments: Vec<OsString> =
            vec!["server".into(), "--config".into(), site.write()?.into()];
        let selkie = Selkie::start_in(&binary()?, arguments, 1, environment)?;
        let root = selkie.client().with_token(&token);
        until("the state is open", || {
            Ok((root.list("auth/token/accessors")?.status == 200).then_some(()))
        })?;
        Ok(Self { site, selkie, root })
    }

    /// Its wall clock shows so many seconds more than the machine's from now on.
    fn leaps_to(&self, seconds: i64) -> Result<()> {
        // At once: what is half written is no time.
        let (path, new) = (self.site.dir().join("offset"), self.site.dir().join("offset.new"));
        fs::write(&new, format!("{seconds:+}"))?;
        Ok(fs::rename(new, path)?)
    }

    fn token(&self, life: &Value) -> Result<Client> {
        let mut body = life.clone();
        body["policies"] = json!(["seal"]);
        let made = self.root.put("auth/token/create", &body)?;
        ensure!(made.status == 200, "{}", made.text());
        let made = made.json();
        let token = made["auth"]["client_token"].as_str().context("no token")?;
        Ok(self.selkie.client().with_token(token))
    }

    /// On how many days its audit log says that it was.
    fn days(&self) -> Result<usize> {
        let log = fs::read_to_string(self.site.dir().join("audit.log"))?;
        let day = |line: &str| Some(line.split_once("\"time\":\"")?.1.get(..10)?.to_owned());
        Ok(log.lines().filter_map(day).collect::<BTreeSet<_>>().len())
    }

    fn verify(&self) -> Result<String> {
        let output = Command::new(binary()?)
            .env_clear()
            .args(["audit", "verify", "--config"])
            .arg(self.site.dir().join("selkie.hcl"))
            .arg(self.site.dir().join("audit.log"))
            .output()?;
        let said =
            String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{said}");
        Ok(said.into_owned())
    }
}

/// What it has left, in seconds; `None` if it is dead. The audit file of a busy machine may be late
/// for an answer.
fn life(token: &Client) -> Result<Option<u64>> {
    until("the token is looked up", || {
        let answer = token.get("auth/token/lookup-self")?;
        match answer.status {
            200 => Ok(Some(Some(answer.data()?["ttl"].as_u64().context("no ttl")?))),
            403 => Ok(Some(None)),
            500 => Ok(None),
            _ => anyhow::bail!("{} {}", answer.status, answer.text()),
        }
    })
}

fn assert_serves(token: &Client) -> Result<()> {
    until("it encrypts", || {
        let (status, _) = encrypt(token)?;
        ensure!(matches!(status, 200 | 500), "{status}");
        Ok((status == 200).then_some(()))
    })
}

#[test]
fn a_leap_of_the_wall_clock_kills_no_token_and_none_lives_for_ever() -> Result<()> {
    let Some(library) = library()? else { return Ok(()) };
    let leaping = Leaping::start(library)?;
    let periodic = leaping.token(&json!({ "period": "20m" }))?;
    let other = leaping.token(&json!({ "ttl": "15m" }))?;
    sleep(BEAT);
    let brief = leaping.token(&json!({ "ttl": "20s" }))?;
    leaping.leaps_to(-86_400)?;
    let began = Instant::now();
    let left = life(&brief)?;
    ensure!(left.is_some_and(|left| left <= 20 + LEEWAY), "a day back gave a token {left:?} s");
    while life(&brief)?.is_some() {
        ensure!(began.elapsed() < Duration::from_secs(20 + LEEWAY) + BEAT, "it lives for ever");
        assert_serves(&periodic)?;
        sleep(Duration::from_millis(250));
    }
    let lived = began.elapsed().as_secs();
    let lives = || {
        let left = [life(&periodic)?, life(&other)?];
        left.into_iter().collect::<Option<Vec<_>>>().context("a leap has killed a token")
    };
    let before = lives()?;
    leaping.leaps_to(86_400)?;
    let after = lives()?;
    for (before, after) in before.iter().zip(&after) {
        ensure!(after + LEEWAY >= *before, "two days cost a token {before} - {after} s");
    }
    assert_serves(&periodic)?;
    assert_serves(&leaping.root).context("a declared token has no clock")?;
    leaping.selkie.says("the wall clock of a replica was far ahead")?;
    let Leaping { mut selkie, site, root } = leaping;
    selkie.stop()?;
    let leaping = Leaping { site, selkie, root };
    let (said, days) = (leaping.verify()?, leaping.days()?);
    ensure!(days >= 3, "the clock did not leap: the audit log is of {days} days");
    evidence(
        "leaps of the wall clock by a day kill no token, and none lives for ever",
        "cargo test -p selkie-tests --test e2e clocks",
        format!(
            "a day back, a token of 20 s died after {lived} s; two days forward cost tokens {} s; the \
             audit log verifies: {}",
            before.iter().zip(&after).map(|(b, a)| b.saturating_sub(*a)).max().unwrap_or_default(),
            said.lines().next().unwrap_or_default(),
        ),
        &format!("the clock did leap: the audit log's own times are of {days} days"),
    )
}
