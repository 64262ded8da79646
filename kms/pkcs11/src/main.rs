//! `selkie-pkcs11`: loads an HSM's PKCS#11 library in a process of its own, because such libraries
//! hang and crash, and does what its parent asks over the socket that it finds as standard input.
//! It decides nothing: which key, which mechanism and whether to try again is said by the parent.
//! Its one argument is the library that it may load (a server from before that gives none); it reads
//! no file (the library does) and ends with its parent.

mod failure;
mod hardening;
mod keys;
mod serve;
mod session;
mod token;

use std::alloc::System;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use zeroizing_alloc::ZeroAlloc;

/// What is freed here is wiped; what the library frees, by its own allocator, see `GLIBC_TUNABLES`
/// in the parent.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// Whoever starts it by hand learns nothing but this.
const NOT_BY_HAND: u8 = 64;
const NOT_HARDENED: u8 = 71;

fn main() -> ExitCode {
    if hardening::harden().is_err() {
        return ExitCode::from(NOT_HARDENED);
    }
    let Some(parent) = parent() else {
        return ExitCode::from(NOT_BY_HAND);
    };
    // However it ends, the parent is gone or no longer speaks our language.
    let library = std::env::args_os().nth(1);
    let _ended = serve::serve(parent, library.as_deref());
    // The library may hang in its own destructors, or in another thread.
    hardening::end_at_once();
    ExitCode::SUCCESS
}

/// The socket on standard input, whose place `/dev/null` takes: the library gets no hold of it.
fn parent() -> Option<UnixStream> {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().ok()?;
    rustix::net::sockopt::socket_type(&socket).ok()?;
    let null = std::fs::File::open("/dev/null").ok()?;
    rustix::stdio::dup2_stdin(&null).ok()?;
    Some(UnixStream::from(socket))
}
