//! `selkie audit verify`: whether audit files are what the server wrote, line by line.
//!
//! What a key's holder can tell from the files alone: every change, swap, repetition and gap, also
//! across rotations and restarts. That lines are missing at the very end shows only by a checkpoint
//! that was kept elsewhere.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use selkie_crypto::AuditKey;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::chain::{End, Linked};
use super::line::{CHECKPOINT, FILE, START, STOP};

/// No line of ours is longer.
const LONGEST_LINE_BYTES: u64 = 2 << 20;
/// So many findings are told one by one.
const MOST_FINDINGS: usize = 100;

/// What there is to say about some files.
#[derive(Debug, Default)]
pub struct Report {
    /// Whole lines that were read.
    pub lines: u64,
    /// Runs of the server (chains) that they belong to.
    pub runs: usize,
    /// What is wrong; with none the files are whole.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub more_findings: u64,
    /// What is no fault and worth knowing.
    pub notices: Vec<Finding>,
    /// Runs whose last line is no stop, with the lines since their last checkpoint.
    pub open_ends: Vec<(End, u64)>,
}

/// Something about one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; 0 for what concerns no line.
    pub line: u64,
    /// What.
    pub fault: Fault,
}

/// What can be wrong with, or worth knowing of, a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is no line that a server writes, or not a whole one.
    #[error("not a whole audit line: changed, or broken off")]
    NotALine,
    /// It is not what was written after the line before.
    #[error(
        "changed: line {sequence} of run {chain} does not match its MAC, or the key is another"
    )]
    Changed {
        /// Its run.
        chain: String,
        /// Its number.
        sequence: u64,
    },
    /// Lines before it are missing.
    #[error("missing: lines {from} to {to} of run {chain}")]
    Missing {
        /// Their run.
        chain: String,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// It was there already, or belongs further up.
    #[error("out of place: line {sequence} of run {chain} repeats, or was moved here")]
    OutOfPlace {
        /// Its run.
        chain: String,
        /// Its number.
        sequence: u64,
    },
    /// The run before it is missing, or is not whole.
    #[error("missing: this run began after {previous}, with which no run here ends")]
    MissingRun {
        /// Where the run before ended.
        previous: End,
    },
    /// It does not say which run was before it, although one was.
    #[error("a run that names none before it")]
    Unlinked,
    /// What is before it was not given: no fault if it was deleted as too old.
    #[error("the first line here follows {previous}, which is in an earlier file")]
    Earlier {
        /// The line before.
        previous: End,
    },
    /// A crash has broken a line off, which nobody was answered for.
    #[error("a line broken off by a crash or a full disk; what follows it is linked")]
    Torn,
    /// A checkpoint that was kept elsewhere is not in the files.
    #[error("cut: the files do not contain checkpoint {checkpoint}")]
    CheckpointMissing {
        /// The checkpoint.
        checkpoint: End,
    },
}

#[derive(Debug)]
struct Run {
    end: End,
    is_stopped: bool,
    checkpoint: u64,
}

/// What our own lines say besides.
#[derive(Deserialize)]
struct Own {
    #[serde(rename = "type")]
    kind: String,
    previous: Option<Previous>,
}

#[derive(Deserialize)]
struct Previous {
    chain: String,
    sequence: u64,
    mac: String,
}

/// Checks `files`, in the order in which they were begun. `checkpoints` are those that were kept
/// elsewhere. `progress` is told how many bytes were read each time.
///
/// # Errors
///
/// A file that cannot be read.
pub fn verify(
    files: &[PathBuf],
    key: &AuditKey,
    checkpoints: &[End],
    mut progress: impl FnMut(u64),
) -> Result<Report, (PathBuf, io::Error)> {
    let mut verifier = Verifier::new(key, checkpoints);
    for file in in_order(files)? {
        verifier.file(&file, &mut progress).map_err(|error| (file, error))?;
    }
    Ok(verifier.finish())
}

/// By when they were begun; a forged order only makes findings.
fn in_order(files: &[PathBuf]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut begun = Vec::with_capacity(files.len());
    for path in files {
        let time = begun_at(path).map_err(|error| (path.clone(), error))?;
        begun.push((time, path.clone()));
    }
    // What cannot be read comes last, where it has the least to confuse.
    begun.sort_by(|(one, _), (other, _)| match (one, other) {
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (Some(_), None) => std::cmp::Ordering::Less,
        (one, other) => one.cmp(other),
    });
    Ok(begun.into_iter().map(|(_, path)| path).collect())
}

/// The time in the first line that has one: a kill may have torn those before it.
fn begun_at(path: &Path) -> io::Result<Option<String>> {
    #[derive(Deserialize)]
    struct Begun {
        time: String,
    }
    let mut reader = BufReader::new(File::open(path)?).take(LONGEST_LINE_BYTES);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if let Ok(begun) = serde_json::from_slice::<Begun>(&line) {
            return Ok(Some(begun.time));
        }
        line.clear();
    }
    Ok(None)
}

/// Whether `line`, which is no whole one of ours, may be what a kill has left of one: its beginning, which
/// is never JSON, or all but its line end.
fn may_be_torn(line: &[u8]) -> bool {
    let is_json = serde_json::from_slice::<IgnoredAny>(line).is_ok();
    line.starts_with(b"{") && (!is_json || Linked::parse(line).is_some())
}

struct Verifier<'k> {
    key: &'k AuditKey,
    runs: BTreeMap<String, Run>,
    /// The MACs of checkpoints that were not seen yet.
    checkpoints: HashMap<(String, u64), [u8; 32]>,
    report: Report,
    place: (PathBuf, u64),
    /// Where something stood that may be torn, if the next line may explain it: each of several kills
    /// may have torn one.
    torn: Vec<Finding>,
}

impl<'k> Verifier<'k> {
    fn new(key: &'k AuditKey, checkpoints: &[End]) -> Self {
        let by_place = |end: &End| ((end.chain.clone(), end.sequence), end.mac);
        Self {
            key,
            runs: BTreeMap::new(),
            checkpoints: checkpoints.iter().map(by_place).collect(),
            report: Report::default(),
            place: (PathBuf::new(), 0),
            torn: Vec::new(),
        }
    }

    fn file(&mut self, path: &Path, progress: &mut impl FnMut(u64)) -> io::Result<()> {
        self.place = (path.to_owned(), 0);
        let (mut reader, mut bytes) =
            (BufReader::with_capacity(1 << 18, File::open(path)?), vec![]);
        loop {
            bytes.clear();
            let read = (&mut reader).take(LONGEST_LINE_BYTES).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(());
            }
            progress(u64::try_from(read).unwrap_or(u64::MAX));
            self.place.1 = self.place.1.saturating_add(1);
            match bytes.strip_suffix(b"\n").and_then(Linked::parse) {
                Some(line) => self.line(&line),
                None => self.not_a_line(&bytes),
            }
        }
    }

    fn not_a_line(&mut self, bytes: &[u8]) {
        let may_be_torn = may_be_torn(bytes);
        if !may_be_torn || self.torn.len() >= MOST_FINDINGS {
            self.settle_torn();
        }
        match may_be_torn {
            true => self.torn.push(self.here(Fault::NotALine)),
            false => self.find_here(Fault::NotALine),
        }
    }

    fn settle_torn(&mut self) {
        for finding in std::mem::take(&mut self.torn) {
            self.find(finding);
        }
    }

    fn line(&mut self, line: &Linked<'_>) {
        self.report.lines = self.report.lines.saturating_add(1);
        let own = line.own();
        let explains = own.as_ref().is_some_and(|own| [START, FILE].contains(&&*own.kind));
        let before = self.report.findings.len();
        let torn = if explains { std::mem::take(&mut self.torn) } else { Vec::new() };
        self.settle_torn();
        match self.runs.get(&line.end.chain) {
            Some(run) => {
                let end = run.end.clone();
                self.next_of(line, own.as_ref(), &end);
            }
            None => self.first_of(line, own.as_ref()),
        }
        let is_explained = self.report.findings.len() == before;
        for torn in torn {
            match is_explained {
                true => self.report.notices.push(Finding { fault: Fault::Torn, ..torn }),
                false => self.find(torn),
            }
        }
        self.see_checkpoint(&line.end);
        if let (Some(own), Some(run)) = (own, self.runs.get_mut(&line.end.chain)) {
            run.is_stopped = own.kind == STOP;
            if run.is_stopped || own.kind == CHECKPOINT {
                run.checkpoint = line.end.sequence;
            }
        }
    }

    /// A line of a run that is known up to `end`.
    fn next_of(&mut self, line: &Linked<'_>, own: Option<&Own>, end: &End) {
        let End { chain, sequence, .. } = line.end.clone();
        if sequence <= end.sequence {
            return self.find_here(Fault::OutOfPlace { chain, sequence });
        }
        let next = end.sequence.saturating_add(1);
        if sequence > next {
            let to = sequence.saturating_sub(1);
            self.find_here(Fault::Missing { chain, from: next, to });
            let previous = own.and_then(Own::previous).map(|previous| previous.mac);
            if previous.is_some_and(|previous| !line.follows(self.key, &previous)) {
                self.find_here(Fault::Changed { chain: line.end.chain.clone(), sequence });
            }
        } else if !line.follows(self.key, &end.mac) {
            self.find_here(Fault::Changed { chain, sequence });
        }
        self.advance(line);
    }

    /// A line of a run that was not met before.
    fn first_of(&mut self, line: &Linked<'_>, own: Option<&Own>) {
        let End { chain, sequence, .. } = line.end.clone();
        let previous = own.and_then(Own::previous);
        let kind = own.map(|own| &*own.kind);
        match (sequence, kind, previous) {
            (1, Some(START), previous) if line.follows(self.key, &[0; 32]) => {
                self.link(previous);
            }
            (_, Some(FILE), Some(previous))
                if previous.chain == chain
                    && previous.sequence.checked_add(1) == Some(sequence)
                    && line.follows(self.key, &previous.mac) =>
            {
                match self.runs.is_empty() {
                    true => self.notice(Fault::Earlier { previous }),
                    false => {
                        self.find_here(Fault::Missing { chain, from: 1, to: previous.sequence })
                    }
                }
            }
            (1, ..) => self.find_here(Fault::Changed { chain, sequence }),
            _ => self.find_here(Fault::Missing { chain, from: 1, to: sequence.saturating_sub(1) }),
        }
        self.advance(line);
    }

    /// A run begins that says where the one before it ended.
    fn link(&mut self, previous: Option<End>) {
        let Some(previous) = previous else {
            return match (self.runs.is_empty(), self.place.1) {
                (true, _) => {}
                (false, 1) => self.notice(Fault::Unlinked),
                (false, _) => self.find_here(Fault::Unlinked),
            };
        };
        match self.runs.get(&previous.chain) {
            Some(run) if run.end == previous => {}
            None if self.runs.is_empty() => self.notice(Fault::Earlier { previous }),
            Some(_) | None => self.find_here(Fault::MissingRun { previous }),
        }
    }

    fn advance(&mut self, line: &Linked<'_>) {
        let checkpoint = self.runs.get(&line.end.chain).map_or(0, |run| run.checkpoint);
        let run = Run { end: line.end.clone(), is_stopped: false, checkpoint };
        self.runs.insert(line.end.chain.clone(), run);
    }

    fn see_checkpoint(&mut self, end: &End) {
        if self.checkpoints.is_empty() {
            return;
        }
        let place = (end.chain.clone(), end.sequence);
        if self.checkpoints.get(&place) == Some(&end.mac) {
            self.checkpoints.remove(&place);
        }
    }

    fn here(&self, fault: Fault) -> Finding {
        Finding { file: self.place.0.clone(), line: self.place.1, fault }
    }

    fn find_here(&mut self, fault: Fault) {
        self.find(self.here(fault));
    }

    fn notice(&mut self, fault: Fault) {
        self.report.notices.push(self.here(fault));
    }

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < MOST_FINDINGS {
            self.report.findings.push(finding);
        } else {
            self.report.more_findings = self.report.more_findings.saturating_add(1);
        }
    }

    fn finish(mut self) -> Report {
        self.settle_torn();
        let missing = std::mem::take(&mut self.checkpoints).into_iter();
        let mut missing: Vec<_> =
            missing.map(|((chain, sequence), mac)| End { chain, sequence, mac }).collect();
        missing
            .sort_by(|one, other| (&one.chain, one.sequence).cmp(&(&other.chain, other.sequence)));
        for checkpoint in missing {
            let fault = Fault::CheckpointMissing { checkpoint };
            self.find(Finding { file: self.place.0.clone(), line: 0, fault });
        }
        let open = self.runs.values().filter(|run| !run.is_stopped);
        let open = open.map(|run| (run.end.clone(), run.end.sequence - run.checkpoint));
        Report { runs: self.runs.len(), open_ends: open.collect(), ..self.report }
    }
}

impl Report {
    /// Whether the files are what was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Own {
    fn previous(&self) -> Option<End> {
        let Previous { chain, sequence, mac } = self.previous.as_ref()?;
        format!("{chain}:{sequence}:{mac}").parse().ok()
    }
}

impl Linked<'_> {
    /// What it says if the server wrote it about the log itself.
    fn own(&self) -> Option<Own> {
        const MARK: &[u8] = b"\"type\":\"selkie_";
        // Right after the time, where nothing of a client's stands.
        let head = self.covered().get(..64)?;
        head.windows(MARK.len()).any(|window| window == MARK).then_some(())?;
        let (object, _chain) = str::from_utf8(self.covered()).ok()?.rsplit_once(",\"selkie\":")?;
        serde_json::from_str(&format!("{object}}}")).ok()
    }
}
