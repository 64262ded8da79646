//! What documents show of commands is what the commands print, but for ids, tokens and places.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{Authority, Emulator, Site, binary};

fn document(path: &str) -> Result<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    fs::read_to_string(&path).with_context(|| path.display().to_string())
}

/// What stands below `$ command`, up to the next command or to text that is indented less.
fn shown(document: &str, command: &str) -> Result<String> {
    let prompt = format!("$ {command}");
    let mut lines = document.lines().skip_while(|line| line.trim_start() != prompt);
    let first = lines.next().with_context(|| format!("no {prompt}"))?;
    let indent = first.len() - first.trim_start().len();
    let is_indented = |line: &str| line.bytes().take_while(|byte| *byte == b' ').count() >= indent;
    let output = lines.take_while(|line| line.is_empty() || is_indented(line));
    let output = output.map(|line| line.get(indent..).unwrap_or_default());
    let output: Vec<_> = output.take_while(|line| !line.starts_with("$ ")).collect();
    Ok(neutral(output.join("\n").trim_end()))
}

/// What the command, whose words have no spaces, prints in `dir`: errors first, as they are not
/// buffered either. Where a document asks for the exit code, that comes last.
fn printed(dir: &Path, command: &str) -> Result<String> {
    let words = command.strip_suffix("; echo $?").unwrap_or(command);
    let words = words.split(' ').skip(1);
    let output = Command::new(binary()?).env_clear().current_dir(dir).args(words).output()?;
    let mut text = String::from_utf8([output.stderr, output.stdout].concat())?;
    if command.ends_with("; echo $?") {
        text += &output.status.code().context("killed")?.to_string();
    }
    Ok(neutral(text.trim_end()))
}

/// Without what differs from run to run: numbers in hexadecimal, cut or not, and tokens.
fn neutral(text: &str) -> String {
    let line = |line: &str| {
        let line = line.find("hvs.").map_or(line, |token| &line[..token]);
        let parts = line.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
        let part = |part: &str| {
            let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_hexdigit());
            if digits.len() < 8 { part.to_owned() } else { part.replace(digits, "ID") }
        };
        parts.map(part).collect::<String>().replace("ID...", "ID")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// The example `selkie.hcl` as its operator has it, with all that it names, in a directory.
fn example_site() -> Result<(Site, String)> {
    let site = Site::new()?;
    Authority::new()?.issue("selkie.example.com")?.write(site.dir())?;
    site.secret_file("kek-2026-11", &[1; 32])?;
    site.secret_file("kek-2026-12", &[2; 32])?;
    let text = document("docs/examples/selkie.hcl")?;
    Ok((site, text))
}

/// Writes the configuration where it finds its files.
fn put(site: &Site, name: &str, text: &str) -> Result<()> {
    let here = site.dir().to_str().context("a path in UTF-8")?;
    let file = site.dir().join(name);
    fs::create_dir_all(file.parent().context("a folder")?)?;
    Ok(fs::write(file, text.replace("/etc/selkie", here))?)
}

#[test]
fn the_readme_shows_what_validate_says_of_the_example() -> Result<()> {
    let (site, text) = example_site()?;
    put(&site, "docs/examples/selkie.hcl", &text)?;
    let command = "selkie validate docs/examples/selkie.hcl";
    assert_eq!(printed(site.dir(), command)?, shown(&document("README.md")?, command)?);
    Ok(())
}

#[test]
fn the_documents_show_what_client_add_prints() -> Result<()> {
    for (path, command) in [
        ("README.md", "selkie client add vault-eu --address https://selkie.example.com:8200"),
        (
            "docs/clients.md",
            "selkie client add ann --operator --address https://selkie.example.com:8200",
        ),
    ] {
        assert_eq!(printed(Path::new("/"), command)?, shown(&document(path)?, command)?);
    }
    Ok(())
}

#[test]
fn the_manual_shows_what_validate_says_of_a_rotation() -> Result<()> {
    let manual = document("docs/master-keys.md")?;
    let (site, text) = example_site()?;
    // Of the operator's own client.
    let text = text.replace(
        "e26271171096db3734747cb6c115c23f01e6448d42d3b415187748ce34a55af8",
        &"ab".repeat(32),
    );
    let diff = shown(&manual, "diff selkie.hcl new.hcl")?;
    let side = |mark: &str| -> String {
        let lines = diff.lines().filter_map(|line| line.strip_prefix(mark));
        lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect()
    };
    let (old, new) = (side("<"), side(">"));
    assert!(text.contains(&old), "{old}");
    let dropped = new.lines().filter(|line| !line.contains("previous"));
    let dropped: String = dropped.map(|line| line.to_owned() + "\n").collect();
    put(&site, "selkie.hcl", &text)?;
    put(&site, "new.hcl", &text.replace(&old, &new))?;
    put(&site, "dropped.hcl", &text.replace(&old, &dropped))?;
    for command in [
        "selkie validate --previous selkie.hcl new.hcl",
        "selkie validate --previous selkie.hcl dropped.hcl; echo $?",
    ] {
        assert_eq!(printed(site.dir(), command)?, shown(&manual, command)?);
    }
    Ok(())
}

/// But for what is about the kernel.
#[test]
fn the_laptop_shows_what_doctor_says() -> Result<()> {
    let emulator = Emulator::new()?;
    let site = Site::new()?;
    let example = "docs/examples/azure-emulator.hcl";
    let ca_file = emulator.ca_file().display().to_string();
    let places = [
        ("https://localhost:8443", emulator.url()),
        ("http://127.0.0.1:8444", emulator.http_url()),
        ("/tmp/selkie-emulator/ca.pem", ca_file),
    ];
    let text = places.iter().fold(document(example)?, |text, (from, to)| text.replace(from, to));
    put(&site, example, &text)?;
    let laptop = document("docs/laptop.md")?;
    let command = format!("selkie doctor {example}");
    let printed = printed(site.dir(), &command)?;
    let printed = printed.replace(&emulator.https.port().to_string(), "8443");
    let shown = shown(&laptop, &format!("cargo run --release -- doctor {example}"))?;
    let of_seals =
        |text: &str| text.split_once("\nconfiguration\n").map(|(_, rest)| rest.to_owned());
    assert_eq!(of_seals(&printed).context("no seals")?, of_seals(&shown).context("no seals")?);
    Ok(())
}
