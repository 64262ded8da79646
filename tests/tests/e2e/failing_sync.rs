//! Invariants I7 and I8 where the disk does not sync: what was acknowledged is on it, so what is not is
//! refused. The released program is run with an `fsync` that fails for the files that it is told of.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Client, Selkie, Site, binary, evidence, until};
use serde_json::json;

use crate::preloaded::library;

const TRIES: u64 = 3;

/// A server on sled with an audit file, whose disk fails for what it is told.
struct Failing {
    selkie: Selkie,
    site: Site,
    root: Client,
}

impl Failing {
    fn start() -> Result<Option<Self>> {
        let mut site = Site::new()?;
        let Some(library) = library(site.dir(), "failing_sync")? else { return Ok(None) };
        let token = site.client("admin", &["root"], "")?;
        let audit_key = site.random_key("audit-key")?;
        let [state, log, fail] = ["state", "audit.log", "fail"].map(|name| site.dir().join(name));
        site.extra += &format!(
            "storage \"sled\" {{ path = {state:?} }}\naudit_key = {audit_key:?}\n\
             audit \"file\" {{\n  file_path = {log:?}\n  fsync = true\n}}\n",
        );
        fs::create_dir(&fail)?;
        let environment =
            vec![("LD_PRELOAD", library.into_os_string()), ("FAILING_SYNC", fail.into_os_string())];
        let arguments: Vec<OsString> =
            vec!["server".into(), "--config".into(), site.write()?.into()];
        let selkie = Selkie::start_in(&binary()?, arguments, 1, environment)?;
        let root = selkie.client().with_token(&token);
        until("a key can be made", || {
            let answer = root.put("transit/keys/managed", &json!({}))?;
            Ok((answer.status < 300).then_some(()))
        })?;
        Ok(Some(Self { site, selkie, root }))
    }

    fn fail(&self, name: &str) -> Result<()> {
        Ok(fs::write(self.site.dir().join("fail").join(name), "")?)
    }

    fn heal(&self, name: &str) -> Result<()> {
        Ok(fs::remove_file(self.site.dir().join("fail").join(name))?)
    }

    /// How often a sync has failed.
    fn failed(&self) -> usize {
        let lines = self.selkie.process.stderr();
        lines.iter().filter(|line| line.starts_with("failed to sync: ")).count()
    }

    fn rotates(&self) -> Result<bool> {
        Ok(self.root.put("transit/keys/managed/rotate", &json!({}))?.status < 300)
    }

    fn latest(&self) -> Result<u64> {
        let data = until("the state is open", || {
            let answer = self.root.get("transit/keys/managed")?;
            if answer.status == 503 { Ok(None) } else { answer.data().map(Some) }
        })?;
        data["latest_version"].as_u64().context("no version")
    }

    fn inode(&self, name: &str) -> Result<u64> {
        Ok(fs::metadata(self.site.dir().join("state").join(name))?.ino())
    }
}

#[test]
fn what_a_disk_does_not_sync_is_not_acknowledged_and_what_is_acknowledged_stays() -> Result<()> {
    let Some(mut failing) = Failing::start()? else { return Ok(()) };
    let (mut refused, mut acknowledged) = (0, 0);
    // In the journal it is true. What lies beside that is mended, in another file, before the next
    // commit: the witness can be while its name fails, sled not.
    for (name, expected) in [("journal", 0), ("db", 1), ("newest", TRIES), ("state", 0)] {
        let before = failing.latest()?;
        let failed = failing.failed();
        failing.fail(name)?;
        let mut rotated = 0;
        for _ in 0..TRIES {
            rotated += u64::from(failing.rotates()?);
        }
        assert_eq!(rotated, expected, "{name}: {}", failing.selkie.log());
        assert_eq!(failing.latest()?, before + rotated, "{name}: nobody sees what was refused");
        until("a failed sync is told", || Ok((failing.failed() > failed).then_some(())))
            .with_context(|| format!("no sync of {name} failed"))?;
        failing.heal(name)?;
        until("it takes commits again", || Ok(failing.rotates()?.then_some(())))?;
        assert_eq!(failing.latest()?, before + rotated + 1, "{name}");
        failing.selkie.kill()?;
        failing.selkie.restart()?;
        assert_eq!(failing.latest()?, before + rotated + 1, "{name}, after a kill");
        (refused, acknowledged) = (refused + TRIES - rotated, acknowledged + rotated + 1);
    }
    evidence(
        "A disk that fails to sync has nothing acknowledged, and the server heals with it (I7)",
        "cargo test -p selkie-tests --test e2e failing_sync",
        format!(
            "fsync fails for the journal, sled, the witness and all: {refused} rotations refused, none of \
             them seen later; {acknowledged} acknowledged, all there after a kill"
        ),
        "each sync that fails is told by the library; without it every rotation is acknowledged",
    )
}

/// What the kernel could not write it has forgotten, and what it reads back from its cache is no proof.
#[test]
fn a_sled_that_failed_to_sync_is_made_anew_and_never_synced_once_more() -> Result<()> {
    let Some(failing) = Failing::start()? else { return Ok(()) };
    for name in ["journal", "newest", "sled/db"] {
        let before = failing.inode(name)?;
        let file = name.rsplit('/').next().unwrap_or(name);
        failing.fail(file)?;
        let _refused_or_not = failing.rotates()?;
        failing.heal(file)?;
        until("it takes commits again", || Ok(failing.rotates()?.then_some(())))?;
        assert_ne!(failing.inode(name)?, before, "{name} is the same file");
    }
    Ok(())
}

#[test]
fn an_audit_file_that_does_not_sync_fails_and_nothing_is_done_without_it() -> Result<()> {
    let Some(failing) = Failing::start()? else { return Ok(()) };
    let before = failing.latest()?;
    failing.fail("audit.log")?;
    for _ in 0..TRIES {
        let answer = failing.root.put("transit/keys/managed/rotate", &json!({}))?;
        assert_eq!(answer.status, 500, "{}", answer.text());
        let answer =
            failing.root.put("transit/encrypt/autounseal", &json!({ "plaintext": "aGVsbG8=" }))?;
        assert_eq!(answer.status, 500, "{}", answer.text());
    }
    failing.selkie.says("an audit device fails")?;
    failing.heal("audit.log")?;
    assert_eq!(failing.latest()?, before, "it was rotated without a line");
    ensure!(failing.rotates()?, "it heals at once");
    failing.selkie.says("an audit device works again").context("it does not say so")?;
    let log = failing.site.dir().join("audit.log");
    let verified = Command::new(binary()?)
        .args(["audit", "verify", "--config"])
        .args([&failing.site.write()?, &log])
        .output()?;
    ensure!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    evidence(
        "An audit file that does not sync counts as failed: nothing is done without its line (I8)",
        "cargo test -p selkie-tests --test e2e failing_sync",
        format!("{} requests refused while fsync failed; the chain verifies after it", 2 * TRIES),
        "the same requests are answered before and after, by the same server",
    )
}
