//! The log: structured events on standard error, as text or as JSON, with the time in UTC.
//!
//! Only our own crates speak below "warn", whatever the level: libraries log what passes through
//! them at "debug" and "trace", and that is secrets.
//!
//! Nobody waits for the log: where standard error is not read, lines are lost and counted.

#[cfg(test)]
pub(crate) mod captured;
mod line_queue;

use std::error::Error;
use std::fmt;
use std::io::{self, IsTerminal, stderr};
use std::panic;

use selkie_config::{LogFormat, LogLevel, Logging};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt as format;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use self::line_queue::LineQueue;

/// The environment variable whose level stands above the configured one.
pub const LEVEL_VARIABLE: &str = "SELKIE_LOG";

/// Our crates and the modules in them begin with this.
const OURS: &str = "selkie";

/// The running log. Dropped, it waits for its last lines to be written, a second at most.
#[derive(Debug)]
pub struct Telemetry {
    lines: LineQueue,
    filter: reload::Handle<Targets, Registry>,
    fixed_level: Option<LogLevel>,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The environment names no level.
    #[error("{LEVEL_VARIABLE}: there are \"trace\", \"debug\", \"info\", \"warn\" and \"error\"")]
    UnknownLevel,
    /// This process logs already.
    #[error("the log was started twice")]
    Started(#[from] TryInitError),
    /// There is no thread to write it.
    #[error("the log cannot have a thread")]
    Thread(#[source] io::Error),
}

impl Telemetry {
    /// Starts the log of this process. `level` is the text of [`LEVEL_VARIABLE`], if it is set.
    ///
    /// A panic is logged by its place alone: its message may quote a request.
    ///
    /// # Errors
    ///
    /// [`TelemetryError`].
    pub fn start(logging: Logging, level: Option<&[u8]>) -> Result<Self, TelemetryError> {
        let fixed_level = level.map(parse_level).transpose()?;
        let level = fixed_level.unwrap_or(logging.level);
        let (filter, handle) = reload::Layer::new(targets(level));
        let queue = LineQueue::start(stderr(), tell_dropped).map_err(TelemetryError::Thread)?;
        let lines = format::layer().with_writer(queue.clone());
        let lines = match logging.format {
            LogFormat::Standard => lines.with_ansi(stderr().is_terminal()).boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).try_init()?;
        panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(tracing::field::display);
            tracing::error!(place, "a panic, which is a bug: please report its place");
        }));
        Ok(Self { lines: queue, filter: handle, fixed_level })
    }

    /// From now on logs from `level` on, unless the environment has fixed another.
    pub fn set_level(&self, level: LogLevel) {
        let level = self.fixed_level.unwrap_or(level);
        if let Err(error) = self.filter.reload(targets(level)) {
            tracing::error!(%error, "the log level cannot be changed");
        }
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.lines.flush();
    }
}

fn tell_dropped(lines: u64) {
    tracing::warn!(lines, "lines of the log were lost: standard error was not read fast enough");
}

fn parse_level(text: &[u8]) -> Result<LogLevel, TelemetryError> {
    match text.to_ascii_lowercase().as_slice() {
        b"trace" => Ok(LogLevel::Trace),
        b"debug" => Ok(LogLevel::Debug),
        b"info" => Ok(LogLevel::Info),
        b"warn" => Ok(LogLevel::Warn),
        b"error" => Ok(LogLevel::Error),
        _ => Err(TelemetryError::UnknownLevel),
    }
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_target(OURS, level)
}

/// An error with everything that caused it, in one line.
#[derive(Debug)]
pub struct WithCauses<'e>(pub &'e dyn Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = self.0.to_string();
        f.write_str(&told)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let text = error.to_string();
            // Some errors quote their cause themselves.
            if !told.ends_with(&text) {
                write!(f, ": {text}")?;
                told = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn libraries_stay_silent_below_warn_at_every_level() {
        let filter = targets(LogLevel::Trace);
        assert!(filter.would_enable("selkie_listener::accept", &Level::TRACE));
        assert!(!filter.would_enable("hyper::proto", &Level::INFO));
        assert!(filter.would_enable("hyper::proto", &Level::WARN));
        assert!(!targets(LogLevel::Error).would_enable("hyper::proto", &Level::WARN));
    }

    #[test]
    fn a_level_is_one_of_the_configurations_words() {
        assert_eq!(parse_level(b"DEBUG").ok(), Some(LogLevel::Debug));
        for text in [&b"selkie=trace"[..], b"", b"off"] {
            assert!(parse_level(text).is_err(), "{text:?}");
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Quoting);

    #[derive(Debug, thiserror::Error)]
    #[error("quoting: {0}")]
    struct Quoting(#[source] io::Error);

    #[test]
    fn each_cause_is_told_once() {
        let error = Outer(Quoting(io::Error::other("inmost")));
        assert_eq!(WithCauses(&error).to_string(), "outer: quoting: inmost");
    }
}
