//! etcd as processes: one member, or a cluster whose members are killed, frozen and brought back.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tempfile::TempDir;

use crate::http::{Client, Request};
use crate::peer::Peer;
use crate::port::free_port;
use crate::process::{Process, Signal};
use crate::wait::until;

/// A frozen member takes connections and never answers.
const SILENCE: Duration = Duration::from_secs(1);

/// A member. Its data outlive its process, and go with this value.
#[derive(Debug)]
pub struct Etcd {
    /// The process; its log is the standard error output.
    pub process: Process,
    /// Where its clients connect, plain HTTP.
    pub address: SocketAddr,
    program: PathBuf,
    arguments: Vec<OsString>,
    _dir: TempDir,
}

impl Etcd {
    /// One member alone, ready; `None` if there is no etcd here.
    ///
    /// # Errors
    ///
    /// If it does not come up; under `CI=true` also if it is missing.
    pub fn start() -> Result<Option<Self>> {
        let cluster = EtcdCluster::start(1)?;
        Ok(cluster.and_then(|mut cluster| cluster.members.pop()))
    }

    fn launch(program: &Path, name: &str, seat: &Seat, cluster: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("selkie-etcd-").tempdir()?;
        let (client, peer) = (seat.client, &seat.peer);
        let mut arguments: Vec<OsString> = vec!["--data-dir".into(), dir.path().into()];
        arguments.extend(
            [
                format!("--name={name}"),
                format!("--listen-client-urls=http://{client}"),
                format!("--advertise-client-urls=http://{client}"),
                format!("--listen-peer-urls={peer}"),
                format!("--initial-advertise-peer-urls={peer}"),
                format!("--initial-cluster={cluster}"),
            ]
            .map(OsString::from),
        );
        let process = run(program, &arguments)?;
        let program = program.to_owned();
        Ok(Self { process, address: client, program, arguments, _dir: dir })
    }

    /// What stands in `address` of a `storage "etcd"`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Kills it (SIGKILL).
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// Starts it again over its data and waits until it is ready.
    ///
    /// # Errors
    ///
    /// If it does not come up, or if its cluster has no majority.
    pub fn restart(&mut self) -> Result<()> {
        self.process = run(&self.program, &self.arguments)?;
        self.ready()
    }

    /// Freezes it (SIGSTOP): its connections stay open and silent.
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn freeze(&self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// Ends [`Etcd::freeze`].
    ///
    /// # Errors
    ///
    /// If it is gone.
    pub fn thaw(&self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Waits until it has a leader and takes writes.
    ///
    /// # Errors
    ///
    /// If it does not within a minute.
    pub fn ready(&self) -> Result<()> {
        until("etcd is ready", || {
            let health = Client::plain(self.address).send(Request::absolute("GET", "/health"));
            let is_ready = health.is_ok_and(|health| health.json()["health"] == "true");
            Ok(is_ready.then_some(()))
        })
        .with_context(|| self.process.stderr().join("\n"))
    }

    /// Whether it says that it leads. One that does not answer does not lead.
    fn leads(&self) -> bool {
        let request = Request::absolute("POST", "/v3/maintenance/status").json(&json!({}));
        let client = Client { patience: SILENCE, ..Client::plain(self.address) };
        let Ok(answer) = client.send(request) else { return false };
        let status = answer.json();
        status["leader"].is_string() && status["leader"] == status["header"]["member_id"]
    }
}

/// Where a member listens.
struct Seat {
    client: SocketAddr,
    peer: String,
}

impl Seat {
    fn new() -> Result<Self> {
        let client = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        Ok(Self { client, peer: format!("http://127.0.0.1:{}", free_port()?) })
    }
}

/// Several members that agree.
#[derive(Debug)]
pub struct EtcdCluster {
    /// The members.
    pub members: Vec<Etcd>,
}

impl EtcdCluster {
    /// So many members, all ready; `None` if there is no etcd here.
    ///
    /// # Errors
    ///
    /// As for [`Etcd::start`].
    pub fn start(count: usize) -> Result<Option<Self>> {
        let Some(program) = Peer::Etcd.find()? else { return Ok(None) };
        let seats = (0..count).map(|_| Seat::new()).collect::<Result<Vec<_>>>()?;
        let names: Vec<_> = (0..count).map(|index| format!("member{index}")).collect();
        let places: Vec<_> =
            names.iter().zip(&seats).map(|(name, seat)| format!("{name}={}", seat.peer)).collect();
        let cluster = places.join(",");
        let members = names.iter().zip(&seats);
        let members = members
            .map(|(name, seat)| Etcd::launch(&program, name, seat, &cluster))
            .collect::<Result<Vec<_>>>()?;
        ensure!(!members.is_empty(), "a cluster of none");
        members.iter().try_for_each(Etcd::ready)?;
        Ok(Some(Self { members }))
    }

    /// What stands in `address` of a `storage "etcd"`: all members.
    #[must_use]
    pub fn urls(&self) -> String {
        self.members.iter().map(Etcd::url).collect::<Vec<_>>().join(",")
    }

    /// Starts all members again, after all were killed, and waits until they are ready.
    ///
    /// # Errors
    ///
    /// If they do not come up.
    pub fn revive(&mut self) -> Result<()> {
        // One alone is never ready.
        for member in &mut self.members {
            member.process = run(&member.program, &member.arguments)?;
        }
        self.members.iter().try_for_each(Etcd::ready)
    }

    /// The place in `members` of the one that leads; waits for an election.
    ///
    /// # Errors
    ///
    /// If none leads within a minute.
    pub fn leader(&self) -> Result<usize> {
        until("etcd has a leader", || Ok(self.members.iter().position(Etcd::leads)))
    }

    /// The same, once it is another than `before`, which may answer for a moment yet.
    ///
    /// # Errors
    ///
    /// If no other leads within a minute.
    pub fn leader_after(&self, before: usize) -> Result<usize> {
        let others = |(at, member): &(usize, &Etcd)| *at != before && member.leads();
        until("etcd has another leader", || {
            Ok(self.members.iter().enumerate().find(others).map(|(at, _)| at))
        })
    }
}

fn run(program: &Path, arguments: &[OsString]) -> Result<Process> {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    Process::start(command)
}
