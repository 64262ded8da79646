//! What `tests/bench/run` measures Selkie against: an echo server on Selkie's own stack (accept
//! loop, TLS, wiped buffers, allocator) that does none of Selkie's work, and the time of single
//! operations of the crypto core. It never opens a port but the one it is told to, and its figures
//! are worth nothing from a debug build.

mod certificate;
mod drain;
mod echo;
mod failover;
mod micro;
mod paced;
mod pkcs11;
mod seal_client;
mod seals;
mod store;
mod timing;
mod tokens;
mod unwrap;

use std::alloc::System;
use std::io::{Write, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use zeroizing_alloc::ZeroAlloc;

use crate::drain::Drain;
use crate::echo::Echo;
use crate::failover::Failover;
use crate::paced::Paced;
use crate::pkcs11::Pkcs11;
use crate::seals::Several;
use crate::store::Store;
use crate::timing::Timing;
use crate::tokens::Tokens;
use crate::unwrap::Unwrap;

/// As in `selkie` itself: the echo must pay for it too.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// What Selkie is measured against.
#[derive(Debug, Parser)]
enum Command {
    /// Answers every request with its own body, repeated or cut to a fixed length.
    Echo(Echo),
    /// Writes `cert.pem` and `key.pem` for 127.0.0.1 into a directory.
    Certificate {
        /// The directory, which exists.
        directory: PathBuf,
    },
    Drain(Drain),
    Failover(Failover),
    Paced(Paced),
    Pkcs11(Pkcs11),
    Seals(Several),
    #[command(subcommand)]
    Store(Store),
    #[command(subcommand)]
    Timing(Timing),
    Tokens(Tokens),
    Unwrap(Box<Unwrap>),
    /// Prints what single operations of the crypto core take.
    Micro,
}

fn main() -> Result<()> {
    match Command::parse() {
        Command::Echo(echo) => runtime()?.block_on(echo.serve()),
        Command::Unwrap(unwrap) => runtime()?.block_on(unwrap.run()),
        Command::Failover(failover) => failover.run(),
        Command::Paced(paced) => paced.run(),
        Command::Pkcs11(pkcs11) => runtime()?.block_on(pkcs11.run()),
        Command::Seals(seals) => runtime()?.block_on(seals.run()),
        Command::Store(store) => store.run(),
        Command::Tokens(tokens) => runtime()?.block_on(tokens.run()),
        Command::Timing(timing) => timing.run(),
        Command::Drain(drain) => runtime()?.block_on(drain.run()),
        Command::Certificate { directory } => certificate::write(&directory),
        Command::Micro => {
            for figure in micro::figures()? {
                writeln!(stdout(), "{figure}")?;
            }
            Ok(())
        }
    }
}

pub(crate) fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
