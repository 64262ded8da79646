//! Gives back the memory of code that only the start has run. It is about size alone: no secret
//! lies in code.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

/// Where this program's own code is mapped, to give back what only its start has used.
///
/// The kernel maps 64 KiB around each page of code that runs, and the start runs through much that
/// is not needed again: most of an idle server's memory. All of it lies in the page cache anyway.
#[derive(Debug)]
pub struct ProgramCode(Vec<Range<usize>>);

impl ProgramCode {
    /// Asks the kernel (`/proc/self/smaps`, out of reach of a confined process). Nothing is found
    /// where it does not tell, and nothing of which this process has a page of its own: code that a
    /// packer has unpacked, a dynamic linker relocated or a debugger changed.
    #[must_use]
    pub fn find() -> Self {
        let program = fs::read_link("/proc/self/exe").unwrap_or_default();
        let mappings = fs::read("/proc/self/smaps").unwrap_or_default();
        Self(unchanged_code(&mappings, program.as_os_str()))
    }

    /// Gives the memory back; what runs next is mapped again as it runs.
    ///
    /// # Errors
    ///
    /// The kernel's, for memory that is locked, say: then it stays where it is.
    pub fn give_back(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|range| {
            let start = ptr::without_provenance_mut(range.start);
            // SAFETY: a whole private mapping of this program's file, of which the kernel has told
            // that no page differs from the file. Such a page is not lost: whoever uses it next
            // gets the same bytes from the file, as when the kernel itself drops it for want of
            // memory. It is still so: nothing here makes code writable, no Rust object lies in it,
            // and code that runs is not unmapped.
            let done = unsafe { libc::madvise(start, range.len(), libc::MADV_DONTNEED) };
            if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
        })
    }
}

/// The mappings of `program` that are code, and of which each page is the file's.
fn unchanged_code(mappings: &[u8], program: &OsStr) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut code = None;
    for line in mappings.split(|byte| *byte == b'\n') {
        if let Some(own) = line.strip_prefix(b"Anonymous:") {
            code.take_if(|_| own.trim_ascii() != b"0 kB");
        } else if let Some(own) = line.strip_prefix(b"Swap:") {
            // A page of our own may also lie there.
            found.extend(code.take().filter(|_| own.trim_ascii() == b"0 kB"));
        } else if let Some(mapping) = Mapping::parse(line) {
            let is_code = mapping.access == b"r-xp" && mapping.file == program.as_bytes();
            code = is_code.then_some(mapping.range);
        }
    }
    found
}

/// The first line of what smaps has of a mapping: range, access, offset, device, inode, file.
struct Mapping<'l> {
    range: Range<usize>,
    access: &'l [u8],
    file: &'l [u8],
}

impl<'l> Mapping<'l> {
    fn parse(line: &'l [u8]) -> Option<Self> {
        let mut parts = line.splitn(6, |byte| *byte == b' ');
        let (start, end) = str::from_utf8(parts.next()?).ok()?.split_once('-')?;
        let number = |text| usize::from_str_radix(text, 16).ok();
        let range = number(start)?..number(end)?;
        let access = parts.next()?;
        Some(Self { range, access, file: parts.nth(3)?.trim_ascii_start() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "/opt/my programs/selkie (deleted)";

    fn smaps(access: &str, file: &str, own: &str) -> Vec<u8> {
        let head = format!("5500000000-5500002000 {access} 00001000 fd:00 77      {file}");
        format!("{head}\nRss:  8 kB\nAnonymous:  {own} kB\nSwap:  0 kB\n").into_bytes()
    }

    #[test]
    fn only_the_programs_own_unchanged_code_is_found() {
        let of = |text: Vec<u8>| unchanged_code(&text, OsStr::new(PROGRAM));
        let code = smaps("r-xp", PROGRAM, "0");
        let found = of(code.clone());
        assert_eq!((found.len(), &found[0]), (1, &(0x55_0000_0000..0x55_0000_2000)));
        let others = [
            smaps("r-xp", PROGRAM, "4"),
            smaps("r--p", PROGRAM, "0"),
            smaps("rwxp", PROGRAM, "0"),
            smaps("r-xs", PROGRAM, "0"),
            smaps("r-xp", "/usr/lib/libc.so.6", "0"),
            smaps("r-xp", "", "0"),
            b"5500000000-5500002000 r-xp 00001000 fd:00 77 /opt/my programs/selkie (deleted)"
                .into(),
        ];
        for other in others {
            assert_eq!(of(other.clone()), [], "{}", other.escape_ascii());
            // Nor is what is told of the one taken for the other's.
            assert_eq!(of([code.clone(), other].concat()).len(), 1);
        }
    }

    /// The bytes of this program's code that are in memory, all mappings together.
    fn resident(code: &ProgramCode) -> usize {
        let text = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut sum = 0;
        let mut is_ours = false;
        for line in text.lines() {
            if let Some(mapping) = Mapping::parse(line.as_bytes()) {
                is_ours = code.0.contains(&mapping.range);
            } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_ours) {
                sum += size.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024;
            }
        }
        sum
    }

    #[test]
    fn code_given_back_leaves_memory_and_runs_on() {
        let code = ProgramCode::find();
        let ours = code_given_back_leaves_memory_and_runs_on as fn() as usize;
        assert!(code.0.iter().any(|range| range.contains(&ours)), "{code:?}");
        for range in &code.0 {
            // All of it is in memory, but for what is beyond the file's last page.
            for page in range.clone().step_by(4096) {
                let byte = ptr::with_exposed_provenance::<u8>(page);
                // SAFETY: within a readable mapping of a file that has these pages.
                std::hint::black_box(unsafe { byte.read_volatile() });
            }
        }
        let before = resident(&code);
        code.give_back().unwrap();
        let after = resident(&code);
        assert!(after < before, "{after} of {before} bytes");
    }
}
