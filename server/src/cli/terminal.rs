//! What others say, as a terminal may get it.

/// Without the control characters of whoever said it.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|one| !one.is_control()).collect()
}
