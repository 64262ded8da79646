//! Watches over lost members, compactions and foreign writers.

use selkie_storage::{Revision, Store, StoreError, Write};

use super::server::{Etcd, etcd_is_here};
use super::{EtcdStore, key, newest, next, put, settings, store, write};

#[tokio::test]
async fn watch_goes_on_over_every_killed_member() {
    if !etcd_is_here() {
        return;
    }
    let mut etcd = Etcd::start(3).await;
    let (watcher, writer) = (store(etcd.urls_from(0)), store(etcd.urls_from(1)));
    let mut watch = watcher.watch(newest(&watcher).await).await.unwrap();
    for victim in [0, 1, 2, 0] {
        write(&writer, &[put("a", b"before")]).await;
        next(&mut watch).await;
        etcd.kill(victim);
        // An undecided attempt may have happened too: each commit writes the same.
        let last = write(&writer, &[put("a", b"while"), put("b", b"while")]).await;
        let mut seen = Revision::ORIGIN;
        while seen < last {
            let commit = next(&mut watch).await;
            assert!(commit.revision > seen, "a commit was repeated");
            seen = commit.revision;
            if commit.writes.len() == 1 {
                continue;
            }
            assert_eq!(commit.writes, [put("a", b"while"), put("b", b"while")]);
        }
        etcd.launch(victim);
        etcd.wait_for(victim).await;
    }
}

#[tokio::test]
async fn compaction_is_told_to_who_is_behind_and_leaves_others_alone() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let store = store(etcd.urls_from(0));
    let start = newest(&store).await;
    let mut live = store.watch(start).await.unwrap();
    let mut revisions = Vec::new();
    for n in 0..6 {
        revisions.push(write(&store, &[put("a", &[n])]).await);
        assert_eq!(next(&mut live).await.revision, revisions[usize::from(n)]);
    }
    etcd.ctl(&["compact", &revisions[3].to_string()]);
    let refused = store.watch(start).await.unwrap_err();
    assert!(matches!(refused, StoreError::Compacted { oldest } if oldest == revisions[3]));
    let mut from_oldest = store.watch(revisions[3]).await.unwrap();
    assert_eq!(next(&mut from_oldest).await.revision, revisions[4]);
    let last = write(&store, &[put("a", b"last")]).await;
    assert_eq!(next(&mut live).await.revision, last);
}

/// etcd 3.4 drops a deletion that is the very revision of a compaction, without a word.
#[tokio::test]
async fn deletion_at_the_compacted_revision_is_not_lost_in_silence() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let store = store(etcd.urls_from(0));
    let before = write(&store, &[put("a", b"1")]).await;
    let deleted = write(&store, &[Write::Delete(key("a"))]).await;
    write(&store, &[put("b", b"1")]).await;
    etcd.ctl(&["compact", "--physical", &deleted.to_string()]);
    let refused = store.watch(before).await.unwrap_err();
    assert!(matches!(refused, StoreError::Compacted { oldest } if oldest == deleted));
}

#[tokio::test]
async fn foreign_writes_are_not_seen_and_foreign_bytes_are_damage() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let store = store(etcd.urls_from(0));
    let other = EtcdStore::connect(settings(etcd.urls_from(0), "selkie-other/")).unwrap();
    let mut watch = store.watch(newest(&store).await).await.unwrap();
    let foreign = write(&other, &[put("a", b"other")]).await;
    let own = write(&store, &[put("a", b"own")]).await;
    assert!(own > foreign);
    assert_eq!(next(&mut watch).await.writes, [put("a", b"own")]);
    etcd.ctl(&["put", "selkie/a", "no frame"]);
    let read = store.get(&key("a")).await;
    assert!(matches!(read, Err(StoreError::Corrupt { key: Some(at), .. }) if at == key("a")));
    assert!(matches!(watch.next().await, Err(StoreError::Corrupt { .. })));
}

/// More than one answer may hold: pages get shorter, and replays come in fragments.
#[tokio::test]
async fn large_records_are_listed_and_replayed_whole() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let store = store(etcd.urls_from(0));
    let start = newest(&store).await;
    let large = vec![7; 500 * 1024];
    let names: Vec<String> = (0..40).map(|n| format!("n/{n:02}/b")).collect();
    for name in &names {
        let small = name.replace('b', "a");
        store.commit(&[], &[put(name, &large), put(&small, b"")]).await.unwrap();
    }
    let mut page = Some(selkie_storage::Page::all());
    let mut found = Vec::new();
    while let Some(listed) = page {
        let listing = store.list(&listed).await.unwrap();
        found.extend(listing.records.into_iter().map(|record| record.key.to_string()));
        page = listing.next;
    }
    assert_eq!(found.len(), 2 * names.len());
    assert!(found.is_sorted());
    let mut watch = store.watch(start).await.unwrap();
    for name in &names {
        let writes = next(&mut watch).await.writes;
        assert!(writes == [put(&name.replace('b', "a"), b""), put(name, &large)], "{name}");
    }
}
