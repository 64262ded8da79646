//! Claims about reading and changing records.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{
    RACERS, assert_guard_failed, delete, key, list, names, newest, page_of, put, read, revision_of,
    value, write,
};
use crate::{Guard, MAX_KEY_BYTES, Page, Record, Revision, Store, StoreError, Write};

pub async fn get_answers_none_for_what_was_never_put(store: Arc<dyn Store>) {
    write(&store, &[put("keys/a", b"1")]).await;
    for absent in ["keys", "keys/b", "keys/a/1", "key"] {
        assert_eq!(read(&store, absent).await, None, "{absent}");
    }
}

pub async fn get_answers_what_the_last_commit_put(store: Arc<dyn Store>) {
    write(&store, &[put("a", b"old"), put("b", b"kept")]).await;
    let revision = write(&store, &[put("a", b"new")]).await;
    let expected = Record { key: key("a"), value: value(b"new"), revision };
    assert_eq!(read(&store, "a").await, Some(expected));
    let kept = read(&store, "b").await.expect("a record");
    assert_eq!(kept.value, value(b"kept"));
    assert!(kept.revision < revision);
}

pub async fn any_bytes_and_every_length_come_back_unchanged(store: Arc<dyn Store>) {
    let all_bytes: Vec<u8> = (0..=u8::MAX).collect();
    let longest_key = "k".repeat(MAX_KEY_BYTES);
    for bytes in [vec![], vec![0], all_bytes, vec![0xff; store.limits().value_bytes]] {
        write(&store, &[put(&longest_key, &bytes)]).await;
        let record = read(&store, &longest_key).await.expect("a record");
        assert!(record.value.as_bytes() == bytes, "{} bytes differ", bytes.len());
    }
}

pub async fn revisions_grow_with_every_change(store: Arc<dyn Store>) {
    let mut last = newest(&store).await;
    for change in [put("a", b"1"), put("a", b"1"), delete("a"), put("a", b"1")] {
        let revision = write(&store, &[change]).await;
        assert!(revision > last);
        assert_eq!(newest(&store).await, revision);
        last = revision;
    }
}

pub async fn deleting_nothing_changes_nothing(store: Arc<dyn Store>) {
    let before = write(&store, &[put("a", b"1")]).await;
    assert_eq!(write(&store, &[delete("b")]).await, before);
    assert_eq!(newest(&store).await, before);
}

pub async fn deleted_record_is_gone(store: Arc<dyn Store>) {
    write(&store, &[put("a", b"1"), put("b", b"2")]).await;
    write(&store, &[delete("a")]).await;
    assert_eq!(read(&store, "a").await, None);
    assert_eq!(names(&store, Page::all()).await, ["b"]);
}

pub async fn guard_absent_refuses_a_record_that_exists(store: Arc<dyn Store>) {
    let guards = [Guard::Absent(key("a"))];
    store.commit(&guards, &[put("a", b"1")]).await.expect("nothing was there");
    assert_guard_failed(store.commit(&guards, &[put("a", b"2")]).await, "a");
    assert_eq!(read(&store, "a").await.expect("a record").value, value(b"1"));
    write(&store, &[delete("a")]).await;
    store.commit(&guards, &[put("a", b"3")]).await.expect("nothing is there any more");
}

pub async fn guard_at_refuses_any_other_revision(store: Arc<dyn Store>) {
    let first = write(&store, &[put("a", b"1")]).await;
    let second = write(&store, &[put("a", b"2")]).await;
    let elsewhere = write(&store, &[put("b", b"1")]).await;
    for stale in [Revision::ORIGIN, first, elsewhere] {
        let outcome = store.commit(&[Guard::At(key("a"), stale)], &[put("a", b"3")]).await;
        assert_guard_failed(outcome, "a");
    }
    let outcome = store.commit(&[Guard::At(key("c"), Revision::ORIGIN)], &[]).await;
    assert_guard_failed(outcome, "c");
    let guards = [Guard::At(key("a"), second)];
    store.commit(&guards, &[put("a", b"3")]).await.expect("the guard holds");
}

pub async fn guard_at_refuses_a_record_made_again(store: Arc<dyn Store>) {
    let before = write(&store, &[put("a", b"1")]).await;
    write(&store, &[delete("a")]).await;
    let guards = [Guard::At(key("a"), before)];
    assert_guard_failed(store.commit(&guards, &[put("b", b"1")]).await, "a");
    write(&store, &[put("a", b"1")]).await;
    assert_guard_failed(store.commit(&guards, &[put("b", b"1")]).await, "a");
}

pub async fn guards_alone_check_and_change_nothing(store: Arc<dyn Store>) {
    let revision = write(&store, &[put("a", b"1")]).await;
    let holding = [Guard::At(key("a"), revision), Guard::Absent(key("b"))];
    assert_eq!(store.commit(&holding, &[]).await.expect("the guards hold"), revision);
    assert_guard_failed(store.commit(&[Guard::Absent(key("a"))], &[]).await, "a");
    assert_eq!(newest(&store).await, revision);
}

pub async fn guards_and_writes_may_name_different_records(store: Arc<dyn Store>) {
    let parent = write(&store, &[put("parent", b"1")]).await;
    let guards = [Guard::At(key("parent"), parent), Guard::Absent(key("child"))];
    let writes = [put("child", b"1"), put("index", b"child")];
    let revision = store.commit(&guards, &writes).await.expect("the guards hold");
    assert_eq!(revision_of(&store, "child").await, revision);
    assert_eq!(revision_of(&store, "index").await, revision);
    assert_eq!(revision_of(&store, "parent").await, parent);
}

pub async fn one_failed_guard_holds_back_every_write(store: Arc<dyn Store>) {
    let before = write(&store, &[put("a", b"1"), put("b", b"1")]).await;
    let guards = [Guard::At(key("a"), before), Guard::Absent(key("c")), Guard::Absent(key("b"))];
    let writes = [put("a", b"2"), delete("b"), put("c", b"2")];
    assert_guard_failed(store.commit(&guards, &writes).await, "b");
    assert_eq!(revision_of(&store, "a").await, before);
    assert_eq!(revision_of(&store, "b").await, before);
    assert_eq!(read(&store, "c").await, None);
}

pub async fn commit_refuses_two_writes_of_one_record(store: Arc<dyn Store>) {
    let before = newest(&store).await;
    for second in [put("a", b"2"), delete("a")] {
        let outcome = store.commit(&[], &[put("a", b"1"), put("b", b"1"), second]).await;
        assert!(matches!(outcome, Err(StoreError::WrittenTwice { key }) if key.as_str() == "a"));
    }
    assert_eq!(newest(&store).await, before);
}

pub async fn commit_refuses_more_than_its_limits(store: Arc<dyn Store>) {
    let before = newest(&store).await;
    let limits = store.limits();
    let name = |n| key(&format!("n/{n}"));
    let guards: Vec<Guard> = (0..=limits.records).map(|n| Guard::Absent(name(n))).collect();
    let writes: Vec<Write> = (0..=limits.records).map(|n| Write::Delete(name(n))).collect();
    let large = value(&vec![0; limits.value_bytes]);
    let bytes: Vec<Write> = (0..limits.bytes.div_ceil(limits.value_bytes))
        .map(|n| Write::Put(name(n), large.clone()))
        .collect();
    for (guards, writes) in [(&*guards, &[][..]), (&[][..], &*writes), (&[][..], &*bytes)] {
        let outcome = store.commit(guards, writes).await;
        assert!(matches!(outcome, Err(StoreError::TooLarge)));
    }
    assert_eq!(newest(&store).await, before);
}

pub async fn commit_takes_as_much_as_its_limits(store: Arc<dyn Store>) {
    let limits = store.limits();
    let share = limits.bytes / limits.records;
    let name = |n| format!("n/{n:03}");
    let large = vec![7; share - name(0).len()];
    let writes: Vec<Write> = (0..limits.records).map(|n| put(&name(n), &large)).collect();
    let guards: Vec<Guard> = (0..limits.records).map(|n| Guard::Absent(key(&name(n)))).collect();
    store.commit(&guards, &writes).await.expect("a commit of the largest size");
    assert_eq!(names(&store, Page::all()).await.len(), limits.records);
}

pub async fn of_racing_creations_exactly_one_wins(store: Arc<dyn Store>) {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            let own = format!("by/{racer}");
            let writes = [put("a", own.as_bytes()), put(&own, b"")];
            store.commit(&[Guard::Absent(key("a"))], &writes).await.map(|_| own)
        });
    }
    let (won, lost): (Vec<_>, Vec<_>) =
        racers.join_all().await.into_iter().partition(Result::is_ok);
    let winner = won.into_iter().flatten().next().expect("a winner");
    assert_eq!(lost.len(), RACERS - 1, "two commits created one record");
    assert!(lost.iter().all(|l| matches!(l, Err(StoreError::GuardFailed { .. }))));
    assert_eq!(names(&store, Page::all()).await, ["a".to_owned(), winner.clone()]);
    assert_eq!(read(&store, "a").await.expect("a record").value, value(winner.as_bytes()));
}

/// Adds one to the number in record `a`, however often others are first.
async fn increment(store: &Arc<dyn Store>) {
    loop {
        let record = read(store, "a").await.expect("a record");
        let number = record.value.as_bytes().first().expect("a number") + 1;
        let guards = [Guard::At(record.key, record.revision)];
        let outcome = store.commit(&guards, &[put("a", &[number])]).await;
        if !matches!(outcome, Err(StoreError::GuardFailed { .. })) {
            outcome.expect("a commit");
            return;
        }
    }
}

pub async fn racing_updates_lose_no_increment(store: Arc<dyn Store>) {
    const EACH: usize = 5;
    write(&store, &[put("a", &[0])]).await;
    let mut racers = JoinSet::new();
    for _ in 0..RACERS {
        let store = Arc::clone(&store);
        racers.spawn(async move {
            for _ in 0..EACH {
                increment(&store).await;
            }
        });
    }
    racers.join_all().await;
    let total = read(&store, "a").await.expect("a record").value;
    assert_eq!(total.as_bytes().first().copied().map(usize::from), Some(RACERS * EACH));
}

pub async fn readers_never_see_half_a_commit(store: Arc<dyn Store>) {
    write(&store, &[put("a", &[0]), put("b", &[0])]).await;
    let writer = Arc::clone(&store);
    let writing = tokio::spawn(async move {
        for n in 1..=50 {
            write(&writer, &[put("a", &[n]), put("b", &[n])]).await;
            tokio::task::yield_now().await;
        }
    });
    while !writing.is_finished() {
        let listing = list(&store, &page_of(2)).await;
        let seen: BTreeSet<_> =
            listing.records.iter().map(|r| (r.value.as_bytes(), r.revision)).collect();
        assert_eq!((listing.records.len(), seen.len()), (2, 1), "half a commit was seen");
        tokio::task::yield_now().await;
    }
    writing.await.expect("the writer");
}

pub async fn dropped_commit_is_whole_or_absent(store: Arc<dyn Store>) {
    for n in 0..RACERS {
        let writes = [put(&format!("{n}/a"), b"1"), put(&format!("{n}/b"), b"1")];
        // Polled once, then dropped.
        drop(timeout(Duration::ZERO, store.commit(&[], &writes)).await);
        let found = list(&store, &Page::under(key(&n.to_string()))).await.records.len();
        assert!(found == 0 || found == writes.len(), "half of a dropped commit");
    }
}
