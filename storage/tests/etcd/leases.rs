//! Records that go with the process that put them.

use std::time::{Duration, Instant};

use selkie_storage::{Page, RecordValue, Store};

use super::server::{Etcd, etcd_is_here};
use super::{PATIENCE, key, store};

/// The shortest that etcd takes.
const TTL: Duration = Duration::from_secs(2);

/// Longer than a test takes.
const LONG_TTL: Duration = Duration::from_secs(600);

#[tokio::test]
async fn who_attends_is_seen_until_it_has_not_been_heard_of_for_so_long() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let (first, second) = (store(etcd.urls_from(0)), store(etcd.urls_from(0)));
    let (under, value) = (key("state-key-local/server"), RecordValue::new(*b"first").unwrap());
    let mine = first.attend(&under, &value, TTL).await.unwrap().unwrap();
    let theirs = second.attend(&under, &value, TTL).await.unwrap().unwrap();
    assert!(mine != theirs && mine.is_under(&under) && theirs.is_under(&under));
    let began = second.get(&mine).await.unwrap().unwrap();
    assert_eq!(began.value, value);
    let place = second.place_of(&mine);
    assert_eq!(etcd.ctl(&["get", "--keys-only", &place]).trim(), place);

    let (since, mut is_second_gone) = (Instant::now(), false);
    while !is_second_gone || since.elapsed() < 3 * TTL {
        assert!(since.elapsed() < PATIENCE, "it outlives its process");
        let renewed = first.attend(&under, &value, TTL).await.unwrap();
        assert_eq!(renewed, Some(mine.clone()));
        let seen = first.list(&Page::under(under.clone())).await.unwrap().records;
        assert!(seen.contains(&began), "a renewal is no commit, and nothing ends before its time");
        is_second_gone = seen.len() == 1;
    }
    drop(first);
    while second.get(&mine).await.unwrap().is_some() {
        assert!(since.elapsed() < PATIENCE, "it outlives its process");
    }
    let anew = second.attend(&under, &value, TTL).await.unwrap().unwrap();
    assert!(anew != theirs && second.get(&anew).await.unwrap().is_some());
}

/// By hand, or by a restore that knows of no such records: nobody would see the server for as long as it
/// runs.
#[tokio::test]
async fn who_attends_is_seen_again_after_its_record_was_deleted() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let (first, second) = (store(etcd.urls_from(0)), store(etcd.urls_from(0)));
    let (under, value) = (key("state-key-local/server"), RecordValue::new(*b"first").unwrap());
    let mine = first.attend(&under, &value, LONG_TTL).await.unwrap().unwrap();
    etcd.ctl(&["del", &first.place_of(&mine)]);
    assert_eq!(second.get(&mine).await.unwrap(), None);
    assert_eq!(first.attend(&under, &value, LONG_TTL).await.unwrap(), Some(mine.clone()));
    assert_eq!(second.get(&mine).await.unwrap().unwrap().value, value);
    let lease = mine.as_str().rsplit('/').next().unwrap();
    etcd.ctl(&["lease", "revoke", lease]);
    assert_eq!(second.get(&mine).await.unwrap(), None, "it is under its lease");
}
