//! `selkie extract`: what a Vault's seal has encrypted, out of a copy of the Vault's storage.

use std::io::Write;
use std::path::PathBuf;

use clap::ValueEnum;

use super::backup::Target;
use super::{CommandError, print};
use crate::vault_storage::{SealedRecord, from_file_storage, from_raft_snapshot, from_record_file};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// What PATH is.
    #[arg(long, value_enum, value_name = "KIND")]
    from: From,
    /// The storage; it is only read.
    path: PathBuf,
    /// Write the records into this file instead of printing them; one that is there is replaced once
    /// the new one is whole.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum From {
    /// The directory of storage "file".
    VaultFile,
    /// A raft snapshot, as "vault operator raft snapshot save" writes it.
    Raft,
    /// Raft's database, vault.db: not read here; tells how to take the record out.
    RaftDb,
    /// One record, as any other storage holds it.
    Record,
}

pub(super) fn run(arguments: &Arguments, output: &mut dyn Write) -> Result<(), CommandError> {
    let path = &arguments.path;
    let target = arguments.output.as_deref().map(Target::of).transpose()?;
    let records = match arguments.from {
        From::VaultFile => from_file_storage(path)?,
        From::Raft => from_raft_snapshot(path)?,
        From::Record => from_record_file(path)?,
        From::RaftDb => return Err(CommandError::RaftDatabase { path: path.clone() }),
    };
    let text: String = records.iter().map(line).collect();
    match target {
        None => print(output, &text),
        Some(target) => target.write(text.as_bytes(), output),
    }
}

/// Name, key id and ciphertext: what `selkie break-glass` reads.
fn line(record: &SealedRecord) -> String {
    let SealedRecord { name, key_id, ciphertext } = record;
    let or_none = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    format!("{} {} {ciphertext}\n", or_none(name), or_none(key_id))
}
