//! What every provider of [`Kms`] owes, as claims that a test can check.
//!
//! A provider says `kms_contract!(open)`, where `open()` is an async function that answers an
//! `Arc<dyn Kms>` over a master key with at least two enabled versions, the current among them;
//! each claim then runs as a test of its own. The provider's crate needs tokio with `macros` and
//! `rt-multi-thread`.

#![expect(clippy::expect_used, reason = "a claim fails by panicking: that is how a test fails")]
#![expect(missing_docs, reason = "the name of a claim says all of it")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::{Call, ClientTag, KekDescription, KekState, KekVersion, Kms, KmsError, Wrapping};

/// Makes a test of each claim; see the [module](crate::contract).
#[macro_export]
macro_rules! kms_contract {
    ($open:path) => {
        $crate::kms_contract! { $open:
            describe_is_stable,
            describe_lists_each_version_once_and_oldest_first,
            describe_puts_the_current_version_among_the_listed,
            each_version_unwraps_what_was_wrapped_for_it,
            each_version_wraps_in_the_kms_too,
            wrapped_dek_does_not_show_the_dek,
            unwrap_under_another_version_is_rejected,
            unwrap_of_every_flipped_bit_is_rejected,
            unwrap_of_every_other_length_is_rejected,
            unwrap_by_another_algorithm_is_rejected,
            unknown_kek_is_named_as_such,
            concurrent_calls_do_not_mix,
            dropped_calls_leave_the_provider_whole,
        }
    };
    ($open:path: $($claim:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                $crate::contract::$claim($open().await).await
            }
        )+
    };
}

/// A vector of AES-256 key wrap, of which others say what comes of it.
#[derive(Clone, Copy, Debug)]
pub struct Vector<'v> {
    pub number: usize,
    pub wrapped: &'v [u8],
    /// What was wrapped; `None` if it is to be refused.
    pub unwrapped: Option<&'v [u8]>,
}

const TASKS: u8 = 16;

fn call() -> Call {
    Call { client: ClientTag::new(1), deadline: Instant::now() + Duration::from_secs(60) }
}

fn secret(seed: u8) -> RecipientSecret {
    RecipientSecret::init_with(|bytes| {
        let mut next = seed;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_mul(31).wrapping_add(7);
        }
    })
}

fn assert_same(found: &RecipientSecret, wanted: &RecipientSecret) {
    assert!(found.expose_for_wrap() == wanted.expose_for_wrap(), "another secret came back");
}

async fn describe(kms: &Arc<dyn Kms>) -> KekDescription {
    kms.describe().await.expect("a description")
}

async fn enabled(kms: &Arc<dyn Kms>) -> Vec<KekVersion> {
    let mut versions = describe(kms).await.versions().to_vec();
    versions.retain(|version| version.state == KekState::Enabled);
    assert!(versions.len() > 1, "the contract needs two enabled versions");
    versions
}

/// Wraps as an encrypt does: here if the version can, else in the KMS.
async fn wrap(kms: &Arc<dyn Kms>, version: &KekVersion, dek: &RecipientSecret) -> Vec<u8> {
    match &version.wrapping {
        Wrapping::Local(key) => key.wrap_dek(dek).expect("a local wrap"),
        Wrapping::Remote(_) => kms.wrap_dek(&version.id, dek, call()).await.expect("a remote wrap"),
    }
}

async fn unwrap(
    kms: &Arc<dyn Kms>,
    version: &KekVersion,
    wrapped: &[u8],
) -> Result<Arc<RecipientSecret>, KmsError> {
    let algorithm = version.wrapping.algorithm();
    kms.unwrap_dek(&version.id, algorithm, wrapped, call()).await
}

async fn assert_unwraps(
    kms: &Arc<dyn Kms>,
    version: &KekVersion,
    wrapped: &[u8],
    wanted: &RecipientSecret,
) {
    let found = unwrap(kms, version, wrapped).await.expect("an unwrapped DEK");
    assert_same(&found, wanted);
}

fn assert_rejected(outcome: &Result<Arc<RecipientSecret>, KmsError>, what: &str) {
    assert!(matches!(outcome, Err(KmsError::Rejected(_))), "{what}: {outcome:?}");
}

pub async fn describe_is_stable(kms: Arc<dyn Kms>) {
    let first = describe(&kms).await;
    wrap(&kms, first.current(), &secret(1)).await;
    assert_eq!(describe(&kms).await, first);
}

pub async fn describe_lists_each_version_once_and_oldest_first(kms: Arc<dyn Kms>) {
    let description = describe(&kms).await;
    let versions = description.versions();
    let ids: BTreeSet<&KekId> = versions.iter().map(|version| &version.id).collect();
    assert_eq!(ids.len(), versions.len());
    assert!(versions.iter().filter_map(|version| version.created).is_sorted());
}

pub async fn describe_puts_the_current_version_among_the_listed(kms: Arc<dyn Kms>) {
    let description = describe(&kms).await;
    let current = description.current();
    assert_eq!(description.version(&current.id), Some(current));
    assert_eq!(current.state, KekState::Enabled);
}

pub async fn each_version_unwraps_what_was_wrapped_for_it(kms: Arc<dyn Kms>) {
    for version in enabled(&kms).await {
        for dek in [secret(1), secret(2), RecipientSecret::init_with(|bytes| bytes.fill(0))] {
            let wrapped = wrap(&kms, &version, &dek).await;
            assert_unwraps(&kms, &version, &wrapped, &dek).await;
            assert_unwraps(&kms, &version, &wrapped, &dek).await;
        }
    }
}

pub async fn each_version_wraps_in_the_kms_too(kms: Arc<dyn Kms>) {
    for version in enabled(&kms).await {
        let dek = secret(3);
        let wrapped = kms.wrap_dek(&version.id, &dek, call()).await.expect("a remote wrap");
        assert_unwraps(&kms, &version, &wrapped, &dek).await;
    }
}

pub async fn wrapped_dek_does_not_show_the_dek(kms: Arc<dyn Kms>) {
    let dek = secret(4);
    for version in enabled(&kms).await {
        let wrapped = wrap(&kms, &version, &dek).await;
        let shown = wrapped
            .windows(8)
            .any(|part| dek.expose_for_wrap().windows(8).any(|secret| secret == part));
        assert!(!shown, "part of the DEK stands in its wrapped form");
    }
}

pub async fn unwrap_under_another_version_is_rejected(kms: Arc<dyn Kms>) {
    let versions = enabled(&kms).await;
    for (right, wrong) in versions.iter().zip(versions.iter().skip(1)) {
        let wrapped = wrap(&kms, right, &secret(5)).await;
        assert_rejected(&unwrap(&kms, wrong, &wrapped).await, "another version");
        let wrapped = wrap(&kms, wrong, &secret(5)).await;
        assert_rejected(&unwrap(&kms, right, &wrapped).await, "another version");
    }
}

pub async fn unwrap_of_every_flipped_bit_is_rejected(kms: Arc<dyn Kms>) {
    let current = describe(&kms).await.current().clone();
    let dek = secret(6);
    let wrapped = wrap(&kms, &current, &dek).await;
    for bit in 0..wrapped.len() * 8 {
        let mut forged = wrapped.clone();
        *forged.get_mut(bit / 8).expect("a byte") ^= 1 << (bit % 8);
        assert_rejected(&unwrap(&kms, &current, &forged).await, "a flipped bit");
    }
    assert_unwraps(&kms, &current, &wrapped, &dek).await;
}

pub async fn unwrap_of_every_other_length_is_rejected(kms: Arc<dyn Kms>) {
    let current = describe(&kms).await.current().clone();
    let wrapped = wrap(&kms, &current, &secret(7)).await;
    for length in 0..wrapped.len() {
        let truncated = wrapped.get(..length).expect("a part");
        assert_rejected(&unwrap(&kms, &current, truncated).await, "a truncated DEK");
    }
    for surplus in [1, 8, wrapped.len(), 64 * 1024] {
        let longer = [&*wrapped, &vec![0; surplus]].concat();
        assert_rejected(&unwrap(&kms, &current, &longer).await, "a DEK too long");
        let longer = [&*vec![0; surplus], &wrapped].concat();
        assert_rejected(&unwrap(&kms, &current, &longer).await, "a DEK too long");
    }
}

pub async fn unwrap_by_another_algorithm_is_rejected(kms: Arc<dyn Kms>) {
    let current = describe(&kms).await.current().clone();
    let wrapped = wrap(&kms, &current, &secret(8)).await;
    for algorithm in [WrapAlgorithm::A256Kw, WrapAlgorithm::RsaOaep256] {
        if algorithm != current.wrapping.algorithm() {
            let outcome = kms.unwrap_dek(&current.id, algorithm, &wrapped, call()).await;
            assert_rejected(&outcome, algorithm.jose_name());
        }
    }
}

pub async fn unknown_kek_is_named_as_such(kms: Arc<dyn Kms>) {
    let current = describe(&kms).await.current().clone();
    let wrapped = wrap(&kms, &current, &secret(9)).await;
    for id in ["no-such-key", "https://other.example/keys/a/0123456789abcdef0123456789abcdef"] {
        let id = KekId::new(id).expect("a valid id");
        let outcome = kms.wrap_dek(&id, &secret(9), call()).await;
        assert!(matches!(outcome, Err(KmsError::UnknownKek(_))), "wrap: {outcome:?}");
        let outcome = kms.unwrap_dek(&id, current.wrapping.algorithm(), &wrapped, call()).await;
        assert!(matches!(outcome, Err(KmsError::UnknownKek(_))), "unwrap: {outcome:?}");
    }
}

pub async fn concurrent_calls_do_not_mix(kms: Arc<dyn Kms>) {
    let versions = enabled(&kms).await;
    let mut tasks = JoinSet::new();
    for (seed, version) in (0..TASKS).zip(versions.iter().cycle().cloned()) {
        let kms = Arc::clone(&kms);
        tasks.spawn(async move {
            let dek = secret(seed);
            let wrapped = wrap(&kms, &version, &dek).await;
            tokio::task::yield_now().await;
            assert_unwraps(&kms, &version, &wrapped, &dek).await;
        });
    }
    tasks.join_all().await;
}

pub async fn dropped_calls_leave_the_provider_whole(kms: Arc<dyn Kms>) {
    let current = describe(&kms).await.current().clone();
    let dek = secret(10);
    let wrapped = wrap(&kms, &current, &dek).await;
    for _ in 0..TASKS {
        // Each polled once, then dropped.
        drop(timeout(Duration::ZERO, kms.describe()).await);
        drop(timeout(Duration::ZERO, kms.wrap_dek(&current.id, &dek, call())).await);
        drop(timeout(Duration::ZERO, unwrap(&kms, &current, &wrapped)).await);
    }
    assert_eq!(describe(&kms).await.current(), &current);
    assert_unwraps(&kms, &current, &wrapped, &dek).await;
    let wrapped = kms.wrap_dek(&current.id, &dek, call()).await.expect("a remote wrap");
    assert_unwraps(&kms, &current, &wrapped, &dek).await;
}

/// The claim for a provider whose current master key is that of the vector.
pub async fn key_is_wrapped_and_unwrapped_as_the_vector_says(
    kms: Arc<dyn Kms>,
    vector: Vector<'_>,
) {
    let Vector { number, wrapped, unwrapped } = vector;
    let number = number.to_string();
    let id = describe(&kms).await.current().id.clone();
    let found = kms.unwrap_dek(&id, WrapAlgorithm::A256Kw, wrapped, call()).await;
    // A DEK is 32 bytes: a longer or shorter key is refused, however well it is wrapped.
    let Some(dek) = unwrapped.filter(|dek| dek.len() == 32) else {
        return assert_rejected(&found, &number);
    };
    let dek = RecipientSecret::init_with(|bytes| bytes.copy_from_slice(dek));
    assert_same(&found.expect(&number), &dek);
    let again = kms.wrap_dek(&id, &dek, call()).await.expect(&number);
    assert_eq!(again, wrapped, "{number}");
    // Under another algorithm's name the very same bytes are nobody's.
    let named = kms.unwrap_dek(&id, WrapAlgorithm::RsaOaep256, wrapped, call()).await;
    assert_rejected(&named, &number);
}

#[cfg(test)]
mod tests;
