//! All targets in one program, because linking a program with a sanitizer takes longer than running
//! it does: `SELKIE_FUZZ_TARGET` says which of them it is.

#![no_main]

use std::sync::LazyLock;

use selkie_fuzz::{TARGETS, Target};

/// A bug that has to be found, or the others would not be either.
fn planted(data: &[u8]) -> bool {
    let mut letters = data.iter();
    let is_found = b"selkie".iter().all(|letter| letters.next() == Some(letter));
    assert!(!is_found, "the planted bug");
    false
}

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let wanted = std::env::var("SELKIE_FUZZ_TARGET").unwrap_or_default();
    let mut all = TARGETS.into_iter().chain([("planted", planted as Target)]);
    let found = all.find(|(name, _)| *name == wanted);
    found.unwrap_or_else(|| panic!("SELKIE_FUZZ_TARGET={wanted:?} is no target")).1
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    TARGET(data);
});
