//! What a store does while members are dead, stopped or without a leader.

use std::time::Instant;

use selkie_storage::{EtcdFault, Store, StoreError};

use super::server::{Etcd, etcd_is_here};
use super::{BRIEF, PATIENCE, answered, brief, key, put, store, unavailable, write};

/// None of so many requests hangs. To the millisecond, a request's time is tested where time stands
/// still.
fn assert_in_time(start: Instant, requests: u32) {
    assert!(start.elapsed() < requests * BRIEF + PATIENCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn store_connects_before_its_cluster_is_there() {
    if !etcd_is_here() {
        return;
    }
    let nowhere = brief(vec!["http://127.0.0.1:1".to_owned()]);
    let start = Instant::now();
    let fault = unavailable(nowhere.get(&key("a")).await);
    assert!(matches!(fault, EtcdFault::Connect { .. }), "{fault:?}");
    let fault = unavailable(nowhere.commit(&[], &[put("a", b"1")]).await);
    assert!(matches!(fault, EtcdFault::Connect { .. }), "{fault:?}");
    assert_in_time(start, 2);
    let etcd = Etcd::start(1).await;
    let both = store(vec!["http://127.0.0.1:1".to_owned(), etcd.url(0)]);
    write(&both, &[put("a", b"1")]).await;
}

#[tokio::test]
async fn members_without_a_leader_answer_nothing_stale() {
    if !etcd_is_here() {
        return;
    }
    let mut etcd = Etcd::start(3).await;
    let store = brief(vec![etcd.url(0)]);
    let revision = write(&store, &[put("a", b"1")]).await;
    let mut watch = answered(async || store.watch(revision).await).await;
    etcd.kill(1);
    etcd.kill(2);
    let start = Instant::now();
    // What was sent before the loss is noticed stays open; once it is, nothing is sent any more.
    let commit = store.commit(&[], &[put("a", b"2")]).await;
    assert!(matches!(commit, Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. })));
    drop(unavailable(store.get(&key("a")).await));
    drop(unavailable(store.commit(&[], &[put("a", b"3")]).await));
    assert_in_time(start, 3);
    let ended = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    drop(unavailable(ended));
    etcd.launch(1);
    etcd.wait_for(0).await;
    write(&store, &[put("a", b"4")]).await;
}

#[tokio::test]
async fn stopped_leader_holds_nobody_up_for_longer_than_a_request() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(3).await;
    let leader = etcd.leader().await;
    let (writer, reader) = (brief(etcd.urls_from(leader)), brief(etcd.urls_from(leader)));
    let before = write(&writer, &[put("a", b"1")]).await;
    let mut watch = answered(async || reader.watch(before).await).await;
    etcd.signal(leader, "STOP");
    let start = Instant::now();
    let first = writer.commit(&[], &[put("b", b"2")]).await;
    assert_in_time(start, 1);
    // Unavailable, if the others had elected nobody yet.
    let may_be =
        matches!(first, Ok(_) | Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. }));
    assert!(may_be, "{first:?}");
    let read = async || reader.get(&key("a")).await;
    assert_eq!(answered(read).await.unwrap().revision, before);
    let after = write(&writer, &[put("a", b"3")]).await;
    // The watch notices by pings that its member has fallen silent.
    let mut seen = super::next(&mut watch).await;
    while seen.revision < after {
        seen = super::next(&mut watch).await;
    }
    assert_eq!((seen.revision, seen.writes), (after, vec![put("a", b"3")]));
    etcd.signal(leader, "CONT");
    etcd.wait_for(leader).await;
    assert_eq!(answered(read).await.unwrap().revision, after);
}
