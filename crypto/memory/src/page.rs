//! Pages for keys that live as long as the process: what holds of them (never swapped, in no dump)
//! holds by the kernel and not by the care of whoever uses them.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ptr::{self, NonNull};

use zeroize::Zeroize;

/// One page that holds a long-lived key of `LEN` bytes (4096 at most): never swapped, in no core
/// dump, read-only once filled.
///
/// Where the kernel has `memfd_secret(2)` the page is unmapped from the kernel itself, so that not
/// even root reads it through `/proc/PID/mem`; elsewhere it is locked and left out of dumps.
pub struct SecretPage<const LEN: usize> {
    start: NonNull<[u8; LEN]>,
    hidden: bool,
}

/// Why a page for keys could not be had.
#[derive(Debug)]
pub enum PageError {
    /// No memory could be mapped.
    Map(io::Error),
    /// The page could not be locked; raise `RLIMIT_MEMLOCK` (systemd: `LimitMEMLOCK=`).
    Lock(io::Error),
    /// The page could not be made read-only.
    Protect(io::Error),
}

impl fmt::Display for PageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Map(_) => f.write_str("no memory for a key page"),
            Self::Lock(_) => f.write_str(
                "a key page could not be locked in memory; raise RLIMIT_MEMLOCK (systemd: \
                 LimitMEMLOCK=)",
            ),
            Self::Protect(_) => f.write_str("a key page could not be made read-only"),
        }
    }
}

impl std::error::Error for PageError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Map(error) | Self::Lock(error) | Self::Protect(error) => Some(error),
        }
    }
}

const PAGE_BYTES: usize = 4096;

impl<const LEN: usize> SecretPage<LEN> {
    /// A page whose first `LEN` bytes `fill` has written; they are zero before.
    ///
    /// # Errors
    ///
    /// See [`PageError`]; nothing of the secret is left behind then.
    pub fn new(fill: impl FnOnce(&mut [u8; LEN])) -> Result<Self, PageError> {
        const { assert!(LEN <= PAGE_BYTES) };
        let (start, hidden) = match map_hidden() {
            Some(start) => (start, true),
            None => (map_locked()?, false),
        };
        let mut page = Self { start: start.cast(), hidden };
        fill(page.bytes_mut());
        page.protect(libc::PROT_READ).map_err(PageError::Protect)?;
        Ok(page)
    }

    /// The secret.
    #[must_use]
    pub fn expose(&self) -> &[u8; LEN] {
        // SAFETY: the page is mapped readable for as long as `self` lives, and `LEN` bytes of it
        // are initialised (the kernel hands out zeroes); it is written only in `new` and `drop`,
        // which hold it alone.
        unsafe { self.start.as_ref() }
    }

    /// Whether the page is hidden from the kernel and from root (`memfd_secret`).
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.hidden
    }

    fn bytes_mut(&mut self) -> &mut [u8; LEN] {
        // SAFETY: as in `expose`; the page is mapped writable at both call sites and `&mut self`
        // makes this the only reference.
        unsafe { self.start.as_mut() }
    }

    fn protect(&self, access: libc::c_int) -> io::Result<()> {
        // SAFETY: a page of our own mapping; no reference into it is in use at either call site.
        let done = unsafe { libc::mprotect(self.start.as_ptr().cast(), PAGE_BYTES, access) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

// SAFETY: the page is owned by this value alone and not tied to a thread.
unsafe impl<const LEN: usize> Send for SecretPage<LEN> {}

// SAFETY: through a shared reference the page is only read.
unsafe impl<const LEN: usize> Sync for SecretPage<LEN> {}

impl<const LEN: usize> fmt::Debug for SecretPage<LEN> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretPage").finish_non_exhaustive()
    }
}

impl<const LEN: usize> Drop for SecretPage<LEN> {
    fn drop(&mut self) {
        if self.protect(libc::PROT_READ | libc::PROT_WRITE).is_ok() {
            self.bytes_mut().zeroize();
        }
        // SAFETY: exactly what was mapped in `new`; no reference outlives `self`. Unmapping also
        // frees the page where it could not be made writable for the wipe: the kernel clears it.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), PAGE_BYTES);
        }
    }
}

/// A page of `memfd_secret(2)`, or `None` where the kernel has none.
fn map_hidden() -> Option<NonNull<u8>> {
    // SAFETY: the call takes one flags word and returns a descriptor or -1.
    let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: `fd` is the descriptor just made; the size is a plain number.
    let sized = unsafe { libc::ftruncate(fd, PAGE_BYTES as libc::off_t) } == 0;
    let mapped = if sized { map(libc::MAP_SHARED, fd).ok() } else { None };
    // SAFETY: ours, and used no further; the mapping keeps the memory.
    unsafe {
        libc::close(fd);
    }
    mapped
}

/// An anonymous page, locked and left out of core dumps.
fn map_locked() -> Result<NonNull<u8>, PageError> {
    let start = map(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1).map_err(PageError::Map)?;
    let address: *mut c_void = start.as_ptr().cast();
    // SAFETY: exactly the page mapped above.
    let locked = unsafe { libc::mlock(address, PAGE_BYTES) };
    // SAFETY: exactly the page mapped above; the advice changes no content.
    let undumped = unsafe { libc::madvise(address, PAGE_BYTES, libc::MADV_DONTDUMP) };
    if locked == 0 && undumped == 0 {
        return Ok(start);
    }
    let error = io::Error::last_os_error();
    // SAFETY: exactly the page mapped above, which nothing refers to yet.
    unsafe {
        libc::munmap(address, PAGE_BYTES);
    }
    Err(PageError::Lock(error))
}

fn map(flags: libc::c_int, fd: libc::c_int) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours.
    let start = unsafe { libc::mmap(ptr::null_mut(), PAGE_BYTES, access, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn what_was_filled_in_is_read_back() {
        let page = SecretPage::<32>::new(|bytes| bytes.fill(7)).unwrap();
        assert_eq!(*page.expose(), [7; 32]);
    }

    #[test]
    fn a_hidden_page_is_unreadable_through_proc_mem() {
        let page = SecretPage::<32>::new(|bytes| bytes.fill(9)).unwrap();
        let control = Box::new([9u8; 32]);
        let memory = File::open("/proc/self/mem").unwrap();
        let mut seen = [0; 32];
        memory.read_exact_at(&mut seen, control.as_ptr() as u64).unwrap();
        assert_eq!(seen, [9; 32], "control: ordinary memory is readable this way");
        if page.is_hidden() {
            assert!(memory.read_exact_at(&mut seen, page.start.as_ptr() as u64).is_err());
        }
    }

    #[test]
    fn the_locked_fallback_works_where_there_are_no_hidden_pages() {
        let start = map_locked().unwrap();
        let mut page = SecretPage::<4> { start: start.cast(), hidden: false };
        page.bytes_mut().copy_from_slice(b"abcd");
        assert_eq!(page.expose(), b"abcd");
    }
}
