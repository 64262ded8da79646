//! Libraries that stand before the C library's calls and fail when they are told to.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use selkie_tests::skip;

/// The library whose source beside this file is `name`.c, compiled into `directory`.
pub(crate) fn library(directory: &Path, name: &str) -> Result<Option<PathBuf>> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e");
    let library = directory.join(name).with_extension("so");
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]).arg(&library);
    match compiler.arg(sources.join(name).with_extension("c")).status() {
        Ok(status) => ensure!(status.success(), "cc must compile the library"),
        Err(_) => return skip("a C compiler", "apt-get install gcc").map(|()| None),
    }
    Ok(Some(library))
}
