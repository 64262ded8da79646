//! What can be lost, and what must come of it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{
    Emulator, Peer, Selkie, Site, SoftHsm, UpstreamVault, binary, free_port, kill_hsm_child,
};
use serde_json::json;

use super::world::{PLAIN, Plan, Props, World, emptied};
use super::{Fate, Row};

pub(super) fn rows() -> Vec<Row> {
    [kms(), quorum(), hsm(), upstream(), selkie(), people()].into_iter().flatten().collect()
}

const TWO_REGIONS: Plan = Plan { regions: 2, ..PLAIN };

/// All Key Vaults, in this way.
fn azure(world: &World, how: &str) -> Result<()> {
    world.regions.iter().try_for_each(|region: &Emulator| region.listen(how))
}

fn with_static(site: &mut Site) -> Result<Props> {
    let key = site.random_key("static")?;
    site.extra += &format!(
        "seal \"static\" {{\n  priority = 9\n  current_key_id = \"k1\"\n  current_key = \"{key}\"\n}}\n"
    );
    Ok(Props::default())
}

/// The master keys, and the way to them.
fn kms() -> Vec<Row> {
    vec![
        Row {
            lost: "one region",
            with: "a seal in each of two regions",
            world: || World::new(TWO_REGIONS),
            lose: |world| world.regions[0].listen("closed"),
            mend: |world| world.regions[0].listen("open"),
            cure: "nothing has to be done; the region comes back",
            fate: Fate::Unseals,
        },
        Row {
            lost: "one region that does not answer",
            with: "a seal in each of two regions",
            world: || World::new(TWO_REGIONS),
            lose: |world| world.regions[0].listen("silent"),
            mend: |world| world.regions[0].listen("open"),
            cure: "nothing has to be done; the region comes back",
            fate: Fate::Unseals,
        },
        Row {
            lost: "all of Azure",
            with: "a seal in each of two regions, nothing else",
            world: || World::new(TWO_REGIONS),
            lose: |world| azure(world, "closed"),
            mend: |world| azure(world, "open"),
            cure: "Azure comes back",
            fate: Fate::StaysSealed,
        },
        Row {
            lost: "all of Azure, and Selkie restarts meanwhile",
            with: "a seal in each of two regions; `data_dir` and `local_key`",
            world: || World::new(TWO_REGIONS),
            lose: |world| {
                azure(world, "closed")?;
                world.replicas.members[0].kill()?;
                world.revive(0)
            },
            mend: |world| azure(world, "open"),
            cure: "Azure comes back",
            fate: Fate::StaysSealed,
        },
        Row {
            lost: "all of Azure, with another seal",
            with: "a seal in each of two regions, and a static one",
            world: || World::new(Plan { further: with_static, ..TWO_REGIONS }),
            lose: |world| azure(world, "closed"),
            mend: |world| azure(world, "open"),
            cure: "nothing has to be done; Azure comes back",
            fate: Fate::Unseals,
        },
        Row {
            lost: "the network between Selkie and every KMS",
            with: "a seal in each of two regions, nothing else",
            world: || World::new(TWO_REGIONS),
            lose: |world| azure(world, "silent"),
            mend: |world| azure(world, "open"),
            cure: "the network comes back",
            fate: Fate::StaysSealed,
        },
    ]
}

/// A key of which any two of three seals must help.
const TWO_OF_THREE: Plan = Plan {
    regions: 3,
    further: |site| {
        site.keys = "key \"autounseal\" { quorum = 2 }\n".to_owned();
        Ok(Props::default())
    },
    ..PLAIN
};

/// A quorum, of which each one is missing in turn.
fn quorum() -> Vec<Row> {
    let missing = |lost, lose| Row {
        lost,
        with: "a quorum of 2 of 3 seals",
        world: || World::new(TWO_OF_THREE),
        lose,
        mend: |world| azure(world, "open"),
        cure: "nothing has to be done; the seal comes back",
        fate: Fate::Unseals,
    };
    vec![
        missing("the first of three seals", |world| world.regions[0].listen("closed")),
        missing("the second of three seals", |world| world.regions[1].listen("closed")),
        missing("the third of three seals", |world| world.regions[2].listen("closed")),
        Row {
            lost: "two of three seals",
            with: "a quorum of 2 of 3 seals",
            world: || World::new(TWO_OF_THREE),
            lose: |world| world.regions[1..].iter().try_for_each(|one| one.listen("closed")),
            mend: |world| world.regions[1].listen("open"),
            cure: "one of them comes back",
            fate: Fate::StaysSealed,
        },
    ]
}

fn with_sled(site: &mut Site) -> Result<Props> {
    site.extra += "storage \"sled\" {}\n";
    Ok(Props::default())
}

/// An HSM, which SoftHSM plays, with an AES key that wraps by itself.
fn with_hsm(site: &mut Site) -> Result<Props> {
    let hsm = SoftHsm::new()?.context("no SoftHSM")?;
    let pin = site.secret_file("pin", hsm.pin.as_bytes())?;
    site.extra += &format!("seal \"pkcs11\" {{\n  priority = 5\n{}}}\n", hsm.stanza(&pin));
    Ok(Props { hsm: Some(hsm), ..Props::default() })
}

/// Pulls it out; who had it open has it no more.
fn pull_hsm(world: &mut World) -> Result<()> {
    world.props.hsm.as_ref().context("no HSM")?.plug(false)?;
    kill_hsm_child(&world.replicas.members[0].process).map(drop)
}

fn plug_hsm(world: &mut World) -> Result<()> {
    world.props.hsm.as_ref().context("no HSM")?.plug(true)
}

fn hsm() -> Vec<Row> {
    vec![
        Row {
            lost: "the HSM",
            with: "a seal in Azure and one on an HSM's AES key, for a declared key",
            world: || World::new(Plan { further: with_hsm, ..PLAIN }),
            lose: pull_hsm,
            mend: plug_hsm,
            cure: "the HSM comes back; or its seal is disabled and `generation` raised",
            fate: Fate::Exits,
        },
        Row {
            lost: "an HSM that a key may do without",
            with: "a seal in Azure and one on an HSM's AES key, for a managed key with `allow_missing_seals`",
            world: || {
                World::new(Plan {
                    key: "managed",
                    further: |site| {
                        with_sled(site)?;
                        with_hsm(site)
                    },
                    settings: || json!({ "allow_missing_seals": true }),
                    ..PLAIN
                })
            },
            lose: pull_hsm,
            mend: plug_hsm,
            cure: "nothing has to be done; the HSM comes back",
            fate: Fate::Unseals,
        },
        Row {
            lost: "all of Azure, with an HSM",
            with: "a seal in Azure and one on an HSM's AES key, for a declared key",
            world: || World::new(Plan { further: with_hsm, ..PLAIN }),
            lose: |world| azure(world, "closed"),
            mend: |world| azure(world, "open"),
            cure: "nothing has to be done; Azure comes back",
            fate: Fate::Unseals,
        },
    ]
}

/// A Vault elsewhere, which wraps by itself.
fn with_upstream(site: &mut Site) -> Result<Props> {
    let program = Peer::VaultCore.find()?.context("no Vault core")?;
    let upstream = UpstreamVault::start(&program, &site.dir().join("upstream"))?;
    upstream.put("transit/keys/bridge", &json!({}))?;
    let rules = r#"
        path "transit/encrypt/bridge" { capabilities = ["update"] }
        path "transit/decrypt/bridge" { capabilities = ["update"] }
        path "transit/keys/bridge" { capabilities = ["read"] }
    "#;
    let token = upstream.token("bridge", rules, &json!({ "period": "1h" }))?;
    let file = site.secret_file("upstream-token", token.as_bytes())?;
    site.extra += &format!(
        "seal \"transit\" {{\n  priority = 5\n  address = \"{}\"\n  mount_path = \"transit/\"\n  \
         key_name = \"bridge\"\n  token = \"file://{}\"\n  poll_interval = \"1s\"\n}}\n",
        upstream.url(),
        file.display()
    );
    Ok(Props { upstream: Some(upstream), ..Props::default() })
}

fn kill_upstream(world: &mut World) -> Result<()> {
    world.props.upstream.as_mut().context("no upstream")?.process.kill()
}

fn revive_upstream(world: &mut World) -> Result<()> {
    world.props.upstream.as_mut().context("no upstream")?.restart()
}

/// A seal that wraps by itself, as an HSM's AES key does too, must be there to encrypt.
fn upstream() -> Vec<Row> {
    vec![
        Row {
            lost: "an upstream Vault",
            with: "a seal in Azure and one at that Vault, for a declared key",
            world: || World::new(Plan { further: with_upstream, ..PLAIN }),
            lose: kill_upstream,
            mend: revive_upstream,
            cure: "the upstream comes back; or its seal is disabled and `generation` raised",
            fate: Fate::Exits,
        },
        Row {
            lost: "an upstream Vault that a key may do without",
            with: "a seal in Azure and one at that Vault, for a managed key with `allow_missing_seals`",
            world: || {
                World::new(Plan {
                    key: "managed",
                    further: |site| {
                        with_sled(site)?;
                        with_upstream(site)
                    },
                    settings: || json!({ "allow_missing_seals": true }),
                    ..PLAIN
                })
            },
            lose: kill_upstream,
            mend: revive_upstream,
            cure: "nothing has to be done; the upstream comes back",
            fate: Fate::Unseals,
        },
        Row {
            lost: "all of Azure, with an upstream Vault",
            with: "a seal in Azure and one at that Vault, for a declared key",
            world: || World::new(Plan { further: with_upstream, ..PLAIN }),
            lose: |world| azure(world, "closed"),
            mend: |world| azure(world, "open"),
            cure: "nothing has to be done; Azure comes back",
            fate: Fate::Unseals,
        },
    ]
}

/// Where Selkie runs, and what it keeps.
fn selkie() -> Vec<Row> {
    vec![
        Row {
            lost: "Selkie's host",
            with: "two replicas that share nothing, behind a balancer",
            world: || World::new(Plan { replicas: 2, ..PLAIN }),
            lose: |world| world.replicas.members[0].kill(),
            mend: |world| {
                world.revive(0)?;
                world.serves(0)
            },
            cure: "nothing has to be done; another machine takes its place",
            fate: Fate::Unseals,
        },
        Row {
            lost: "Selkie's only host",
            with: "one Selkie",
            world: || World::new(PLAIN),
            lose: |world| world.replicas.members[0].kill(),
            mend: |world| world.revive(0),
            cure: "Selkie is started again, or on another machine from the same configuration",
            fate: Fate::Exits,
        },
        Row {
            lost: "Selkie's disk",
            with: "a declared key; `data_dir` with pins alone",
            world: || World::new(PLAIN),
            lose: |world| {
                world.replicas.members[0].kill()?;
                emptied(&world.data_dir(0))?;
                world.revive(0)?;
                world.serves(0)
            },
            mend: |_| Ok(()),
            cure: "nothing has to be done: an empty `data_dir` fills itself",
            fate: Fate::Unseals,
        },
        Row {
            lost: "Selkie's disk, with a key made through the API",
            with: "a managed key in sled; yesterday's `selkie backup`",
            world: || {
                let world = World::new(Plan { key: "managed", further: with_sled, ..PLAIN })?;
                back_up(&world)?;
                Ok(world)
            },
            lose: |world| {
                world.replicas.members[0].kill()?;
                emptied(&world.data_dir(0))?;
                world.revive(0)?;
                world.serves(0)
            },
            mend: restore,
            cure: "Selkie is stopped, `selkie restore` run, Selkie started",
            fate: Fate::Exits,
        },
    ]
}

/// A key that is split among three people, any two of whom are enough.
fn with_break_glass(site: &mut Site) -> Result<Props> {
    let passphrase = site.secret_file("passphrase", b"six words that nobody else knows\n")?;
    let mut keygen = command("break-glass")?;
    keygen.arg("keygen").arg("--out").arg(site.dir().join("key"));
    keygen.args(["--shares", "3", "--needed", "2", "--passphrase-file"]).arg(passphrase);
    let stanza = keygen.output()?;
    ensure!(stanza.status.success(), "{}", String::from_utf8_lossy(&stanza.stderr));
    site.extra += &String::from_utf8(stanza.stdout)?;
    Ok(Props::default())
}

/// Two of the three, with a copy of the Vault's storage and the configuration, on a laptop; the
/// Vault's unsealer has its name from then on.
fn break_the_glass(world: &mut World) -> Result<()> {
    let file = |name: &str| world.site.dir().join(name);
    let mut extract = command("extract")?;
    extract.args(["--from", "vault-file"]).arg(file("vault")).arg("-o").arg(file("blobs"));
    succeeds(&mut extract)?;
    let token = world.site.secret_file("token", world.seal_token().as_bytes())?;
    let mut words: Vec<OsString> = vec!["break-glass".into(), "serve".into()];
    for (name, value) in [
        ("--key", file("key.1")),
        ("--key", file("key.3")),
        ("--passphrase-file", file("passphrase")),
        ("--blobs", file("blobs")),
        ("--config", file("replica0.hcl")),
        ("--token-file", token),
        ("--audit", file("laptop-audit.log")),
    ] {
        words.extend([name.into(), value.into()]);
    }
    let listen = format!("127.0.0.1:{}", free_port()?);
    words.extend(["--plain-http".into(), "--listen".into(), listen.into()]);
    world.takes_the_place(Selkie::start(&binary()?, words, 1)?)
}

/// What is left when everything else is gone.
fn people() -> Vec<Row> {
    vec![Row {
        lost: "all of Azure, Selkie's host, and one of three operators",
        with: "`seal \"break-glass\"`, its key split among three, two needed; the pins of `data_dir`",
        world: || World::new(Plan { further: with_break_glass, ..PLAIN }),
        lose: |world| {
            azure(world, "closed")?;
            world.replicas.members[0].kill()
        },
        mend: break_the_glass,
        cure: "two operators: `selkie extract`, `selkie break-glass serve`",
        fate: Fate::Exits,
    }]
}

const BACKUP: &str = "backup";

fn back_up(world: &World) -> Result<()> {
    let token = world.site.secret_file("token", world.token.as_bytes())?;
    let backup = world.site.dir().join(BACKUP);
    let mut command = command("backup")?;
    command.arg("--output").arg(backup).arg("--token-file").arg(token);
    succeeds(command.args(["--address", &world.replicas.members[0].url()]))
}

fn restore(world: &mut World) -> Result<()> {
    world.replicas.members[0].stop()?;
    emptied(&world.data_dir(0))?;
    let mut command = command("restore")?;
    command.arg("--config").arg(world.site.dir().join("replica0.hcl"));
    succeeds(command.arg(world.site.dir().join(BACKUP)))?;
    world.revive(0)?;
    world.serves(0)
}

fn command(subcommand: &str) -> Result<Command> {
    let mut command = Command::new(binary()?);
    command.env_clear().arg(subcommand);
    Ok(command)
}

fn succeeds(command: &mut Command) -> Result<()> {
    let output = command.output().context("cannot be run")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
