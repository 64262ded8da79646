use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use futures_util::FutureExt as _;

use super::*;
use crate::contract::Standing;
use crate::record::RecordValue;

/// Generous: it bounds a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

async fn fresh() -> Arc<dyn Store> {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(SledSettings::new(dir.path())).await.unwrap();
    Arc::new(Standing::new(store, dir))
}

crate::store_contract!(fresh);

async fn open(path: &Path) -> Result<SledStore, SledError> {
    SledStore::open(SledSettings { journal_bytes: 2000, ..SledSettings::new(path) }).await
}

fn put(key: &str, value: &str) -> Write {
    Write::Put(key.parse().unwrap(), RecordValue::new(value.as_bytes()).unwrap())
}

#[tokio::test]
async fn reopened_store_has_everything_and_forgets_the_history() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let mut last = Revision::ORIGIN;
    for n in 0..60 {
        last = store.commit(&[], &[put(&format!("k/{}", n % 7), &n.to_string())]).await.unwrap();
    }
    let before = store.list(&Page::all()).await.unwrap();
    drop(store);
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.list(&Page::all()).await.unwrap(), before);
    let refused = store.watch(Revision::ORIGIN).await.unwrap_err();
    assert!(matches!(refused, StoreError::Compacted { oldest } if oldest == last));
    assert!(store.watch(last).await.is_ok());
}

#[tokio::test]
async fn second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _store = open(dir.path()).await.unwrap();
    let refused = open(dir.path()).await.unwrap_err();
    let us = std::process::id();
    let is_told = |pid| matches!(&refused, SledError::InUse { dir: at, pid: told } if at == dir.path() && *told == pid);
    assert!(is_told(Some(us)), "{refused:?}");
    assert!(refused.to_string().ends_with(&format!("is in use by process {us}")), "{refused}");
    assert!(matches!(SledStore::check_unused(dir.path()), Err(SledError::InUse { .. })));
}

#[tokio::test]
async fn a_journal_that_is_damaged_at_every_start_fills_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..8 {
        let store = open(dir.path()).await.unwrap();
        store.commit(&[], &[put("a", &number.to_string())]).await.unwrap();
        drop(store);
        std::fs::write(dir.path().join("journal"), format!("damaged {number}")).unwrap();
    }
    let _store = open(dir.path()).await.unwrap();
    let names = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut kept: Vec<_> =
        names.filter(|name| name.to_str().unwrap().starts_with("damaged")).collect();
    kept.sort();
    assert_eq!(kept, ["damaged-1", "damaged-6", "damaged-7", "damaged-8"]);
    let first = std::fs::read(dir.path().join("damaged-1/journal")).unwrap();
    assert_eq!(first, b"damaged 0");
}

#[tokio::test]
async fn either_part_is_made_from_the_other_and_nothing_from_neither() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let store = open(path).await.unwrap();
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    let before = store.list(&Page::all()).await.unwrap();
    drop(store);
    for gone in ["journal", "sled"] {
        std::fs::rename(path.join(gone), path.join("away")).unwrap();
        let store = open(path).await.unwrap();
        assert_eq!(store.list(&Page::all()).await.unwrap(), before, "without {gone}");
        drop(store);
        std::fs::rename(path.join("away"), path.join(format!("old-{gone}"))).unwrap();
    }
    std::fs::remove_file(path.join("journal")).unwrap();
    std::fs::remove_dir_all(path.join("sled")).unwrap();
    assert!(matches!(open(path).await, Err(SledError::Damaged)));
}

#[tokio::test]
async fn journal_is_compacted_once_its_commits_outgrow_its_image_and_has_all_of_many_records() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    let record = |n: usize| put(&format!("k/{n}"), "a value of some length");
    // More than are walked at a time.
    for from in (0..2500).step_by(100) {
        let writes: Vec<_> = (from..from + 100).map(record).collect();
        store.commit(&[], &writes).await.unwrap();
    }
    let length = || std::fs::metadata(dir.path().join("journal")).unwrap().len();
    let (mut before, mut compacted, mut appended) = (length(), 0, 0);
    for n in 0..200 {
        let big = put("k/7", &"x".repeat(1000 + n));
        store.commit(&[], &[big]).await.unwrap();
        let after = length();
        if after < before {
            compacted += 1
        } else {
            appended += after - before
        }
        before = after;
    }
    assert!(appended > 190_000, "{appended}");
    assert!((1..=2).contains(&compacted), "{compacted}");
    let before = store.list(&Page::all()).await.unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    let store = open(dir.path()).await.unwrap();
    assert_eq!(store.list(&Page::all()).await.unwrap(), before);
    assert_eq!(store.inner.shared.walk().count(), 2500);
}

#[test]
fn witness_survives_either_slot_and_says_nothing_without_both() {
    use super::newest::{NAME, Newest, Witness, read};
    let dir = tempfile::tempdir().unwrap();
    let newest = |number, count| Newest { revision: Revision::new(number), count };
    let witness = Witness::rewrite(dir.path(), newest(7, 3)).unwrap();
    assert_eq!(read(dir.path()).unwrap(), Some(newest(7, 3)));
    witness.tell(newest(8, 4)).unwrap();
    let whole = std::fs::read(dir.path().join(NAME)).unwrap();
    for at in (0..20).chain(512..532) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        std::fs::write(dir.path().join(NAME), &bytes).unwrap();
        let left = if at < 20 { newest(7, 3) } else { newest(8, 4) };
        assert_eq!(read(dir.path()).unwrap(), Some(left), "flipped at {at}");
        bytes[(at + 512) % 1024] ^= 1;
        std::fs::write(dir.path().join(NAME), &bytes).unwrap();
        assert_eq!(read(dir.path()).unwrap(), None, "flipped at {at} and its twin");
    }
}

/// Does something at each of this thread's warnings.
struct AtWarnings<F>(F);

impl<F: Fn() + 'static + Send + Sync> tracing::Subscriber for AtWarnings<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _span: &tracing::span::Id, _values: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _span: &tracing::span::Id, _other: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        if event.metadata().target().starts_with("selkie_storage") {
            self.0();
        }
    }

    fn enter(&self, _span: &tracing::span::Id) {}

    fn exit(&self, _span: &tracing::span::Id) {}
}

/// While `tracing` knows of one subscriber alone, the first thread that comes to a line of the log
/// answers for all whether anybody wants it, and that may be one of another test.
fn another_subscriber() -> tracing::Dispatch {
    tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new())
}

#[tokio::test]
async fn a_first_start_warns_of_nothing_and_a_sled_made_anew_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let settings = SledSettings::new(dir.path());
    let _another = another_subscriber();
    let warnings_of_start = || {
        let warnings = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&warnings);
        let at_warnings = AtWarnings(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let opened = tracing::subscriber::with_default(at_warnings, || Disk::open(&settings));
        drop(opened.unwrap());
        warnings.load(Ordering::Relaxed)
    };
    assert_eq!(warnings_of_start(), 0);
    let store = open(dir.path()).await.unwrap();
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    drop(store);
    std::fs::remove_dir_all(dir.path().join("sled")).unwrap();
    assert_eq!(warnings_of_start(), 1);
}

#[tokio::test]
async fn no_read_waits_for_a_sled_that_is_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).await.unwrap();
    store.commit(&[], &[put("a", "1")]).await.unwrap();
    std::fs::remove_dir(dir.path().join("sled/blobs")).unwrap();
    // sled fails at it, after the journal has it.
    store.commit(&[], &[put("a", &"x".repeat(20_000))]).await.unwrap();
    let (tell, reads) = mpsc::channel();
    let store = Arc::new(store);
    let reader = Arc::clone(&store);
    let read_elsewhere = move || {
        let store = Arc::clone(&reader);
        let (tell_read, read) = mpsc::channel();
        std::thread::spawn(move || {
            let key = "a".parse().unwrap();
            tell_read.send(store.get(&key).now_or_never().unwrap()).unwrap();
        });
        tell.send(read.recv_timeout(PATIENCE)).unwrap();
    };
    let _another = another_subscriber();
    let commit = || store.inner.commit(&[], &[put("b", "2")]);
    tracing::subscriber::with_default(AtWarnings(read_elsewhere), commit).unwrap();
    let reads: Vec<_> = reads.try_iter().collect();
    assert!(!reads.is_empty(), "nothing was made anew");
    for read in reads {
        let record = read.expect("a read waited").unwrap().unwrap();
        assert_eq!(record.value.as_bytes().len(), 20_000);
    }
}

/// A pipe in place of a file: whoever opens it hangs, as on a disk that does, until it is read.
#[test]
fn commits_given_up_on_a_disk_that_hangs_take_one_thread_in_all() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let settings = SledSettings { journal_bytes: 0, ..SledSettings::new(dir.path()) };
        let store = SledStore::open(settings).await.unwrap();
        store.commit(&[], &[put("a", &"x".repeat(1000))]).await.unwrap();
        let pipe = dir.path().join("journal.tmp");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for number in 0..3 {
            let given_up = store.commit(&[], &[put("b", &number.to_string())]).now_or_never();
            assert!(given_up.is_none());
        }
        let others = tokio::time::timeout(PATIENCE, spawn_blocking(|| ())).await;
        drop(std::fs::read(&pipe).unwrap());
        others.expect("no thread is left").unwrap();
        store.commit(&[], &[put("b", "last")]).await.unwrap();
    });
}
