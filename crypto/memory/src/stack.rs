//! Wipes the stack below a call, since the compiler spills key schedules there and no type can own
//! a spill.

use std::mem::MaybeUninit;

/// How far below its caller [`with_scrubbed_stack`] wipes, in bytes.
///
/// AES-GCM keeps 14 round keys and up to 64 blocks of plaintext there, in frames of about 8 KiB
/// altogether; twice that leaves room for other compilers' frames.
pub const SCRUBBED_BYTES: usize = 16 * 1024;

/// Runs `operation` and then wipes the stack that it used, also when it panics.
///
/// What `operation` returns is moved out before the wipe, so a secret must be returned behind a
/// pointer (a boxed secret type), never by value.
pub fn with_scrubbed_stack<R>(operation: impl FnOnce() -> R) -> R {
    with_scrubbed_bytes::<SCRUBBED_BYTES, R>(operation)
}

/// [`with_scrubbed_stack`] for an `operation` that is known to use less than `BYTES` of stack.
pub fn with_scrubbed_bytes<const BYTES: usize, R>(operation: impl FnOnce() -> R) -> R {
    let _scrubbing = Scrubbing::<BYTES>;
    call(operation)
}

/// Wipes when it goes out of scope.
struct Scrubbing<const BYTES: usize>;

impl<const BYTES: usize> Drop for Scrubbing<BYTES> {
    #[inline(always)]
    fn drop(&mut self) {
        scrub::<BYTES>();
    }
}

/// Keeps `operation`'s frames below those of [`with_scrubbed_stack`], where the wipe reaches them.
#[inline(never)]
fn call<R>(operation: impl FnOnce() -> R) -> R {
    operation()
}

/// Wipes `BYTES` of stack below the caller.
#[inline(never)]
fn scrub<const BYTES: usize>() {
    if cfg!(feature = "unhygienic") {
        return;
    }
    let mut below = MaybeUninit::<[u8; BYTES]>::uninit();
    // SAFETY: the pointer is to a live local of exactly this many bytes, which nothing else
    // refers to; any byte value is valid for `MaybeUninit`.
    unsafe {
        libc::explicit_bzero(below.as_mut_ptr().cast(), BYTES);
    }
    std::hint::black_box(&below);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: [u8; 16] = *b"selkie-stack-Mk!";

    /// Leaves `MARK` in a dead stack frame, also below those that an unwinding panic writes over.
    #[inline(never)]
    fn leave_mark() {
        let mut copies = [MARK; 768];
        std::hint::black_box(&mut copies);
    }

    /// Counts what `leave_mark` left, from a frame that overlaps it.
    #[inline(never)]
    fn count_marks() -> usize {
        let below = MaybeUninit::<[u8; 14 * 1024]>::uninit();
        let below = std::hint::black_box(&below);
        let start: *const u8 = below.as_ptr().cast();
        // SAFETY: the bytes are inside a live local; volatile reads of stale stack are what the
        // test is about.
        let bytes: Vec<u8> =
            (0..14 * 1024).map(|at| unsafe { start.wrapping_add(at).read_volatile() }).collect();
        bytes.windows(MARK.len()).filter(|window| *window == MARK).count()
    }

    #[test]
    fn scrub_removes_what_a_dead_frame_left() {
        leave_mark();
        assert!(count_marks() > 0, "control: the mark must be found without a scrub");
        with_scrubbed_stack(leave_mark);
        assert_eq!(count_marks(), 0);
    }

    #[test]
    fn scrub_follows_a_panic() {
        let fails = || {
            leave_mark();
            std::panic::resume_unwind(Box::new(()));
        };
        assert!(std::panic::catch_unwind(fails).is_err());
        assert!(count_marks() > 0, "control: the mark must be found without a scrub");
        assert!(std::panic::catch_unwind(|| with_scrubbed_stack(fails)).is_err());
        assert_eq!(count_marks(), 0);
    }
}
