//! What a store says of others in its place.

use selkie_storage::{EtcdDamage, EtcdStore, Page, RecordKey, Store, StoreError};

use super::server::{Etcd, etcd_is_here};
use super::{key, newest, next, put, settings, store, write};

fn damage<T: std::fmt::Debug>(outcome: Result<T, StoreError>) -> (Option<RecordKey>, EtcdDamage) {
    match outcome {
        Err(StoreError::Corrupt { key, source }) => (key, *source.downcast().unwrap()),
        other => panic!("{other:?}"),
    }
}

fn at(etcd: &Etcd, prefix: &str) -> EtcdStore {
    EtcdStore::connect(settings(etcd.urls_from(0), prefix)).unwrap()
}

#[tokio::test]
async fn a_pair_of_others_is_named_and_goes_with_them() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let store = store(etcd.urls_from(0));
    write(&store, &[put("a", b"1")]).await;
    let mut watch = store.watch(newest(&store).await).await.unwrap();
    for (foreign, record) in [("selkie/note", Some(key("note"))), ("selkie//x", None)] {
        etcd.ctl(&["put", foreign, "x"]);
        let named = |(told, why): (Option<RecordKey>, EtcdDamage)| {
            assert_eq!(told, record);
            let is_named = matches!(&why, EtcdDamage::NoRecord { key, .. } if key == foreign);
            assert!(is_named, "{why}");
        };
        named(damage(store.list(&Page::all()).await));
        named(damage(watch.next().await));
        etcd.ctl(&["del", foreign]);
        assert_eq!(store.list(&Page::all()).await.unwrap().records.len(), 1);
        let from = newest(&store).await;
        watch = store.watch(from).await.unwrap();
        write(&store, &[put("a", b"2")]).await;
        assert_eq!(next(&mut watch).await.writes, [put("a", b"2")]);
    }
}

#[tokio::test]
async fn stores_one_inside_the_other_see_each_other() {
    if !etcd_is_here() {
        return;
    }
    let etcd = Etcd::start(1).await;
    let (outer, inner) = (at(&etcd, "selkie/"), at(&etcd, "selkie/eu/prod/"));
    assert_eq!(inner.enclosing(&key("format")).await.unwrap(), None);
    // Somebody's key of that name is no store.
    etcd.ctl(&["put", "selkie/eu/format", "x"]);
    assert_eq!(inner.enclosing(&key("format")).await.unwrap(), None);
    etcd.ctl(&["del", "selkie/eu/format"]);
    write(&outer, &[put("format", b"1")]).await;
    assert_eq!(inner.enclosing(&key("format")).await.unwrap().as_deref(), Some("selkie/"));
    assert_eq!(outer.enclosing(&key("format")).await.unwrap(), None);
    write(&inner, &[put("transit/a", b"1")]).await;
    let (_, why) = damage(outer.list(&Page::all()).await);
    assert!(
        matches!(&why, EtcdDamage::OtherStore { key, ours, other }
            if (&**key, &**ours, &**other)
                == ("selkie/eu/prod/transit/a", "selkie/", "selkie/eu/prod/")),
        "{why}"
    );
}
