//! What a store does while members are dead, stopped or without a leader.

use std::time::Instant;

use selkie_storage::{EtcdFault, Store, StoreError};

use super::server::{Etcd, etcd_is_here};
use super::{TIMEOUT, key, put, store, unavailable, write};

/// So many requests one after another took no longer than each of them may: less than one more would
/// have, which leaves a busy machine time to come to them.
fn assert_in_time(start: Instant, requests: u32) {
    assert!(start.elapsed() < (requests + 1) * TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn store_connects_before_its_cluster_is_there() {
    if !etcd_is_here() {
        return;
    }
    let nowhere = store(vec!["http://127.0.0.1:1".to_owned()]);
    let start = Instant::now();
    let fault = unavailable(nowhere.get(&key("a")).await);
    assert!(matches!(fault, EtcdFault::Connect { .. }), "{fault:?}");
    let fault = unavailable(nowhere.commit(&[], &[put("a", b"1")]).await);
    assert!(matches!(fault, EtcdFault::Connect { .. }), "{fault:?}");
    assert_in_time(start, 2);
    let etcd = Etcd::start(1).await;
    let both = store(vec!["http://127.0.0.1:1".to_owned(), etcd.url(0)]);
    both.commit(&[], &[put("a", b"1")]).await.unwrap();
}

#[tokio::test]
async fn members_without_a_leader_answer_nothing_stale() {
    if !etcd_is_here() {
        return;
    }
    let mut etcd = Etcd::start(3).await;
    let store = store(vec![etcd.url(0)]);
    let revision = store.commit(&[], &[put("a", b"1")]).await.unwrap();
    let mut watch = store.watch(revision).await.unwrap();
    etcd.kill(1);
    etcd.kill(2);
    let start = Instant::now();
    // What was sent before the loss is noticed stays open; once it is, nothing is sent any more.
    let commit = store.commit(&[], &[put("a", b"2")]).await;
    assert!(matches!(commit, Err(StoreError::Undecided { .. } | StoreError::Unavailable { .. })));
    drop(unavailable(store.get(&key("a")).await));
    drop(unavailable(store.commit(&[], &[put("a", b"3")]).await));
    assert_in_time(start, 3);
    let ended = tokio::time::timeout(2 * TIMEOUT, watch.next()).await.unwrap();
    drop(unavailable(ended));
    etcd.launch(1);
    etcd.wait_for(0).await;
    store.commit(&[], &[put("a", b"4")]).await.unwrap();
}

#[tokio::test]
async fn stopped_leader_holds_nobody_up_for_longer_than_a_request() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(3).await;
    let leader = etcd.leader().await;
    let (writer, reader) = (store(etcd.urls_from(leader)), store(etcd.urls_from(leader)));
    let before = write(&writer, &[put("a", b"1")]).await;
    let mut watch = reader.watch(before).await.unwrap();
    etcd.signal(leader, "STOP");
    let start = Instant::now();
    let first = writer.commit(&[], &[put("b", b"2")]).await;
    assert_in_time(start, 1);
    assert!(matches!(first, Ok(_) | Err(StoreError::Undecided { .. })), "{first:?}");
    assert_eq!(reader.get(&key("a")).await.unwrap().unwrap().revision, before);
    let after = writer.commit(&[], &[put("a", b"3")]).await.unwrap();
    // The watch notices by pings that its member has fallen silent.
    let mut seen = super::next(&mut watch).await;
    while seen.revision < after {
        seen = super::next(&mut watch).await;
    }
    assert_eq!((seen.revision, seen.writes), (after, vec![put("a", b"3")]));
    etcd.signal(leader, "CONT");
    etcd.wait_for(leader).await;
    assert_eq!(reader.get(&key("a")).await.unwrap().unwrap().revision, after);
}
