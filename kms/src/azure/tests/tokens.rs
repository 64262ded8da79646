//! Tokens that are slow to come, or lost.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;
use azure_core::time::OffsetDateTime;
use futures_util::future::join_all;
use selkie_crypto::{KekId, WrapAlgorithm};
use tokio::time::{Instant, sleep};

use super::fake::{FakeVault, HOST, NAME, clock, provider, settings, version_text};
use crate::azure::{AzureKeyVault, Diagnosis, Hop, Outcome, RevocableCredential};
use crate::{Call, ClientTag, Kms};

/// Each time it is asked it takes a second; its token is `token-0`, and `token-1` once that is given
/// up.
#[derive(Debug, Default)]
struct SlowCredential {
    is_renewed: AtomicBool,
}

#[async_trait]
impl TokenCredential for SlowCredential {
    async fn get_token(
        &self,
        _: &[&str],
        _: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        sleep(Duration::from_secs(1)).await;
        let number = u8::from(self.is_renewed.load(Ordering::Relaxed));
        Ok(AccessToken::new(format!("token-{number}"), OffsetDateTime::UNIX_EPOCH))
    }
}

impl RevocableCredential for SlowCredential {
    fn invalidate(&self) {
        self.is_renewed.store(true, Ordering::Relaxed);
    }

    fn trouble(&self) -> Option<Diagnosis> {
        None
    }
}

async fn unwrap_sixteen_times(kms: &AzureKeyVault) {
    let kek = KekId::new(&format!("https://{HOST}/keys/{NAME}/{}", version_text(2))).unwrap();
    let wrapped = FakeVault::wrap_bytes(1, &[7; 32]);
    let call =
        Call { client: ClientTag::SELKIE, deadline: Instant::now() + Duration::from_secs(60) };
    let unwrap = || kms.unwrap_dek(&kek, WrapAlgorithm::RsaOaep256, &wrapped, call);
    for outcome in join_all((0..16).map(|_| unwrap())).await {
        outcome.unwrap();
    }
}

/// What `work` comes to, unless it is woken again and again.
async fn at_rest<T>(work: impl Future<Output = T>) -> T {
    let (mut work, mut wakes) = (pin!(work), 0);
    poll_fn(|context| {
        wakes += 1;
        assert!(wakes < 2_000, "the calls wake each other");
        work.as_mut().poll(context)
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_token_do_not_wake_each_other() {
    let (vault, credential) = (FakeVault::rsa(), Arc::new(SlowCredential::default()));
    let kms = AzureKeyVault::over(&settings(), vault.clone(), credential, clock()).unwrap();
    at_rest(unwrap_sixteen_times(&kms)).await;
    vault.accept_only("token-1");
    at_rest(unwrap_sixteen_times(&kms)).await;
}

#[tokio::test]
async fn token_that_the_sdk_lost_is_no_refusal() {
    let kms = provider(&FakeVault::rsa());
    let lose = |times| {
        let sent = AtomicUsize::new(0);
        move || {
            let is_lost = sent.fetch_add(1, Ordering::Relaxed) < times;
            let lost = || ErrorKind::Credential.into_error().with_context("not retried");
            async move { if is_lost { Err(lost()) } else { Ok(()) } }
        }
    };
    kms.ask(Hop::Get, lose(1)).await.unwrap();
    let error = kms.ask(Hop::Get, lose(2)).await.unwrap_err();
    assert_eq!(Diagnosis::of(&error).unwrap().outcome, Outcome::CredentialRefused);
}
