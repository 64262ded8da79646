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
    let wanted = listeners.iter().map(|listener| listener.limits.max_connections);
    let most = most_of_each(room(open_files), wanted.collect());
    for listener in listeners {
        let limits = &mut listener.limits;
        if limits.max_connections > most {
            tracing::warn!(
                open_files,
                max_connections = limits.max_connections,
                allowed = most,
                "fewer connections are allowed than configured: raise the limit of open files \
                 (systemd: LimitNOFILE=)"
            );
            limits.max_connections = most;
        }
    }
}

/// Connections that all listeners together may have.
fn room(open_files: usize) -> usize {
    open_files.saturating_sub(RESERVED.min(open_files / 2))
}

/// The most that any listener gets. Those that want less leave the rest to the others, who share it
/// equally; without room each gets one.
fn most_of_each(mut room: usize, mut wanted: Vec<usize>) -> usize {
    wanted.sort_unstable();
    let mut sharers = wanted.len();
    for least in wanted {
        let each = room / sharers;
        if least > each {
            return each.max(1);
        }
        room -= least;
        sharers -= 1;
    }
    usize::MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_to_all_else() {
        assert_eq!(room(20_000), 19_744);
        assert_eq!(room(1_024), 768);
        assert_eq!(room(100), 50);
        assert_eq!(room(1), 1);
    }

    #[test]
    fn who_wants_less_than_an_equal_part_leaves_the_rest_to_the_others() {
        for (room, wanted, most) in [
            (19_744, vec![20_000, 100], 19_644),
            (19_744, vec![100, 12_000], usize::MAX),
            (19_744, vec![12_000, 12_000], 9_872),
            (19_744, vec![12_000, 1_000, 12_000], 9_372),
            (19_744, vec![10_000, 100, 6_000, 6_000], 7_644),
            (768, vec![10_000], 768),
            (1, vec![10_000, 10_000, 1], 1),
            (0, vec![10_000], 1),
            (0, vec![], usize::MAX),
        ] {
            assert_eq!(most_of_each(room, wanted.clone()), most, "{wanted:?} of {room}");
            let given = wanted.iter().map(|wanted| *wanted.min(&most)).sum::<usize>();
            assert!(given <= room.max(wanted.len()), "{wanted:?} of {room}");
        }
    }
}
