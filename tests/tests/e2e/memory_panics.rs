//! Invariant I3 where a request panics. Nothing that a client sends is known to make the server do so,
//! and no hook for it is shipped: the released program is run with a `clock_gettime` that fails once
//! when it is told to, which the standard library takes for impossible.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use base64ct::{Base64, Encoding};
use selkie_tests::{Client, Findings, Needles, Request, Selkie, binary, evidence, free_port};
use serde_json::json;
use tempfile::TempDir;

use crate::memory::{may_look, unhygienic};
use crate::preloaded::library;

/// For each number of the call that fails.
const TURNS: usize = 12;
const CALLS: usize = 6;
/// So many requests have to end in a panic for the search to say anything.
const LEAST: usize = 12;

/// Dev mode, whose clock fails when it is told to. No key in it is worth anything.
struct Failing {
    selkie: Selkie,
    dir: TempDir,
    root: Client,
}

impl Failing {
    fn start(program: &Path) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let Some(library) = library(dir.path(), "failing_clock")? else { return Ok(None) };
        let listen = format!("--dev-listen-address=127.0.0.1:{}", free_port()?);
        let arguments: Vec<OsString> = vec!["server".into(), "--dev".into(), listen.into()];
        let environment = vec![
            ("LD_PRELOAD", library.into_os_string()),
            ("FAILING_CLOCK", dir.path().join("fail").into_os_string()),
        ];
        let selkie = Selkie::start_in(program, arguments, 1, environment)?;
        let root = selkie.root()?;
        Ok(Some(Self { dir, selkie, root }))
    }

    /// Tells it that its next call but `number - 1` for wall time fails.
    fn tell(&self, number: usize) -> Result<()> {
        let (path, new) = (self.dir.path().join("fail"), self.dir.path().join("fail.new"));
        fs::write(&new, number.to_string())?;
        Ok(fs::rename(new, path)?)
    }

    fn panics(&self) -> usize {
        let lines = self.selkie.process.stderr();
        lines.iter().filter(|line| line.contains("a panic, which is a bug")).count()
    }
}

/// A request with `text`, and whether its connection ended without an answer.
fn is_cut_off(client: &Client, path: &str, body: &serde_json::Value) -> Result<bool> {
    let mut connection = client.connect()?;
    Ok(connection.send(Request::new("PUT", path).json(body)).is_err())
}

/// What such requests leave in a server of this build: what is searched for, what is found of it, and
/// of what no other request has held; and how many requests were cut off by how many panics.
struct Left {
    needles: Needles,
    found: Findings,
    found_of_panics: Findings,
    cut_off: usize,
    panics: usize,
}

fn left_by_panics(program: &Path) -> Result<Option<Left>> {
    let Some(failing) = Failing::start(program)? else { return Ok(None) };
    let (mut needles, mut of_panics) = (Needles::default(), Needles::default());
    let mut cut_off = 0;
    for turn in 0..TURNS * CALLS {
        let mut secret = vec![0; 48 + 300 * (turn % 8)];
        getrandom::fill(&mut secret)?;
        let text = Base64::encode_string(&secret);
        needles.plaintext(&secret, &text);
        let body = json!({ "plaintext": text });
        let (path, body) = match turn % 2 {
            0 => ("transit/encrypt/autounseal", body),
            _ => {
                let sealed = failing.root.put("transit/encrypt/autounseal", &body)?;
                let ciphertext = sealed.field("ciphertext")?;
                ("transit/decrypt/autounseal", json!({ "ciphertext": ciphertext }))
            }
        };
        failing.tell(1 + turn / 2 % CALLS)?;
        let is_cut_off = is_cut_off(&failing.root, path, &body)?;
        cut_off += usize::from(is_cut_off);
        if is_cut_off && turn % 2 == 0 {
            of_panics.plaintext(&secret, &text);
        }
        // What this request did not use up fails for these, and not for the next one.
        for _ in 0..CALLS {
            failing.root.get("sys/health").ok();
        }
    }
    let panics = failing.panics();
    ensure!(
        cut_off >= LEAST && panics >= LEAST,
        "{cut_off} requests were cut off, {panics} panics\n{}",
        failing.selkie.log()
    );
    assert_eq!(failing.root.get("sys/health")?.status, 200, "the server lives");
    let process = failing.selkie.process.id();
    let (found, found_of_panics) = (needles.search(process)?, of_panics.search(process)?);
    Ok(Some(Left { needles, found, found_of_panics, cut_off, panics }))
}

#[test]
fn no_secret_stays_where_a_request_panicked() -> Result<()> {
    if !may_look()? {
        return Ok(());
    }
    let Some(Left { needles, found, cut_off, panics, .. }) = left_by_panics(&binary()?)? else {
        return Ok(());
    };
    assert!(found.is_clean(), "{found:?}");
    let Some(unhygienic) = unhygienic()? else { return Ok(()) };
    let control = left_by_panics(&unhygienic)?.context("it was there for the other build")?;
    let control = control.found_of_panics;
    assert!(!control.is_clean(), "the same search, in the build without the hygiene");
    evidence(
        "nothing secret stays where a request panicked",
        "cargo test -p selkie-tests --test e2e memory_panics",
        format!(
            "{panics} panics of the released program, {cut_off} requests with a secret cut off; {} pieces searched for in {} MiB, 0 found",
            needles.count(),
            found.searched >> 20
        ),
        &format!(
            "the build without the hygiene holds {} pieces of what only a request held that was cut off",
            control.base64 + control.raw
        ),
    )
}
