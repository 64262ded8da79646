//! Requests to valgrind's memcheck (`valgrind.h`, `memcheck.h`), which tracks for every bit of
//! memory and register whether it is defined. A secret is declared undefined ("poisoned");
//! memcheck then reports each branch, index and length that depends on it, and stays silent about
//! arithmetic.
//!
//! Memory is taken as `&mut`, although no byte of it changes, so that the compiler cannot use what
//! it holds in a register from before the request.

const RUNNING_ON_VALGRIND: usize = 0x1001;
const COUNT_ERRORS: usize = 0x1201;
const MEMCHECK: usize = 0x4D43_0000; // "MC"
const MAKE_MEM_UNDEFINED: usize = MEMCHECK + 1;
const MAKE_MEM_DEFINED: usize = MEMCHECK + 2;
const GET_VBITS: usize = MEMCHECK + 8;

/// Whether the program runs under valgrind at all.
pub(crate) fn is_running() -> bool {
    request([RUNNING_ON_VALGRIND, 0, 0, 0]) != 0
}

/// How many reports memcheck has made so far, each occurrence counted.
pub(crate) fn reports() -> usize {
    request([COUNT_ERRORS, 0, 0, 0])
}

/// Declares `bytes` secret.
pub(crate) fn poison(bytes: &mut [u8]) {
    request([MAKE_MEM_UNDEFINED, bytes.as_mut_ptr().expose_provenance(), bytes.len(), 0]);
}

/// Declares `bytes` public.
pub(crate) fn declassify(bytes: &mut [u8]) {
    request([MAKE_MEM_DEFINED, bytes.as_mut_ptr().expose_provenance(), bytes.len(), 0]);
}

/// How many of `bytes` are secret or were computed from a secret.
pub(crate) fn poisoned_bytes(bytes: &[u8]) -> usize {
    let mut undefined_bits = vec![0_u8; bytes.len()];
    let start = bytes.as_ptr().expose_provenance();
    let answer = undefined_bits.as_mut_ptr().expose_provenance();
    request([GET_VBITS, start, answer, bytes.len()]);
    undefined_bits.iter().filter(|bits| **bits != 0).count()
}

/// The request `[code, argument, argument, argument]`; 0 where nobody answers.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn request([code, first, second, third]: [usize; 4]) -> usize {
    let arguments: [usize; 6] = [code, first, second, third, 0, 0];
    let mut answer: usize = 0;
    // SAFETY: on a real processor the sequence does nothing: rdi is rotated by 128 bits in all and
    // rbx exchanged with itself. Under valgrind it passes six words and one result in the
    // registers named (`valgrind.h`, amd64-linux). The assembly is not marked `nomem`, and the
    // addresses inside the words were exposed by the callers from references that outlive the
    // call, `&mut` wherever valgrind writes; the flags are clobbered as asm! assumes.
    unsafe {
        core::arch::asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            inout("rdx") answer,
            in("rax") arguments.as_ptr(),
            in("rdi") 0_usize,
            options(nostack),
        );
    }
    answer
}

/// The sequence above is x86-64's; elsewhere the program says that it is not under valgrind.
#[cfg(not(target_arch = "x86_64"))]
fn request(_: [usize; 4]) -> usize {
    0
}
