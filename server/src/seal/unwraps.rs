//! What the items of one batch unwrap, each of it once.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::Shared;
use selkie_crypto::envelope::Recipient;
use selkie_crypto::{KekId, RecipientSecret, SealName};
use selkie_kms::KmsError;

type Answer = Result<Arc<RecipientSecret>, KmsError>;
type Unwrapping = Shared<Pin<Box<dyn Future<Output = Answer> + Send>>>;

/// The unwraps that one batch has begun: items with the same wrapped DEK share one call and one DEK,
/// whenever each of them comes to its turn. They are gone with [`Unwraps::forget`], at the latest
/// with the request.
#[derive(Default)]
pub struct Unwraps(Mutex<HashMap<Wrapped, Unwrapping>>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Wrapped {
    seal: SealName,
    kek: KekId,
    bytes: Vec<u8>,
}

impl Unwraps {
    /// What `unwrap` answers for `recipient`, or what it answered to an item before this one.
    pub(super) async fn once<F>(
        &self,
        recipient: &Recipient,
        unwrap: impl FnOnce(Recipient) -> F,
    ) -> Answer
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let wrapped = Wrapped {
            seal: recipient.seal.clone(),
            kek: recipient.kek.clone(),
            bytes: recipient.wrapped_dek.clone(),
        };
        let unwrapping = {
            let mut begun = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let boxed: Pin<Box<dyn Future<Output = Answer> + Send>> =
                    Box::pin(unwrap(recipient.clone()));
                boxed.shared()
            };
            begun.entry(wrapped.clone()).or_insert_with(begin).clone()
        };
        let leaving = Leaving { unwraps: self, wrapped, unwrapping };
        leaving.unwrapping.clone().await
    }

    /// Lets all DEKs go.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// An item that waits. An unwrap that the last one gives up, because another seal was faster, must
/// not be found half done by a later item, with its time long over.
struct Leaving<'u> {
    unwraps: &'u Unwraps,
    wrapped: Wrapped,
    unwrapping: Unwrapping,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut begun = self.unwraps.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_given_up =
            self.unwrapping.peek().is_none() && self.unwrapping.strong_count() <= Some(2);
        if is_given_up && begun.get(&self.wrapped).is_some_and(|one| one.ptr_eq(&self.unwrapping)) {
            begun.remove(&self.wrapped);
        }
    }
}

impl fmt::Debug for Unwraps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unwraps").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use selkie_crypto::WrapAlgorithm;

    use super::*;

    fn recipient(byte: u8) -> Recipient {
        Recipient {
            seal: SealName::new("weu").unwrap(),
            kek: KekId::new("k1").unwrap(),
            algorithm: WrapAlgorithm::RsaOaep256,
            wrapped_dek: vec![byte; 256],
            share: None,
        }
    }

    #[tokio::test]
    async fn equal_wrapped_deks_are_unwrapped_once_and_gone_when_forgotten() {
        let (unwraps, calls) = (Unwraps::default(), Arc::new(AtomicUsize::new(0)));
        let unwrap = async |byte: u8| {
            let (recipient, calls) = (recipient(byte), Arc::clone(&calls));
            let unwrap = move |_| async move {
                calls.fetch_add(1, Ordering::Relaxed);
                Ok(Arc::new(RecipientSecret::init_with(|bytes| bytes.fill(byte))))
            };
            unwraps.once(&recipient, unwrap).await
        };
        let first = unwrap(1).await.unwrap();
        assert!(Arc::ptr_eq(&first, &unwrap(1).await.unwrap()));
        assert!(!Arc::ptr_eq(&first, &unwrap(2).await.unwrap()));
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        let gone = Arc::downgrade(&first);
        drop(first);
        assert!(gone.upgrade().is_some(), "the next item may need it");
        unwraps.forget();
        assert!(gone.upgrade().is_none());
    }

    #[tokio::test]
    async fn an_unwrap_that_nobody_waits_for_any_more_begins_anew() {
        let unwraps = Unwraps::default();
        let (recipient, secret) = (recipient(1), RecipientSecret::init_with(|bytes| bytes.fill(1)));
        let hang = unwraps.once(&recipient, |_| std::future::pending());
        assert!(hang.now_or_never().is_none());
        let answer = std::future::ready(Ok(Arc::new(secret)));
        assert!(unwraps.once(&recipient, |_| answer).await.is_ok());
    }
}
