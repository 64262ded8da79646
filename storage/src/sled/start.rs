//! How the two parts are brought together, at the start and after a fault.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::iter;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use super::codec::Image;
use super::engine::{Engine, Fault};
use super::journal::{self, Journal, JournalContent};
use super::newest::{self, Newest, Witness};
use super::{SledError, SledSettings, aside, files};
use crate::commit::Commit;
use crate::error::StoreError;
use crate::image::{Records, Shared, record};
use crate::record::Revision;

/// Says that a store was made here, so that an empty directory means loss.
const MARKER: &str = "selkie-store";
pub(super) const ENGINE: &str = "sled";
/// Who has it locked has the store; it says who that is.
const LOCK: &str = "lock";
const FRESH: &str = "sled.new";
/// What the names of sled's snapshots begin with.
pub(super) const SNAPSHOT: &str = "snap.";
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The files of a store that is open.
pub(super) struct Disk {
    dir: PathBuf,
    journal_bytes: u64,
    patience: Duration,
    /// `None` after a fault: to be written anew from memory before the next commit.
    journal: Option<Journal>,
    /// `None` after a fault: to be opened anew before the next commit.
    engine: Option<Engine>,
    /// Its files are of no use, or held by threads that do not come back: it is to be made anew.
    is_engine_lost: bool,
    /// `None` after a fault: to be written anew before the next commit.
    witness: Option<Witness>,
    /// Dropped last: then nobody else has opened the files before.
    _lock: File,
}

impl Disk {
    pub(super) fn open(settings: &SledSettings) -> Result<(Self, Image), SledError> {
        let (dir, patience) = (&settings.path, settings.patience);
        files::make_dir(dir)?;
        let lock = lock(dir)?;
        let parts = [MARKER, ENGINE, journal::NAME, newest::NAME];
        let existed = parts.iter().any(|part| dir.join(part).exists());
        let Parts { engine, held, truth, rewrite } = Parts::read(dir, existed, patience)?;
        let (engine, image) = match (engine, held, truth) {
            (Some(engine), Some(held), Truth::Held) => (engine, held),
            (Some(engine), Some(held), Truth::Journal(image)) if held == image => (engine, image),
            (Some(engine), Some(held), Truth::Journal(image)) => {
                tracing::warn!(journal = %image.newest, sled = %held.newest, "sled is behind the journal: the journal is replayed, nothing is to be done");
                engine.fill(&held.records, &image.records, image.newest).map_err(unwritten)?;
                (engine, image)
            }
            (engine, _, Truth::Journal(image)) => {
                drop(engine);
                (rebuild(dir, &image.records, image.newest, patience)?, image)
            }
            (_, _, Truth::Held) => return Err(SledError::Damaged),
        };
        if rewrite {
            tracing::warn!(revision = %image.newest, "the journal is missing, torn or damaged: nothing that was answered is lost, a copy is kept and it is written anew");
            keep_copy(dir)?;
        }
        // Always anew: what is appended then follows an image of what was read and compared.
        let newest = Newest::of(&image.records, image.newest);
        let records = image.records.iter().map(|(key, stored)| record(key, stored));
        let journal = Journal::rewrite(dir, newest, records)?;
        let witness = Witness::rewrite(dir, newest)?;
        if !dir.join(MARKER).exists() {
            files::replace(
                dir,
                MARKER,
                b"A Selkie store is here. Never delete this file alone.\n",
            )?;
        }
        let disk = Self {
            dir: dir.clone(),
            journal_bytes: settings.journal_bytes,
            patience,
            journal: Some(journal),
            engine: Some(engine),
            is_engine_lost: false,
            witness: Some(witness),
            _lock: lock,
        };
        Ok((disk, image))
    }

    /// Makes both parts what memory says, where a fault has left one in doubt.
    ///
    /// Readers wait for none of it, however long the disk takes: they are on threads that serve others,
    /// so the lock of the state is held for a page of records at most. No commit comes between the pages,
    /// as whoever heals has the disk.
    pub(super) fn heal(&mut self, shared: &Shared) -> Result<(), StoreError> {
        let newest = told(shared);
        let broken = self.journal.is_none() || self.engine.is_none() || self.witness.is_none();
        if self.journal.as_ref().is_none_or(|journal| journal.is_long(self.journal_bytes)) {
            self.journal = None;
            let journal = Journal::rewrite(&self.dir, newest, shared.walk());
            self.journal = Some(journal.map_err(|error| self.failed(error))?);
        }
        if self.engine.is_none() {
            let records = shared.walk().map(|it| (it.key, (it.value, it.revision))).collect();
            let engine = self.reopened(&records, newest.revision);
            self.engine = Some(engine.map_err(|error| error.at(&self.dir))?);
        }
        if self.witness.is_none() {
            let witness = Witness::rewrite(&self.dir, newest);
            self.witness = Some(witness.map_err(|error| self.failed(error))?);
        }
        if broken {
            tracing::info!(revision = %newest.revision, "the store takes commits again");
        }
        Ok(())
    }

    fn reopened(&mut self, records: &Records, newest: Revision) -> Result<Engine, SledError> {
        let outcome = if self.is_engine_lost {
            rebuild(&self.dir, records, newest, self.patience)
        } else {
            reopen(&self.dir, records, newest, self.patience)
        };
        self.is_engine_lost = match &outcome {
            Ok(_) => false,
            Err(error) => self.is_engine_lost || error.leaves_files_in_doubt(),
        };
        outcome
    }

    fn failed(&self, error: io::Error) -> SledError {
        SledError::Io(error).at(&self.dir)
    }

    /// Puts the commit into the journal: from then on it has happened.
    pub(super) fn journal(&mut self, commit: &Commit, shared: &Shared) -> Result<(), StoreError> {
        let outcome = match self.journal.as_mut() {
            Some(journal) => journal.append(commit),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        let Err(error) = outcome else { return Ok(()) };
        tracing::error!(%error, directory = %self.dir.display(), "the journal cannot be written: make space or repair the disk, the store then recovers by itself");
        let error = self.failed(error);
        self.journal = None;
        match Journal::rewrite(&self.dir, told(shared), shared.walk()) {
            // The journal that is there now knows nothing of the commit.
            Ok(journal) => {
                self.journal = Some(journal);
                Err(error.into())
            }
            Err(_) => Err(StoreError::Undecided { source: Box::new(error) }),
        }
    }

    /// Brings sled, and then the witness, to the commit that the journal and memory have.
    pub(super) fn follow(&mut self, commit: &Commit, shared: &Shared) {
        let count = shared.state().records().len();
        if let Some(engine) = self.engine.take() {
            match engine.apply(commit, count).and_then(|()| engine.sync_blobs(commit)) {
                Ok(()) => self.engine = Some(engine),
                Err(fault) => {
                    tracing::error!(
                        ?fault,
                        directory = %self.dir.display(),
                        "sled cannot be written: make space or repair the disk, no commit is taken until it reopens"
                    );
                    self.is_engine_lost = match &fault {
                        Fault::Stuck | Fault::Damaged => true,
                        Fault::Passing(error) => error.leaves_files_in_doubt(),
                    };
                }
            }
        }
        let newest = Newest { revision: commit.revision, count: count as u64 };
        if let Some(witness) = self.witness.take() {
            match witness.tell(newest) {
                Ok(()) => self.witness = Some(witness),
                Err(error) => tracing::error!(
                    %error,
                    directory = %self.dir.display(),
                    "the file `newest` cannot be written: repair the disk, no commit is taken until it can"
                ),
            }
        }
    }
}

/// What memory says was answered last.
fn told(shared: &Shared) -> Newest {
    let state = shared.state();
    Newest::of(state.records(), state.newest())
}

fn lock(dir: &Path) -> Result<File, SledError> {
    let mut options = File::options();
    let mut file = options.create(true).truncate(false).write(true).open(dir.join(LOCK))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => {
                // For people alone: on a full disk, whoever is refused is told less.
                let _told = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
    }
    Err(in_use(dir))
}

pub(super) fn check_unlocked(dir: &Path) -> Result<(), SledError> {
    let file = match File::open(dir.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use(dir)),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn in_use(dir: &Path) -> SledError {
    let said = fs::read_to_string(dir.join(LOCK)).ok();
    SledError::InUse { dir: dir.to_owned(), pid: said.and_then(|said| said.trim().parse().ok()) }
}

/// What was read, or `None` if the disk does not give the file `name` back, which is damage like any
/// other: the other parts may have all that was answered.
fn readable<T>(
    read: Result<T, SledError>,
    name: &str,
    unread: &mut Vec<io::Error>,
) -> Result<Option<T>, SledError> {
    match read {
        Err(SledError::Io(error) | SledError::Engine(::sled::Error::Io(error)))
            if files::is_unreadable(&error) =>
        {
            tracing::error!(%error, name, "a file of the store cannot be read: repair the disk; it is made anew if the others have all that was answered");
            unread.push(error);
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// A store where none ever was: first the journal, from which all else is made.
fn create(dir: &Path) -> Result<JournalContent, SledError> {
    tracing::info!("a new store is made");
    Journal::rewrite(dir, Newest::of(&Records::new(), Revision::ORIGIN), iter::empty())?;
    journal::read(dir)
}

/// sled and what it holds; `None` where it is gone or damaged. Where the disk does not give a file of it
/// back, that is the error, and nothing is tried with the others: to scan the log is to cut it off where
/// it cannot be read.
fn open_engine(
    dir: &Path,
    known: &Records,
    patience: Duration,
) -> Result<(Option<Engine>, Option<Image>), SledError> {
    let path = dir.join(ENGINE);
    if !path.join("db").exists() {
        return Ok((None, None));
    }
    match try_open(&path, known, patience) {
        Ok((engine, image)) => return Ok((Some(engine), Some(image))),
        Err(Fault::Passing(error)) => return Err(error),
        Err(Fault::Damaged | Fault::Stuck) => {}
    }
    tracing::warn!("sled is damaged: its snapshot is moved aside and it is opened from its log");
    move_snapshots(dir, &path)?;
    match try_open(&path, known, patience) {
        Ok((engine, image)) => Ok((Some(engine), Some(image))),
        Err(Fault::Passing(error)) => Err(error),
        Err(Fault::Damaged | Fault::Stuck) => Ok((None, None)),
    }
}

fn try_open(path: &Path, known: &Records, patience: Duration) -> Result<(Engine, Image), Fault> {
    let engine = Engine::open(path, patience)?;
    let image = engine.load(known)?;
    Ok((engine, image))
}

fn move_snapshots(dir: &Path, path: &Path) -> Result<(), SledError> {
    let mut snapshots = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT) {
            snapshots.push(entry.file_name());
        }
    }
    if snapshots.is_empty() {
        return Ok(());
    }
    let moved = |aside: &Path| {
        snapshots.iter().try_for_each(|name| fs::rename(path.join(name), aside.join(name)))
    };
    aside::keep(dir, moved)?;
    Ok(files::sync(path)?)
}

/// The parts as they are found, and which of them is believed.
struct Parts {
    engine: Option<Engine>,
    held: Option<Image>,
    truth: Truth,
    /// Whether the journal is worth a look before it is replaced.
    rewrite: bool,
}

impl Parts {
    fn read(dir: &Path, existed: bool, patience: Duration) -> Result<Self, SledError> {
        let mut unread = Vec::new();
        let read = newest::read(dir).map_err(SledError::Io);
        let witness = match readable(read, newest::NAME, &mut unread)? {
            Some(Some(newest)) => Testimony::Newest(newest),
            Some(None) => Testimony::Nothing,
            None => Testimony::Unread,
        };
        let found = if existed {
            let found = readable(journal::read(dir), journal::NAME, &mut unread)?;
            found.unwrap_or(JournalContent::Damaged)
        } else {
            create(dir)?
        };
        let none = Records::new();
        let opened = open_engine(dir, found.records().unwrap_or(&none), patience);
        let (engine, held) = readable(opened, ENGINE, &mut unread)?.unwrap_or((None, None));
        let (truth, rewrite) = match (choose(found, held.as_ref(), witness), unread.pop()) {
            // What cannot be read today is not lost yet: nobody is to put a backup in its place.
            (Err(SledError::Damaged), Some(unread)) => return Err(SledError::Io(unread)),
            (Err(SledError::Damaged), None) => {
                tracing::error!(
                    ?witness,
                    "neither the journal nor sled has all that was answered: restore a backup"
                );
                return Err(SledError::Damaged);
            }
            (chosen, _) => chosen?,
        };
        Ok(Self { engine, held, truth, rewrite })
    }
}

/// What the witness says.
#[derive(Clone, Copy, Debug)]
enum Testimony {
    Newest(Newest),
    /// It is not there, or says nothing.
    Nothing,
    /// The disk does not give it back today.
    Unread,
}

/// The part that is believed.
enum Truth {
    Journal(Image),
    Held,
}

/// Which part tells the truth, and whether the journal is worth a look before it is replaced.
///
/// A whole journal is believed unless the witness knows better; whatever else is there only if the
/// witness says that it holds all that was answered. Where the witness is there and cannot be read,
/// both parts must say the same: nothing else would tell of what a dying disk took from one of them.
fn choose(
    found: JournalContent,
    held: Option<&Image>,
    witness: Testimony,
) -> Result<(Truth, bool), SledError> {
    let vouched = |image: &Image| match witness {
        Testimony::Newest(newest) => newest.is_in(image),
        Testimony::Nothing | Testimony::Unread => false,
    };
    let is_believed = |image: &Image| match witness {
        Testimony::Newest(_) => vouched(image),
        Testimony::Nothing => true,
        Testimony::Unread => held == Some(image),
    };
    let (journal, worth_keeping) = match found {
        JournalContent::Whole(image) if is_believed(&image) => (Some(image), false),
        // A commit was being written as all stopped: it was not answered, and is cut off.
        JournalContent::Torn(image) if vouched(&image) => (Some(image), true),
        JournalContent::Absent => (None, false),
        JournalContent::Whole(_) | JournalContent::Torn(_) | JournalContent::Damaged => {
            (None, true)
        }
    };
    match (journal, held) {
        (Some(journal), Some(held)) if journal.newest == held.newest => {
            let at = journal.newest;
            if journal == *held {
                Ok((Truth::Journal(journal), worth_keeping))
            } else {
                Err(SledError::Disagree { at })
            }
        }
        (Some(journal), held) if held.is_none_or(|held| held.newest < journal.newest) => {
            Ok((Truth::Journal(journal), worth_keeping))
        }
        (_, Some(held)) if vouched(held) => Ok((Truth::Held, true)),
        _ => Err(SledError::Damaged),
    }
}

/// A new sled of this image, swapped in for what there was, which is kept.
fn rebuild(
    dir: &Path,
    records: &Records,
    newest: Revision,
    patience: Duration,
) -> Result<Engine, SledError> {
    let (fresh, path) = (dir.join(FRESH), dir.join(ENGINE));
    // At the first start there is nothing to make anew.
    if newest != Revision::ORIGIN || path.exists() {
        tracing::warn!(revision = %newest, "sled is made anew from the journal");
    }
    if fresh.exists() {
        fs::remove_dir_all(&fresh)?;
    }
    let engine = Engine::open(&fresh, patience).map_err(unwritten)?;
    engine.fill(&Records::new(), records, newest).map_err(unwritten)?;
    drop(engine);
    if path.exists() {
        let aside = aside::keep(dir, |aside| fs::rename(&path, aside.join(ENGINE)))?;
        tracing::warn!(kept = %aside.display(), "the damaged database is kept: delete it once all is well");
    }
    fs::rename(&fresh, &path)?;
    files::sync(dir)?;
    Engine::open(&path, patience).map_err(unwritten)
}

fn keep_copy(dir: &Path) -> Result<(), SledError> {
    let path = dir.join(journal::NAME);
    if !path.exists() {
        return Ok(());
    }
    match aside::copy(dir, &path) {
        // sled has all that was answered, or it would not have come to this.
        Err(error) if files::is_unreadable(&error) => {
            aside::keep(dir, |aside| fs::rename(&path, aside.join(journal::NAME)))?;
        }
        copied => drop(copied?),
    }
    Ok(())
}

/// Opens sled after a fault; memory says what it has to hold.
fn reopen(
    dir: &Path,
    records: &Records,
    newest: Revision,
    patience: Duration,
) -> Result<Engine, SledError> {
    // Memory has all that was answered, so that nothing need be read from here.
    let opened = readable(open_engine(dir, records, patience), ENGINE, &mut Vec::new())?;
    match opened {
        Some((Some(engine), Some(held))) => {
            if held.newest != newest || held.records != *records {
                engine.fill(&held.records, records, newest).map_err(unwritten)?;
            }
            Ok(engine)
        }
        _ => rebuild(dir, records, newest, patience),
    }
}

/// What was to be written is whole elsewhere, so nothing is lost.
fn unwritten(fault: Fault) -> SledError {
    match fault {
        Fault::Passing(error) => error,
        Fault::Damaged | Fault::Stuck => SledError::Unwritable,
    }
}
