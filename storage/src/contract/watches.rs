//! Claims about watching.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{
    RACERS, assert_guard_failed, delete, key, list, newest, next, page_of, put, watch, write,
};
use crate::{Commit, Guard, RecordKey, Revision, Store, StoreError};

pub async fn watch_sees_each_commit_whole(store: Arc<dyn Store>) {
    let mut watch = watch(&store, newest(&store).await).await;
    let writes = [put("b", b"1"), put("a", b"2")];
    let revision = write(&store, &writes).await;
    let [b, a] = writes;
    assert_eq!(next(&mut watch).await, Commit { revision, writes: vec![a, b] });
    let writes = vec![delete("a"), put("b", b"3")];
    let revision = write(&store, &writes).await;
    assert_eq!(next(&mut watch).await, Commit { revision, writes });
}

pub async fn watch_replays_before_it_follows(store: Arc<dyn Store>) {
    let start = newest(&store).await;
    let first = write(&store, &[put("a", b"1")]).await;
    let second = write(&store, &[put("a", b"2")]).await;
    let mut from_start = watch(&store, start).await;
    let mut from_first = watch(&store, first).await;
    assert_eq!(next(&mut from_start).await.revision, first);
    let third = write(&store, &[delete("a")]).await;
    for watch in [&mut from_start, &mut from_first] {
        assert_eq!(next(watch).await.revision, second);
        assert_eq!(next(watch).await.revision, third);
    }
}

pub async fn watch_sees_no_commit_that_failed_or_changed_nothing(store: Arc<dyn Store>) {
    let mut watch = watch(&store, newest(&store).await).await;
    let guards = [Guard::Absent(key("a"))];
    store.commit(&guards, &[put("a", b"1")]).await.expect("the guard holds");
    assert_guard_failed(store.commit(&guards, &[put("a", b"2")]).await, "a");
    write(&store, &[]).await;
    write(&store, &[delete("b")]).await;
    write(&store, &[put("a", b"3"), delete("b")]).await;
    assert_eq!(next(&mut watch).await.writes, [put("a", b"1")]);
    assert_eq!(next(&mut watch).await.writes, [put("a", b"3")]);
}

/// Puts `each` records from each of several tasks, and answers the revisions task by task.
fn race_commits(store: &Arc<dyn Store>, each: usize) -> JoinSet<Vec<Revision>> {
    let mut racers = JoinSet::new();
    for racer in 0..RACERS {
        let store = Arc::clone(store);
        racers.spawn(async move {
            let mut revisions = Vec::new();
            for n in 0..each {
                revisions.push(write(&store, &[put(&format!("{racer}/{n}"), b"")]).await);
                tokio::task::yield_now().await;
            }
            revisions
        });
    }
    racers
}

pub async fn watch_from_a_listing_misses_nothing_and_repeats_nothing(store: Arc<dyn Store>) {
    const EACH: usize = 8;
    let racers = race_commits(&store, EACH);
    let first = list(&store, &page_of(7)).await;
    let mut seen: BTreeSet<RecordKey> = first.records.into_iter().map(|r| r.key).collect();
    let mut page = first.next;
    while let Some(listed) = page {
        let listing = list(&store, &listed).await;
        seen.extend(listing.records.into_iter().map(|r| r.key));
        page = listing.next;
    }
    let mut watch = watch(&store, first.revision).await;
    while seen.len() < RACERS * EACH {
        let commit = next(&mut watch).await;
        assert!(commit.revision > first.revision, "what was listed is repeated");
        seen.extend(commit.writes.iter().map(|write| write.key().clone()));
    }
    racers.join_all().await;
}

pub async fn watches_see_racing_commits_once_and_in_order(store: Arc<dyn Store>) {
    const EACH: usize = 8;
    let start = newest(&store).await;
    let mut watches = [watch(&store, start).await, watch(&store, start).await];
    let racers = race_commits(&store, EACH);
    let mut seen = [vec![], vec![]];
    for (watch, seen) in watches.iter_mut().zip(&mut seen) {
        for _ in 0..RACERS * EACH {
            seen.push(next(watch).await.revision);
        }
    }
    let mut committed = racers.join_all().await.concat();
    committed.sort_unstable();
    for seen in seen {
        assert_eq!(seen, committed);
    }
}

pub async fn dropped_next_loses_no_commit(store: Arc<dyn Store>) {
    let mut watch = watch(&store, newest(&store).await).await;
    for n in 0..20 {
        drop(timeout(Duration::ZERO, watch.next()).await);
        let writer = Arc::clone(&store);
        let writing = tokio::spawn(async move { write(&writer, &[put("a", &[n])]).await });
        let revision = writing.await.expect("the writer");
        assert_eq!(next(&mut watch).await, Commit { revision, writes: vec![put("a", &[n])] });
    }
}

pub async fn watch_refuses_a_revision_not_reached(store: Arc<dyn Store>) {
    let reached = write(&store, &[put("a", b"1")]).await;
    let refused = store.watch(Revision::new(reached.number() + 1)).await;
    assert!(matches!(refused, Err(StoreError::NotReached { newest }) if newest == reached));
}
