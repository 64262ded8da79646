//! Encrypts for all the seals of a key. No KMS is asked where its public key is trusted (invariant
//! I2).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use selkie_access::{KeyName, MountPath, Permit, operation};
use selkie_crypto::envelope::{Aad, Header, Purpose};
use selkie_crypto::{Ciphertext, KeyVersion, Plaintext};
use tokio::time::Instant;

use super::error::outcome;
use super::wrapping::Wrapped;
use super::{Transit, TransitError, TransitKey};
use crate::deployment::Deployment;
use crate::seal::WRAP_PATIENCE;

/// One thing to encrypt.
#[derive(Debug)]
pub struct EncryptionItem {
    /// What to encrypt; it is encrypted in its own memory.
    pub plaintext: Plaintext,
    /// Bound to the ciphertext, not stored.
    pub associated_data: Vec<u8>,
    /// Bound to the ciphertext if the key is derived, ignored otherwise, as by Vault.
    pub context: Vec<u8>,
    /// The version asked for; `None` and 0 for the latest.
    pub version: Option<i64>,
}

/// A ciphertext.
#[derive(Debug)]
pub struct Encrypted {
    /// Its text form, `vault:v<N>:<base64>`.
    pub ciphertext: String,
    /// The `N` in it.
    pub version: KeyVersion,
}

/// The right and the means to encrypt under one key, for as many items as one request has.
#[derive(Debug)]
pub struct Encryption<'t> {
    pub(super) transit: &'t Transit,
    /// The transit's own, or what has been learned since.
    pub(super) deployment: Arc<Deployment>,
    pub(super) mount: MountPath,
    pub(super) key: Arc<TransitKey>,
    /// What each item may take of the time that a client waits.
    pub(super) patience: Duration,
}

impl Transit {
    /// Begins to encrypt.
    ///
    /// # Errors
    ///
    /// [`TransitError::KeyNotFound`]; [`TransitError::Seal`] while the key's version is not known.
    pub async fn encryption(
        &self,
        permit: &Permit<operation::Encrypt>,
    ) -> Result<Encryption<'_>, TransitError> {
        self.encryption_under(permit.mount(), permit.key()).await
    }

    /// Begins to encrypt the plaintexts that a rewrap decrypts.
    ///
    /// # Errors
    ///
    /// [`TransitError::KeyNotFound`]; [`TransitError::Seal`] while the key's version is not known.
    pub async fn re_encryption(
        &self,
        permit: &Permit<operation::Rewrap>,
    ) -> Result<Encryption<'_>, TransitError> {
        self.encryption_under(permit.mount(), permit.key()).await
    }

    async fn encryption_under(
        &self,
        mount: &MountPath,
        key: &KeyName,
    ) -> Result<Encryption<'_>, TransitError> {
        // The clock is read only where there is something to wait for.
        let mut began = None;
        let deadline = |key: &TransitKey| {
            let now = *began.insert(Instant::now());
            let left = self.until.saturating_duration_since(now).min(WRAP_PATIENCE);
            // Where seals may be left out there must be time to do so.
            now + if key.allow_missing_seals { left / 3 } else { left }
        };
        let (key, deployment) = self.ready(mount, key, deadline).await?;
        key.require_counted(&deployment)?;
        let under = &deployment.promises;
        if let Some(noted) = deployment.memory.note_making(under, mount, &key.name) {
            noted.await;
        }
        Ok(Encryption {
            transit: self,
            deployment,
            mount: mount.clone(),
            key,
            patience: began.map_or(WRAP_PATIENCE, |began: Instant| {
                WRAP_PATIENCE.saturating_sub(began.elapsed())
            }),
        })
    }
}

impl Encryption<'_> {
    /// Encrypts one item for every master key behind the version: a fresh DEK, wrapped locally
    /// where the master key is public, by its KMS where it is not.
    ///
    /// # Errors
    ///
    /// [`TransitError`].
    pub async fn encrypt(&self, item: EncryptionItem) -> Result<Encrypted, TransitError> {
        let made = self.encrypt_uncounted(item).await;
        self.transit.metrics.operation("encrypt", outcome(&made));
        let (mount, key) = (self.mount.as_str(), self.key.name.as_str());
        match &made {
            Ok(made) => self.transit.note(|trail| trail.encrypted(mount, key, made.version)),
            Err(_) => self.transit.note(|trail| trail.failed(mount, key)),
        }
        made
    }

    async fn encrypt_uncounted(&self, item: EncryptionItem) -> Result<Encrypted, TransitError> {
        let context = self.context(&item.context)?;
        let deployment = &self.deployment;
        let Wrapped { key, version, draft, recipients } = self.wrap(item.version).await?;
        let header =
            key.header(deployment, &self.mount, version, self.transit.clock.unix_seconds());
        let aad = Aad { associated_data: &item.associated_data, context };
        let origin_key = deployment.origin_key.as_deref();
        let envelope = draft.encrypt(&header, aad, item.plaintext, &recipients, origin_key)?;
        Ok(Encrypted { ciphertext: Ciphertext::print(version, &envelope), version })
    }

    fn context<'a>(&self, context: &'a [u8]) -> Result<&'a [u8], TransitError> {
        self.key.bound_context(context)
    }
}

impl TransitKey {
    /// What an envelope of this key says of itself.
    pub(super) fn header<'a>(
        &'a self,
        deployment: &'a Deployment,
        mount: &'a MountPath,
        version: KeyVersion,
        now: u64,
    ) -> Header<'a> {
        Header {
            purpose: Purpose::Client,
            realm: Cow::Borrowed(deployment.realm()),
            mount: Cow::Borrowed(mount.as_str()),
            key: Cow::Borrowed(self.name.as_str()),
            version,
            created: now,
        }
    }

    /// What of a request's context is bound to the ciphertext.
    pub(super) fn bound_context<'a>(&self, context: &'a [u8]) -> Result<&'a [u8], TransitError> {
        match (self.derived, context.is_empty()) {
            (true, true) => Err(TransitError::ContextMissing),
            (true, false) => Ok(context),
            (false, _) => Ok(&[]),
        }
    }
}
