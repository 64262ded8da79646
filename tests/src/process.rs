//! A child process, what it has said so far, and its end.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, kill_process};

pub use rustix::process::Signal;

use crate::wait::{PATIENCE, until};

/// A running child. It is killed when dropped, so no test leaves one behind.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdout: Arc<Said>,
    stderr: Arc<Said>,
}

#[derive(Debug, Default)]
struct Said {
    lines: Mutex<Lines>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    is_over: bool,
}

impl Process {
    /// Starts a command with its input closed and its output collected.
    ///
    /// # Errors
    ///
    /// If it cannot be started.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let stdout = Said::collect(child.stdout.take());
        let stderr = Said::collect(child.stderr.take());
        Ok(Self { name, child, stdout, stderr })
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines of the standard output so far.
    #[must_use]
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().all.clone()
    }

    /// All lines of the standard error output so far.
    #[must_use]
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().all.clone()
    }

    /// Waits for the first line of the standard output that `accept` makes something of.
    ///
    /// # Errors
    ///
    /// If the output ends or a minute passes first; the error carries both outputs.
    pub fn stdout_line<T>(&self, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.line(&self.stdout, 0, accept)
    }

    /// The same for the standard error output, from line `from` on.
    ///
    /// # Errors
    ///
    /// As for [`Process::stdout_line`].
    pub fn stderr_line<T>(&self, from: usize, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        self.line(&self.stderr, from, accept)
    }

    fn line<T>(&self, said: &Said, from: usize, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        said.wait(from, accept).with_context(|| {
            let (out, err) = (last_lines(&self.stdout()), last_lines(&self.stderr()));
            format!("{} never said it.\nstdout:\n{out}\nstderr:\n{err}", self.name)
        })
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// If the process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.id())?).context("process id 0")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Kills the process (SIGKILL) and waits for its end.
    ///
    /// # Errors
    ///
    /// If the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Waits for the process to end by itself: its exit code, or the negated signal.
    ///
    /// # Errors
    ///
    /// If it does not end.
    pub fn exit_code(&mut self) -> Result<i32> {
        let name = self.name.clone();
        let status = until(&format!("{name} exits"), || Ok(self.child.try_wait()?))?;
        self.stdout.wait_for_end()?;
        self.stderr.wait_for_end()?;
        code(status)
    }

    /// Whether the process still runs.
    ///
    /// # Errors
    ///
    /// If that cannot be told.
    pub fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
}

fn last_lines(lines: &[String]) -> String {
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}

fn code(status: ExitStatus) -> Result<i32> {
    status.code().or_else(|| status.signal().map(|signal| -signal)).context("no exit status")
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.kill().ok();
    }
}

impl Said {
    fn collect(stream: Option<impl Read + Send + 'static>) -> Arc<Self> {
        let said = Arc::new(Self::default());
        if let Some(stream) = stream {
            let said = Arc::clone(&said);
            thread::spawn(move || said.read(BufReader::new(stream)));
        }
        said
    }

    fn read(&self, mut stream: impl BufRead) {
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            self.lock().all.push(text);
            self.grown.notify_all();
            line.clear();
        }
        self.lock().is_over = true;
        self.grown.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<T>(&self, from: usize, accept: impl Fn(&str) -> Option<T>) -> Result<T> {
        let end = Instant::now() + PATIENCE;
        let (mut lines, mut next) = (self.lock(), from);
        loop {
            let fresh = lines.all.get(next..).unwrap_or_default();
            if let Some(found) = fresh.iter().find_map(|line| accept(line)) {
                return Ok(found);
            }
            next = next.max(lines.all.len());
            if lines.is_over {
                bail!("its output has ended");
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited {} s", PATIENCE.as_secs());
            }
            let woken = self.grown.wait_timeout(lines, left);
            lines = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn wait_for_end(&self) -> Result<()> {
        until("its output ends", || Ok(self.lock().is_over.then_some(())))
    }
}
