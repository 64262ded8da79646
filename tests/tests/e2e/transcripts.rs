//! What documents show of commands is what the commands print, but for ids, tokens and places.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use selkie_tests::{Authority, Emulator, Peer, Selkie, Site, binary};

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

/// The commands of a section, which may go on in the next lines.
fn commands(section: &str) -> Vec<String> {
    let is_open = |command: &String| {
        let count = |mark: char| command.matches(mark).count();
        command.ends_with('\\') || count('(') > count(')') || count('"') % 2 == 1
    };
    let mut commands: Vec<String> = Vec::new();
    for line in section.lines() {
        if let Some(command) = line.strip_prefix("    $ ") {
            commands.push(command.to_owned());
        } else if let Some(open) = commands.last_mut().filter(|command| is_open(command)) {
            *open += &format!("\n{line}");
        }
    }
    commands
}

/// Who follows the README, with `selkie` on the path and the example where a checkout has it. The
/// folder of both is in the place of `/etc/selkie`.
struct Reader {
    site: Site,
    etc: String,
}

impl Reader {
    fn new() -> Result<Self> {
        let site = Site::new()?;
        fs::create_dir(site.dir().join("bin"))?;
        symlink(binary()?.canonicalize()?, site.dir().join("bin/selkie"))?;
        let example = "docs/examples/selkie.hcl";
        put(&site, example, &document(example)?)?;
        let etc = site.dir().to_str().context("a path in UTF-8")?.to_owned();
        Ok(Self { site, etc })
    }

    /// Its exit code, and what it prints.
    fn types(&self, command: &str) -> Result<(Option<i32>, String)> {
        let path = format!("{}/bin:/usr/bin:/bin", self.site.dir().display());
        let mut shell = Command::new("sh");
        shell.env_clear().env("PATH", path).current_dir(self.site.dir());
        let output = shell.arg("-c").arg(command.replace("/etc/selkie", &self.etc)).output()?;
        let text = String::from_utf8([output.stderr, output.stdout].concat())?;
        Ok((output.status.code(), neutral(text.replace(&self.etc, "/etc/selkie").trim_end())))
    }

    /// Starts the server, whose port another program may have, and whose credentials systemd is to
    /// pass on.
    fn starts(&self) -> Result<()> {
        let text = fs::read_to_string(format!("{}/selkie.hcl", self.etc))?;
        let text = text.replace("0.0.0.0:8200", &format!("127.0.0.1:{}", self.site.port));
        let credentials = format!("{}/private", self.etc);
        let text = text.replace("/run/credentials/selkie.service", &credentials);
        let file = self.site.dir().join("started.hcl");
        fs::write(&file, text)?;
        let mut selkie = Selkie::configured(&file, 1)?;
        assert!(selkie.url().starts_with("https://"));
        selkie.stop()
    }
}

#[test]
fn the_commands_of_the_readme_make_a_server_that_starts() -> Result<()> {
    if Peer::OpenSsl.find()?.is_none() {
        return Ok(());
    }
    let readme = document("README.md")?;
    let (_, section) = readme.split_once("\n## A configured server\n").context("no section")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let reader = Reader::new()?;
    let commands = commands(section);
    assert!(commands.len() >= 12, "{commands:#?}");
    for command in &commands {
        // Each has a shell of its own here, and one for all at the reader's.
        assert!(!command.starts_with("cd "), "{command}");
        if command.starts_with("selkie server ") {
            reader.starts()?;
            continue;
        }
        let (code, printed) = reader.types(command)?;
        let expected =
            if command.contains("wrong.hcl") && command.starts_with("selkie") { 78 } else { 0 };
        assert_eq!(code, Some(expected), "{command}: {printed}");
        if ["selkie ", "grep "].iter().any(|program| command.starts_with(program)) {
            assert_eq!(printed, shown(section, command)?, "{command}");
        }
    }
    reader.starts()
}

#[test]
fn the_manual_shows_what_client_add_prints_for_an_operator() -> Result<()> {
    let command = "selkie client add ann --operator --address https://selkie.example.com:8200";
    assert_eq!(printed(Path::new("/"), command)?, shown(&document("docs/clients.md")?, command)?);
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
