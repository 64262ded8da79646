//! The program `selkie-emulator`.

mod cli;
mod terminal;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use cli::Arguments;
use selkie_emulator::{Running, Totals};

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

fn run(arguments: &Arguments) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let totals = runtime.block_on(serve(arguments))?;
    // Work that still computes is not waited for.
    runtime.shutdown_background();
    if !arguments.quiet {
        terminal::summary(&mut io::stdout().lock(), totals).map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn serve(arguments: &Arguments) -> Result<Totals, String> {
    let text = |error: io::Error| error.to_string();
    // Signals are caught before READY is printed, so that none is lost.
    let mut terminate = signal(SignalKind::terminate()).map_err(text)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(text)?;
    let running =
        selkie_emulator::start(arguments.options()).await.map_err(|error| error.to_string())?;
    announce(&running, arguments.quiet).map_err(text)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = terminal::progress(&running, arguments.quiet) => {}
    }
    running.shutdown().await.map_err(|error| error.to_string())
}

fn announce(running: &Running, quiet: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !quiet {
        terminal::welcome(&mut out, running)?;
    }
    terminal::ready(&mut out, running)?;
    out.flush()
}
