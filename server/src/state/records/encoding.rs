//! How kinds of records write themselves.

use selkie_storage::RecordValue;
use serde::Serialize;

use super::TooLarge;

/// `value` as the JSON of a record.
///
/// # Errors
///
/// [`TooLarge`].
pub(crate) fn to_record(value: &impl Serialize) -> Result<RecordValue, TooLarge> {
    RecordValue::new(to_json(value)?).map_err(|_large| TooLarge)
}

/// The same where more than JSON becomes of it.
///
/// # Errors
///
/// None in practice: what JSON cannot write is a map whose keys are neither text nor numbers, and no
/// kind of record has one. If one ever does, the log says that it is a bug.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>, TooLarge> {
    serde_json::to_vec(value).map_err(|reason| {
        tracing::error!(%reason, "a record cannot be written as JSON, which is a bug");
        TooLarge
    })
}

#[cfg(test)]
mod tests {
    use selkie_storage::MAX_VALUE_BYTES;

    use super::*;

    #[test]
    fn a_record_has_as_many_bytes_as_the_store_takes_and_no_more() {
        let text = |bytes: usize| "x".repeat(bytes - 2);
        let most = to_record(&text(MAX_VALUE_BYTES)).unwrap();
        assert_eq!(most.as_bytes().len(), MAX_VALUE_BYTES);
        assert_eq!(to_record(&text(MAX_VALUE_BYTES + 1)).unwrap_err(), TooLarge);
    }
}
