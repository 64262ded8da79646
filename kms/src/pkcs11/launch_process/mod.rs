//! The launch process: what a confined server has HSM processes started by.
//!
//! It is this very program, started before the server is confined, and is told once what it may
//! start; from then on it is asked for one of these by its place in that list and handed two
//! sockets: the child's standard input, and one that stands for the child's life. On the second it
//! says whether the start succeeded and how the child has ended; who writes to it or closes it ends
//! the child. So a server that was taken over can have nothing else started, and no child outlives
//! its server.

mod asked;
mod asking;

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

pub use asked::serve_launches;
pub use asking::{LaunchChild, has_launch_process_ended, may_launch, start_launch_process};
pub(super) use asking::{LaunchProcess, Launched};

use super::Launcher;

/// The most bytes that the list has.
const LARGEST_LIST: usize = 64 * 1024;
/// Bytes of a place in the list, of an error's number and of a status.
const WORD: usize = 4;

/// The list as one message: each field ends with a NUL, which none of them holds, and so does each
/// item.
fn listed(allowed: &[Launcher]) -> io::Result<Vec<u8>> {
    let mut message = Vec::new();
    for Launcher { program, library, environment } in allowed {
        let variables = environment.iter().map(|(name, value)| format!("{name}={value}"));
        let variables: Vec<String> = variables.collect();
        let paths = [program, library].map(|path| path.as_os_str().as_bytes());
        for field in paths.into_iter().chain(variables.iter().map(String::as_bytes)) {
            if field.is_empty() || field.contains(&0) {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            message.extend_from_slice(field);
            message.push(0);
        }
        message.push(0);
    }
    if message.len() > LARGEST_LIST { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(message) }
}

/// The list behind such a message.
fn parse_list(message: &[u8]) -> Option<Vec<Launcher>> {
    let mut allowed = Vec::new();
    let mut fields = message.strip_suffix(&[0])?.split(|byte| *byte == 0);
    while let Some(program) = fields.next() {
        let library = fields.next()?;
        let mut environment = Vec::new();
        for variable in fields.by_ref().take_while(|field| !field.is_empty()) {
            let (name, value) = str::from_utf8(variable).ok()?.split_once('=')?;
            environment.push((name.to_owned(), value.to_owned()));
        }
        let [program, library] = [program, library].map(|path| OsStr::from_bytes(path).into());
        allowed.push(Launcher { program, library, environment });
    }
    Some(allowed)
}

#[cfg(test)]
mod tests;
