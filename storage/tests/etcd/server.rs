//! etcd processes on free ports of this machine, in directories that go with them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use selkie_storage::Store;
use tempfile::TempDir;

use super::{EtcdStore, PATIENCE, answered, key, settings};

/// Whether etcd is there; says so if it is not, and then fails where nothing may be skipped.
pub(crate) fn etcd_is_here() -> bool {
    let version = Command::new("etcd").arg("--version").stdout(Stdio::null()).status();
    let here = version.is_ok();
    if !here {
        // Past the capture of tests' output.
        let _ = std::io::stderr()
            .write_all(b"SKIPPED for want of etcd: apt-get install etcd-server etcd-client\n");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "etcd must be there");
    }
    here
}

/// Flags of the members, and what etcdctl needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Security {
    pub(crate) is_tls: bool,
    pub(crate) etcd: Vec<String>,
    pub(crate) etcdctl: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Etcd {
    members: Vec<Member>,
    security: Security,
    _directory: TempDir,
}

#[derive(Debug)]
struct Member {
    url: String,
    arguments: Vec<String>,
    process: Option<Child>,
}

impl Etcd {
    /// A cluster of `count` members that takes requests.
    pub(crate) async fn start(count: usize) -> Self {
        let etcd = Self::start_secured(count, Security::default());
        for n in 0..count {
            etcd.wait_for(n).await;
        }
        etcd
    }

    /// A cluster that may not take requests yet.
    pub(crate) fn start_secured(count: usize, security: Security) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let scheme = if security.is_tls { "https" } else { "http" };
        let ports = free_ports(count * 2);
        let mut initial = String::new();
        for (n, port) in ports[count..].iter().enumerate() {
            write!(initial, "m{n}=http://127.0.0.1:{port},").unwrap();
        }
        let members = (0..count).map(|n| {
            let url = format!("{scheme}://127.0.0.1:{}", ports[n]);
            let peer = format!("http://127.0.0.1:{}", ports[count + n]);
            let data = directory.path().join(format!("m{n}"));
            let flags = [
                ("name", format!("m{n}")),
                ("data-dir", data.to_str().unwrap().to_owned()),
                ("listen-client-urls", url.clone()),
                ("advertise-client-urls", url.clone()),
                ("listen-peer-urls", peer.clone()),
                ("initial-advertise-peer-urls", peer),
                ("initial-cluster", initial.trim_end_matches(',').to_owned()),
                ("log-level", "panic".to_owned()),
            ];
            let mut arguments: Vec<String> =
                flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect();
            arguments.extend(security.etcd.iter().cloned());
            Member { url, arguments, process: None }
        });
        let mut etcd = Self { members: members.collect(), security, _directory: directory };
        (0..count).for_each(|n| etcd.launch(n));
        etcd
    }

    pub(crate) fn count(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn url(&self, n: usize) -> String {
        self.members[n].url.clone()
    }

    /// All members, with the `first` in front.
    pub(crate) fn urls_from(&self, first: usize) -> Vec<String> {
        (0..self.count()).map(|n| self.url((first + n) % self.count())).collect()
    }

    pub(crate) fn launch(&mut self, n: usize) {
        let member = &mut self.members[n];
        let mut command = Command::new("etcd");
        command.args(&member.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        member.process = Some(command.spawn().unwrap());
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, n: usize) {
        let mut process = self.members[n].process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// `STOP` or `CONT`.
    pub(crate) fn signal(&self, n: usize, signal: &str) {
        let pid = self.members[n].process.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &pid]).status().unwrap().success());
    }

    /// Waits until member `n` takes part.
    pub(crate) async fn wait_for(&self, n: usize) {
        let store = EtcdStore::connect(settings(vec![self.url(n)], "wait/")).unwrap();
        answered(async || store.get(&key("a")).await).await;
    }

    /// The member that leads.
    pub(crate) async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for n in 0..self.count() {
                if self.members[n].process.is_some() && leads(&self.url(n)) {
                    return n;
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no member leads");
    }

    /// Runs etcdctl against the first member; what it says.
    pub(crate) fn ctl(&self, arguments: &[&str]) -> String {
        let output = ctl(&self.members[0].url, &self.security.etcdctl, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the first member lists itself, whoever may read its keys.
    pub(crate) async fn wait_for_itself(&self) {
        let deadline = Instant::now() + PATIENCE;
        let listed = || ctl(&self.members[0].url, &self.security.etcdctl, &["member", "list"]);
        while !String::from_utf8(listed().stdout).unwrap().contains("started") {
            assert!(Instant::now() < deadline, "etcd does not start");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Its own patience, 5 s, is shorter than a busy machine may need.
fn ctl(url: &str, security: &[String], arguments: &[&str]) -> Output {
    let mut command = Command::new("etcdctl");
    command.env("ETCDCTL_API", "3").arg(format!("--endpoints={url}"));
    command.args(["--dial-timeout=60s", "--command-timeout=60s"]);
    command.args(security).args(arguments).output().unwrap()
}

/// Whether the member at `url` says that it leads.
pub(crate) fn leads(url: &str) -> bool {
    let status = ctl(url, &[], &["endpoint", "status"]);
    String::from_utf8(status.stdout).unwrap().split(", ").nth(4) == Some("true")
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for process in self.members.iter_mut().filter_map(|member| member.process.as_mut()) {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Below the range that Linux gives to outgoing connections, of which one would be in a member's way
/// when it comes back. From a place of this process's own, and each once.
fn free_ports(count: usize) -> Vec<u16> {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    let seed = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap();
    let next = || FIRST + (seed + GIVEN.fetch_add(1, Ordering::Relaxed)) % COUNT;
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(next).filter(is_free).take(count).collect()
}
