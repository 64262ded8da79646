//! [`AtHand`]: the token that the SDK is handed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::time::OffsetDateTime;
use zeroize::Zeroizing;

use super::identity::audience;
use super::setup::RevocableCredential;

/// Fetches a token before each request, so that the SDK never waits for one: it would do so under a
/// write lock, before which all other requests then wake each other without end.
pub(super) struct AtHand {
    credential: Arc<dyn RevocableCredential>,
    scope: String,
    held: Mutex<Option<Zeroizing<String>>>,
}

impl AtHand {
    pub(super) fn new(credential: Arc<dyn RevocableCredential>, scope: String) -> Self {
        Self { credential, scope, held: Mutex::default() }
    }

    /// Waits for the token that counts now.
    pub(super) async fn fetch(&self) -> azure_core::Result<()> {
        let token = self.credential.get_token(&[&self.scope], None).await?;
        *self.held() = Some(Zeroizing::new(token.token.secret().to_owned()));
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Option<Zeroizing<String>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_ours(&self, scopes: &[&str]) -> bool {
        let [scope] = scopes else { return false };
        audience(scope).is_some_and(|asked| Some(asked) == audience(&self.scope))
    }
}

#[async_trait]
impl TokenCredential for AtHand {
    async fn get_token(
        &self,
        scopes: &[&str],
        options: Option<TokenRequestOptions<'_>>,
    ) -> azure_core::Result<AccessToken> {
        let held =
            self.held().as_ref().filter(|_| self.is_ours(scopes)).map(|text| text.to_string());
        match held {
            // Expired for the SDK, so that it keeps none of its own but asks for each request.
            Some(text) => Ok(AccessToken::new(text, OffsetDateTime::UNIX_EPOCH)),
            None => self.credential.get_token(scopes, options).await,
        }
    }
}

impl fmt::Debug for AtHand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AtHand").field("credential", &self.credential).finish_non_exhaustive()
    }
}
