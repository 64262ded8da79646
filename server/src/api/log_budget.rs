//! Bounds the log lines about refusals, by kind, so that strangers cannot suppress what is said of
//! clients.

use selkie_listener::LogBudget;

/// How many lines a second about each kind of refusal.
const LINES_PER_SECOND: u32 = 50;

/// Which refusals share a budget: strangers cannot suppress what is logged of clients, and neither
/// can suppress what an operator must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalKind {
    /// Of somebody unknown.
    Stranger,
    /// Of a known client.
    Client,
    /// A failure of the server, status 5xx.
    Failure,
}

/// What may be logged of refusals.
#[derive(Debug)]
pub(super) struct LogBudgets {
    strangers: LogBudget,
    clients: LogBudget,
    failures: LogBudget,
}

impl Default for LogBudgets {
    fn default() -> Self {
        let budget = || LogBudget::new(LINES_PER_SECOND);
        Self { strangers: budget(), clients: budget(), failures: budget() }
    }
}

impl LogBudgets {
    /// Whether a line about a refusal of this kind may be written at `second`. Tells how many were
    /// not before it.
    pub(super) fn admit(&self, kind: RefusalKind, second: u64) -> bool {
        let (budget, of) = match kind {
            RefusalKind::Stranger => (&self.strangers, "unknown callers"),
            RefusalKind::Client => (&self.clients, "known clients"),
            RefusalKind::Failure => (&self.failures, "failures"),
        };
        let Some(suppressed) = budget.spend(second) else { return false };
        if suppressed > 0 {
            tracing::warn!(of, suppressed, "refusals came too fast for the log");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_suppress_neither_clients_nor_failures() {
        let budgets = LogBudgets::default();
        for _ in 0..LINES_PER_SECOND {
            assert!(budgets.admit(RefusalKind::Stranger, 1));
        }
        assert!(!budgets.admit(RefusalKind::Stranger, 1));
        assert!(budgets.admit(RefusalKind::Client, 1));
        assert!(budgets.admit(RefusalKind::Failure, 1));
    }
}
