//! A cluster whose space is used up.

use std::collections::BTreeMap;
use std::time::Duration;

use selkie_storage::{EtcdFault, EtcdStore, RecordValue, Revision, Store, StoreError};

use super::server::{Etcd, Security, etcd_is_here};
use super::{key, newest, next, put, store};

/// etcd compares with the quota what it had written to its file when it last did so, every 100 ms or
/// so many operations: a fast machine would fill it five times over in between.
const SMALL_QUOTA: [&str; 2] = ["--quota-backend-bytes=2000000", "--backend-batch-limit=1"];
const LARGE: usize = 100 * 1024;

/// Writes five records over and over until that is refused; which revision each was acknowledged at.
async fn fill(store: &EtcdStore) -> (BTreeMap<String, Revision>, String) {
    let mut acknowledged = BTreeMap::new();
    for n in 0_u8..100 {
        let name = format!("k/{}", n % 5);
        match store.commit(&[], &[put(&name, &vec![n; LARGE])]).await {
            Ok(revision) => drop(acknowledged.insert(name, revision)),
            Err(StoreError::Undecided { source }) => {
                let fault: EtcdFault = *source.downcast().unwrap();
                assert!(matches!(fault, EtcdFault::NoSpace { .. }), "{fault:?}");
                return (acknowledged, name);
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("the quota is not reached");
}

#[tokio::test]
async fn used_up_quota_refuses_commits_loses_nothing_and_ends_with_the_alarm() {
    if !etcd_is_here() {
        return;
    }
    let flags = Security { etcd: SMALL_QUOTA.map(str::to_owned).to_vec(), ..Security::default() };
    let etcd = Etcd::start_secured(1, flags);
    etcd.wait_for(0).await;
    let store = store(etcd.urls_from(0));
    let mut watch = store.watch(newest(&store).await).await.unwrap();
    let (acknowledged, undecided) = fill(&store).await;
    assert!(etcd.ctl(&["alarm", "list"]).contains("NOSPACE"));
    for n in 0..3 {
        let refused = store.commit(&[], &[put(&format!("refused/{n}"), b"x")]).await;
        assert!(matches!(refused, Err(StoreError::Undecided { .. })), "{refused:?}");
    }
    // Tried once, as any other write: etcd refuses a lease like one.
    let (under, value) = (key("state-key-local/server"), RecordValue::new(*b"x").unwrap());
    let refused = store.attend(&under, &value, Duration::from_secs(30)).await.unwrap_err();
    let StoreError::Undecided { source } = refused else { panic!("it was repeated: {refused:?}") };
    let fault: &EtcdFault = source.downcast_ref().unwrap();
    assert!(matches!(fault, EtcdFault::NoSpace { .. }), "{fault:?}");
    for (name, revision) in &acknowledged {
        let found = store.get(&key(name)).await.unwrap().unwrap().revision;
        // etcd 3.4 applies the write that reaches the quota and refuses it nevertheless.
        assert!(found == *revision || *name == undecided && found > *revision, "{name}");
    }
    while next(&mut watch).await.revision < *acknowledged.values().max().unwrap() {}
    let mut watch = store.watch(newest(&store).await).await.unwrap();
    etcd.ctl(&["compact", &newest(&store).await.to_string()]);
    etcd.ctl(&["defrag"]);
    etcd.ctl(&["alarm", "disarm"]);
    assert_eq!(etcd.ctl(&["alarm", "list"]), "");
    for n in 0..3 {
        assert_eq!(store.get(&key(&format!("refused/{n}"))).await.unwrap(), None);
    }
    let revision = store.commit(&[], &[put("after", b"1")]).await.unwrap();
    assert_eq!(next(&mut watch).await.revision, revision);
}
