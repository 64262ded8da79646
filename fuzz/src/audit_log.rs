use std::io::Write as _;
use std::sync::LazyLock;

use selkie::audit::End;
use selkie::audit::verify::verify;
use selkie_crypto::AuditKey;
use tempfile::NamedTempFile;

static KEY: LazyLock<AuditKey> =
    LazyLock::new(|| AuditKey::init_with(|key| key.fill(6)).expect("a page for a key"));

/// A log of two runs, and what was kept elsewhere of it: where each run ended.
struct Genuine {
    text: Vec<u8>,
    ends: Vec<End>,
}

static GENUINE: LazyLock<Genuine> = LazyLock::new(|| {
    let mut log = Genuine { text: Vec::new(), ends: Vec::new() };
    log.run("0f2b1a5e-0000-4000-8000-00000000000a", 3);
    log.run("0f2b1a5e-0000-4000-8000-00000000000b", 2);
    log
});

impl Genuine {
    /// Writes a run by docs/monitoring.md ("Verify it") alone: nothing here is the server's code but the MAC.
    fn run(&mut self, chain: &str, requests: usize) {
        let previous = match self.ends.last() {
            None => "null".to_owned(),
            Some(End { chain, sequence, mac }) => {
                format!(r#"{{"chain":"{chain}","sequence":{sequence},"mac":"{}"}}"#, hex(mac))
            }
        };
        let mut lines = vec![format!(
            r#"{{"time":"2026-11-27T09:00:00.000000000Z","type":"selkie_start","device":"file","version":"1","previous":{previous}"#
        )];
        lines.extend((0..requests).map(|number| {
            format!(r#"{{"time":"2026-11-27T09:00:01.000000000Z","type":"request","n":{number}"#)
        }));
        lines.push(format!(
            r#"{{"time":"2026-11-27T09:00:02.000000000Z","type":"selkie_stop","lines":{},"missed":0"#,
            requests + 1
        ));
        let mut end = End { chain: chain.to_owned(), sequence: 0, mac: [0; 32] };
        for line in lines {
            end.sequence += 1;
            let covered =
                format!(r#"{line},"selkie":{{"chain":"{chain}","sequence":{}"#, end.sequence);
            end.mac = KEY.line_mac(&end.mac, covered.as_bytes());
            self.text.extend_from_slice(covered.as_bytes());
            self.text.extend_from_slice(format!(r#","mac":"{}"}}}}"#, hex(&end.mac)).as_bytes());
            self.text.push(b'\n');
        }
        self.ends.push(end);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Takes the bytes for a whole file of the log, and for changes of a genuine one: of every five the
/// first says what is done (a byte changed, put in, taken out, a line moved, everything after cut),
/// two where, and two with what.
///
/// `selkie audit verify` calls a file whole, with nothing to note, only if it is the genuine one,
/// byte for byte; and whatever it calls whole has every line of the genuine one.
pub fn audit_log(data: &[u8]) -> bool {
    is_found(&changed(data), reads_as) | is_found(data, reads_as)
}

/// Whether a file is whole, and whether there is anything to note.
pub(crate) struct Verdict {
    pub(crate) is_whole: bool,
    pub(crate) is_noted: bool,
}

pub(crate) fn reads_as(text: &[u8]) -> Verdict {
    thread_local! {
        static FILE: std::cell::RefCell<NamedTempFile> =
            std::cell::RefCell::new(NamedTempFile::new().expect("a place for a file"));
    }
    FILE.with_borrow_mut(|file| {
        std::fs::write(file.path(), text).expect("writable");
        file.flush().expect("writable");
        let files = [file.path().to_owned()];
        let mut bytes = 0;
        let report = verify(&files, &KEY, &GENUINE.ends, |read| bytes += read).expect("readable");
        assert_eq!(usize::try_from(bytes), Ok(text.len()), "not all of the file was read");
        let lines = text.split(|byte| *byte == b'\n').count();
        assert!(report.findings.iter().all(|finding| finding.line <= lines as u64));
        let is_noted = !report.notices.is_empty() || !report.open_ends.is_empty();
        Verdict { is_whole: report.is_whole(), is_noted }
    })
}

pub(crate) fn is_found(text: &[u8], read: impl Fn(&[u8]) -> Verdict) -> bool {
    let verdict = read(text);
    let is_genuine = text == GENUINE.text;
    assert_eq!(
        verdict.is_whole && !verdict.is_noted,
        is_genuine,
        "a changed log passed, or a genuine one did not: {}",
        text.escape_ascii()
    );
    if verdict.is_whole {
        let mut found = text.split_inclusive(|byte| *byte == b'\n');
        for line in GENUINE.text.split_inclusive(|byte| *byte == b'\n') {
            assert!(found.any(|one| one == line), "a line is missing and the log is whole");
        }
    }
    is_genuine
}

fn changed(changes: &[u8]) -> Vec<u8> {
    let mut text = GENUINE.text.clone();
    for [kind, high, low, first, second] in changes.as_chunks().0.iter().take(8) {
        let at = usize::from(u16::from_be_bytes([*high, *low])) % (text.len() + 1);
        let other = usize::from(u16::from_be_bytes([*first, *second]));
        match kind % 6 {
            0 if at < text.len() => text[at] ^= first,
            1 => text.insert(at, *first),
            2 => drop(text.drain(at..(at + usize::from(*first)).min(text.len()))),
            3 => move_line(&mut text, at, other),
            4 => text.truncate(at),
            _ => text[at..].reverse(),
        }
    }
    text
}

/// Moves one line to the place of another; the same one is doubled.
fn move_line(text: &mut Vec<u8>, from: usize, to: usize) {
    let mut lines: Vec<Vec<u8>> =
        text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let (from, to) = (from % lines.len(), to % lines.len());
    let line = if from == to { lines[from].clone() } else { lines.remove(from) };
    lines.insert(to, line);
    *text = lines.concat();
}
