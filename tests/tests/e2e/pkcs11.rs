//! The master key in an HSM, which SoftHSM plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{
    Client, Peer, Selkie, Signal, Site, SoftHsm, binary, hsm_child, kill_hsm_child, until,
};

use crate::azure::{decrypt, encrypt};
use crate::vault::Deployment;

/// A token, and the files of a server whose only seal is on it.
struct Hsm {
    hsm: SoftHsm,
    site: Site,
    token: String,
}

impl Hsm {
    fn new() -> Result<Option<Self>> {
        let Some(hsm) = SoftHsm::new()? else { return Ok(None) };
        let mut site = Site::new()?;
        site.seal_type = "pkcs11";
        let pin = site.secret_file("pin", hsm.pin.as_bytes())?;
        site.seal = hsm.stanza(&pin);
        let token = site.client("vault", &["root"], "period = \"1h\"")?;
        Ok(Some(Self { hsm, site, token }))
    }

    /// Starts the server and waits until it encrypts.
    fn start(&self) -> Result<Selkie> {
        let selkie = self.site.start()?;
        let client = self.client(&selkie);
        until("the master key is confirmed", || Ok((encrypt(&client)?.0 == 200).then_some(())))
            .with_context(|| selkie.log())?;
        Ok(selkie)
    }

    fn client(&self, selkie: &Selkie) -> Client {
        selkie.client().with_token(&self.token)
    }

    fn doctor(&self) -> Result<(Option<i32>, String)> {
        let file = self.site.write()?;
        let output = Command::new(binary()?).env_clear().arg("doctor").arg(file).output()?;
        Ok((output.status.code(), String::from_utf8(output.stdout)?))
    }

    fn replace_pin(&self, pin: &str) -> Result<PathBuf> {
        self.site.secret_file("pin", pin.as_bytes())
    }
}

#[test]
fn a_vault_under_an_hsm_unseals_itself_whoever_was_killed() -> Result<()> {
    let Some(program) = Peer::VaultCore.find()? else { return Ok(()) };
    let Some(hsm) = Hsm::new()? else { return Ok(()) };
    let mut selkie = hsm.start()?;
    let dir = hsm.site.dir();
    let deployment = Deployment::new(program, dir, &selkie, &hsm.token, "autounseal");
    let root = deployment.with_secret()?;
    deployment.assert_comes_up_by_itself(&root)?;
    kill_hsm_child(&selkie.process)?;
    deployment.assert_comes_up_by_itself(&root)?;
    selkie.kill()?;
    selkie.restart()?;
    let client = hsm.client(&selkie);
    until("the token is found", || Ok((encrypt(&client)?.0 == 200).then_some(())))?;
    deployment.assert_comes_up_by_itself(&root)
}

#[test]
fn a_child_that_is_killed_or_stopped_is_replaced() -> Result<()> {
    let Some(mut hsm) = Hsm::new()? else { return Ok(()) };
    // More than a call takes that does not hang, on a busy machine too.
    hsm.site.seal += "  timeout = \"5s\"\n";
    let selkie = hsm.start()?;
    let client = hsm.client(&selkie);
    let (_, ciphertext) = encrypt(&client)?;
    let killed = kill_hsm_child(&selkie.process)?;
    assert_eq!(decrypt(&client, &ciphertext)?, 200, "within the same call");
    let next = hsm_child(&selkie.process)?.context("there is no child")?;
    assert_ne!(killed, next);
    let pid = rustix::process::Pid::from_raw(i32::try_from(next)?).context("process id 0")?;
    rustix::process::kill_process(pid, Signal::STOP)?;
    assert_eq!(decrypt(&client, &ciphertext)?, 200, "{}", selkie.log());
    assert_ne!(hsm_child(&selkie.process)?, Some(next));
    selkie.says("the library hangs")?;
    Ok(())
}

#[test]
fn the_child_ends_with_the_server_however_that_ends() -> Result<()> {
    let Some(hsm) = Hsm::new()? else { return Ok(()) };
    for how in [Selkie::kill, Selkie::stop] {
        let mut selkie = hsm.start()?;
        let child = hsm_child(&selkie.process)?.context("there is no child")?;
        how(&mut selkie)?;
        let process = Path::new("/proc").join(child.to_string());
        until("the child ends", || Ok((!process.exists() || is_dead(&process)).then_some(())))?;
    }
    Ok(())
}

/// A zombie waits for whoever adopts it, and holds nothing.
fn is_dead(process: &Path) -> bool {
    let stat = fs::read_to_string(process.join("stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn a_rotation_moves_the_version_and_the_old_key_still_opens() -> Result<()> {
    let Some(mut hsm) = Hsm::new()? else { return Ok(()) };
    hsm.site.seal += "  key_id = \"01\"\n";
    let selkie = hsm.start()?;
    let client = hsm.client(&selkie);
    let (_, old) = encrypt(&client)?;
    assert!(old.starts_with("vault:v1:"), "{old}");
    hsm.hsm.make_key("02")?;
    let listed = "  key_id = \"02\"\n  previous_key_ids = [\"01\"]\n";
    hsm.site.seal = hsm.site.seal.replace("  key_id = \"01\"\n", listed);
    hsm.site.write()?;
    selkie.process.signal(Signal::HUP)?;
    until("the version moves", || {
        let (status, new) = encrypt(&client)?;
        Ok((status == 200 && new.starts_with("vault:v2:")).then_some(()))
    })
    .with_context(|| selkie.log())?;
    assert_eq!(decrypt(&client, &old)?, 200);
    Ok(())
}

#[test]
fn doctor_walks_all_hops_to_the_token_and_names_the_one_that_fails() -> Result<()> {
    let Some(mut hsm) = Hsm::new()? else { return Ok(()) };
    let (code, told) = hsm.doctor()?;
    assert_eq!(code, Some(0), "{told}");
    for hop in ["library", "slot", "login", "key", "wrap", "unwrap"] {
        assert!(told.contains(&format!("ok      {hop}: ")), "{hop}: {told}");
    }
    hsm.replace_pin("wrong")?;
    let (code, told) = hsm.doctor()?;
    assert_ne!(code, Some(0));
    assert!(told.contains("FAILED  login: ") && told.contains("not tried again"), "{told}");
    hsm.replace_pin(&hsm.hsm.pin)?;
    hsm.site.seal = hsm.site.seal.replace("token_label = \"selkie\"", "token_label = \"other\"");
    let (_, told) = hsm.doctor()?;
    assert!(told.contains("FAILED  slot: ") && told.contains("\"selkie\""), "{told}");
    Ok(())
}

#[test]
fn a_wrong_pin_is_told_and_mended_by_a_reload() -> Result<()> {
    let Some(hsm) = Hsm::new()? else { return Ok(()) };
    hsm.replace_pin("wrong")?;
    let selkie = hsm.site.start()?;
    let client = hsm.client(&selkie);
    let refused = |line: &str| line.contains("the PIN is refused").then_some(());
    selkie.process.stderr_line(0, refused)?;
    assert_eq!(encrypt(&client)?.0, 400, "it does not pass by itself");
    hsm.replace_pin(&hsm.hsm.pin)?;
    selkie.process.signal(Signal::HUP)?;
    until("the right PIN is used", || Ok((encrypt(&client)?.0 == 200).then_some(())))
        .with_context(|| selkie.log())
}

#[test]
fn no_secret_is_on_the_childs_command_line_or_in_its_environment() -> Result<()> {
    let Some(hsm) = Hsm::new()? else { return Ok(()) };
    let selkie = hsm.start()?;
    let child = hsm_child(&selkie.process)?.context("there is no child")?;
    let process = Path::new("/proc").join(child.to_string());
    let command_line = fs::read_to_string(process.join("cmdline"))?;
    // The program, and the one library that it may load.
    let words: Vec<_> = command_line.split_terminator('\0').collect();
    assert!(words.len() == 2 && words[1].ends_with("libsofthsm2.so"), "{command_line}");
    // Closed to all but root, as the server's own.
    if let Ok(environment) = fs::read_to_string(process.join("environ")) {
        let names = environment.split_terminator('\0').filter_map(|one| one.split('=').next());
        // glibc takes its own variable apart where it stands.
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("glibc.")).collect();
        names.sort_unstable();
        assert_eq!(names, ["GLIBC_TUNABLES", "SOFTHSM2_CONF"]);
        assert!(!environment.contains(&hsm.hsm.pin));
    }
    let status = fs::read_to_string(process.join("status"))?;
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    Ok(())
}

/// A server that started without an HSM has no process to start children with once it is confined:
/// it refuses the reload, says what to do, and goes on. One that is not confined takes it.
#[test]
fn a_reload_that_adds_the_first_hsm_is_taken_or_refused_as_a_whole() -> Result<()> {
    let Some(hsm) = SoftHsm::new()? else { return Ok(()) };
    for sandbox in ["on", "off"] {
        let mut site = Site::new()?;
        if sandbox == "off" {
            site.extra += "sandbox = \"off\"\n";
        }
        let token = site.client("vault", &["root"], "period = \"1h\"")?;
        let selkie = site.start()?;
        let client = selkie.client().with_token(&token);
        let (_, old) = encrypt(&client)?;
        let pin = site.secret_file("pin", hsm.pin.as_bytes())?;
        site.seal += "  priority = 1\n";
        site.extra += &format!("seal \"pkcs11\" {{\n  priority = 2\n{}}}\n", hsm.stanza(&pin));
        site.keys = "key \"autounseal\" { generation = 1 }\n".to_owned();
        site.write()?;
        selkie.process.signal(Signal::HUP)?;
        if sandbox == "off" {
            let new = until("it is wrapped for the HSM", || {
                let (status, new) = encrypt(&client)?;
                Ok((status == 200 && new.starts_with("vault:v1000")).then_some(new))
            })
            .with_context(|| selkie.log())?;
            assert!(hsm_child(&selkie.process)?.is_some());
            assert_eq!(decrypt(&client, &new)?, 200);
        } else {
            selkie.process.stderr_line(0, |line| line.contains("restart").then_some(()))?;
            assert!(hsm_child(&selkie.process)?.is_none());
            let (status, same) = encrypt(&client)?;
            assert!(status == 200 && same.starts_with("vault:v1:"), "{status} {same}");
        }
        assert_eq!(decrypt(&client, &old)?, 200);
    }
    Ok(())
}

/// The token tells nothing by which the two keys differ.
#[test]
fn a_key_destroyed_and_generated_anew_under_its_label_and_id_is_told() -> Result<()> {
    for is_running in [true, false] {
        let Some(mut hsm) = Hsm::new()? else { return Ok(()) };
        if !is_running {
            let data_dir = hsm.site.dir().join("data");
            fs::create_dir(&data_dir)?;
            hsm.site.extra += &format!("data_dir = {data_dir:?}\n");
        }
        let mut selkie = hsm.start()?;
        if !is_running {
            selkie.says("pin written")?;
            selkie.stop()?;
        }
        hsm.hsm.destroy_key("01")?;
        if is_running {
            selkie.says("the KMS does not describe its master key")?;
        }
        hsm.hsm.make_key("01")?;
        if !is_running {
            selkie.restart()?;
        }
        selkie.says("it does not open what it wrapped then")?;
        assert_eq!(encrypt(&hsm.client(&selkie))?.0, 400, "{}", selkie.log());
    }
    Ok(())
}
