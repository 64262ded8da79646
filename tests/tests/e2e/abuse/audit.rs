//! An audit log on a disk that is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Site, evidence, skip, until};

use super::{COMMAND, Victim, sealing};

/// A small file system of its own; it goes with this value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where nothing can be mounted.
    fn new(at: &Path) -> Result<Option<Self>> {
        fs::create_dir(at)?;
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "selkie-test"])
            .arg(at)
            .output()?;
        if !mount.status.success() {
            skip("the right to mount a file system", "run the tests as root")?;
            return Ok(None);
        }
        Ok(Some(Self(at.to_owned())))
    }

    fn fill(&self) {
        // It is the error at the end that fills it.
        fs::write(self.0.join("ballast"), vec![0; 1 << 20]).ok();
    }

    fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.0.join("ballast"))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

/// A server with an audit log on a small disk, and another beside it if wanted. The disk is in its
/// directory, and goes first.
fn audited(has_another: bool) -> Result<Option<(Victim, SmallDisk)>> {
    let mut site = Site::new()?;
    let Some(disk) = SmallDisk::new(&site.dir().join("small"))? else { return Ok(None) };
    let key = site.random_key("audit.key")?;
    let file = disk.0.join("audit.log");
    site.extra += &format!("audit_key = \"{key}\"\naudit \"file\" {{ file_path = {file:?} }}\n");
    if has_another {
        let other = site.dir().join("other.log");
        site.extra +=
            &format!("audit \"file\" {{\n  path = \"other\"\n  file_path = {other:?}\n}}\n");
    }
    Ok(Some((Victim::of(site, None)?, disk)))
}

#[test]
fn a_full_disk_under_one_of_two_audit_logs_stops_nobody() -> Result<()> {
    let Some((mut victim, disk)) = audited(true)? else { return Ok(()) };
    let toll = victim.endures(64, |_victim, honest| {
        disk.fill();
        honest.is_served(100)
    })?;
    let log = victim.selkie.log();
    ensure!(log.to_lowercase().contains("audit"), "the device that failed is told of: {log}");
    evidence(
        "a full disk under one of two audit logs stops nobody",
        COMMAND,
        toll,
        "with that log alone every request is refused",
    )
}

#[test]
fn a_full_disk_under_the_only_audit_log_refuses_all_until_there_is_room() -> Result<()> {
    let Some((mut victim, disk)) = audited(false)? else { return Ok(()) };
    disk.fill();
    until("the disk is felt", || {
        let answer = victim.client.put("transit/encrypt/autounseal", &sealing("YQ=="))?;
        Ok((answer.status == 500).then_some(()))
    })?;
    // Nothing leaves without its line (I8), in bounded memory, whoever asks how often.
    for _ in 0..500 {
        let answer = victim.client.put("transit/encrypt/autounseal", &sealing("YQ=="));
        let status = answer.context("no answer")?.status;
        ensure!(matches!(status, 500 | 503), "{status} without a line");
    }
    let health = victim.client.get("sys/health")?;
    ensure!(health.status == 503, "health is {} meanwhile", health.status);
    ensure!(health.text().contains("no audit device can be written"), "{}", health.text());
    disk.empty()?;
    until("health is well again by itself", || {
        Ok((victim.client.get("sys/health")?.status == 200).then_some(()))
    })?;
    until("it is written again", || {
        let answer = victim.client.put("transit/encrypt/autounseal", &sealing("YQ=="))?;
        Ok((answer.status == 200).then_some(()))
    })?;
    let toll = victim.endures(64, |_victim, honest| honest.is_served(10))?;
    evidence(
        "a full disk under the only audit log refuses all, and heals",
        COMMAND,
        format!("500 refused; then {toll}"),
        "with a second log the same disk stops nobody",
    )
}
