//! Whether the kernel has delivered all that a test's sockets have sent, by its own table of them.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    fs,
    thread::sleep,
    time::{Duration, Instant},
};

const ESTABLISHED: &str = "01";
/// Established on both sides, or ended with nothing under way: FIN_WAIT2, TIME_WAIT, CLOSE,
/// CLOSE_WAIT, LISTEN.
const AT_REST: [&str; 6] = [ESTABLISHED, "05", "06", "07", "08", "0A"];

thread_local! {
    /// Of the listener that the test on this thread talks to.
    static PORT: Cell<Option<u16>> = const { Cell::new(None) };
    /// The kernel's counts when nothing was on its way.
    static SETTLED: RefCell<String> = const { RefCell::new(String::new()) };
}

pub(crate) fn watch(port: u16) {
    PORT.set(Some(port));
}

/// Waits until nothing is on its way to or from the listener of this thread.
pub(crate) fn settle() {
    let Some(port) = PORT.get() else { return };
    let patience = Instant::now() + Duration::from_secs(60);
    loop {
        let counts = fs::read_to_string("/proc/self/net/snmp").unwrap();
        // Nobody has sent anything since, which is quicker to learn than what the table says.
        if SETTLED.with_borrow(|settled| *settled == counts) {
            return;
        }
        if is_settled(&fs::read_to_string("/proc/self/net/tcp").unwrap(), port) {
            return SETTLED.set(counts);
        }
        assert!(Instant::now() < patience, "what was sent does not arrive");
        sleep(Duration::from_micros(50));
    }
}

/// Its lines begin: number, own address, the other's, state, bytes that are not acknowledged yet and
/// bytes that are not read yet.
fn is_settled(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    let mut states = BTreeMap::new();
    for line in table.lines().skip(1) {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let mut next = || fields.next().unwrap();
        let (own, other, state, queues) = (next(), next(), next(), next());
        if !own.ends_with(&port) && !other.ends_with(&port) {
            continue;
        }
        if !AT_REST.contains(&state) || !queues.starts_with("00000000:") {
            return false;
        }
        states.insert((own, other), state);
    }
    // Of a connection that one side has reset the other has yet to hear.
    let is_known = |(own, other)| states.contains_key(&(other, own));
    states.iter().all(|(ends, state)| *state != ESTABLISHED || is_known(*ends))
}
