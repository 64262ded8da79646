//! Members that clients reach and other members do not: each runs in a network of its own, with one
//! link to the clients and one to the other members, and the latter is taken down.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use selkie_storage::{Store, StoreError};
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::history::is_linearizable;
use super::kills::{CLIENTS, Seen, Stores, client, get_through, share, tell};
use super::server::{etcd_is_here, leads};
use super::{PATIENCE, answered, brief, key, put, settings, store, unavailable, write};

const INSIDE: &str = "SELKIE_INSIDE";
const MEMBERS: usize = 3;
const ROUNDS: usize = 8;

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    let done = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    done.is_ok_and(|status| status.success())
}

fn ip(arguments: &str) {
    assert!(run("ip", &arguments.split(' ').collect::<Vec<_>>()), "ip {arguments}");
}

/// Three members behind two bridges, in the network of this process.
struct Cluster {
    processes: Vec<Child>,
    _directory: TempDir,
}

fn url(n: usize) -> String {
    format!("http://10.77.0.{}:2379", n + 1)
}

fn urls_from(first: usize) -> Vec<String> {
    (0..MEMBERS).map(|n| url((first + n) % MEMBERS)).collect()
}

impl Cluster {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        ip("link set lo up");
        for (bridge, address) in [("clients", "10.77.0.254/24"), ("peers", "10.77.1.254/24")] {
            ip(&format!("link add name {bridge} type bridge"));
            ip(&format!("addr add {address} dev {bridge}"));
            ip(&format!("link set {bridge} up"));
        }
        let processes = (0..MEMBERS).map(|n| member(n, &directory)).collect();
        for n in 0..MEMBERS {
            let settings = settings(vec![url(n)], "wait/");
            let store = selkie_storage::EtcdStore::connect(settings).unwrap();
            answered(async || store.get(&key("a")).await).await;
        }
        Self { processes, _directory: directory }
    }

    /// Whether member `n` reaches the others.
    fn link(&self, n: usize, mode: &str) {
        ip(&format!("link set peer{n} {mode}"));
    }

    async fn leader(&self) -> usize {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(n) = (0..self.processes.len()).find(|n| leads(&url(*n))) {
                return n;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no member leads");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in &mut self.processes {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

/// Starts a member once it has its links.
fn member(n: usize, directory: &TempDir) -> Child {
    let (client, peer) = (format!("10.77.0.{}", n + 1), format!("10.77.1.{}", n + 1));
    let initial: Vec<String> =
        (0..MEMBERS).map(|n| format!("m{n}=http://10.77.1.{}:2380", n + 1)).collect();
    let script = format!(
        "echo ready && read go && ip link set lo up && ip addr add {client}/24 dev clients && \
         ip addr add {peer}/24 dev peers && ip link set clients up && ip link set peers up && \
         exec etcd --name=m{n} --data-dir={data} --listen-client-urls={url} \
         --advertise-client-urls={url} --listen-peer-urls=http://{peer}:2380 \
         --initial-advertise-peer-urls=http://{peer}:2380 --initial-cluster={initial} \
         --log-level=panic",
        data = directory.path().join(format!("m{n}")).display(),
        url = url(n),
        initial = initial.join(","),
    );
    let mut command = Command::new("unshare");
    command.args(["-n", "sh", "-c", &script]).stdin(Stdio::piped());
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // It is in a network of its own by then.
    let mut said = [0; 6];
    process.stdout.take().unwrap().read_exact(&mut said).unwrap();
    let pid = process.id();
    for (name, bridge) in [(format!("client{n}"), "clients"), (format!("peer{n}"), "peers")] {
        ip(&format!("link add name {name} type veth peer name {bridge} netns {pid}"));
        ip(&format!("link set {name} master {bridge} up"));
    }
    process.stdin.take().unwrap().write_all(b"go\n").unwrap();
    process
}

/// Runs `inside`, a test of this file, in a network of its own.
fn in_own_network(test: &str, inside: &str) {
    if !etcd_is_here() {
        return;
    }
    if !run("unshare", &["-rn", "ip", "link", "add", "name", "check", "type", "bridge"]) {
        tell(&format!("SKIPPED {test}: no right to make networks, or no ip and unshare\n"));
        return;
    }
    let mut command = Command::new("unshare");
    command.arg("-rn").arg(std::env::current_exe().unwrap());
    command.args(["--exact", inside, "--nocapture"]).env(INSIDE, "1");
    let output = command.output().unwrap();
    let (said, told) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&told));
    for line in said.lines().filter(|line| line.starts_with("etcd: ")) {
        tell(&format!("{line}\n"));
    }
}

#[test]
fn cut_off_leader_takes_no_commit_and_answers_nothing_stale() {
    let test = "cut_off_leader_takes_no_commit_and_answers_nothing_stale";
    in_own_network(test, "partition::inside_cut_off_leader");
}

#[tokio::test]
async fn inside_cut_off_leader() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let (cut_off, all) = (brief(vec![url(leader)]), brief(urls_from(leader)));
    let before = write(&all, &[put("a", b"1")]).await;
    let mut watch = answered(async || all.watch(before).await).await;
    cluster.link(leader, "down");
    let lost = cut_off.commit(&[], &[put("lost", b"x")]).await;
    let is_open =
        matches!(lost, Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. }));
    assert!(is_open, "{lost:?}");
    drop(unavailable(cut_off.get(&key("a")).await));
    let after = write(&all, &[put("a", b"2")]).await;
    drop(unavailable(cut_off.get(&key("a")).await));
    let mut seen = super::next(&mut watch).await;
    while seen.revision < after {
        seen = super::next(&mut watch).await;
    }
    assert_eq!(seen.writes, [put("a", b"2")]);
    cluster.link(leader, "up");
    let record = answered(async || cut_off.get(&key("a")).await).await.unwrap();
    assert_eq!(record.revision, after);
    let lost = answered(async || all.get(&key("lost")).await).await;
    assert_eq!(lost, None, "what the majority never saw");
}

#[test]
fn partitions_lose_no_acknowledged_commit_and_no_order() {
    let test = "partitions_lose_no_acknowledged_commit_and_no_order";
    in_own_network(test, "partition::inside_partitions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inside_partitions() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let cluster = Cluster::start().await;
    let stores: Vec<_> = (0..CLIENTS).map(|n| Stores::connect(urls_from(n))).collect();
    let (mut all, mut operations) = (Seen::default(), 0);
    for round in 0..ROUNDS {
        share(&stores[0], round).await;
        let victim = if round % 2 == 0 { cluster.leader().await } else { round % MEMBERS };
        let mut clients = JoinSet::new();
        for (n, stores) in stores.iter().enumerate() {
            clients.spawn(client(stores.clone(), round, n));
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        cluster.link(victim, "down");
        let mut seen = Seen::default();
        clients.join_all().await.into_iter().for_each(|one| seen.add(one));
        get_through(&stores, round, &mut seen).await;
        all.add(seen);
        assert!(is_linearizable(&all.history), "round {round}: {:#?}", all.history);
        operations += std::mem::take(&mut all.history).len();
        cluster.link(victim, "up");
    }
    let total = all.acknowledged.len();
    let whole = store(urls_from(0));
    all.forget_what_is_in(&whole).await;
    println!(
        "evidence: etcd's partitions lose nothing and order stays | make proof | {ROUNDS} partitions, \
         {total} creations acknowledged, {} lost, {operations} operations linearizable, {} \
         undecided, {} unavailable | the checker of order refuses wrong histories",
        all.acknowledged.len(),
        all.undecided,
        all.unavailable
    );
    assert_eq!(all.acknowledged, BTreeMap::new(), "acknowledged commits are lost");
}
