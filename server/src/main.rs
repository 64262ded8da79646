//! The program `selkie`: what belongs to a process, and then the library.

#[cfg(not(any(feature = "unhygienic", target_env = "musl")))]
use std::alloc::System as Allocator;
use std::fs::File;
use std::io::{self, Write, stderr, stdout};
use std::os::fd::AsFd;
use std::panic::catch_unwind;
use std::process::ExitCode;

#[cfg(all(not(feature = "unhygienic"), target_env = "musl"))]
use mimalloc::MiMalloc as Allocator;
use selkie::cli::{self, Exit};
use selkie::hardening::harden_process;
use selkie::telemetry::WithCauses;
#[cfg(not(feature = "unhygienic"))]
use zeroizing_alloc::ZeroAlloc;

/// What is freed is wiped, also by libraries (I3).
#[cfg(not(feature = "unhygienic"))]
#[global_allocator]
static ALLOCATOR: ZeroAlloc<Allocator> = ZeroAlloc(Allocator);

fn main() -> ExitCode {
    catch_unwind(run).unwrap_or(Exit::Bug).into()
}

fn run() -> Exit {
    if let Err(error) = harden_process() {
        return failed(&error);
    }
    match output() {
        Ok(mut output) => cli::run(std::env::args_os(), &mut output, &mut stderr()),
        Err(error) => failed(&error),
    }
}

/// The standard output without the library's buffer, which would keep a printed token.
fn output() -> io::Result<File> {
    stdout().as_fd().try_clone_to_owned().map(File::from)
}

fn failed(error: &dyn std::error::Error) -> Exit {
    // Where even this cannot be written, the exit code must do.
    let _ = writeln!(stderr(), "selkie: {}", WithCauses(error));
    Exit::Failure
}
