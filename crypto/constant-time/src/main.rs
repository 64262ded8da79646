//! Shows that in `selkie-crypto` no secret decides a branch, an index or a length (invariant I4):
//! every public function that takes a secret runs under valgrind with the secret poisoned, and the
//! reports are counted. Run it with `./check`. It will never be part of what is shipped.
//!
//! Exit status: 0 if every call made as many reports as are listed for it, each with its reason, and
//! every control was caught; 1 if not; 2 if it does not run under valgrind.
//!
//! Not covered: what a processor's own instructions reveal, and the VAES, AVX-512 and SHA code
//! paths, which valgrind hides from the program.

mod cipher;
mod controls;
mod elliptic;
mod envelope;
mod key_wrap;
mod memcheck;
mod poisoned;
mod quorum;
mod table;
mod text;
mod wrapped;

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use table::Table;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout().lock();
    if !memcheck::is_running() {
        writeln!(out, "not under valgrind, where alone this program means anything: run ./check")?;
        return Ok(ExitCode::from(2));
    }
    let mut table = Table::default();
    controls::observe(&mut table);
    text::observe(&mut table)?;
    cipher::observe(&mut table)?;
    key_wrap::observe(&mut table)?;
    elliptic::observe(&mut table)?;
    envelope::observe(&mut table)?;
    quorum::observe(&mut table)?;
    wrapped::observe(&mut table)?;
    table.print(&mut out)?;
    Ok(if table.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
