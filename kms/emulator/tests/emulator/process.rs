//! The program: its first lines, its errors, its end.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Output, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_selkie-emulator"));
    command.args(["--listen", "127.0.0.1:0", "--identity-listen", "127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

/// A process that ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn terminate(child: &Child) {
    let status = Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(status.success());
}

#[test]
fn it_prints_what_to_paste_then_ready_and_ends_cleanly_on_a_signal() {
    let mut child = Killed(program().spawn().unwrap());
    let mut out = BufReader::new(child.0.stdout.take().unwrap());
    let mut text = String::new();
    let ready = loop {
        let mut line = String::new();
        assert!(out.read_line(&mut line).unwrap() > 0, "it ended: {text}");
        if line.starts_with("READY ") {
            break line;
        }
        text.push_str(&line);
    };
    assert!(text.contains("seal \"azurekeyvault\" {"), "{text}");
    assert!(text.contains("vault_name    = \"kv1\""), "{text}");
    let fields: Vec<&str> = ready.trim().splitn(4, ' ').collect();
    let ca = fields[3].strip_prefix("ca=").unwrap().to_owned();
    assert!(fields[1].starts_with("https=127.0.0.1:") && fields[2].starts_with("http=127.0.0.1:"));
    assert!(std::fs::read_to_string(&ca).unwrap().contains("BEGIN CERTIFICATE"));
    terminate(&child.0);
    assert!(child.0.wait().unwrap().success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(
        rest,
        "selkie-emulator: stopped after 0 requests, 0 throttled, 0 touched by fault rules\n"
    );
    assert!(!std::path::Path::new(&ca).exists(), "a CA for one start goes with it");
}

#[test]
fn a_bad_file_is_named_with_the_place_and_the_fault() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.json");
    let text = path.to_str().unwrap();
    for (option, content, expected) in [
        ("--vaults", "{", "EOF"),
        ("--vaults", r#"{"vaults":[{"name":"kv1","kays":[]}]}"#, "unknown field `kays`"),
        (
            "--vaults",
            r#"{"vaults":[{"name":"kv1","keys":[{"name":"a"},{"name":"b_"}]}]}"#,
            "keys[1] \"b_\"",
        ),
        (
            "--vaults",
            r#"{"vaults":[{"name":"kv1","keys":[{"name":"a","pem":"gone.pem"}]}]}"#,
            "gone.pem",
        ),
        (
            "--vaults",
            r#"{"vaults":[{"name":"kv1","roles":[{"principal":"x","role":"Key Vault Reader"}]}]}"#,
            "\"x\"",
        ),
        ("--vaults", r#"{"vaults":[{"name":"kv1"},{"name":"KV1"}]}"#, "vaults[1]"),
        ("--faults", r#"[{"how":{"effect":"boom"}}]"#, "rule 0"),
    ] {
        std::fs::write(&path, content).unwrap();
        let output = run(&[option, text]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(text) && error.contains(expected), "{content}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let missing = run(&["--vaults", "/nonexistent.json"]);
    assert!(String::from_utf8(missing.stderr).unwrap().contains("/nonexistent.json"));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));
}

#[test]
fn a_taken_port_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_selkie-emulator"));
    let output =
        command.args(["--listen", "127.0.0.1:0", "--identity-listen", &address]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}
