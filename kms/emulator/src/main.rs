//! The program `selkie-emulator`.

mod cli;
mod terminal;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use cli::Arguments;
use selkie_emulator::{Running, StartError, Totals};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            let _terminal_gone = error.print();
            return if wrong { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            let _terminal_gone = writeln!(io::stderr(), "selkie-emulator: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Why the program ends with a failure.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("{0}")]
    Runtime(#[source] io::Error),
    #[error("{0}")]
    Signals(#[source] io::Error),
    #[error(transparent)]
    Emulator(#[from] StartError),
    #[error("{0}")]
    Output(#[source] io::Error),
}

fn run(arguments: &Arguments) -> Result<(), RunError> {
    let runtime = tokio::runtime::Runtime::new().map_err(RunError::Runtime)?;
    let totals = runtime.block_on(serve(arguments))?;
    // Work that still computes is not waited for.
    runtime.shutdown_background();
    if !arguments.quiet {
        terminal::summary(&mut io::stdout().lock(), totals).map_err(RunError::Output)?;
    }
    Ok(())
}

async fn serve(arguments: &Arguments) -> Result<Totals, RunError> {
    // Signals are caught before READY is printed, so that none is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    let running = selkie_emulator::start(arguments.options()).await?;
    announce(&running, arguments.quiet).map_err(RunError::Output)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = terminal::progress(&running, arguments.quiet) => {}
    }
    Ok(running.shutdown().await?)
}

fn announce(running: &Running, quiet: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !quiet {
        terminal::welcome(&mut out, running)?;
    }
    terminal::ready(&mut out, running)?;
    out.flush()
}
