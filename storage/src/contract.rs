//! What every backend of [`Store`] owes, as claims that a test can check.
//!
//! A backend says `store_contract!(open)`, where `open()` is an async function that answers a fresh,
//! empty `Arc<dyn Store>`; each claim then runs as a test of its own. The backend's crate needs
//! tokio with `macros` and `rt-multi-thread`.

#![expect(clippy::expect_used, reason = "a claim fails by panicking: that is how a test fails")]
#![expect(missing_docs, reason = "the name of a claim says all of it")]

pub mod commits;
pub mod lists;
mod standing;
pub mod watches;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Commit, Listing, Page, Record, RecordKey, RecordValue, Revision, Store, StoreError, Watch,
    Write,
};

pub use standing::Standing;

/// Makes a test of each claim; see the [module](crate::contract).
#[macro_export]
macro_rules! store_contract {
    ($open:path) => {
        $crate::store_contract! { $open, commits:
            get_answers_none_for_what_was_never_put,
            get_answers_what_the_last_commit_put,
            any_bytes_and_every_length_come_back_unchanged,
            revisions_grow_with_every_change,
            deleting_nothing_changes_nothing,
            deleted_record_is_gone,
            guard_absent_refuses_a_record_that_exists,
            guard_at_refuses_any_other_revision,
            guard_at_refuses_a_record_made_again,
            guards_alone_check_and_change_nothing,
            guards_and_writes_may_name_different_records,
            one_failed_guard_holds_back_every_write,
            commit_refuses_two_writes_of_one_record,
            commit_refuses_more_than_its_limits,
            commit_takes_as_much_as_its_limits,
            of_racing_creations_exactly_one_wins,
            racing_updates_lose_no_increment,
            readers_never_see_half_a_commit,
            dropped_commit_is_whole_or_absent,
        }
        $crate::store_contract! { $open, lists:
            list_answers_all_records_in_key_order,
            list_under_a_key_leaves_out_look_alikes,
            pages_of_every_size_join_to_the_whole,
            pages_keep_their_place_while_others_commit,
        }
        $crate::store_contract! { $open, watches:
            watch_sees_each_commit_whole,
            watch_replays_before_it_follows,
            watch_sees_no_commit_that_failed_or_changed_nothing,
            watch_from_a_listing_misses_nothing_and_repeats_nothing,
            watches_see_racing_commits_once_and_in_order,
            dropped_next_loses_no_commit,
            watch_refuses_a_revision_not_reached,
        }
    };
    ($open:path, $subject:ident: $($claim:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::contract::$subject::$claim($open().await).await
            }
        )+
    };
}

const RACERS: usize = 16;

fn key(text: &str) -> RecordKey {
    text.parse().expect("a valid key")
}

fn value(bytes: &[u8]) -> RecordValue {
    RecordValue::new(bytes).expect("a value within the limit")
}

fn put(at: &str, bytes: &[u8]) -> Write {
    Write::Put(key(at), value(bytes))
}

fn delete(at: &str) -> Write {
    Write::Delete(key(at))
}

async fn write(store: &Arc<dyn Store>, writes: &[Write]) -> Revision {
    store.commit(&[], writes).await.expect("an unconditional commit")
}

async fn read(store: &Arc<dyn Store>, at: &str) -> Option<Record> {
    store.get(&key(at)).await.expect("a readable record")
}

async fn revision_of(store: &Arc<dyn Store>, at: &str) -> Revision {
    read(store, at).await.expect("a record").revision
}

async fn list(store: &Arc<dyn Store>, page: &Page) -> Listing {
    store.list(page).await.expect("a readable page")
}

async fn newest(store: &Arc<dyn Store>) -> Revision {
    list(store, &Page::all()).await.revision
}

/// The names of all records from `page` on, page by page.
async fn names(store: &Arc<dyn Store>, page: Page) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(page);
    while let Some(page) = next {
        let listing = list(store, &page).await;
        assert!(listing.records.len() <= page.limit.get(), "more records than the page allows");
        names.extend(listing.records.iter().map(|record| record.key.to_string()));
        next = listing.next;
    }
    names
}

fn page_of(limit: usize) -> Page {
    Page { limit: NonZeroUsize::new(limit).expect("a page of something"), ..Page::all() }
}

async fn watch(store: &Arc<dyn Store>, from: Revision) -> Box<dyn Watch> {
    store.watch(from).await.expect("a watch")
}

async fn next(watch: &mut Box<dyn Watch>) -> Commit {
    let next = timeout(Duration::from_secs(60), watch.next()).await;
    next.expect("a commit in time").expect("a commit")
}

fn assert_guard_failed(outcome: Result<Revision, StoreError>, at: &str) {
    assert!(matches!(outcome, Err(StoreError::GuardFailed { key }) if key.as_str() == at));
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_claim_is_made_a_test_of() {
        let listed = include_str!("contract.rs");
        for source in [
            include_str!("contract/commits.rs"),
            include_str!("contract/lists.rs"),
            include_str!("contract/watches.rs"),
        ] {
            let claims = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
            let names: Vec<&str> = claims.filter_map(|claim| claim.split('(').next()).collect();
            assert!(!names.is_empty(), "no claims found");
            for name in names {
                assert!(listed.contains(&format!("            {name},\n")), "{name} is not listed");
            }
        }
    }
}
