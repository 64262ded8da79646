use proptest::prelude::*;

use super::super::verify::{Fault, Report, verify};
use super::*;

pub(super) fn check(files: &[&Path], checkpoints: &[End]) -> Report {
    let files: Vec<_> = files.iter().map(|path| path.to_path_buf()).collect();
    verify(&files, &key(), checkpoints, |_| ()).unwrap()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Two runs into one file, of which the first was never told to stop, and its lines.
fn two_runs() -> Vec<u8> {
    let (_directory, path) = log();
    block_on(async {
        run(&path, 4).await;
        run(&path, 3).await;
    });
    fs::read(&path).unwrap()
}

fn check_bytes(bytes: &[u8]) -> Report {
    let (_directory, path) = log();
    fs::write(&path, bytes).unwrap();
    check(&[&path], &[])
}

fn lines_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn an_untouched_file_is_whole_across_restarts() {
    let report = check_bytes(&two_runs());
    assert!(report.is_whole() && report.notices.is_empty(), "{report:?}");
    assert_eq!((report.lines, report.runs, report.open_ends.len()), (11, 2, 0));
}

#[test]
fn another_key_verifies_nothing() {
    let (_directory, path) = log();
    fs::write(&path, two_runs()).unwrap();
    let other = AuditKey::init_with(|page| page.fill(6)).unwrap();
    let report = verify(&[path], &other, &[], |_| ()).unwrap();
    assert!(!report.is_whole());
}

#[test]
fn every_flipped_byte_is_found_where_it_is() {
    let whole = two_runs();
    let last = lines_of(&whole).len();
    for at in 0..whole.len() {
        let mask = 1 << (at % 8);
        let mut bytes = whole.clone();
        bytes[at] ^= mask;
        let report = check_bytes(&bytes);
        let line = whole[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        let first = report.findings.first();
        let first = first.unwrap_or_else(|| panic!("byte {at} ^ {mask} is not found"));
        let found = usize::try_from(first.line).unwrap();
        assert!((line..=(line + 1).min(last)).contains(&found), "{at}: {line} {report:?}");
    }
}

proptest! {
    #[test]
    fn a_line_that_is_swapped_removed_or_doubled_is_found(one in 0..11_usize, other in 0..11_usize) {
        static WHOLE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(two_runs);
        let lines = lines_of(&WHOLE);
        prop_assert!(check_bytes(&lines.concat()).is_whole(), "the control");
        if one != other {
            let mut swapped = lines.clone();
            swapped.swap(one, other);
            prop_assert!(!check_bytes(&swapped.concat()).is_whole());
        }
        let mut doubled = lines.clone();
        doubled.insert(other, lines[one].clone());
        prop_assert!(!check_bytes(&doubled.concat()).is_whole());
        // The last line of all is the one that only a checkpoint elsewhere gives back.
        if one < 10 {
            let mut removed = lines;
            removed.remove(one);
            prop_assert!(!check_bytes(&removed.concat()).is_whole());
        }
    }
}

/// One run over three files.
async fn rotated(directory: &Path) -> [PathBuf; 3] {
    let names = ["audit.log", "audit.log.1", "audit.log.2"].map(|name| directory.join(name));
    let audit = on(&names[0]);
    for file in 0..3 {
        for number in 0..3 {
            record(&audit, file * 10 + number).await.unwrap();
        }
        if file < 2 {
            let _ = fs::rename(&names[1], &names[2]);
            fs::rename(&names[0], &names[1]).unwrap();
            audit.reopen();
        }
    }
    names
}

#[tokio::test]
async fn a_rotation_is_followed_in_whatever_order_the_files_are_given() {
    let directory = TempDir::new().unwrap();
    let [newest, middle, oldest] = rotated(directory.path()).await;
    for files in [[&*newest, &middle, &oldest], [&*oldest, &newest, &middle]] {
        let report = check(&files, &[]);
        assert!(report.is_whole() && report.notices.is_empty(), "{report:?}");
    }
}

#[tokio::test]
async fn a_missing_file_is_found_and_an_older_one_is_a_notice() {
    let directory = TempDir::new().unwrap();
    let [newest, middle, oldest] = rotated(directory.path()).await;
    let report = check(&[&oldest, &newest], &[]);
    let fault = &report.findings.first().unwrap().fault;
    assert!(matches!(fault, Fault::Missing { .. }), "{report:?}");
    assert_eq!((&report.findings[0].file, report.findings[0].line), (&newest, 1));
    let report = check(&[&middle, &newest], &[]);
    assert!(report.is_whole(), "{report:?}");
    assert!(matches!(report.notices[0].fault, Fault::Earlier { .. }));
}

#[tokio::test]
async fn a_run_of_which_nothing_is_left_is_found() {
    let (_directory, path) = log();
    for _ in 0..3 {
        run(&path, 2).await;
    }
    let lines = lines_of(&fs::read(&path).unwrap());
    let report = check_bytes(&[&lines[..4], &lines[8..]].concat().concat());
    assert!(matches!(report.findings[0].fault, Fault::MissingRun { .. }), "{report:?}");
    assert_eq!(report.findings[0].line, 5);
}

#[tokio::test]
async fn a_cut_shows_by_a_checkpoint_that_was_kept_elsewhere() {
    let (_directory, path) = log();
    run(&path, 5).await;
    let lines = lines_of(&fs::read(&path).unwrap());
    let stop = chain::Linked::parse(lines[6].strip_suffix(b"\n").unwrap()).unwrap().end;
    assert!(check(&[&path], std::slice::from_ref(&stop)).is_whole());
    fs::write(&path, lines[..4].concat()).unwrap();
    let report = check(&[&path], &[]);
    assert!(report.is_whole() && report.open_ends.len() == 1, "nobody can tell: {report:?}");
    let report = check(&[&path], std::slice::from_ref(&stop));
    assert_eq!(report.findings[0].fault, Fault::CheckpointMissing { checkpoint: stop });
}

#[tokio::test]
async fn a_cut_before_a_restart_shows_by_what_the_next_run_has_seen() {
    let (_directory, path) = log();
    run(&path, 5).await;
    run(&path, 1).await;
    let mut lines = lines_of(&fs::read(&path).unwrap());
    lines.remove(6);
    let report = check_bytes(&lines.concat());
    assert!(matches!(report.findings[0].fault, Fault::MissingRun { .. }), "{report:?}");
}

#[tokio::test]
async fn a_line_that_a_crash_broke_off_is_a_notice_once_the_next_run_has_begun() {
    let (_directory, path) = log();
    run(&path, 2).await;
    let mut bytes = fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"time\":\"2026");
    fs::write(&path, &bytes).unwrap();
    assert!(!check(&[&path], &[]).is_whole());
    run(&path, 1).await;
    let report = check(&[&path], &[]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.notices[0].line, &report.notices[0].fault), (5, &Fault::Torn));
}

/// `lines` as they are, with the first half of the line `torn` in its place, ended as a restart does it.
fn torn(lines: &[Vec<u8>], torn: usize) -> Vec<u8> {
    let half = &lines[torn][..lines[torn].len() / 2];
    [&lines[..torn].concat(), half, b"\n"].concat()
}

/// Once while a line was written, and again before or while the run after it wrote its first one.
#[tokio::test]
async fn what_several_kills_in_a_row_broke_off_is_a_notice_and_a_line_cut_before_it_is_found() {
    for kills in [2, 3, 4] {
        let (_directory, path) = log();
        run(&path, 4).await;
        let mut bytes = torn(&lines_of(&fs::read(&path).unwrap()), 4);
        for _ in 2..kills {
            bytes.extend_from_slice(
                b"{\"time\":\"2026-11-27T09:00:00.000000000Z\",\"type\":\"selkie_st\n",
            );
        }
        fs::write(&path, &bytes).unwrap();
        run(&path, 1).await;
        let report = check(&[&path], &[]);
        assert!(report.is_whole(), "{report:?}");
        let told: Vec<_> = report.notices.iter().map(|one| (one.line, &one.fault)).collect();
        let expected: Vec<_> = (5..kills + 4).map(|line| (line, &Fault::Torn)).collect();
        assert_eq!(told, expected);
        let lines = lines_of(&fs::read(&path).unwrap());
        for cut in 1..4 {
            let left = [&lines[..cut], &lines[cut + 1..]].concat().concat();
            assert!(!check_bytes(&left).is_whole(), "line {cut} is missing");
            // Where a line was cut before the run that follows, something torn is no excuse.
            let left = [&lines[..cut], &lines[4..]].concat().concat();
            assert!(!check_bytes(&left).is_whole(), "all lines from {cut} on are missing");
        }
    }
}

#[tokio::test]
async fn a_new_file_whose_first_line_is_torn_is_linked_to_the_rotated_one() {
    let (directory, path) = log();
    run(&path, 2).await;
    let rotated = directory.path().join("audit.log.1");
    fs::rename(&path, &rotated).unwrap();
    fs::write(&path, "{\"time\":\"2026").unwrap();
    run(&path, 2).await;
    let report = check(&[&path, &rotated], &[]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.notices[0].fault, Fault::Torn);
}

#[tokio::test]
async fn a_file_that_begins_torn_is_read_where_it_belongs_among_three() {
    let (directory, path) = log();
    let [middle, oldest] = ["audit.log.1", "audit.log.2"].map(|name| directory.path().join(name));
    run(&path, 2).await;
    fs::rename(&path, &middle).unwrap();
    // Killed while it wrote the first line of the new file, and twice more before there was another.
    fs::write(&path, "{\"time\":\"2026\n{\n{\"time\":\"").unwrap();
    let audit = on(&path);
    record(&audit, 0).await.unwrap();
    fs::rename(&middle, &oldest).unwrap();
    fs::rename(&path, &middle).unwrap();
    audit.reopen();
    record(&audit, 1).await.unwrap();
    drop(audit);
    for files in [[&*path, &middle, &oldest], [&*oldest, &path, &middle]] {
        let report = check(&files, &[]);
        assert!(report.is_whole(), "{report:?}");
        let told: Vec<_> =
            report.notices.iter().map(|one| (&*one.file, one.line, &one.fault)).collect();
        assert_eq!(told, [1, 2, 3].map(|line| (&*middle, line, &Fault::Torn)));
    }
}

#[tokio::test]
async fn what_no_kill_has_torn_is_found_also_where_a_run_or_a_file_begins() {
    let (_directory, restarted) = log();
    run(&restarted, 2).await;
    run(&restarted, 2).await;
    let directory = TempDir::new().unwrap();
    let [newest, middle, oldest] = rotated(directory.path()).await;
    let torn = "{\"time\":\"2026";
    let foreign = "{\"time\":\"2026-11-27T09:00:00.000000000Z\",\"type\":\"request\"}\n";
    let stripped = "{\"selkie\":{}}\n".to_owned();
    let added = [&*foreign.repeat(50), &stripped, "x\n", "\n", "[{\n", " {\n", "\"a\"\n", "1\n"];
    for (name, before, path) in [("start", 4, restarted), ("file", 0, newest)] {
        let lines = lines_of(&fs::read(&path).unwrap());
        let check_with = |text: &str| {
            let added = [&lines[..before].concat(), text.as_bytes(), &lines[before..].concat()];
            fs::write(&path, added.concat()).unwrap();
            match name {
                "start" => check(&[&path], &[]),
                _ => check(&[&path, &middle, &oldest], &[]),
            }
        };
        assert!(check_with(&format!("{torn}\n")).is_whole(), "the control: {name}");
        for text in added {
            for text in [text.to_owned(), format!("{torn}\n{text}"), format!("{text}{torn}\n")] {
                let report = check_with(&text);
                let found = report.findings.iter().filter(|one| one.fault == Fault::NotALine);
                let foreign = text.lines().filter(|line| *line != torn).count();
                assert!(found.count() >= foreign, "{name}: {text:?} {report:?}");
                let first = u64::try_from(before + 1).unwrap();
                let line = report.findings[0].line;
                assert!([first, first + 1].contains(&line), "{name}: {text:?} {report:?}");
            }
        }
    }
}

/// What a kill leaves that comes between a line and its end, and a rotation before the next start.
#[tokio::test]
async fn a_line_without_its_end_at_the_end_of_a_file_is_a_notice() {
    let (directory, path) = log();
    run(&path, 2).await;
    let bytes = fs::read(&path).unwrap();
    let middle = directory.path().join("audit.log.1");
    fs::write(&middle, bytes.strip_suffix(b"\n").unwrap()).unwrap();
    fs::remove_file(&path).unwrap();
    run(&path, 1).await;
    let report = check(&[&path, &middle], &[]);
    assert!(report.is_whole(), "{report:?}");
    assert_eq!((report.notices[0].line, &report.notices[0].fault), (4, &Fault::Torn));
}

#[tokio::test]
async fn a_new_file_after_a_restart_is_linked_to_the_rotated_one() {
    let (directory, path) = log();
    run(&path, 2).await;
    let rotated = directory.path().join("audit.log.1");
    fs::rename(&path, &rotated).unwrap();
    run(&path, 2).await;
    let report = check(&[&path, &rotated], &[]);
    assert!(report.is_whole() && report.notices.is_empty(), "{report:?}");
}
