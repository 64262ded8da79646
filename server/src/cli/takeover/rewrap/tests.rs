use std::os::fd::AsRawFd;

use super::*;
use crate::api::error::{ItemError, MasterKeyFault};

const ENVELOPE: &str = "vault:v10001:eyJjaXBoZXJ0ZXh0Ijoi";

/// What becomes of `output` beside `input` before anything is sent, and the tally.
fn skipped(input: &str, output: &Path) -> Result<Tally, CommandError> {
    let mut errors = Vec::new();
    let mut run = Run {
        sink: Sink::resume(output).unwrap(),
        failures: None,
        errors: &mut errors,
        bar: ProgressBar::hidden(),
        began: Instant::now(),
        tally: Tally::default(),
    };
    let input = BufReader::new(input.as_bytes());
    run.skip(&mut Lines { input, path: Path::new("in"), again: None }, output)?;
    Ok(run.tally)
}

#[test]
fn what_an_earlier_run_left_as_it_was_fails_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let json = format!(r#"{{"ciphertext":"{ENVELOPE}","x":1}}"#);
    fs::write(&path, format!("{ENVELOPE}\nvault:v3:AAAB\n{json}\n\nx\n")).unwrap();
    let input = "vault:v3:AAAA\nvault:v3:AAAB\n{\"ciphertext\":\"vault:v3:AAAA\",\"x\":1}\n\nx\nvault:v3:AAAC\n";
    let tally = skipped(input, &path).unwrap();
    assert_eq!((tally.lines, tally.rewrapped, tally.as_they_were, tally.failed), (5, 2, 1, 2));
}

#[test]
fn a_file_of_something_else_is_left_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    for text in ["precious", "a\nb", "vault:v3:AAAB\nx", "vault:v3:AAAA\nx\ny\nz", ENVELOPE] {
        fs::write(&path, text).unwrap();
        let input = if text == ENVELOPE { "" } else { "vault:v3:AAAA\nx\n" };
        let refused = skipped(input, &path);
        assert!(matches!(refused, Err(CommandError::NotOfThisInput { .. })), "{text}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    fs::write(&path, format!("{ENVELOPE}\nvau")).unwrap();
    assert_eq!(skipped("vault:v3:AAAA\nvault:v3:AAAB\n", &path).unwrap().lines, 1);
    assert_eq!(fs::read_to_string(&path).unwrap(), format!("{ENVELOPE}\n"));
    fs::write(&path, "  {\"ciphertext\":\"vault:v1").unwrap();
    assert_eq!(skipped("  {\"ciphertext\":\"vault:v3:AAAA\"}\n", &path).unwrap().lines, 0);
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn the_input_is_never_the_output() {
    let dir = tempfile::tempdir().unwrap();
    let (path, link) = (dir.path().join("in"), dir.path().join("link"));
    fs::write(&path, "vault:v3:AAAA").unwrap();
    fs::hard_link(&path, &link).unwrap();
    let (_input, id) = open(&path).unwrap();
    for same in [&path, &link] {
        let refused = refuse_input(same, id);
        assert!(matches!(refused, Err(CommandError::OutputIsInput { .. })));
    }
    refuse_input(&dir.path().join("out"), id).unwrap();
}

#[test]
fn a_batch_that_is_refused_as_a_whole_ends_the_run() {
    let told = |error: ItemError| Err(LineFailure::told(&error.to_string()));
    let denied = || told(ItemError::MasterKeyRefuses(MasterKeyFault::Denied));
    assert!(matches!(settled(vec![denied(), denied()]), Err(RemoteError::MasterKeyRefuses)));
    assert!(settled(vec![denied(), Ok("new".to_owned())]).is_ok());
    let forged = told(ItemError::Authentication);
    assert!(settled(vec![denied(), forged]).is_ok());
    assert!(!is_away(&denied()) && is_away(&told(ItemError::MasterKeyUnavailable)));
}

#[test]
fn the_lines_of_a_file_are_counted_and_those_of_a_pipe_are_left_to_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("in");
    fs::write(&path, "a\nb\nc").unwrap();
    assert_eq!(count_lines(&path).unwrap(), Some(3));
    let (reader, mut writer) = io::pipe().unwrap();
    writer.write_all(b"a\nb\n").unwrap();
    drop(writer);
    let path = PathBuf::from(format!("/dev/fd/{}", reader.as_raw_fd()));
    let (mut input, _) = open(&path).unwrap();
    assert_eq!(count_lines(&path).ok().flatten(), None);
    let mut left = String::new();
    input.read_to_string(&mut left).unwrap();
    assert_eq!(left, "a\nb\n");
}
