//! `selkie takeover rewrap`: many ciphertexts of the old server, in order, with what fails told and left
//! as it was.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write, stderr, stdin};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use http::Method;
use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use selkie_access::{KeyName, MountPath};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::super::remote::{Remote, RemoteError, ServerArguments};
use super::super::terminal::printable;
use super::super::{CommandError, single_threaded};
use super::failure::LineFailure;
use super::line::{Content, Line};
use super::sink::{Earlier, Sink};

/// For one batch: what a server takes for it, and some.
const PATIENCE: Duration = Duration::from_secs(75);
/// How many batches are under way at a time.
const BATCHES_AT_A_TIME: usize = 4;
/// How often a batch is tried again while the server, or what it asks, is away.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// How many failures are told one by one where they do not go into a file.
const MOST_TOLD: u64 = 20;

/// Each line of the input is a ciphertext, or a JSON object with a member "ciphertext" (and perhaps
/// "context"). Each line of the output is the same with the new ciphertext; what fails, and what is
/// Selkie's already, stays as it is. The token needs update on MOUNT/rewrap/KEY.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// The key that takes over.
    #[arg(long, value_name = "NAME")]
    key: KeyName,
    /// The mount that it is in.
    #[arg(long, value_name = "PATH", default_value = "transit")]
    mount: MountPath,
    /// The ciphertexts, one a line; "-" for the standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where the lines go; by default to the standard output. If the file is there, the run goes on
    /// after its last line. Failures are listed beside it, in FILE.failures.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many ciphertexts go into one request.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u16).range(1..=5000))]
    batch: u16,
}

pub(super) fn run(
    arguments: &Arguments,
    output: &mut dyn Write,
    errors: &mut dyn Write,
) -> Result<(), CommandError> {
    let runtime = single_threaded()?;
    let server = Remote::of(&arguments.server, PATIENCE)?;
    let (input, its_id) = open(&arguments.input)?;
    let failures = arguments.output.as_deref().map(failures_path);
    for path in arguments.output.iter().chain(&failures) {
        refuse_input(path, its_id)?;
    }
    let sink = match &arguments.output {
        None => Sink::stream(output),
        Some(path) => Sink::resume(path).map_err(at(path))?,
    };
    let failures = failures.as_deref().map(failures_file).transpose()?;
    let bar = bar(&arguments.input)?;
    let target = Target { server, path: format!("{}/rewrap/{}", arguments.mount, arguments.key) };
    let mut run =
        Run { sink, failures, errors, bar, began: Instant::now(), tally: Tally::default() };
    let mut lines = Lines { input: BufReader::new(input), path: &arguments.input, again: None };
    if let Some(path) = &arguments.output {
        run.skip(&mut lines, path)?;
    }
    let done = run.tally.lines;
    run.began = Instant::now();
    runtime.block_on(run.all(&target, lines, arguments.batch))?;
    run.finish(done)
}

fn at(path: &Path) -> impl Fn(io::Error) -> CommandError {
    move |source| CommandError::File { path: path.to_owned(), source }
}

/// Device and inode of a file.
type FileId = (u64, u64);

fn open(path: &Path) -> Result<(Box<dyn Read>, FileId), CommandError> {
    let file = match path == Path::new("-") {
        true => stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    let file = file.map_err(at(path))?;
    let found = file.metadata().map_err(at(path))?;
    Ok((Box::new(file), (found.dev(), found.ino())))
}

/// What is written into the input is lost, or read again without end.
fn refuse_input(path: &Path, input: FileId) -> Result<(), CommandError> {
    match fs::metadata(path) {
        Ok(found) if found.is_file() && (found.dev(), found.ino()) == input => {
            Err(CommandError::OutputIsInput { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

fn failures_path(output: &Path) -> PathBuf {
    let mut path = output.as_os_str().to_owned();
    path.push(".failures");
    PathBuf::from(path)
}

fn failures_file(path: &Path) -> Result<File, CommandError> {
    File::options().append(true).create(true).open(path).map_err(at(path))
}

/// The lines of the input.
struct Lines<'p, R> {
    input: BufReader<R>,
    path: &'p Path,
    /// What was looked at and is to be rewrapped.
    again: Option<Line>,
}

impl<R: Read> Lines<'_, R> {
    fn next(&mut self) -> Result<Option<Line>, CommandError> {
        let mut bytes = Vec::new();
        let read = self.input.read_until(b'\n', &mut bytes).map_err(at(self.path))?;
        if read == 0 {
            return Ok(None);
        }
        bytes.truncate(bytes.strip_suffix(b"\n").unwrap_or(&bytes).len());
        Ok(Some(Line::of(bytes)))
    }

    /// At most `most` lines that may go into one request: Vault takes contexts in all items or in
    /// none.
    fn batch(&mut self, most: usize, left: &mut Option<Line>) -> Result<Vec<Line>, CommandError> {
        let mut batch = Vec::new();
        let mut has_context = None;
        while batch.len() < most {
            let Some(line) = left.take().map_or_else(|| self.next(), |line| Ok(Some(line)))? else {
                break;
            };
            if let Content::Foreign { context, .. } = &line.content
                && *has_context.get_or_insert(context.is_some()) != context.is_some()
            {
                *left = Some(line);
                break;
            }
            batch.push(line);
        }
        Ok(batch)
    }
}

/// The endpoint that rewraps.
struct Target {
    server: Remote,
    path: String,
}

/// Lines, and what became of each that was sent: its new ciphertext, or why there is none.
struct Answered {
    lines: Vec<Line>,
    results: Vec<Result<String, LineFailure>>,
}

impl Target {
    async fn rewrap(&self, lines: Vec<Line>) -> Result<Answered, RemoteError> {
        let items = lines.iter().filter_map(|line| match &line.content {
            Content::Foreign { ciphertext, context: None } => {
                Some(json!({ "ciphertext": ciphertext }))
            }
            Content::Foreign { ciphertext, context: Some(context) } => {
                Some(json!({ "ciphertext": ciphertext, "context": context }))
            }
            Content::Done | Content::Unfit(_) => None,
        });
        let items: Vec<_> = items.collect();
        if items.is_empty() {
            return Ok(Answered { lines, results: Vec::new() });
        }
        let results = self.send_until_answered(&json!({ "batch_input": items })).await?;
        match results.len() == items.len() {
            true => Ok(Answered { lines, results }),
            false => Err(RemoteError::Unreadable),
        }
    }

    async fn send_until_answered(
        &self,
        body: &Value,
    ) -> Result<Vec<Result<String, LineFailure>>, RemoteError> {
        let mut pause = FIRST_PAUSE;
        for _try in 1..TRIES {
            match self.send(body).await {
                Err(error) if is_passing(&error) => {}
                Ok(results) if results.iter().any(is_away) => {}
                outcome => return outcome.and_then(settled),
            }
            sleep(pause).await;
            pause *= 2;
        }
        let results = self.send(body).await?;
        match results.iter().any(is_away) {
            true => Err(RemoteError::MasterKeyAway),
            false => settled(results),
        }
    }

    async fn send(&self, body: &Value) -> Result<Vec<Result<String, LineFailure>>, RemoteError> {
        let answer = self.server.tell(Method::PUT, &self.path, Some(body), "update").await?;
        let results = answer["data"]["batch_results"].as_array().ok_or(RemoteError::Unreadable)?;
        let result = |one: &Value| match (one["ciphertext"].as_str(), one["error"].as_str()) {
            (_, Some(error)) if !error.is_empty() => Ok(Err(LineFailure::told(error))),
            (Some(ciphertext), _) if !ciphertext.is_empty() => Ok(Ok(ciphertext.to_owned())),
            _ => Err(RemoteError::Unreadable),
        };
        results.iter().map(result).collect()
    }
}

/// Whether the same may succeed later.
const fn is_passing(error: &RemoteError) -> bool {
    match error {
        RemoteError::Unreachable(_) | RemoteError::TimedOut => true,
        RemoteError::Told { status, .. } => status.as_u16() == 429 || status.as_u16() >= 500,
        _ => false,
    }
}

/// Nothing will be rewrapped before somebody mends it if all fails because we are refused.
fn settled(
    results: Vec<Result<String, LineFailure>>,
) -> Result<Vec<Result<String, LineFailure>>, RemoteError> {
    let is_refused = |result: &Result<String, LineFailure>| {
        matches!(result, Err(LineFailure::MasterKeyRefuses(_)))
    };
    match !results.is_empty() && results.iter().all(is_refused) {
        true => Err(RemoteError::MasterKeyRefuses),
        false => Ok(results),
    }
}

const fn is_away(result: &Result<String, LineFailure>) -> bool {
    matches!(result, Err(LineFailure::MasterKeyAway))
}

#[derive(Debug, Default)]
struct Tally {
    lines: u64,
    rewrapped: u64,
    as_they_were: u64,
    failed: u64,
}

/// One run of the command.
struct Run<'r> {
    sink: Sink<'r>,
    failures: Option<File>,
    errors: &'r mut dyn Write,
    bar: ProgressBar,
    began: Instant,
    tally: Tally,
}

impl Run<'_> {
    /// Judges the lines of an earlier run: what that left as it was counts as failed again. Nothing is
    /// written before all are known to be of this input.
    fn skip<R: Read>(&mut self, lines: &mut Lines<'_, R>, path: &Path) -> Result<(), CommandError> {
        let other = || CommandError::NotOfThisInput { path: path.to_owned() };
        loop {
            let output = match self.sink.earlier().map_err(at(path))? {
                Earlier::Cut(cut) if cut.is_empty() => break,
                Earlier::Cut(cut) => {
                    let line = lines.next()?.ok_or_else(other)?;
                    if !line.may_begin_with(&cut) {
                        return Err(other());
                    }
                    lines.again = Some(line);
                    break;
                }
                Earlier::Line(output) => output,
            };
            let line = lines.next()?.ok_or_else(other)?;
            self.tally.lines += 1;
            match line.content {
                Content::Foreign { .. } if line.is_rewrapped_in(&output) => {
                    self.tally.rewrapped += 1;
                }
                _ if line.bytes != output => return Err(other()),
                Content::Foreign { .. } => self.fail(&LineFailure::LeftEarlier)?,
                Content::Unfit(why) => self.fail(&why.into())?,
                Content::Done => self.tally.as_they_were += 1,
            }
        }
        self.sink.begin().map_err(at(path))?;
        self.bar.set_position(self.tally.lines);
        self.bar.reset_eta();
        Ok(())
    }

    async fn all<R: Read>(
        &mut self,
        target: &Target,
        mut lines: Lines<'_, R>,
        most: u16,
    ) -> Result<(), CommandError> {
        let (most, mut left) = (usize::from(most), lines.again.take());
        let batches = std::iter::from_fn(|| match lines.batch(most, &mut left) {
            Ok(batch) if batch.is_empty() => None,
            outcome => Some(outcome),
        });
        let answers = stream::iter(batches).map(|batch| async {
            let answered = target.rewrap(batch?).await;
            Ok::<_, CommandError>(answered)
        });
        let mut answers = std::pin::pin!(answers.buffered(BATCHES_AT_A_TIME));
        while let Some(answered) = answers.next().await {
            let done = self.tally.lines;
            let answered = answered?;
            self.take(answered.map_err(|source| CommandError::Interrupted { done, source })?)?;
        }
        Ok(())
    }

    fn take(&mut self, answered: Answered) -> Result<(), CommandError> {
        let mut results = answered.results.into_iter();
        let mut text = Vec::new();
        for line in &answered.lines {
            self.tally.lines += 1;
            let result = match line.content {
                Content::Done => {
                    self.tally.as_they_were += 1;
                    None
                }
                Content::Unfit(why) => Some(Err(why.into())),
                Content::Foreign { .. } => results.next(),
            };
            match result {
                Some(Ok(ciphertext)) => {
                    self.tally.rewrapped += 1;
                    text.extend_from_slice(line.with(&ciphertext).as_bytes());
                }
                Some(Err(why)) => {
                    self.fail(&why)?;
                    text.extend_from_slice(&line.bytes);
                }
                None => text.extend_from_slice(&line.bytes),
            }
            text.push(b'\n');
        }
        self.sink.write(&text).map_err(CommandError::Output)?;
        self.bar.set_position(self.tally.lines);
        Ok(())
    }

    fn fail(&mut self, why: &LineFailure) -> Result<(), CommandError> {
        self.tally.failed += 1;
        let why = printable(&why.to_string());
        let told = format!("line {}: {why}\n", self.tally.lines);
        match &mut self.failures {
            Some(file) => file.write_all(told.as_bytes()).map_err(CommandError::Output),
            None if self.tally.failed <= MOST_TOLD => {
                self.errors.write_all(told.as_bytes()).map_err(CommandError::Output)
            }
            None => Ok(()),
        }
    }

    fn finish(self, done: u64) -> Result<(), CommandError> {
        self.bar.finish_and_clear();
        self.sink.finish().map_err(CommandError::Output)?;
        let Tally { lines, rewrapped, as_they_were, failed } = self.tally;
        let time = self.began.elapsed();
        let rate = rate(lines.saturating_sub(done), time);
        let earlier = if done > 0 { format!(", {done} of them earlier") } else { String::new() };
        let summary = format!(
            "{lines} lines{earlier}: {rewrapped} rewrapped, {as_they_were} left as they were, {failed} \
             failed; {} ({rate} lines/s)\n",
            HumanDuration(time)
        );
        self.errors.write_all(summary.as_bytes()).map_err(CommandError::Output)?;
        if failed == 0 { Ok(()) } else { Err(CommandError::NotAllRewrapped) }
    }
}

fn rate(lines: u64, time: Duration) -> u64 {
    let milliseconds = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    lines.saturating_mul(1000) / milliseconds
}

/// On the terminal alone.
fn bar(input: &Path) -> Result<ProgressBar, CommandError> {
    if !stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let lines = count_lines(input)?;
    let bar = ProgressBar::with_draw_target(lines, ProgressDrawTarget::stderr());
    let template = match lines {
        Some(_) => "{bar:40} {human_pos}/{human_len} {per_sec} {elapsed} left {eta}",
        None => "{spinner} {human_pos} {per_sec} {elapsed}",
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => Ok(bar.with_style(style)),
        Err(_impossible) => Ok(bar),
    }
}

/// How many lines a file has; `None` of anything else, which is read but once.
fn count_lines(path: &Path) -> Result<Option<u64>, CommandError> {
    let is_stream = path == Path::new("-");
    if is_stream || !fs::metadata(path).map_err(at(path))?.is_file() {
        return Ok(None);
    }
    let mut reader = BufReader::new(File::open(path).map_err(at(path))?);
    let (mut lines, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(at(path))? == 0 {
            return Ok(Some(lines));
        }
        lines = lines.saturating_add(1);
    }
}

#[cfg(test)]
mod tests;
