//! What the stores cost: durable writes, opening and looking up at several sizes, backup and
//! restore. Each subcommand prints `figure TAB value` lines; `writes`, `sizes` and `copies` bring
//! their own sled and etcd.

mod copies;
mod sizes;
mod target;
mod writes;

use std::io::{Write, stdout};

use anyhow::Result;
use clap::Subcommand;

use self::sizes::{Held, Sizes};
use self::writes::Writes;

/// Measures the stores.
#[derive(Debug, Subcommand)]
pub(crate) enum Store {
    /// Durable writes per second with one and eight writers, raw and sealed.
    Writes(Writes),
    /// Opening, memory and lookups with few and very many records.
    Sizes(Sizes),
    /// Opens a store that was filled before, in a process of its own; `sizes` runs it.
    Held(Held),
    /// Backup and restore.
    Copies(copies::Copies),
}

impl Store {
    pub(crate) fn run(self) -> Result<()> {
        let runtime = crate::runtime()?;
        match self {
            Self::Writes(writes) => runtime.block_on(writes.run()),
            Self::Sizes(sizes) => runtime.block_on(sizes.run()),
            Self::Held(held) => runtime.block_on(held.run()),
            Self::Copies(copies) => runtime.block_on(copies.run()),
        }
    }
}

fn print(figure: &str, value: &str) -> Result<()> {
    Ok(writeln!(stdout(), "{figure}\t{value}")?)
}
