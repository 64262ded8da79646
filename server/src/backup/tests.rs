use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use selkie_config::{Config, Seal, SealKind, StaticKey, StaticSeal};
use selkie_crypto::{Kek, KekId, KeyVersion, OriginKey, SealName, os_random};
use selkie_storage::{
    EtcdDamage, Guard, Listing, MemoryStore, Page, Record, RecordKey, RecordValue, Revision,
    StoreError, StoreFuture, Watch, Write,
};

use super::standing::raw;
use super::*;
use crate::seal::KekRef;
use crate::state::layout::Format;
use crate::state::{KeyRecord, Root, record_key};
use crate::telemetry::WithCauses;
use crate::transit::{KeySource, Transit, TransitKey, VersionRecord};

type Records = BTreeMap<RecordKey, RecordValue>;

fn seal(name: &str, fill: u8) -> Seal {
    let key = Kek::init_with(|bytes| bytes.fill(fill)).unwrap();
    let current = StaticKey { id: KekId::new("k1").unwrap(), key };
    let kind = SealKind::Static(StaticSeal { current, previous: Vec::new() });
    Seal {
        name: SealName::new(name).unwrap(),
        aliases: Vec::new(),
        priority: 1,
        disabled: false,
        kind,
    }
}

/// An engine of a realm with seals by name and fill.
pub(crate) async fn engine(realm: &str, seals: &[(&str, u8)]) -> Transit {
    let config = crate::transit::tests::config_of(&[], &[]);
    let seals = seals.iter().map(|(name, fill)| seal(name, *fill)).collect();
    offline(Config { realm: realm.into(), seals, ..config }).await.unwrap()
}

fn key(text: &str) -> RecordKey {
    text.parse().unwrap()
}

fn value(bytes: &[u8]) -> RecordValue {
    RecordValue::new(bytes).unwrap()
}

/// A store as a server keeps it, written without one.
#[derive(Debug)]
pub(crate) struct Site {
    store: Arc<dyn Store>,
    state_key: Arc<StateKey>,
}

impl Site {
    pub(crate) async fn new(transit: &Transit, id: &str) -> Self {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let state_key = StateKey::init_with(|bytes| os_random(bytes).unwrap()).unwrap();
        let realm = transit.deployment.realm().to_owned();
        let format = Format { format: 1, realm, store: id.into(), created: 7 };
        let sealed = sealed_state_key(transit, &state_key).await.unwrap();
        let writes = [
            Write::Put(key("format"), value(&serde_json::to_vec(&format).unwrap())),
            Write::Put(key("state-key"), value(&sealed)),
            Write::Put(key("state-key-local/here"), value(b"of this machine")),
            Write::Put(key("root"), Self::root(&state_key, &Root::EMPTY)),
        ];
        store.commit(&[], &writes).await.unwrap();
        Self { store, state_key: Arc::new(state_key) }
    }

    fn root(state_key: &StateKey, root: &Root) -> RecordValue {
        let sealed = state_key.seal_record("root", root.sequence, root.encode(), &os_random);
        value(&sealed.unwrap())
    }

    /// One commit of these contents.
    async fn put(&self, contents: &[(&str, &[u8])]) {
        put(&self.store, &self.state_key, contents).await;
    }

    pub(crate) async fn put_key(&self, name: &str, latest: u32) {
        let place = record_key(&"transit".parse().unwrap(), &name.parse().unwrap()).unwrap();
        let content = managed(name, latest);
        self.put(&[(place.as_str(), content.as_bytes())]).await;
    }

    pub(crate) async fn source(self) -> (Source, Snapshot) {
        let snapshot = self.snapshot().await;
        (Source { store: self.store, state_key: self.state_key }, snapshot)
    }

    async fn snapshot(&self) -> Snapshot {
        take(&self.store, &self.state_key).await.unwrap()
    }

    pub(crate) async fn backup(&self, transit: &Transit) -> Vec<u8> {
        let (key, envelope) = new_key(transit).await.unwrap();
        write(&self.snapshot().await, key, &envelope).unwrap()
    }
}

async fn put(store: &Arc<dyn Store>, state_key: &StateKey, contents: &[(&str, &[u8])]) {
    let sealed_root = store.get(&key("root")).await.unwrap().unwrap();
    let opened = state_key.open_record("root", sealed_root.value.as_bytes()).unwrap();
    let mut root = Root::decode(&opened.content).unwrap();
    root.sequence += 1;
    let mut writes = Vec::new();
    for (place, content) in contents {
        if let Some(old) = store.get(&key(place)).await.unwrap() {
            root.sum = root.sum.toggled(state_key.summand(place, old.value.as_bytes()));
            root.records -= 1;
        }
        let sealed = state_key.seal_record(place, root.sequence, content.to_vec(), &os_random);
        let sealed = sealed.unwrap();
        root.sum = root.sum.toggled(state_key.summand(place, &sealed));
        root.records += 1;
        writes.push(Write::Put(key(place), value(&sealed)));
    }
    writes.push(Write::Put(key("root"), Site::root(state_key, &root)));
    let guard = Guard::At(key("root"), sealed_root.revision);
    store.commit(&[guard], &writes).await.unwrap();
}

fn managed(name: &str, latest: u32) -> RecordValue {
    let kek = KekRef { seal: SealName::new("a").unwrap(), kek: KekId::new("k1").unwrap() };
    let record = Arc::new(VersionRecord { created: 7, keks: vec![kek], left_out: Vec::new() });
    let version = |number| KeyVersion::new(number).unwrap();
    let versions = (1..=latest).map(|number| (version(number), record.clone())).collect();
    let key = TransitKey {
        name: name.parse().unwrap(),
        source: KeySource::Managed,
        derived: false,
        quorum: 1,
        deletion_allowed: false,
        allow_missing_seals: false,
        min_decryption: KeyVersion::FIRST,
        min_encryption: None,
        min_available: None,
        latest: version(latest),
        versions,
        uncounted: Vec::new(),
    };
    KeyRecord::encode(&key).unwrap()
}

/// A site with two keys and a few more records, and its engine.
async fn site() -> (Transit, Site) {
    let transit = engine("test", &[("a", 1), ("b", 2)]).await;
    let site = Site::new(&transit, "store-1").await;
    site.put_key("one", 2).await;
    site.put_key("two", 5).await;
    site.put(&[("tokens/x", b"x"), ("tokens/y", b"y")]).await;
    (transit, site)
}

fn memory() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

async fn restore_into(
    store: &Arc<dyn Store>,
    transit: &Transit,
    file: &[u8],
) -> Result<Copied, CopyError> {
    restore(file, Target { store, transit, force: false }, &mut |_, _| {}).await
}

/// What a copy must be equal to: all of a store but what one machine keeps for itself.
async fn copied(store: &Arc<dyn Store>) -> Records {
    let mut records = raw(store).await.unwrap();
    records.retain(|key, _| !key.as_str().starts_with("state-key-local"));
    records
}

#[tokio::test]
async fn a_store_of_any_size_is_restored_bit_by_bit() {
    let transit = engine("test", &[("a", 1)]).await;
    for count in [0_usize, 1, 5000] {
        let site = Site::new(&transit, "store-1").await;
        let names: Vec<_> = (0..count).map(|number| format!("tokens/{number}")).collect();
        for names in names.chunks(100) {
            let contents = names.iter().map(|name| (name.as_str(), &b"content"[..]));
            let contents: Vec<_> = contents.collect();
            site.put(&contents).await;
        }
        let file = site.backup(&transit).await;
        let target = memory();
        let done = restore_into(&target, &transit, &file).await.unwrap();
        assert_eq!(done.records, u64::try_from(count).unwrap());
        assert_eq!(raw(&target).await.unwrap(), copied(&site.store).await, "{count}");
    }
}

#[tokio::test]
async fn any_one_of_the_seals_opens_a_backup() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    for survivor in [("a", 1), ("b", 2)] {
        let alone = engine("test", &[survivor]).await;
        assert!(restore_into(&memory(), &alone, &file).await.is_ok(), "{survivor:?}");
    }
}

#[tokio::test]
async fn what_does_not_open_changes_nothing() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    let target = memory();
    let held = raw(&target).await.unwrap();
    for (realm, seal) in [("test", ("a", 9)), ("test", ("c", 1)), ("other", ("a", 1))] {
        let wrong = engine(realm, &[seal]).await;
        let refused = restore_into(&target, &wrong, &file).await.unwrap_err();
        assert!(matches!(refused, CopyError::Seal(BackupSealError::Unopened { .. })), "{refused}");
        let is_told = refused.to_string().contains("it was made for seal \"a\" (key id k1)");
        // Of another realm's nothing is read further.
        assert_eq!(is_told, realm == "test", "{refused}");
        assert_eq!(raw(&target).await.unwrap(), held);
    }
    let sealed = file.len() - read_frame(&file).unwrap().1.len();
    // One bit in each byte; all bits of a chunk are tried where chunks are made.
    for at in 0..file.len() {
        let mut flipped = file.clone();
        flipped[at] ^= 1 << (at % 8);
        let refused = restore_into(&target, &transit, &flipped).await;
        let refused = refused.expect_err("a flipped bit");
        if at >= sealed {
            let chunk =
                matches!(refused, CopyError::Content(ContentError::Chunk { number: 0, .. }));
            assert!(chunk, "{at}: {refused}");
        }
    }
    for length in 0..file.len() {
        assert!(restore_into(&target, &transit, &file[..length]).await.is_err(), "{length}");
    }
    assert_eq!(raw(&target).await.unwrap(), held);
}

#[tokio::test]
async fn a_backup_cut_between_chunks_or_lengthened_is_refused() {
    let transit = engine("test", &[("a", 1)]).await;
    let site = Site::new(&transit, "store-1").await;
    for name in ["tokens/1", "tokens/2", "tokens/3"] {
        site.put(&[(name, &[7; 60_000])]).await;
    }
    let file = site.backup(&transit).await;
    let (start, chunk) = (file.len() - read_frame(&file).unwrap().1.len(), 64 * 1024 + 16);
    assert!(file.len() > start + 2 * chunk, "three chunks");
    for cut in [start + chunk, start + 2 * chunk] {
        let refused = restore_into(&memory(), &transit, &file[..cut]).await.unwrap_err();
        assert!(matches!(refused, CopyError::Content(ContentError::Chunk { .. })), "{refused}");
    }
    let longer = [&file[..], b"0"].concat();
    assert!(restore_into(&memory(), &transit, &longer).await.is_err());
    assert!(restore_into(&memory(), &transit, &file).await.is_ok(), "control");
}

#[tokio::test]
async fn a_file_that_is_no_backup_is_told_apart_from_one_of_a_later_selkie() {
    assert_eq!(read_frame(b"hello"), Err(ContentError::NotABackup));
    assert_eq!(read_frame(b"selkie-backup 2\n{}\n"), Err(ContentError::OtherVersion));
    assert_eq!(read_frame(b"selkie-backup 1\n{}"), Err(ContentError::Frame));
    assert_eq!(read_frame(b"selkie-backup 1\n{}\nshort"), Err(ContentError::Frame));
}

#[tokio::test]
async fn damage_in_a_store_is_never_backed_up() {
    let (_, site) = site().await;
    let good = site.snapshot().await.records;
    let verify = |change: &dyn Fn(&mut Records)| {
        let mut records = good.clone();
        change(&mut records);
        Snapshot::verify(records, &site.state_key).map(drop)
    };
    assert_eq!(verify(&|_| {}), Ok(()));
    let gone = |name: &'static str| verify(&move |records| drop(records.remove(&key(name))));
    assert_eq!(gone("tokens/x"), Err(Damage::NotOfRoot));
    for name in ["format", "state-key", "root"] {
        assert_eq!(gone(name), Err(Damage::Missing(name)));
    }
    let old = good[&key("tokens/x")].clone();
    assert_eq!(
        verify(&|records| drop(records.insert(key("tokens/y"), old.clone()))),
        Err(Damage::Refused(key("tokens/y")))
    );
    assert_eq!(
        verify(&|records| drop(records.insert(key("filling"), value(b"{}")))),
        Err(Damage::Filling)
    );
    let later = value(br#"{"format":2,"new":1}"#);
    assert_eq!(
        verify(&|records| drop(records.insert(key("format"), later.clone()))),
        Err(Damage::LaterFormat { found: 2 })
    );
}

#[tokio::test]
async fn an_old_record_put_back_is_found() {
    let (_, site) = site().await;
    let before = site.snapshot().await.records[&key("tokens/x")].clone();
    site.put(&[("tokens/x", b"new")]).await;
    let mut records = site.snapshot().await.records;
    records.insert(key("tokens/x"), before);
    assert_eq!(Snapshot::verify(records, &site.state_key).unwrap_err(), Damage::NotOfRoot);
}

/// A store to which a commit is made after each page that is listed.
#[derive(Debug)]
struct Busy {
    site: Site,
    commits: AtomicUsize,
}

impl Store for Busy {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.site.store.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            let page = Page { limit: NonZeroUsize::new(3).unwrap(), ..page.clone() };
            let listing = self.site.store.list(&page).await?;
            let number = self.commits.fetch_add(1, Ordering::Relaxed);
            // One that is listed already, and one that is not.
            let (first, last) = (format!("tokens/{number:03}"), format!("tokens/z{number}"));
            self.site.put(&[(&first, b"first"), (&last, b"last"), ("tokens/x", b"again")]).await;
            Ok(listing)
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.site.store.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.site.store.watch(from)
    }
}

#[tokio::test]
async fn a_snapshot_among_commits_is_of_one_moment() {
    let (transit, site) = site().await;
    for number in 0..20 {
        site.put(&[(&format!("tokens/0{number:02}"), b"before")]).await;
    }
    let records = raw(&site.store).await.unwrap();
    let state_key = open_state_key(&transit, &records[&key("state-key")]).await.unwrap();
    let busy = Arc::new(Busy { site, commits: AtomicUsize::new(0) });
    let store: Arc<dyn Store> = busy.clone();
    let snapshot = take(&store, &Arc::new(state_key)).await.unwrap();
    let commits = busy.commits.load(Ordering::Relaxed);
    assert!(commits > 3, "there were commits between pages");
    // After the last page there was one more, which is not in it.
    assert_eq!(snapshot.root.sequence, 23 + u64::try_from(commits).unwrap() - 1);
    assert!(snapshot.records.contains_key(&key("tokens/z0")));
}

/// To verify as much as a snapshot may hold takes seconds.
#[test]
fn a_snapshot_is_verified_where_no_request_waits_and_copied_with_pauses() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let (_, site) = site().await;
        assert!(snapshot::copy(&site.store).now_or_never().is_none(), "no pause");
        let (release, released) = std::sync::mpsc::channel::<()>();
        let elsewhere = tokio::task::spawn_blocking(move || released.recv());
        let mut taking = std::pin::pin!(take(&site.store, &site.state_key));
        for _ in 0..100 {
            assert!(taking.as_mut().now_or_never().is_none(), "verified here");
        }
        release.send(()).unwrap();
        elsewhere.await.unwrap().unwrap();
        assert_eq!(taking.await.unwrap(), site.snapshot().await);
    });
}

#[tokio::test]
async fn going_back_is_refused_and_says_what_would_be_lost() {
    let (transit, site) = site().await;
    let old = site.backup(&transit).await;
    site.put_key("two", 6).await;
    site.put_key("three", 1).await;
    let held = raw(&site.store).await.unwrap();
    let refused = restore_into(&site.store, &transit, &old).await.unwrap_err();
    let CopyError::GoesBack(back) = &refused else { panic!("{refused}") };
    assert_eq!(back.len(), 3, "{refused}");
    let text = refused.to_string();
    for said in ["commit 5", "two would go back from version 6 to 5", "three at version 1"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(raw(&site.store).await.unwrap(), held, "nothing has changed");
    let target = Target { store: &site.store, transit: &transit, force: true };
    let forced = restore(&old, target, &mut |_, _| {}).await.unwrap();
    assert_eq!(forced.taken_back, *back);
    assert_eq!(forced.sequence, 3);
}

#[tokio::test]
async fn another_store_and_a_damaged_one_are_replaced_by_force_alone() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    let other = Site::new(&transit, "store-2").await;
    let refused = restore_into(&other.store, &transit, &file).await.unwrap_err();
    assert!(refused.to_string().contains("store-2"), "{refused}");
    other.store.commit(&[], &[Write::Delete(key("root"))]).await.unwrap();
    let refused = restore_into(&other.store, &transit, &file).await.unwrap_err();
    assert!(refused.to_string().contains("cannot be compared"), "{refused}");
    let target = Target { store: &other.store, transit: &transit, force: true };
    restore(&file, target, &mut |_, _| {}).await.unwrap();
    assert_eq!(raw(&other.store).await.unwrap(), copied(&site.store).await);
}

/// A store in which some records cannot be read until they are put again.
#[derive(Debug)]
struct Rotted {
    inner: Arc<dyn Store>,
    places: Mutex<BTreeSet<RecordKey>>,
    /// What joins them with the first commit.
    later: Mutex<Option<RecordKey>>,
}

impl Rotted {
    fn at(inner: &Arc<dyn Store>, places: &[&str]) -> Arc<dyn Store> {
        let places = Mutex::new(places.iter().map(|place| key(place)).collect());
        Arc::new(Self { inner: Arc::clone(inner), places, later: Mutex::default() })
    }

    fn check(&self, record: &Record) -> Result<(), StoreError> {
        if self.places.lock().unwrap().contains(&record.key) {
            let (key, text) = (Some(record.key.clone()), format!("s/{}", record.key));
            let (ours, other) = ("s/".to_owned(), "s/in/".to_owned());
            let source = match record.value.as_bytes() {
                b"another's" => EtcdDamage::OtherStore { key: text, ours, other }.into(),
                _ => text.into(),
            };
            return Err(StoreError::Corrupt { key, source });
        }
        Ok(())
    }
}

impl Store for Rotted {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(async move {
            let found = self.inner.get(key).await?;
            found.iter().try_for_each(|record| self.check(record))?;
            Ok(found)
        })
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            let listing = self.inner.list(page).await?;
            listing.records.iter().try_for_each(|record| self.check(record))?;
            Ok(listing)
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            let done = self.inner.commit(guards, writes).await?;
            let mut places = self.places.lock().unwrap();
            places.retain(|place| writes.iter().all(|write| write.key() != place));
            places.extend(self.later.lock().unwrap().take());
            Ok(done)
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }
}

/// What a server in the storage shows of itself, if several may use that.
fn a_server() -> Write {
    Write::Put(
        key("state-key-local/server/1"),
        value(br#"{"host":"eu-1","process":4711,"since":0}"#),
    )
}

#[tokio::test]
async fn nothing_is_put_into_a_store_that_a_server_uses_be_it_forced_or_not() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    site.put_key("app", 9).await;
    site.store.commit(&[], &[a_server()]).await.unwrap();
    let held = copied(&site.store).await;
    for force in [false, true] {
        let target = Target { store: &site.store, transit: &transit, force };
        let refused = restore(&file, target, &mut |_, _| {}).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, CopyError::InUse(_)), "{text}");
        assert!(text.contains("process 4711 on eu-1") && text.contains("30 s more"), "{text}");
        // As it is in a copy of etcd's keys, the record goes by hand alone.
        assert!(text.contains("(record state-key-local/server/1)"), "{text}");
        assert!(text.contains("may be deleted: `etcdctl del KEY`"), "{text}");
        assert!(text.contains("`ps -p`") && text.contains("shows no \"lease\""), "{text}");
    }
    assert_eq!(copied(&site.store).await, held, "nothing has changed");
    site.store.commit(&[], &[Write::Delete(key("state-key-local/server/1"))]).await.unwrap();
    let forced = Target { store: &site.store, transit: &transit, force: true };
    restore(&file, forced, &mut |_, _| {}).await.unwrap();
}

#[tokio::test]
async fn nothing_is_migrated_from_a_store_that_a_server_uses() {
    let (transit, site) = site().await;
    site.store.commit(&[], &[a_server()]).await.unwrap();
    let empty: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let target = Target { store: &empty, transit: &transit, force: false };
    let refused = migrate(&site.store, &transit, target, &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, CopyError::SourceInUse(_)), "{refused}");
    assert!(raw(&empty).await.unwrap().is_empty());
}

#[tokio::test]
async fn servers_are_in_no_copy() {
    let (transit, site) = site().await;
    let before = site.snapshot().await;
    site.store.commit(&[], &[a_server()]).await.unwrap();
    assert_eq!(site.snapshot().await, before);
    let target: Arc<dyn Store> = Arc::new(MemoryStore::new());
    target.commit(&[], &[a_server()]).await.unwrap();
    assert!(matches!(look(&target, &transit).await.unwrap(), Standing::Empty));
    fill(&target, &before, &mut |_, _| {}).await.unwrap();
    assert!(
        target.get(&key("state-key-local/server/1")).await.unwrap().is_some(),
        "it is not ours to delete"
    );
}

#[tokio::test]
async fn records_that_cannot_be_read_are_replaced_by_force_alone() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    for rotted in [&["tokens/x"][..], &["format", "root", "state-key", "tokens/x", "tokens/y"]] {
        let target = Rotted::at(&site.store, rotted);
        let refused = restore_into(&target, &transit, &file).await.unwrap_err();
        let text = refused.to_string();
        assert!(matches!(refused, CopyError::GoesBack(_)) && text.contains(rotted[0]), "{text}");
        let forced = Target { store: &target, transit: &transit, force: true };
        restore(&file, forced, &mut |_, _| {}).await.unwrap();
        assert_eq!(raw(&target).await.unwrap(), copied(&site.store).await);
    }
}

#[tokio::test]
async fn damage_where_only_selkie_has_records_and_no_backup_has_one_is_deleted_by_force() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    for rotted in [&["state-key-local/x"][..], &["filling", "state-key-local/x", "tokens/x"]] {
        let own = rotted.iter().filter(|place| **place != "tokens/x");
        let own: Vec<_> = own.map(|place| Write::Put(key(place), value(b"own"))).collect();
        site.store.commit(&[], &own).await.unwrap();
        let target = Rotted::at(&site.store, rotted);
        let refused = restore_into(&target, &transit, &file).await.unwrap_err();
        assert!(matches!(refused, CopyError::GoesBack(_)), "{refused:?}");
        let forced = Target { store: &target, transit: &transit, force: true };
        restore(&file, forced, &mut |_, _| {}).await.unwrap();
        let held = raw(&target).await.unwrap();
        assert!(own.iter().all(|write| !held.contains_key(write.key())), "{held:?}");
    }
}

#[tokio::test]
async fn what_may_be_of_others_is_named_and_never_deleted() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    let theirs = [("note", &b"theirs"[..]), ("state-key-local/root", b"another's")];
    for (place, force) in [(0, false), (0, true), (1, false), (1, true)] {
        let (place, content) = theirs[place];
        site.store.commit(&[], &[Write::Put(key(place), value(content))]).await.unwrap();
        let held = raw(&site.store).await.unwrap();
        let rotted = Rotted::at(&site.store, &[place, "tokens/x"]);
        let target = Target { store: &rotted, transit: &transit, force };
        let refused = restore(&file, target, &mut |_, _| {}).await.unwrap_err();
        let text = WithCauses(&refused).to_string();
        assert!(matches!(refused, CopyError::NotOurs(_)) && text.contains(place), "{text}");
        assert_eq!(raw(&site.store).await.unwrap(), held, "nothing has changed");
    }
}

#[tokio::test]
async fn what_others_put_into_a_fill_under_way_leaves_it_half_done_and_is_told_so() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    site.put(&[("tokens/z", b"z")]).await;
    site.store.commit(&[], &[Write::Put(key("note"), value(b"theirs"))]).await.unwrap();
    let target: Arc<dyn Store> = Arc::new(Rotted {
        inner: Arc::clone(&site.store),
        places: Mutex::default(),
        later: Mutex::new(Some(key("note"))),
    });
    let forced = Target { store: &target, transit: &transit, force: true };
    let error = restore(&file, forced, &mut |_, _| {}).await.unwrap_err();
    let text = WithCauses(&error).to_string();
    assert!(matches!(error, CopyError::Fill(_)) && text.contains("half filled"), "{text}");
    assert!(site.store.get(&key("root")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_target_that_goes_away_before_the_first_write_is_not_called_half_filled() {
    let (transit, site) = site().await;
    let file = site.backup(&transit).await;
    for (lists, is_begun) in [(0, false), (1, false), (2, false), (3, false), (4, true)] {
        let (inner, lists) = (memory(), AtomicUsize::new(lists));
        let left = AtomicUsize::new(usize::MAX);
        let target: Arc<dyn Store> =
            Arc::new(Mortal { inner: Arc::clone(&inner), left, after: false, lists });
        let error = restore_into(&target, &transit, &file).await.unwrap_err();
        assert_eq!(matches!(error, CopyError::Fill(_)), is_begun, "{error:?}");
        assert_eq!(matches!(error, CopyError::Target(_)), !is_begun, "{error:?}");
        assert_eq!(!raw(&inner).await.unwrap().is_empty(), is_begun);
    }
}

/// A store that dies at a commit, before it, or after it and before its answer; or at a listing.
struct Mortal {
    inner: Arc<dyn Store>,
    lists: AtomicUsize,
    left: AtomicUsize,
    after: bool,
}

impl fmt::Debug for Mortal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mortal")
    }
}

impl Store for Mortal {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.inner.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        Box::pin(async move {
            let left = self.lists.load(Ordering::Relaxed);
            self.lists.store(left.saturating_sub(1), Ordering::Relaxed);
            match left {
                0 => Err(StoreError::Unavailable { source: "killed".into() }),
                _ => self.inner.list(page).await,
            }
        })
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        Box::pin(async move {
            let left = self.left.load(Ordering::Relaxed);
            self.left.store(left.saturating_sub(1), Ordering::Relaxed);
            match left {
                0 => Err(StoreError::Unavailable { source: "killed".into() }),
                1 if self.after => {
                    self.inner.commit(guards, writes).await?;
                    Err(StoreError::Undecided { source: "killed".into() })
                }
                _ => self.inner.commit(guards, writes).await,
            }
        })
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.inner.watch(from)
    }
}

fn mortal(inner: &Arc<dyn Store>, commits: usize, after: bool) -> Arc<dyn Store> {
    let (left, lists) = (AtomicUsize::new(commits), AtomicUsize::new(usize::MAX));
    Arc::new(Mortal { inner: Arc::clone(inner), left, after, lists })
}

/// A target that holds an older state of the same store, and more than it should.
async fn older(site: &Site, old: &[u8], transit: &Transit) -> Arc<dyn Store> {
    let target = memory();
    restore_into(&target, transit, old).await.unwrap();
    put(&target, &site.state_key, &[("tokens/gone", b"to be deleted")]).await;
    target
}

/// A restore or migration that can be run again.
async fn survives<F>(site: &Site, transit: &Transit, old: &[u8], run: F)
where
    F: AsyncFn(Arc<dyn Store>) -> Result<Copied, CopyError>,
{
    let wanted = copied(&site.store).await;
    for (after, is_empty) in [(false, true), (true, true), (false, false), (true, false)] {
        let mut kills = 0;
        for commits in 0.. {
            let target = if is_empty { memory() } else { older(site, old, transit).await };
            if run(mortal(&target, commits, after)).await.is_ok() {
                break;
            }
            kills += 1;
            let between = raw(&target).await.unwrap();
            let is_complete = between == wanted;
            let is_untouched = commits == 0;
            let is_marked = between.contains_key(&key("filling"));
            assert!(is_complete || is_untouched || is_marked, "{commits} {after} {is_empty}");
            assert!(!is_marked || !between.contains_key(&key("root")));
            run(Arc::clone(&target)).await.unwrap();
            assert_eq!(raw(&target).await.unwrap(), wanted, "{commits} {after} {is_empty}");
        }
        assert!(kills >= 3, "{kills} places to be killed at");
    }
}

/// Some hundred records more, so that there are several batches.
async fn grown() -> (Transit, Site, Vec<u8>) {
    let (transit, site) = site().await;
    let old = site.backup(&transit).await;
    for batch in 0..3 {
        let names: Vec<_> = (0..90).map(|number| format!("tokens/{batch}-{number}")).collect();
        let contents: Vec<_> = names.iter().map(|name| (name.as_str(), &b"new"[..])).collect();
        site.put(&contents).await;
    }
    (transit, site, old)
}

#[tokio::test]
async fn a_restore_killed_at_any_write_is_finished_by_the_next() {
    let (transit, site, old) = grown().await;
    let file = site.backup(&transit).await;
    let run = async |store: Arc<dyn Store>| restore_into(&store, &transit, &file).await;
    survives(&site, &transit, &old, run).await;
}

#[tokio::test]
async fn a_migration_killed_at_any_write_is_finished_by_the_next() {
    let (transit, site, old) = grown().await;
    let run = async |store: Arc<dyn Store>| {
        let target = Target { store: &store, transit: &transit, force: false };
        migrate(&site.store, &transit, target, &mut |_, _| {}).await
    };
    survives(&site, &transit, &old, run).await;
}

#[tokio::test]
async fn a_broken_off_fill_is_not_taken_over_by_an_older_or_another_backup() {
    let (transit, site, old) = grown().await;
    let file = site.backup(&transit).await;
    let other = Site::new(&transit, "store-2").await.backup(&transit).await;
    let target = memory();
    assert!(restore_into(&mortal(&target, 2, false), &transit, &file).await.is_err());
    for refused in [&old, &other] {
        let refused = restore_into(&target, &transit, refused).await.unwrap_err();
        assert!(matches!(refused, CopyError::GoesBack(_)), "{refused}");
    }
    assert!(restore_into(&target, &transit, &file).await.is_ok());
}

#[tokio::test]
async fn a_server_that_still_runs_cannot_commit_to_a_store_being_filled() {
    let (transit, site, old) = grown().await;
    let file = site.backup(&transit).await;
    let target = older(&site, &old, &transit).await;
    let root = target.get(&key("root")).await.unwrap().unwrap();
    assert!(restore_into(&mortal(&target, 1, false), &transit, &file).await.is_err());
    let guard = Guard::At(key("root"), root.revision);
    let late = target.commit(&[guard], &[Write::Put(key("root"), root.value)]).await;
    assert!(matches!(late, Err(StoreError::GuardFailed { .. })));
}

#[tokio::test]
async fn a_migration_wants_seals_in_the_new_configuration_that_open_the_state() {
    let (transit, site) = site().await;
    let target = memory();
    let to = engine("test", &[("c", 3)]).await;
    let target_of = |transit| Target { store: &target, transit, force: false };
    let refused = migrate(&site.store, &transit, target_of(&to), &mut |_, _| {}).await;
    assert!(matches!(refused, Err(CopyError::Seal(_))));
    assert!(raw(&target).await.unwrap().is_empty());
    let to = engine("test", &[("c", 3), ("b", 2)]).await;
    assert!(migrate(&site.store, &transit, target_of(&to), &mut |_, _| {}).await.is_ok());
    let nothing = migrate(&memory(), &transit, target_of(&to), &mut |_, _| {}).await;
    assert!(matches!(nothing, Err(CopyError::SourceEmpty)));
}

#[tokio::test]
async fn with_an_origin_key_a_backup_of_anybody_else_is_refused() {
    let ours = |fill: u8| async move {
        let config = crate::transit::tests::config_of(&[], &[]);
        let origin_key = Some(OriginKey::init_with(|bytes| bytes.fill(fill)).unwrap());
        let seals = vec![seal("a", 1)];
        offline(Config { realm: "test".into(), seals, origin_key, ..config }).await.unwrap()
    };
    let (without, site) = site().await;
    let forged = site.backup(&without).await;
    let refused = restore_into(&memory(), &ours(3).await, &forged).await.unwrap_err();
    assert!(matches!(refused, CopyError::Seal(BackupSealError::Unopened { .. })), "{refused}");
    let marked = site.backup(&ours(3).await).await;
    assert!(restore_into(&memory(), &ours(4).await, &marked).await.is_err());
    assert!(restore_into(&memory(), &ours(3).await, &marked).await.is_ok());
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_and_never_panic(
        bytes: Vec<u8>,
        envelope in "[a-z{}\n]{0,40}",
    ) {
        proptest::prop_assert!(read_frame(&bytes).is_err());
        let framed = [b"selkie-backup 1\n", envelope.as_bytes(), b"\n", &bytes].concat();
        if let Ok((_, sealed)) = read_frame(&framed) {
            let key = selkie_crypto::stream::StreamKey::random(&os_random).unwrap();
            proptest::prop_assert!(read(sealed, key).is_err());
        }
    }
}

#[test]
fn what_waits_for_a_seal_is_told_without_gaps() {
    let text = CopyError::NotHandedOver(vec![SealName::new("a").unwrap()]).to_string();
    assert!(text.contains("wrapped for") && !text.contains("  "), "{text}");
}
