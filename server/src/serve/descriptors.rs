//! Connections within the open files that the system allows.

use rustix::process::{Resource, getrlimit};
use selkie_config::Listener;

/// Open files that connections leave to all else: logs, storage, and the master keys' services,
/// without which no request would get anywhere.
const RESERVED: usize = 256;

/// Lowers `max_connections` to what the process's limit of open files has room for. Else a flood
/// of connections would take the descriptors that answering them needs.
pub(super) fn keep_within(listeners: &mut [Listener]) {
    let Some(open_files) = getrlimit(Resource::Nofile).current else { return };
    let open_files = usize::try_from(open_files).unwrap_or(usize::MAX);
    let each = room(open_files, listeners.len());
    for listener in listeners {
        let limits = &mut listener.limits;
        if limits.max_connections > each {
            tracing::warn!(
                open_files,
                max_connections = limits.max_connections,
                allowed = each,
                "fewer connections are allowed than configured: raise the limit of open files \
                 (systemd: LimitNOFILE=)"
            );
            limits.max_connections = each;
        }
    }
}

/// Connections that each of so many listeners may have.
fn room(open_files: usize, listeners: usize) -> usize {
    let reserved = RESERVED.min(open_files / 2);
    (open_files.saturating_sub(reserved) / listeners.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_all_else() {
        assert_eq!(room(20_000, 1), 19_744);
        assert_eq!(room(1_024, 2), 384);
        assert_eq!(room(100, 1), 50);
        assert_eq!(room(1, 3), 1);
    }
}
