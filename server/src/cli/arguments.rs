//! What several commands take in the same way.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

/// A configuration file, by its place on the command line or, as the server is given it, by name.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct ConfigFile {
    /// The configuration file.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same, as `selkie server` takes it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigFile {
    pub(super) fn path(&self) -> &Path {
        // One of the two is there: the group is required.
        self.file.as_deref().or(self.config.as_deref()).unwrap_or(Path::new(""))
    }
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Table,
    Json,
}

/// How a report is printed.
#[derive(Debug, clap::Args)]
pub(super) struct ReportFormat {
    /// How the report is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The same as "--format json", from before there was that.
    #[arg(long, hide = true, conflicts_with = "format")]
    json: bool,
}

impl ReportFormat {
    pub(super) fn is_json(&self) -> bool {
        self.json || self.format == Format::Json
    }
}
