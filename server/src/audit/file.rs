//! `audit "file"`: appends to a file that others rotate.

use std::fs::{File, Metadata, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use selkie_config::AuditFile;

use super::chain::{End, Linked};
use super::claims::{Claim, Claims};
use super::lock::HeldElsewhere;
use super::sink::{Failed, Ready, Sink};

/// How often the file is looked for under its name, were it moved away without a signal.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// No line is longer.
const LONGEST_LINE_BYTES: u64 = 2 << 20;

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct FileSink {
    settings: AuditFile,
    /// Of the device.
    name: String,
    claims: Arc<Claims>,
    open: Option<Open>,
    /// What it was open at, until it is open anew: another server must not get the file in between.
    before: Option<Open>,
    /// What another process has had from before we came. It is waited for as what it is, whatever its
    /// name: the next file of that name belongs to who rotates this one.
    awaited: Option<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    device_and_inode: (u64, u64),
    /// Its length, as far as we have written it; `None` for what is no regular file.
    length: Option<u64>,
    looked: Instant,
    /// Whether nothing of it was changed yet, and whether it was made by us.
    is_untouched: bool,
    is_made: bool,
    /// `None` for what is no regular file: of that each writer has its own.
    claim: Option<Claim>,
}

impl FileSink {
    pub(super) fn new(settings: AuditFile, name: &str, claims: &Arc<Claims>) -> Self {
        Self {
            settings,
            name: name.to_owned(),
            claims: Arc::clone(claims),
            open: None,
            before: None,
            awaited: None,
        }
    }

    /// Opens the file, or makes it, and changes nothing of it.
    fn open_untouched(&mut self) -> io::Result<Open> {
        let mut awaited = self.lock_awaited()?;
        let path = &self.settings.path;
        let (file, is_made) = open_or_make(path, self.settings.mode)?;
        let metadata = file.metadata()?;
        let device_and_inode = (metadata.dev(), metadata.ino());
        let is_regular = metadata.is_file();
        let mut ours = awaited.iter_mut().chain(&mut self.before);
        let ours = ours.find(|open| open.device_and_inode == device_and_inode);
        let claim = ours.and_then(|open| open.claim.take());
        let was_ours = claim.is_some();
        let claim = match claim {
            None if is_regular => {
                let claim = self.claims.take(device_and_inode, &self.name);
                Some(claim.map_err(io::Error::other)?)
            }
            kept => kept,
        };
        let mut open = Open {
            file,
            path: path.clone(),
            device_and_inode,
            length: is_regular.then_some(metadata.len()),
            looked: Instant::now(),
            is_untouched: true,
            is_made,
            claim,
        };
        if let Err(error) = open.lock() {
            if HeldElsewhere::is_in(&error) && self.before.is_none() {
                open.is_made = false;
                self.awaited = Some(open);
            }
            return Err(error);
        }
        match self.check(&open, &metadata) {
            Ok(()) => {
                self.before = None;
                Ok(open)
            }
            Err(error) => {
                if was_ours {
                    self.before = Some(open);
                }
                Err(error)
            }
        }
    }

    /// What another process had, once it has let go of it.
    fn lock_awaited(&mut self) -> io::Result<Option<Open>> {
        if let Some(awaited) = &mut self.awaited {
            awaited.lock()?;
        }
        Ok(self.awaited.take())
    }

    /// Whether what was opened just now can be what lines are added to.
    fn check(&self, open: &Open, metadata: &Metadata) -> io::Result<()> {
        if open.claim.is_some() && !open.has_its_name() {
            // It was moved away just now: the next attempt finds the new one.
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        let own = rustix::process::geteuid();
        if self.has_other_mode(metadata) && !own.is_root() && metadata.uid() != own.as_raw() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        if open.length.is_some_and(|length| length > 0) {
            let _readable = Tail::read(&open.path, &open.file)?;
        }
        Ok(())
    }

    /// Forgets what it is open at, but for the claim to it.
    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.before = Some(open);
        }
    }

    fn has_other_mode(&self, metadata: &Metadata) -> bool {
        metadata.is_file() && metadata.mode() & 0o7777 != self.settings.mode
    }

    /// Makes the file that is open what lines may be added to; the end of the chain in it.
    fn touch(&self, open: &mut Open) -> io::Result<Option<End>> {
        let metadata = open.file.metadata()?;
        if self.has_other_mode(&metadata) {
            open.file.set_permissions(Permissions::from_mode(self.settings.mode))?;
        }
        let (mut length, mut end) = (metadata.len(), None);
        if metadata.is_file() && length > 0 {
            let tail = Tail::read(&open.path, &open.file)?;
            // A kill may have torn the first line of a new file.
            end = tail.end.or_else(|| end_of_rotated(&open.path));
            if tail.is_torn {
                open.file.write_all(b"\n")?;
                length = length.saturating_add(1);
            }
        } else if metadata.is_file() {
            end = end_of_rotated(&open.path);
        }
        open.length = metadata.is_file().then_some(length);
        open.is_untouched = false;
        Ok(end)
    }
}

impl Sink for FileSink {
    fn probe(&mut self) -> io::Result<()> {
        self.open = Some(self.open_untouched()?);
        Ok(())
    }

    fn ready(&mut self) -> io::Result<Ready> {
        if self.open.as_mut().is_some_and(|open| !open.is_still_at_its_name()) {
            self.close();
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.open_untouched()?,
        };
        let ready = match open.is_untouched {
            true => match self.touch(&mut open) {
                Ok(end) => Ready::Anew(end),
                Err(error) => {
                    self.before = Some(open);
                    return Err(error);
                }
            },
            false => Ready::AsBefore,
        };
        self.open = Some(open);
        Ok(ready)
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let Some(open) = &mut self.open else {
            return Err(Failed::with_nothing_kept(io::ErrorKind::NotFound.into()));
        };
        let written = open.append(lines);
        let kept_bytes = written.as_ref().map_or_else(|failed| failed.kept_bytes, |()| lines.len());
        if kept_bytes > 0
            && self.settings.fsync
            && let Err(source) = open.file.sync_data()
        {
            // What the kernel could not write it has forgotten: only a new look tells what is
            // there. The lines are in the file as far as anyone can see, and so in the chain.
            self.close();
            return Err(Failed { kept_bytes, are_lasting: false, source });
        }
        if written.is_err() && open.length.is_none() {
            self.close();
        }
        written
    }

    fn reopen(&mut self) {
        self.close();
    }
}

impl Open {
    /// Locks it against other processes, if it is what has a claim.
    fn lock(&mut self) -> io::Result<()> {
        let Self { file, path, claim, .. } = self;
        claim.as_mut().map_or(Ok(()), |claim| claim.lock(file, path))
    }

    /// Whether the file still has its name; not asked for every line.
    fn is_still_at_its_name(&mut self) -> bool {
        if self.length.is_none() || self.looked.elapsed() < LOOK_PAUSE {
            return true;
        }
        self.looked = Instant::now();
        self.has_its_name()
    }

    fn has_its_name(&self) -> bool {
        let there = self.path.symlink_metadata();
        there.is_ok_and(|there| (there.dev(), there.ino()) == self.device_and_inode)
    }

    /// Appends all lines; what a full disk leaves of a line is cut off again.
    fn append(&mut self, lines: &[u8]) -> Result<(), Failed> {
        let mut written = 0;
        let source = loop {
            match self.file.write(lines.get(written..).unwrap_or_default()) {
                Ok(0) if written < lines.len() => break io::ErrorKind::WriteZero.into(),
                Ok(bytes) => written = written.saturating_add(bytes),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break error,
            }
            if written >= lines.len() {
                self.length = self.length.map(|length| length.saturating_add(to_u64(written)));
                return Ok(());
            }
        };
        let whole = lines.get(..written).unwrap_or_default();
        let kept_bytes = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let Some(before) = self.length else { return Err(Failed::with_nothing_kept(source)) };
        let is_ours = self.file.metadata().is_ok_and(|now| now.len() == before + to_u64(written));
        let length = before.saturating_add(to_u64(kept_bytes));
        if is_ours && self.file.set_len(length).is_ok() {
            self.length = Some(length);
        } else {
            // Somebody else writes too: the next look finds a torn line, and ends it.
            self.length = None;
        }
        Err(Failed { kept_bytes, are_lasting: true, source })
    }
}

/// What was made for nothing goes; the claim holds until it has.
impl Drop for Open {
    fn drop(&mut self) {
        let is_empty = || self.file.metadata().is_ok_and(|now| now.len() == 0);
        let is_ours = self.claim.is_some() && self.is_made && self.is_untouched;
        if is_ours && is_empty() && self.has_its_name() {
            let _left = std::fs::remove_file(&self.path);
        }
    }
}

/// The file at `path`, open for appending, and whether it was made.
fn open_or_make(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    let mut options = File::options();
    options.append(true).mode(mode).custom_flags(no_follow());
    match options.open(path) {
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(|file| (file, false)),
    }
    match options.create_new(true).open(path) {
        // Whoever rotates it was faster, or there is a link to nothing.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            options.create_new(false).open(path).map(|file| (file, false))
        }
        made => made.map(|file| (file, true)),
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Whatever stands under the name itself, never what a link put there leads to.
fn no_follow() -> i32 {
    let flags = OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    i32::try_from(flags.bits()).unwrap_or_default()
}

/// What logrotate calls the file before this one.
fn rotated_name(path: &Path) -> Option<PathBuf> {
    let mut name = path.file_name()?.to_owned();
    name.push(".1");
    Some(path.with_file_name(name))
}

/// The end of the chain in the file before this one.
fn end_of_rotated(path: &Path) -> Option<End> {
    Tail::read_named(&rotated_name(path)?).ok()?.end
}

/// The end of a file.
#[derive(Debug)]
struct Tail {
    /// The last of our lines: each kill may have left a torn one after it. `None` if there is none.
    end: Option<End>,
    /// Whether something without a line end follows it.
    is_torn: bool,
}

impl Tail {
    /// Of the file that is open for appending as `file`.
    fn read(path: &Path, file: &File) -> io::Result<Self> {
        let reader = File::options().read(true).custom_flags(no_follow()).open(path)?;
        let (one, other) = (reader.metadata()?, file.metadata()?);
        if (one.dev(), one.ino()) != (other.dev(), other.ino()) {
            // It was moved away just now: the next attempt finds the new one.
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        Self::of(reader)
    }

    fn read_named(path: &Path) -> io::Result<Self> {
        Self::of(File::options().read(true).custom_flags(no_follow()).open(path)?)
    }

    fn of(mut reader: File) -> io::Result<Self> {
        let length = reader.metadata()?.len();
        reader.seek(SeekFrom::Start(length.saturating_sub(LONGEST_LINE_BYTES)))?;
        let mut bytes = Vec::new();
        reader.take(LONGEST_LINE_BYTES).read_to_end(&mut bytes)?;
        let is_torn = bytes.last().is_some_and(|last| *last != b'\n');
        let mut lines = bytes.split(|byte| *byte == b'\n').rev();
        // What follows the last line end: nothing, or a torn line.
        let _rest = lines.next();
        let end = lines.find_map(Linked::parse).map(|line| line.end);
        Ok(Self { end, is_torn })
    }
}
