//! Claims about listing.

use std::sync::Arc;

use super::{key, list, names, page_of, put, read, write};
use crate::{Page, Store, Write};

pub async fn list_answers_all_records_in_key_order(store: Arc<dyn Store>) {
    assert_eq!(list(&store, &Page::all()).await.records, []);
    let sorted = ["A", "a", "a!", "a-b", "a/b", "a/b/c", "a0", "b", "~"];
    for name in sorted.iter().rev() {
        write(&store, &[put(name, name.as_bytes())]).await;
    }
    let listing = list(&store, &Page::all()).await;
    let found: Vec<&str> = listing.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(found, sorted);
    assert_eq!(listing.next, None);
    for record in listing.records {
        assert_eq!(read(&store, record.key.as_str()).await, Some(record));
    }
}

pub async fn list_under_a_key_leaves_out_look_alikes(store: Arc<dyn Store>) {
    for name in ["b", "k", "k!/x", "k-/x", "k/a", "k/a/b", "k/z", "k0", "ka/x", "l/k/a"] {
        write(&store, &[put(name, b"")]).await;
    }
    let page = |after: Option<&str>, limit| Page {
        under: Some(key("k")),
        after: after.map(key),
        ..page_of(limit)
    };
    for limit in 1..=4 {
        let found = names(&store, page(None, limit)).await;
        assert_eq!(found, ["k/a", "k/a/b", "k/z"], "pages of {limit}");
    }
    for (after, left) in [("A", 3), ("k", 3), ("k/a", 2), ("k/a/b", 1), ("k/z", 0), ("z", 0)] {
        let found = names(&store, page(Some(after), 9)).await;
        assert_eq!(found.len(), left, "after {after}: {found:?}");
    }
    assert_eq!(names(&store, Page::under(key("none"))).await, [""; 0]);
}

pub async fn pages_of_every_size_join_to_the_whole(store: Arc<dyn Store>) {
    let all: Vec<String> = (0..12).map(|n| format!("n/{n:02}")).collect();
    for name in &all {
        write(&store, &[put(name, b"")]).await;
    }
    for limit in 1..=13 {
        assert_eq!(names(&store, page_of(limit)).await, all, "pages of {limit}");
    }
}

pub async fn pages_keep_their_place_while_others_commit(store: Arc<dyn Store>) {
    for n in (0..10).step_by(2) {
        write(&store, &[put(&format!("n/{n}"), b"")]).await;
    }
    let mut listing = list(&store, &page_of(2)).await;
    let mut found = listing.records;
    let behind = found.first().expect("a first record").key.clone();
    let last = found.last().expect("a last record").key.clone();
    write(&store, &[Write::Delete(behind), Write::Delete(last), put("n/1", b""), put("n/7", b"")])
        .await;
    while let Some(page) = listing.next {
        listing = list(&store, &page).await;
        found.append(&mut listing.records);
    }
    let found: Vec<&str> = found.iter().map(|record| record.key.as_str()).collect();
    let untouched: Vec<&str> = found.iter().copied().filter(|name| *name != "n/7").collect();
    assert_eq!(untouched, ["n/0", "n/2", "n/4", "n/6", "n/8"]);
    assert!(found.is_sorted(), "a page went back");
}
