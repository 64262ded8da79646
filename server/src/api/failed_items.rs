//! The log of a batch's failures: one line, however many items fail.

use super::advice::advice;
use super::call::{Call, told};
use super::error::ItemError;
use super::log_budget::RefusalKind;
use crate::telemetry::WithCauses;
use crate::transit::TransitError;

/// The items of one batch that the engine refused: a line of the log for all, so that a batch of
/// rubbish does not fill it.
#[derive(Debug, Default)]
pub(super) struct FailedItems {
    count: usize,
    first: Option<(usize, TransitError)>,
}

impl FailedItems {
    /// Counts a failure and gives what the client is told of it.
    pub(super) fn add(&mut self, index: usize, error: TransitError) -> ItemError {
        let told = told(&error);
        self.count = self.count.saturating_add(1);
        self.first.get_or_insert((index, error));
        told
    }

    /// Logs them once the batch on `key` is done.
    pub(super) fn log(self, call: &Call<'_>, key: &str) {
        let Some((item, error)) = self.first else { return };
        if !call.log_budgets.admit(RefusalKind::Client, call.node.clock().unix_seconds()) {
            return;
        }
        tracing::warn!(
            request_id = call.id,
            client = call.client.name(),
            key,
            items = self.count,
            first_item = item,
            reason = %WithCauses(&error),
            advice = advice(&error),
            "items of a batch failed"
        );
    }
}
