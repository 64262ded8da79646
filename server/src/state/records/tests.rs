use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use selkie_storage::{
    Commit, Listing, MemoryStore, Page, Record, RecordKey, RecordValue, Store, StoreFuture, Watch,
    Write,
};
use tokio::time::sleep;

use super::late::{Follower, no_late_answer_takes_back_what_was_heard};
use super::*;
use crate::clock::SystemClock;
use crate::state::listing::Listed;
use crate::transit::ManagedKeys;

/// A kind without content.
macro_rules! kind {
    ($name:ident, $root:literal, $judges:expr) => {
        #[derive(Debug)]
        struct $name;

        impl Kept for $name {
            const ROOT: &'static str = $root;
            type Name = String;
            type Index = ();
            const JUDGED_BY: &'static [&'static str] = $judges;
            fn place(name: &String) -> String {
                name.clone()
            }
            fn name(place: &str) -> Option<String> {
                Some(place.to_owned())
            }
            fn encode(&self) -> Result<RecordValue, TooLarge> {
                RecordValue::new(Vec::new()).map_err(|_large| TooLarge)
            }
            fn decode(_name: &String, _value: &RecordValue) -> Option<Self> {
                Some(Self)
            }
        }
    };
}

mod looks;

#[derive(Debug, PartialEq, Eq)]
struct Note(String);

/// How many notes have which length, and how often one was noted.
#[derive(Default)]
struct Lengths(std::collections::BTreeMap<usize, usize>, usize);

impl Index<Note> for Lengths {
    fn note(&mut self, _name: &String, old: Option<&Note>, new: Option<&Note>) {
        self.1 += 1;
        if let Some(old) = old {
            *self.0.entry(old.0.len()).or_default() -= 1;
        }
        if let Some(new) = new {
            *self.0.entry(new.0.len()).or_default() += 1;
        }
    }
}

impl Kept for Note {
    const ROOT: &'static str = "note";
    type Name = String;
    type Index = Lengths;
    fn place(name: &String) -> String {
        name.clone()
    }
    fn name(place: &str) -> Option<String> {
        Some(place.to_owned())
    }
    fn encode(&self) -> Result<RecordValue, TooLarge> {
        RecordValue::new(self.0.clone().into_bytes()).map_err(|_large| TooLarge)
    }
    fn decode(_name: &String, value: &RecordValue) -> Option<Self> {
        String::from_utf8(value.as_bytes().to_vec()).ok().filter(|text| text != "damaged").map(Self)
    }
}

struct Replica {
    records: Records,
    notes: Arc<Mirror<Note>>,
}

impl Replica {
    async fn on(store: &Arc<dyn Store>) -> Self {
        let notes = Arc::new(Mirror::default());
        let records = Records::new(true, vec![Arc::clone(&notes) as _], Arc::new(SystemClock));
        records.attach(Arc::clone(store)).await.unwrap();
        Self { records, notes }
    }

    fn text(&self, name: &str) -> Option<String> {
        self.notes.get(&name.into()).unwrap().map(|current| current.value.0.clone())
    }

    async fn put(&self, name: &str, text: &str) -> Result<(), RecordsError> {
        let name = name.to_owned();
        let at = self.notes.get(&name).unwrap().map(|current| current.revision);
        let mut batch = Batch::default();
        batch.put(&name, &Note(text.into()), at).unwrap();
        self.records.commit(&batch).await
    }
}

fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::new())
}

#[tokio::test]
async fn what_was_committed_is_held_and_found_again_by_the_next() {
    let store = store();
    let one = Replica::on(&store).await;
    one.put("a", "first").await.unwrap();
    one.put("a", "second!").await.unwrap();
    assert_eq!(one.text("a").as_deref(), Some("second!"));
    assert_eq!(one.notes.find(|lengths| lengths.0.get(&5).copied()), Some(0));
    assert_eq!(Replica::on(&store).await.text("a").as_deref(), Some("second!"));
}

#[tokio::test]
async fn a_change_made_for_another_state_is_a_conflict_and_shows_what_is_there() {
    let store = store();
    let (one, two) = (Replica::on(&store).await, Replica::on(&store).await);
    one.put("a", "first").await.unwrap();
    assert!(matches!(two.put("a", "mine").await, Err(RecordsError::Conflict)));
    assert_eq!(two.text("a").as_deref(), Some("first"));
    two.put("a", "mine").await.unwrap();
    let at = one.notes.get(&"a".into()).unwrap().unwrap().revision;
    let mut batch = Batch::default();
    batch.delete::<Note>(&"a".into(), at).unwrap();
    assert!(matches!(one.records.commit(&batch).await, Err(RecordsError::Conflict)));
    assert_eq!(one.text("a").as_deref(), Some("mine"));
}

#[tokio::test]
async fn a_deleted_record_does_not_come_back_by_what_is_older() {
    let store = store();
    let one = Replica::on(&store).await;
    one.put("a", "first").await.unwrap();
    let current = one.notes.get(&"a".into()).unwrap().unwrap();
    let mut batch = Batch::default();
    batch.delete::<Note>(&"a".into(), current.revision).unwrap();
    one.records.commit(&batch).await.unwrap();
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let late = [Write::Put(place, Note("first".into()).encode().unwrap())];
    Mirrors::take(&*one.notes, current.revision, &late);
    assert_eq!(one.text("a"), None);
}

/// A token is looked up, and revoked elsewhere while the answer is on its way.
#[tokio::test]
async fn a_record_whose_deletion_was_heard_of_before_it_was_read_stays_deleted() {
    let store = store();
    let (one, two) = (Replica::on(&store).await, Replica::on(&store).await);
    two.put("a", "first").await.unwrap();
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let read = store.get(&place).await.unwrap().unwrap();
    one.records.follow(read.revision, &[Write::Put(place.clone(), read.value.clone())]);
    let deletion = [Write::Delete(place.clone())];
    let deleted = store.commit(&[], &deletion).await.unwrap();
    one.records.follow(deleted, &deletion);
    one.notes.look(&Guard::Absent(place.clone()), Some(&read));
    assert_eq!(one.text("a"), None);
    let again = [Write::Put(place, read.value)];
    store.commit(&[], &again).await.unwrap();
    one.records.look_again::<Note>(&"a".to_owned()).await.unwrap();
    assert_eq!(one.text("a").as_deref(), Some("first"), "what is newer was not heard of yet");
}

/// A token is renewed, and revoked elsewhere while the store's answer is on its way.
#[tokio::test]
async fn a_record_whose_deletion_was_heard_of_before_our_commit_was_answered_stays_deleted() {
    let one = Replica::on(&store()).await;
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let put = [Write::Put(place.clone(), Note("renewed".into()).encode().unwrap())];
    one.records.follow(Revision::new(1), &put);
    one.records.follow(Revision::new(2), &[Write::Delete(place)]);
    one.notes.take(Revision::new(1), &put);
    assert_eq!(one.text("a"), None);
    one.notes.take(Revision::new(3), &put);
    assert_eq!(one.text("a").as_deref(), Some("renewed"), "it was made anew");
}

impl Follower for Mirror<Note> {
    fn place() -> RecordKey {
        Self::place(&"a".to_owned()).unwrap()
    }

    fn value(number: u64) -> RecordValue {
        Note(number.to_string()).encode().unwrap()
    }

    fn shown(&self) -> Option<u64> {
        self.get(&"a".to_owned()).unwrap().map(|current| current.value.0.parse().unwrap())
    }

    fn hear(&mut self, commit: &Commit) {
        self.take(commit.revision, &commit.writes);
        self.settle(commit.revision);
    }

    fn commit_answered(&mut self, commit: &Commit) {
        self.take(commit.revision, &commit.writes);
    }

    fn read_answered(&mut self, found: Option<&Record>, revision: Revision) {
        self.look(&Guard::At(<Self as Follower>::place(), revision), found);
    }

    fn listed(&mut self, found: Option<&Record>, revision: Revision) {
        let records = found.cloned().into_iter().collect();
        self.replace(&Listed { records, unreadable: Vec::new(), revision });
    }
}

#[test]
fn no_late_answer_takes_back_what_a_mirror_was_told() {
    no_late_answer_takes_back_what_was_heard::<Mirror<Note>>();
}

#[tokio::test]
async fn an_unreadable_record_is_an_error_and_not_a_missing_one() {
    let store = store();
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let damaged = RecordValue::new(b"damaged".to_vec()).unwrap();
    store.commit(&[], &[Write::Put(place, damaged)]).await.unwrap();
    let one = Replica::on(&store).await;
    assert_eq!(one.notes.get(&"a".into()).unwrap_err(), Unreadable);
    assert_eq!(one.notes.names(), ["a"]);
}

#[tokio::test]
async fn a_record_that_a_listing_could_not_read_is_mended_by_whatever_reads_it() {
    let store = store();
    let other = Replica::on(&store).await;
    other.put("a", "first").await.unwrap();
    other.put("b", "later").await.unwrap();
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let read = store.get(&place).await.unwrap().unwrap();
    let whole = store.list(&Page::all()).await.unwrap();
    let (revision, unreadable) = (whole.revision, vec![place.clone()]);
    assert!(read.revision < revision);
    let damaged = Listed { records: Vec::new(), unreadable, revision };
    let mend = |notes: &Mirror<Note>, by_listing| match by_listing {
        true => {
            let (records, unreadable) = (whole.records.clone(), Vec::new());
            notes.replace(&Listed { records, unreadable, revision });
        }
        false => notes.look(&Guard::Absent(place.clone()), Some(&read)),
    };
    for (is_held_before, by_listing) in [(false, false), (false, true), (true, false), (true, true)]
    {
        let notes = Mirror::<Note>::default();
        if is_held_before {
            mend(&notes, by_listing);
        }
        notes.replace(&damaged);
        assert_eq!(notes.get(&"a".into()).unwrap_err(), Unreadable);
        mend(&notes, by_listing);
        let mended = notes.get(&"a".into()).map(|one| one.map(|one| one.value.0.clone()));
        assert_eq!(mended, Ok(Some("first".to_owned())), "{is_held_before}, {by_listing}");
    }
}

#[tokio::test]
async fn a_listing_that_comes_late_brings_no_deleted_record_back() {
    let one = Replica::on(&store()).await;
    one.put("a", "first").await.unwrap();
    let Current { value, revision } = one.notes.get(&"a".into()).unwrap().unwrap();
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let record = Record { key: place.clone(), value: value.encode().unwrap(), revision };
    let damaged = Listed { records: Vec::new(), unreadable: vec![place.clone()], revision };
    let whole = Listed { records: vec![record], unreadable: Vec::new(), revision };
    let mut batch = Batch::default();
    batch.delete::<Note>(&"a".into(), revision).unwrap();
    one.records.commit(&batch).await.unwrap();
    for listed in [&damaged, &whole] {
        one.notes.replace(listed);
        assert_eq!(one.text("a"), None, "we deleted it");
    }
    one.records.follow(Revision::new(revision.number() + 1), &[Write::Delete(place)]);
    for listed in [&damaged, &whole] {
        one.notes.replace(listed);
        assert_eq!(one.text("a"), None, "the watch has told of it");
    }
}

#[tokio::test]
async fn a_record_that_stays_unreadable_is_told_of_and_noted_once() {
    let revision = Revision::new(1);
    let place = Mirror::<Note>::place(&"a".into()).unwrap();
    let value = RecordValue::new(b"damaged".to_vec()).unwrap();
    let record = Record { key: place.clone(), value, revision };
    let unread = Listed { records: Vec::new(), unreadable: vec![place.clone()], revision };
    let misread = Listed { records: vec![record.clone()], unreadable: Vec::new(), revision };
    for listed in [unread, misread] {
        let notes = Mirror::<Note>::default();
        for _ in 0..3 {
            notes.replace(&listed);
        }
        assert_eq!(notes.get(&"a".into()).unwrap_err(), Unreadable);
        assert_eq!(notes.find(|lengths| lengths.1), 1);
        notes.look(&Guard::Absent(place.clone()), Some(&record));
        assert_eq!(notes.get(&"a".into()).unwrap_err(), Unreadable);
    }
}

#[tokio::test]
async fn what_a_second_attempt_opened_is_where_changes_are_kept_from_then_on() {
    let (first, second) = (store(), store());
    let replica = Replica::on(&first).await;
    replica.records.attach(Arc::clone(&second)).await.unwrap();
    replica.put("a", "one").await.unwrap();
    assert_eq!(Replica::on(&first).await.text("a"), None);
    assert_eq!(Replica::on(&second).await.text("a").as_deref(), Some("one"));
}

#[tokio::test]
async fn without_a_store_nothing_can_be_kept() {
    let mut batch = Batch::default();
    batch.put(&"a".to_owned(), &Note("x".into()), None).unwrap();
    let none = Records::new(false, Vec::new(), Arc::new(SystemClock));
    assert!(matches!(none.commit(&batch).await, Err(RecordsError::NoStorage)));
    let sealed = Records::new(true, Vec::new(), Arc::new(SystemClock));
    assert!(matches!(sealed.commit(&batch).await, Err(RecordsError::StateSealed)));
}

// What no note must be missing for.
kind!(Claim, "claim", &[Note::ROOT]);

#[tokio::test]
async fn no_reload_holds_a_record_before_what_it_is_judged_by() {
    let store = store();
    let (claims, notes) =
        (Arc::new(Mirror::<Claim>::default()), Arc::new(Mirror::<Note>::default()));
    let mirrors: Vec<Arc<dyn Mirrors>> = vec![Arc::clone(&claims) as _, Arc::clone(&notes) as _];
    let replica = Records::new(true, mirrors, Arc::new(SystemClock));
    let mut batch = Batch::default();
    batch.put(&"a".to_owned(), &Claim, None).unwrap();
    batch.put(&"a".to_owned(), &Note("one".into()), None).unwrap();
    store.commit(&batch.guards, &batch.writes).await.unwrap();
    for root in ["claim", "note"] {
        let away = WithoutListing(Arc::clone(&store), root);
        assert!(matches!(replica.reload(&away).await, Err(StoreError::Unavailable { .. })));
        assert!(claims.names().is_empty() && notes.names().is_empty(), "{root}");
    }
    replica.reload(&*store).await.unwrap();
    assert!(claims.names() == ["a"] && notes.names() == ["a"]);
}

/// A store that lists nothing below one place.
#[derive(Debug)]
struct WithoutListing(Arc<dyn Store>, &'static str);

impl Store for WithoutListing {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        if page.under.as_ref().is_some_and(|under| under.as_str().starts_with(self.1)) {
            let source = Box::new(std::io::Error::from(std::io::ErrorKind::TimedOut));
            return Box::pin(async { Err(StoreError::Unavailable { source }) });
        }
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, after: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        self.0.watch(after)
    }
}

/// A store whose first watch says nothing for ever, though all else works.
#[derive(Debug)]
struct DeafAtFirst(Arc<dyn Store>, AtomicUsize);

#[derive(Debug)]
struct Deaf;

impl Watch for Deaf {
    fn next(&mut self) -> StoreFuture<'_, Commit> {
        Box::pin(std::future::pending())
    }
}

impl Store for DeafAtFirst {
    fn get<'a>(&'a self, key: &'a RecordKey) -> StoreFuture<'a, Option<Record>> {
        self.0.get(key)
    }

    fn list<'a>(&'a self, page: &'a Page) -> StoreFuture<'a, Listing> {
        self.0.list(page)
    }

    fn commit<'a>(&'a self, guards: &'a [Guard], writes: &'a [Write]) -> StoreFuture<'a, Revision> {
        self.0.commit(guards, writes)
    }

    fn watch(&self, from: Revision) -> StoreFuture<'_, Box<dyn Watch>> {
        match self.1.fetch_add(1, Ordering::Relaxed) {
            0 => Box::pin(async { Ok(Box::new(Deaf) as _) }),
            _ => self.0.watch(from),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_hangs_without_an_error_is_made_anew_and_one_of_a_store_that_rests_is_not() {
    let raw = store();
    let deaf = Arc::new(DeafAtFirst(Arc::clone(&raw), AtomicUsize::new(0)));
    let one = Replica::on(&(Arc::clone(&deaf) as _)).await;
    let (notes, records) = (one.notes, Arc::new(one.records));
    let keys = Arc::new(ManagedKeys::load(Arc::clone(&deaf) as _).await.unwrap());
    let learner = crate::transit::tests::engine(&[]).await.learner();
    let following = tokio::spawn(Arc::clone(&keys).follow(learner, Arc::clone(&records)));
    sleep(Duration::from_secs(600)).await;
    assert_eq!(deaf.1.load(Ordering::Relaxed), 1, "nothing was to be heard");

    Replica::on(&raw).await.put("a", "of another").await.unwrap();
    let mut batch = Batch::default();
    batch.put(&"b".to_owned(), &Note("ours".into()), None).unwrap();
    records.commit(&batch).await.unwrap();
    assert!(notes.get(&"a".into()).unwrap().is_none());
    sleep(Duration::from_secs(70)).await;
    assert_eq!(deaf.1.load(Ordering::Relaxed), 2);
    assert_eq!(notes.get(&"a".into()).unwrap().unwrap().value.0, "of another");
    following.abort();
}
