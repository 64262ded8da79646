//! How large a release is, on disk and in memory: these tests are for what `make release` leaves,
//! with `SELKIE_BIN=target/dist/selkie`. Megabytes are 10^6 bytes.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selkie_tests::{Selkie, evidence, until};
use serde_json::json;

use crate::azure::{Azure, encrypt};

const CONNECTIONS: usize = 1000;
const STARTS: usize = 15;
const COMMAND: &str =
    "SELKIE_BIN=target/dist/selkie cargo test -p selkie-tests footprint -- --ignored";

fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// The bytes of a server's memory that are resident, its program's pages among them.
fn resident(selkie: &Selkie) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", selkie.process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes = line.trim().trim_end_matches(" kB").parse::<u64>()?;
    Ok(kilobytes * 1024)
}

#[test]
#[ignore = "of a release: SELKIE_BIN=target/dist/selkie"]
fn the_program_has_at_most_20_megabytes() -> Result<()> {
    let size = fs::metadata(selkie_tests::binary()?)?.len();
    assert!(size <= 20_000_000, "{size} bytes");
    evidence(
        "The program has at most 20 MB",
        COMMAND,
        megabytes(size),
        "none: it is a file's length",
    )
}

/// From the start of a server to where it can be asked, which it says; the median of some. Without the
/// handshake, whose other half is this unoptimized program.
fn start(arguments: &[&str]) -> Result<Duration> {
    let one = || {
        let begun = Instant::now();
        let selkie = Selkie::dev(arguments)?;
        let time = begun.elapsed();
        assert_eq!(selkie.root()?.get("sys/health")?.status, 200);
        Ok(time)
    };
    let mut times = (0..STARTS).map(|_| one()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[STARTS / 2])
}

#[test]
#[ignore = "of a release: SELKIE_BIN=target/dist/selkie"]
fn a_server_serves_30_ms_after_its_start_and_60_with_tls() -> Result<()> {
    let (plain, tls) = (start(&[])?, start(&["--dev-tls"])?);
    assert!(plain <= Duration::from_millis(30), "{plain:?}");
    assert!(tls <= Duration::from_millis(60), "with TLS: {tls:?}");
    // The control: work at the start is seen in the figure.
    assert!(tls > plain, "{plain:?} and {tls:?}");
    let tenths = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
    evidence(
        "It serves 30 ms after its start, with TLS 60 ms",
        COMMAND,
        format!("{} and {}, medians of {STARTS}", tenths(plain), tenths(tls)),
        "the certificates that dev mode makes for TLS are seen in the second figure",
    )
}

#[test]
#[ignore = "of a release: SELKIE_BIN=target/dist/selkie"]
fn an_idle_server_takes_12_megabytes_and_64_with_a_thousand_tls_connections() -> Result<()> {
    // This process holds the other ends.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;

    let alone = Selkie::dev(&[])?;
    // Idle it is some moments later: what the start took goes back to the system.
    let idle = until("it takes 12 MB or less", || {
        Ok(Some(resident(&alone)?).filter(|bytes| *bytes <= 12_000_000))
    })?;
    drop(alone);
    let selkie = Selkie::dev(&["--dev-tls"])?;
    let client = selkie.root()?;
    let body = json!({ "plaintext": "c2Vsa2ll" });
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = client.connect()?;
        let request = selkie_tests::Request::new("PUT", "transit/encrypt/autounseal");
        assert_eq!(connection.send(request.json(&body))?.status, 200);
        open.push(connection);
    }
    let crowded = resident(&selkie)?;
    assert!(crowded <= 64_000_000, "with {CONNECTIONS} connections: {crowded} bytes");
    // The control: connections are seen in the figure.
    assert!(crowded > idle + 8_000_000, "{idle} and {crowded} bytes");
    evidence(
        "Idle in dev mode it takes at most 12 MB of memory, at 1,000 TLS connections 64 MB",
        COMMAND,
        format!("{} and {}", megabytes(idle), megabytes(crowded)),
        "the connections are seen in the second figure, which breaks the first limit",
    )
}

#[test]
#[ignore = "of a release: SELKIE_BIN=target/dist/selkie"]
fn a_server_with_sled_and_key_vault_takes_25_megabytes() -> Result<()> {
    let mut azure = Azure::new()?;
    azure.site.extra += "storage \"sled\" {}\n";
    let selkie = azure.start()?;
    let (status, _) = encrypt(&selkie.client().with_token(&azure.token))?;
    assert_eq!(status, 200, "{}", selkie.log());
    // Idle it is some seconds later.
    let bytes = until("it takes 25 MB or less", || {
        Ok(Some(resident(&selkie)?).filter(|bytes| *bytes <= 25_000_000))
    })?;
    evidence(
        "With sled and a seal in Key Vault it takes at most 25 MB of memory",
        COMMAND,
        megabytes(bytes),
        "the same figure rises with connections, in the test beside it",
    )
}
