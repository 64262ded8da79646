//! Descriptors that run out: a system that allows few, and one that takes some away.

use std::path::Path;

use anyhow::{Context, Result};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use selkie_tests::{Connection, Request, Selkie, Signal, Site, binary, evidence, open_files};

use super::{COMMAND, Victim};

const FEW: usize = 200;
const CROWD: usize = 400;

/// A server that may open so few files.
fn limited(files: usize) -> Result<Victim> {
    let mut site = Site::new()?;
    let token = site.client("honest", &["root"], "period = \"1h\"")?;
    let file = site.write()?;
    let limited = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
    let mut arguments = vec!["-c".into(), limited.into(), binary()?.into_os_string()];
    arguments.extend(["server".into(), "--config".into(), file.into_os_string()]);
    let selkie = Selkie::start(Path::new("/bin/sh"), arguments, 1)?;
    Victim::started(site, selkie, &token, None)
}

/// Connections of which half were used and all are held.
fn hoard(victim: &Victim) -> Result<Vec<Connection>> {
    let open = |number: usize| {
        let mut connection = victim.client.connect()?;
        if number.is_multiple_of(2) {
            // Whether it is answered in the crowd is not what is asked here.
            connection.write(&Request::new("GET", "sys/health").bytes()).ok();
        }
        Ok(connection)
    };
    (0..CROWD).map(open).collect()
}

#[test]
fn a_limit_of_open_files_below_max_connections_leaves_room_to_answer() -> Result<()> {
    let mut victim = limited(FEW)?;
    let mut most = 0;
    let toll = victim.endures(64, |victim, honest| {
        let hoarded = hoard(victim)?;
        honest.is_served(20)?;
        most = open_files(victim.process())?;
        // What needs descriptors of its own gets them.
        victim.selkie.process.signal(Signal::HUP)?;
        let reloaded = |line: &str| line.contains("reloaded").then_some(());
        victim.selkie.process.stderr_line(0, reloaded)?;
        honest.is_served(20)?;
        drop(hoarded);
        Ok(())
    })?;
    let log = victim.selkie.log();
    assert!(log.contains("fewer connections are allowed than configured"), "{log}");
    assert!(!log.contains("cannot accept connections"), "{log}");
    evidence(
        "connections leave descriptors to the logs and to the master keys",
        COMMAND,
        format!("{CROWD} connections, {FEW} descriptors, {most} in use; {toll}"),
        "with descriptors taken away as it runs, the same server says that it cannot accept",
    )
}

#[test]
fn descriptors_that_run_out_all_the_same_are_taken_from_those_who_idle() -> Result<()> {
    let mut victim = Victim::plain("")?;
    let process = i32::try_from(victim.process())?;
    let process = Pid::from_raw(process).context("process id 0")?;
    let few = u64::try_from(open_files(victim.process())?)? + 100;
    let limit = Rlimit { current: Some(few), maximum: Some(few) };
    prlimit(Some(process), Resource::Nofile, limit)?;
    let toll = victim.endures(64, |victim, honest| {
        let hoarded = hoard(victim)?;
        honest.is_served(40)?;
        drop(hoarded);
        Ok(())
    })?;
    victim.selkie.says("cannot accept connections")?;
    evidence(
        "without descriptors, those who idle make room for those who ask",
        COMMAND,
        format!("{CROWD} connections at 100 free descriptors; {toll}"),
        "a server that serves one after another keeps the same client waiting",
    )
}
