//! What the documents say: their examples are valid, and the tests they name exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use selkie_tests::{Authority, Site, binary};
use sha2::{Digest, Sha256};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn every_example_configuration_is_valid() -> Result<()> {
    let site = Site::new()?;
    let authority = Authority::new()?;
    authority.issue("selkie.example.com")?.write(site.dir())?;
    fs::write(site.dir().join("ca.pem"), authority.certificate())?;
    site.secret_file("kek-2026-11", &[1; 32])?;
    site.secret_file("kek-2025-11", &[2; 32])?;
    site.secret_file("local", &[3; 32])?;
    site.secret_file("hsm-pin", b"1234")?;
    let here = site.dir().to_str().context("a path in UTF-8")?;
    let mut seen = 0;
    for example in fs::read_dir(root().join("docs/examples"))? {
        let example = example?.path();
        if example.is_dir() {
            // Scripts of faults, which selkie-config tests.
            continue;
        }
        let text = fs::read_to_string(&example)?;
        let text = text.replace("/etc/selkie", here).replace("/tmp/selkie-emulator", here);
        let file = site.dir().join("example.hcl");
        fs::write(&file, text)?;
        let output = Command::new(binary()?).env_clear().arg("validate").arg(&file).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{}: {said}", example.display());
        seen += 1;
    }
    assert!(seen >= 7, "{seen} examples");
    Ok(())
}

/// So that the comment of the file can be followed to the letter.
#[test]
fn the_trial_tokens_of_the_emulator_are_those_that_its_example_declares() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/examples/azure-emulator.hcl"))?;
    let after = |start: &'static str| text.lines().filter_map(move |l| l.strip_prefix(start));
    let declared = || text.lines().filter_map(|line| line.trim().strip_prefix("token_sha256 = "));
    let tokens: Vec<&str> = after("# The Vault: ").chain(after("# Whoever watches: ")).collect();
    assert_eq!((tokens.len(), declared().count()), (2, 2));
    for (token, hash) in tokens.iter().zip(declared()) {
        let digest = base16ct::lower::encode_string(&Sha256::digest(token.as_bytes()));
        assert_eq!(hash.trim_matches('"'), digest);
        assert!(text.contains(&format!("VAULT_TOKEN={token} ")), "{token}");
    }
    Ok(())
}

#[test]
fn the_policy_of_a_token_maker_permits_what_its_section_does() -> Result<()> {
    let text = fs::read_to_string(root().join("docs/clients.md"))?;
    let (_, policy) = text.split_once("    policy \"token-maker\" {").context("no policy")?;
    let (policy, _) = policy.split_once("\n    }\n").context("no end")?;
    let mut site = Site::new()?;
    site.policy("vault-eu-seal", &[("transit/encrypt/autounseal", &["update"])]);
    site.extra += &format!("storage \"inmem\" {{}}\npolicy \"token-maker\" {{{policy}\n}}\n");
    let maker = site.client("maker", &["token-maker"], "")?;
    let selkie = site.start()?;
    let token = |arguments: &[&str]| -> Result<String> {
        let mut command = Command::new(binary()?);
        command.env_clear().env("VAULT_ADDR", selkie.url()).env("VAULT_TOKEN", &maker);
        let output = command.arg("token").args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{arguments:?}: {said}");
        Ok(String::from_utf8(output.stdout)?)
    };
    let create = "create --policy vault-eu-seal --period 24h --orphan --display-name vault-eu";
    let made = token(&create.split(' ').collect::<Vec<_>>())?;
    let line = made.lines().find(|line| line.starts_with("token_accessor "));
    let accessor = line.and_then(|line| line.split_whitespace().last()).context("no accessor")?;
    token(&["lookup", "--accessor", accessor])?;
    assert_eq!(selkie.client().with_token(&maker).get("sys/tokens/in-use")?.status, 200);
    token(&["revoke", "--accessor", accessor])?;
    Ok(())
}

#[test]
fn every_test_that_the_threat_model_or_an_invariant_names_exists() -> Result<()> {
    let threats = fs::read_to_string(root().join("docs/threat-model.md"))?;
    let design = fs::read_to_string(root().join("docs/design.md"))?;
    let (_, invariants) = design.split_once("\n## Invariants\n").context("invariants")?;
    let invariants = invariants.split("\n## ").next().unwrap_or_default();
    for number in 1..=10 {
        let start = format!("- **I{number} ");
        assert!(invariants.contains(&start), "{start}");
    }
    let mut sources = String::new();
    for room in ["crypto", "kms", "server", "storage", "tests", "fuzz/src"] {
        read_sources(&root().join(room), &mut sources)?;
    }
    for (text, at_least) in [(threats.as_str(), 50), (invariants, 15)] {
        let named = tests_named_in(text);
        let missing: Vec<_> =
            named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert!(named.len() >= at_least, "{} tests are named", named.len());
    }
    Ok(())
}

fn tests_named_in(text: &str) -> BTreeSet<&str> {
    let is_name = |word: &&str| {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        word.bytes().all(letters) && word.matches('_').count() >= 3
    };
    text.split('`').skip(1).step_by(2).filter(is_name).collect()
}

fn read_sources(folder: &Path, sources: &mut String) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("peers") {
                read_sources(&path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&fs::read_to_string(path)?);
        }
    }
    Ok(())
}
