//! What a server gives up once it has read its configuration, and that operating it goes on as ever.
//! Each claim is shown beside a server with `sandbox = "off"`, where the same goes through.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Authority, Client, Process, Selkie, Signal, Site, SoftHsm, binary, evidence, hsm_child,
    kill_hsm_child, launch_process, skip, until,
};
use serde_json::json;

use crate::azure::{decrypt, encrypt};

const OFF: &str = "sandbox = \"off\"\n";
const COMMAND: &str = "cargo test -p selkie-tests --test e2e hardening";

/// A field of a file such as `/proc/PID/status`.
fn field(file: &str, name: &str) -> Result<String> {
    let value = file.lines().find_map(|line| line.strip_prefix(name));
    Ok(value.with_context(|| format!("no {name}"))?.trim_matches([':', ' ', '\t']).to_owned())
}

/// `NoNewPrivs`, `Seccomp` and `Seccomp_filters` of every thread, each seen once.
fn confinement(process: &Process) -> Result<Vec<[String; 3]>> {
    let mut seen = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", process.id()))? {
        // One may end meanwhile.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
        let [privileges, seccomp, filters] = ["NoNewPrivs", "Seccomp:", "Seccomp_filters"];
        seen.push([
            field(&status, privileges)?,
            field(&status, seccomp)?,
            field(&status, filters)?,
        ]);
    }
    seen.sort();
    seen.dedup();
    Ok(seen)
}

/// Has the server read its configuration again; the line that says what came of it.
fn reload(selkie: &Selkie) -> Result<String> {
    let before = selkie.process.stderr().len();
    selkie.process.signal(Signal::HUP)?;
    selkie.process.stderr_line(before, |line| {
        let line_is_it = line.contains("reload refused") || line.contains("was reloaded");
        line_is_it.then(|| line.to_owned())
    })
}

/// What helps, by the status of a server whose log has told that it refused a reload: it notes so a
/// moment later.
fn advice_after_refusal(client: &Client) -> Result<String> {
    until("the status tells of the refused reload", || {
        let status = client.get("sys/seal-backend-status")?.data()?;
        Ok(status["last_reload"]["advice"].as_str().map(ToOwned::to_owned))
    })
}

#[test]
fn every_thread_of_a_server_is_confined_and_none_without_the_sandbox() -> Result<()> {
    let mut site = Site::new()?;
    let selkie = site.start()?;
    let confined = confinement(&selkie.process)?;
    assert_eq!(confined.len(), 1, "all threads alike: {confined:?}");
    let [privileges, seccomp, filters] = &confined[0];
    assert_eq!((privileges.as_str(), seccomp.as_str()), ("1", "2"));
    let outer: u32 = own_filters()?;
    assert_eq!(filters.parse::<u32>()?, outer + 2);
    let limits = fs::read_to_string(format!("/proc/{}/limits", selkie.process.id()))?;
    let core = field(&limits, "Max core file size")?;
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    selkie.says("hardening in force")?;
    drop(selkie);

    site.extra += OFF;
    let control = confinement(&site.start()?.process)?;
    assert_eq!(
        control,
        [["1".to_owned(), if outer == 0 { "0" } else { "2" }.into(), outer.to_string()]]
    );
    evidence(
        "every thread of a server is under the filters of system calls that sandbox/tests/confined.rs tries",
        COMMAND,
        format!("{filters} seccomp filters in every thread, no new privileges, core size 0"),
        "with sandbox = \"off\" there is no filter",
    )
}

/// How many filters this process itself is under, in a container say.
fn own_filters() -> Result<u32> {
    Ok(field(&fs::read_to_string("/proc/self/status")?, "Seccomp_filters")?.parse()?)
}

#[test]
fn a_file_outside_cannot_be_opened_by_a_reload_and_nothing_changes() -> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let outside = elsewhere.path().join("key");
    fs::write(&outside, [7; 32])?;
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o600))?;
    let mut told = Vec::new();
    for sandbox in ["", OFF] {
        let mut site = Site::new()?;
        site.extra += sandbox;
        let token = site.client("c", &["root"], "")?;
        let selkie = site.start()?;
        let client = selkie.client().with_token(&token);
        let (_, ciphertext) = encrypt(&client)?;
        site.seal += &format!("  previous \"k0\" {{ key = \"file://{}\" }}\n", outside.display());
        site.keys += "key \"another\" {}\n";
        site.write()?;
        let line = reload(&selkie)?;
        assert_eq!(decrypt(&client, &ciphertext)?, 200);
        let another = client.get("transit/keys/another")?.status;
        if line.contains("reload refused") {
            // Nothing is wrong with the file, so far as this process can see.
            let advice = advice_after_refusal(&client)?;
            assert!(advice.contains("only a restart could take this file in"), "{advice}");
        }
        told.push((selkie.log().contains(&outside.display().to_string()), line, another));
    }
    let [(names_it, line, another), (_, free, there)] = &told[..] else { unreachable!() };
    assert!(line.contains("reload refused") && *names_it, "{line}");
    assert_eq!(*another, 404, "nothing of the new file is in force");
    assert!(free.contains("was reloaded"), "the control opens it: {free}");
    assert_eq!(*there, 200);
    evidence(
        "a confined server opens no file that its configuration did not name at the start",
        COMMAND,
        "a reload that names one is refused with its path; nothing of it is in force",
        "with sandbox = \"off\" the same reload reads the file",
    )
}

/// Of a file that the process may not open it still knows whether it is there.
#[test]
fn a_file_of_a_mistyped_directory_elsewhere_is_to_be_corrected_and_asks_for_no_restart()
-> Result<()> {
    let elsewhere = tempfile::tempdir()?;
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let [cert, key] = ["slip/cert.pem", "slip/key.pem"].map(|name| elsewhere.path().join(name));
    site.tls = true;
    site.listener = format!("tls_cert_file = {cert:?}\n  tls_key_file = {key:?}");
    site.write()?;
    let line = reload(&selkie)?;
    assert!(line.contains("no such file") && line.contains("correct the file"), "{line}");
    let client = selkie.client().with_token(&token);
    let advice = advice_after_refusal(&client)?;
    assert!(!advice.contains("only a restart") && advice.contains("correct"), "{advice}");
    Ok(())
}

#[test]
fn a_certificate_elsewhere_is_refused_with_the_advice_to_restart() -> Result<()> {
    let authority = Authority::new()?;
    let elsewhere = tempfile::tempdir()?;
    let mut site = Site::new()?;
    let listener = |dir: &Path| -> Result<String> {
        let (cert, key) = authority.issue("first")?.write(dir)?;
        Ok(format!("tls_cert_file = {cert:?}\n  tls_key_file = {key:?}"))
    };
    site.tls = true;
    site.listener = listener(site.dir())?;
    let mut selkie = site.start()?;
    site.listener = listener(elsewhere.path())?;
    site.write()?;
    let line = reload(&selkie)?;
    let path = elsewhere.path().display().to_string();
    assert!(line.contains(&path) && line.contains("restart"), "{line}");
    selkie.stop()?;
    selkie.restart()
}

/// Puts a certificate where Kubernetes' kubelet puts a secret: behind a link that it replaces.
fn project(dir: &Path, authority: &Authority, number: u32) -> Result<()> {
    let version = format!("..{number}");
    fs::create_dir(dir.join(&version))?;
    authority.issue("projected")?.write(&dir.join(&version))?;
    symlink(&version, dir.join("..next"))?;
    Ok(fs::rename(dir.join("..next"), dir.join("..data"))?)
}

#[test]
fn certificates_are_renewed_under_the_sandbox_by_rename_and_behind_links() -> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    let dir = site.dir().join("projected");
    fs::create_dir(&dir)?;
    let first = Authority::new()?;
    project(&dir, &first, 1)?;
    for name in ["cert.pem", "key.pem"] {
        symlink(format!("..data/{name}"), dir.join(name))?;
    }
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.join(name));
    site.tls = true;
    site.listener = format!("tls_cert_file = {cert:?}\n  tls_key_file = {key:?}");
    let selkie = site.start()?;
    let trusting = |authority: &Authority| -> Result<Client> {
        let client = selkie.client().with_token(&token);
        Ok(Client { tls: Some(authority.trusted()?), ..client })
    };
    trusting(&first)?.get("sys/seal-status")?;
    let second = Authority::new()?;
    project(&dir, &second, 2)?;
    fs::remove_dir_all(dir.join("..1"))?;
    assert!(reload(&selkie)?.contains("was reloaded"), "{}", selkie.log());
    until("the second is shown", || Ok(trusting(&second)?.get("sys/seal-status").ok()))?;
    // And plainly, file for file.
    let third = Authority::new()?;
    let next = site.dir().join("next");
    fs::create_dir(&next)?;
    third.issue("renamed")?.write(&next)?;
    for name in ["cert.pem", "key.pem"] {
        fs::rename(next.join(name), dir.join(name))?;
    }
    assert!(reload(&selkie)?.contains("was reloaded"), "{}", selkie.log());
    until("the third is shown", || Ok(trusting(&third)?.get("sys/seal-status").ok()))?;
    assert!(trusting(&first)?.get("sys/seal-status").is_err(), "the first is gone");
    Ok(())
}

#[test]
fn audit_files_are_rotated_and_state_is_written_under_the_sandbox() -> Result<()> {
    let mut site = Site::new()?;
    let token = site.client("c", &["root"], "")?;
    let (log, pid_file) = (site.dir().join("audit/audit.log"), site.dir().join("run/pid"));
    fs::create_dir(site.dir().join("audit"))?;
    fs::create_dir(site.dir().join("run"))?;
    let audit_key = site.random_key("audit.key")?;
    site.extra += &format!(
        "storage \"sled\" {{ path = {:?} }}\ndata_dir = {:?}\npid_file = {pid_file:?}\n\
         audit_key = \"{audit_key}\"\naudit \"file\" {{ file_path = {log:?} }}\n",
        site.dir().join("state"),
        site.dir().join("data/deep"),
    );
    let mut selkie = site.start()?;
    assert!(confinement(&selkie.process)?.iter().all(|one| one[1] == "2"));
    let client = selkie.client().with_token(&token);
    until("a managed key is made", || {
        let made = client.put("transit/keys/managed", &json!({}))?;
        Ok((made.status < 300).then_some(()))
    })?;
    encrypt(&client)?;
    let rotated = log.with_extension("log.1");
    fs::rename(&log, &rotated)?;
    assert!(reload(&selkie)?.contains("was reloaded"));
    until("the file is made anew", || {
        encrypt(&client)?;
        Ok(fs::read(&log).ok().filter(|lines| !lines.is_empty()).map(drop))
    })?;
    assert!(!fs::read(&rotated)?.is_empty() && pid_file.exists());
    selkie.stop()?;
    assert!(!pid_file.exists(), "it is removed at the end");
    selkie.restart()?;
    until("the state is back", || {
        Ok((client.get("transit/keys/managed")?.status == 200).then_some(()))
    })
}

#[test]
fn a_reload_takes_another_audit_device_under_the_sandbox_and_refuses_one_elsewhere() -> Result<()> {
    let (mut site, elsewhere) = (Site::new()?, tempfile::tempdir()?);
    let token = site.client("c", &["root"], "")?;
    let [first, second] = ["first.log", "second.log"].map(|name| site.dir().join(name));
    let audit_key = site.random_key("audit.key")?;
    site.extra +=
        &format!("audit_key = \"{audit_key}\"\naudit \"file\" {{ file_path = {first:?} }}\n");
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    encrypt(&client)?;
    let declared = site.extra.clone();
    let outside = elsewhere.path().join("audit.log");
    for (file, is_taken) in [(&outside, false), (&second, true)] {
        let device = format!("audit \"file\" {{\n  path = \"more\"\n  file_path = {file:?}\n}}\n");
        site.extra = format!("{declared}{device}");
        site.write()?;
        let line = reload(&selkie)?;
        let names_it = line.contains(&file.display().to_string()) && line.contains("restart");
        assert_eq!((line.contains("was reloaded"), names_it), (is_taken, !is_taken), "{line}");
        encrypt(&client)?;
    }
    let lines = |path: &Path| -> Result<usize> {
        let text = fs::read_to_string(path)?;
        Ok(text.lines().filter(|line| line.contains("transit/encrypt")).count())
    };
    // A reply waits for one device alone.
    until("both have all lines", || {
        Ok(((lines(&first)?, lines(&second)?) == (6, 2)).then_some(()))
    })?;
    assert!(!outside.exists());
    let listed = client.get("sys/audit")?.json()["data"].to_string();
    assert!(listed.contains("more/"), "{listed}");
    site.extra = format!(
        "audit_key = \"{audit_key}\"\n{}",
        &declared[..declared.find("audit_key").context("no key")?]
    );
    site.write()?;
    let line = reload(&selkie)?;
    assert!(line.contains("last audit device") && line.contains("restart"), "{line}");
    Ok(())
}

/// A server under an HSM, and a client of it.
fn under_hsm(hsm: &SoftHsm, extra: &str) -> Result<(Site, Selkie, Client)> {
    let mut site = Site::new()?;
    site.seal_type = "pkcs11";
    let pin = site.secret_file("pin", hsm.pin.as_bytes())?;
    site.seal = hsm.stanza(&pin);
    site.extra += extra;
    let token = site.client("c", &["root"], "")?;
    let selkie = site.start()?;
    let client = selkie.client().with_token(&token);
    until("the master key is confirmed", || Ok((encrypt(&client)?.0 == 200).then_some(())))
        .with_context(|| selkie.log())?;
    Ok((site, selkie, client))
}

#[test]
fn hsm_processes_are_started_by_another_one_that_starts_nothing_else() -> Result<()> {
    let Some(hsm) = SoftHsm::new()? else { return Ok(()) };
    let (mut site, selkie, client) = under_hsm(&hsm, "")?;
    let launcher = launch_process(&selkie.process)?.context("no launch process")?;
    let (_, ciphertext) = encrypt(&client)?;
    for _ in 0..3 {
        let killed = kill_hsm_child(&selkie.process)?;
        assert_eq!(decrypt(&client, &ciphertext)?, 200, "{}", selkie.log());
        assert_ne!(hsm_child(&selkie.process)?, Some(killed));
    }
    // Another library, or the same one in another environment, could be anyone's.
    site.seal =
        site.seal.replace("environment = { ", "environment = { LD_PRELOAD = \"/tmp/x.so\", ");
    site.write()?;
    let line = reload(&selkie)?;
    assert!(line.contains("reload refused") && line.contains("only a restart could"), "{line}");
    assert_eq!(decrypt(&client, &ciphertext)?, 200);
    // Nobody to start anything: that is told, and what runs goes on.
    let before = selkie.process.stderr().len();
    let running = hsm_child(&selkie.process)?.context("no HSM process")?;
    kill(launcher)?;
    selkie.process.stderr_line(before, |line| {
        line.contains("the process that starts HSM processes has ended").then_some(())
    })?;
    assert_eq!(decrypt(&client, &ciphertext)?, 200, "{}", selkie.log());
    let told = |path: &[&str]| -> Result<String> {
        let status = client.get("sys/seal-backend-status")?.json();
        let member = path.iter().fold(&status["data"], |at, name| &at[*name]);
        Ok(member.to_string())
    };
    ensure!(told(&["hsm_launches", "advice"])?.contains("restart Selkie"), "{}", selkie.log());
    kill(running)?;
    // Its seal is asked again and again, and says each time what it is, and nothing else.
    until("the seal says what is missing", || {
        decrypt(&client, &ciphertext)?;
        Ok(told(&["backends"])?.contains("restart Selkie: a server in its sandbox").then_some(()))
    })
    .with_context(|| selkie.log())?;
    let log = selkie.log();
    ensure!(!log.contains("install selkie-pkcs11"), "told as something else: {log}");

    let (_site, control, _client) = under_hsm(&hsm, OFF)?;
    assert_eq!(launch_process(&control.process)?, None);
    assert!(hsm_child(&control.process)?.is_some(), "the control starts it itself");
    evidence(
        "a confined server restarts its HSM process, and has no other program started",
        COMMAND,
        "killed 3 times, decrypted each time; another environment was refused",
        "with sandbox = \"off\" the server starts it itself",
    )
}

fn kill(id: u32) -> Result<()> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(id)?).context("process id 0")?;
    Ok(rustix::process::kill_process(pid, Signal::KILL)?)
}

#[test]
fn every_thread_of_a_server_under_an_hsm_is_confined() -> Result<()> {
    let Some(hsm) = SoftHsm::new()? else { return Ok(()) };
    let (_site, selkie, _client) = under_hsm(&hsm, "")?;
    let confined = confinement(&selkie.process)?;
    let filters = (own_filters()? + 2).to_string();
    assert_eq!(confined, [["1".to_owned(), "2".to_owned(), filters]], "all threads alike");
    Ok(())
}

#[test]
fn the_launch_process_ends_with_the_server_however_that_ends() -> Result<()> {
    let Some(hsm) = SoftHsm::new()? else { return Ok(()) };
    for how in [Selkie::kill, Selkie::stop] {
        let (_site, mut selkie, _client) = under_hsm(&hsm, "")?;
        let launcher = launch_process(&selkie.process)?.context("no launch process")?;
        how(&mut selkie)?;
        let stat = PathBuf::from(format!("/proc/{launcher}/stat"));
        until("it ends", || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            Ok((stat.is_empty() || stat.contains(") Z ")).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_secret_that_others_may_read_is_refused_at_start_and_at_a_reload() -> Result<()> {
    let mut site = Site::new()?;
    let key = site.dir().join("k1");
    let set = |mode| fs::set_permissions(&key, fs::Permissions::from_mode(mode));
    let start = |site: &Site| -> Result<(Option<i32>, String)> {
        let file = site.write()?;
        let output = Command::new(binary()?).env_clear().arg("validate").arg(file).output()?;
        Ok((output.status.code(), String::from_utf8(output.stderr)?))
    };
    set(0o644)?;
    let (code, told) = start(&site)?;
    assert_eq!(code, Some(78), "{told}");
    let chmod = format!("chmod 0600 {}", key.display());
    assert!(told.contains("(mode 0644)") && told.contains(&chmod), "{told}");
    assert!(site.start().is_err(), "nor does the server start");

    set(0o600)?;
    let selkie = site.start()?;
    set(0o604)?;
    let line = reload(&selkie)?;
    assert!(line.contains("reload refused"), "{line}");
    assert!(selkie.log().contains(&chmod), "{}", selkie.log());
    assert_eq!(selkie.client().get("sys/health")?.status, 200);

    site.extra += "allow_readable_secrets = true\n";
    let (code, told) = start(&site)?;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("allow_readable_secrets"), "a warning: {told}");
    evidence(
        "the file of a secret that others may read is refused, at start and at a reload",
        COMMAND,
        "mode 0644 and 0604, with path, mode and the chmod to run",
        "with allow_readable_secrets = true it starts",
    )
}

/// The server on a kernel without landlock, as strace plays it.
fn without_landlock(config: &Path) -> Result<Command> {
    let mut command = Command::new("/usr/bin/strace");
    command.args(["-D", "-f", "-o", "/dev/null", "-e", "trace=landlock_create_ruleset"]);
    command.args(["-e", "inject=landlock_create_ruleset:error=ENOSYS"]);
    command.arg(binary()?).args(["server", "--config"]).arg(config).env_clear();
    Ok(command)
}

#[test]
fn a_kernel_without_landlock_is_told_and_fatal_where_it_is_required() -> Result<()> {
    if !Path::new("/usr/bin/strace").exists() {
        return skip("strace", "apt-get install strace");
    }
    let mut site = Site::new()?;
    let mut selkie = site.start()?;
    selkie.stop()?;
    let is_there = !selkie.log().contains("landlock is not there");
    let process = Process::start(without_landlock(&site.write()?)?)?;
    process.stderr_line(0, |line| line.contains("landlock is not there").then_some(()))?;
    process.stdout_line(|line| line.contains("listening on").then_some(()))?;
    drop(process);

    site.extra += "sandbox = \"required\"\n";
    let refused = without_landlock(&site.write()?)?.output()?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("landlock") && told.contains("required"), "{told}");
    // The control, where this kernel has it.
    if !is_there {
        return skip("landlock", "run the tests on Linux 5.19 or later");
    }
    site.start().map(drop)
}

#[test]
fn another_process_of_the_same_user_cannot_look_into_the_server() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return skip("root", "run the tests as root: they become another user");
    }
    let site = Site::new()?;
    let program = site.dir().join("selkie");
    fs::copy(binary()?, &program)?;
    site.write()?;
    let owner = Command::new("chown").args(["-R", "65534:65534"]).arg(site.dir()).status()?;
    ensure!(owner.success(), "chown");
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(nobody).arg(program).env("SECRET", "x").current_dir("/");
        command
    };
    let mut command = as_nobody(&program);
    command.args(["server", "--config"]).arg(site.dir().join("selkie.hcl"));
    let server = Process::start(command)?;
    server.stdout_line(|line| line.contains("listening on").then_some(()))?;
    let mut command = as_nobody(Path::new("/bin/sleep"));
    command.arg("60");
    let control = Process::start(command)?;
    let can_read = |process: &Process, file: &str| -> Result<bool> {
        let mut command = as_nobody(Path::new("/bin/cat"));
        Ok(command.arg(format!("/proc/{}/{file}", process.id())).output()?.status.success())
    };
    until("the control is its own program", || Ok(can_read(&control, "environ")?.then_some(())))?;
    assert!(can_read(&control, "maps")?);
    assert!(!can_read(&server, "environ")? && !can_read(&server, "maps")?);
    evidence(
        "another process of the same user reads neither memory nor environment of the server",
        COMMAND,
        "environ and maps are refused",
        "those of a plain process of that user can be read",
    )
}

/// What `systemd-analyze` gave the unit when it was written, times ten: it may get better.
const WORST_SCORE: u32 = 11;

#[test]
fn the_unit_for_systemd_is_sound_and_as_tight_as_it_was() -> Result<()> {
    if !Path::new("/usr/bin/systemd-analyze").exists() {
        return skip("systemd-analyze", "apt-get install systemd");
    }
    let dir = tempfile::tempdir()?;
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/selkie.service");
    // It is checked that programs are there, and ours is not installed here.
    let text = fs::read_to_string(unit)?.replace("/usr/bin/selkie", "/bin/true");
    let analyze = |text: &str, arguments: &[&str]| -> Result<(bool, String)> {
        let file = dir.path().join("selkie.service");
        fs::write(&file, text)?;
        let output = Command::new("systemd-analyze").args(arguments).arg(file).output()?;
        let told = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8_lossy(&told).into_owned()))
    };
    let (is_sound, told) = analyze(&text, &["verify"])?;
    assert!(is_sound && !told.contains("selkie.service:"), "{told}");
    let threshold = format!("--threshold={WORST_SCORE}");
    let security = ["security", "--offline=true", "--no-pager", &threshold];
    let (is_tight, told) = analyze(&text, &security)?;
    assert!(is_tight, "{told}");
    let score = told.lines().rev().find_map(|line| line.split("selkie.service: ").nth(1));
    let looser = text.replace("ProtectHome=yes", "ProtectHome=no");
    assert!(!analyze(&looser, &security)?.0, "the control is too loose");
    let (_, wrong) = analyze(&text.replace("ProtectHome=yes", "ProtectHomes=yes"), &["verify"])?;
    assert!(wrong.contains("ProtectHomes"), "the control is told: {wrong}");
    evidence(
        "the unit for systemd is hardened",
        COMMAND,
        format!(
            "systemd-analyze security: {}",
            score.unwrap_or("?").split(' ').next().unwrap_or("?")
        ),
        "with ProtectHome=no the check fails",
    )
}
