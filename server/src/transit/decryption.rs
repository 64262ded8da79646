//! Decrypts. What is wrong outside an envelope is found before a KMS is asked; what is wrong inside
//! is one failure (invariant I4).

use std::sync::Arc;

use selkie_access::{KeyName, MountPath, Permit, operation};
use selkie_crypto::envelope::{Aad, EnvelopeRefusal, Expected, Purpose};
use selkie_crypto::{Ciphertext, Envelope, KeyVersion, Plaintext};
use selkie_kms::KmsError;
use tokio::sync::OnceCell;

use super::error::outcome;
use super::{KeySource, Transit, TransitError, TransitKey};
use crate::audit::DecryptedEnvelope;
use crate::metrics::Decrypted;
use crate::seal::SealError;
use crate::takeover::{self, CiphertextFault, ForeignCiphertext, OldKey};

/// One thing to decrypt.
#[derive(Debug)]
pub struct DecryptionItem<'a> {
    /// The text form, `vault:v<N>:<base64>`.
    pub ciphertext: &'a str,
    /// As it was bound.
    pub associated_data: Vec<u8>,
    /// As it was bound.
    pub context: Vec<u8>,
}

/// The right and the means to decrypt under one key, for as many items as one request has.
#[derive(Debug)]
pub struct Decryption<'t> {
    transit: &'t Transit,
    mount: MountPath,
    key: Arc<TransitKey>,
    /// The key as the store has it, for all items that are of a version newer than this replica knows.
    in_store: OnceCell<InStore>,
}

/// What the store says of a key.
#[derive(Debug)]
enum InStore {
    Key(Arc<TransitKey>),
    Gone,
    /// Nobody can tell: it is away, or was asked too often.
    Unknown,
}

impl Transit {
    /// Begins to decrypt.
    ///
    /// # Errors
    ///
    /// [`TransitError::KeyNotFound`].
    pub async fn decryption(
        &self,
        permit: &Permit<operation::Decrypt>,
    ) -> Result<Decryption<'_>, TransitError> {
        self.decryption_under(permit.mount(), permit.key()).await
    }

    /// Begins to decrypt what a rewrap encrypts anew.
    ///
    /// # Errors
    ///
    /// [`TransitError::KeyNotFound`].
    pub async fn rewrap_decryption(
        &self,
        permit: &Permit<operation::Rewrap>,
    ) -> Result<Decryption<'_>, TransitError> {
        self.decryption_under(permit.mount(), permit.key()).await
    }

    pub(super) async fn decryption_under(
        &self,
        mount: &MountPath,
        key: &KeyName,
    ) -> Result<Decryption<'_>, TransitError> {
        let key = self.find(mount, key).await?.ok_or(TransitError::KeyNotFound)?;
        Ok(Decryption { transit: self, mount: mount.clone(), key, in_store: OnceCell::new() })
    }
}

impl Decryption<'_> {
    /// Decrypts one item. What is wrong outside the envelope costs no KMS call, nor does an
    /// envelope from another place.
    ///
    /// # Errors
    ///
    /// [`TransitError`].
    pub async fn decrypt(&self, item: &DecryptionItem<'_>) -> Result<Plaintext, TransitError> {
        let opened = self.decrypt_uncounted(item).await;
        self.transit.metrics.operation("decrypt", outcome(&opened));
        if opened.is_err() {
            let (mount, key) = (self.mount.as_str(), self.key.name.as_str());
            self.transit.note(|trail| trail.failed(mount, key));
        }
        opened
    }

    async fn decrypt_uncounted(
        &self,
        item: &DecryptionItem<'_>,
    ) -> Result<Plaintext, TransitError> {
        let ciphertext = Ciphertext::parse(item.ciphertext).map_err(TransitError::Ciphertext)?;
        if let Some(old) = self.transit.deployment.takeovers.find(&self.mount, &self.key.name)
            && let Some(version) = takeover::foreign_version(ciphertext)
            && Box::pin(old.admits(version, &*self.transit.clock)).await
        {
            return Box::pin(self.decrypt_foreign(old, version, item)).await;
        }
        let version = ciphertext.version();
        self.key.admit_version(version)?;
        if self.key.is_newer(version) {
            return Box::pin(self.decrypt_newer(ciphertext, item)).await;
        }
        let read = self.read(ciphertext, item)?;
        self.open(&read, item).await
    }

    /// Decrypts what is of a version newer than this replica knows. The store is not asked about what
    /// is none of ours, whatever version it has outside.
    async fn decrypt_newer(
        &self,
        ciphertext: Ciphertext<'_>,
        item: &DecryptionItem<'_>,
    ) -> Result<Plaintext, TransitError> {
        let version = ciphertext.version();
        let read = self.read(ciphertext, item).map_err(TransitError::of_newer_version)?;
        let Some(latest) = self.latest_below(version).await? else {
            return self.open(&read, item).await;
        };
        let opened = self.open(&read, item).await.map_err(TransitError::of_newer_version)?;
        self.tell_newer(version, latest);
        Ok(opened)
    }

    /// The envelope, and the version that it has inside and outside.
    fn read(
        &self,
        ciphertext: Ciphertext<'_>,
        item: &DecryptionItem<'_>,
    ) -> Result<(Envelope, KeyVersion), TransitError> {
        let canonical = ciphertext.canonical_version();
        let json = ciphertext.into_envelope_bytes().map_err(TransitError::Ciphertext)?;
        self.key.bound_context(&item.context)?;
        let version = canonical.ok_or(TransitError::VersionSpelling)?;
        let read = self.parse(&json, version).map_err(|error| match error {
            TransitError::Refused(EnvelopeRefusal::Malformed) if takeover::is_foreign(&json) => {
                TransitError::Foreign
            }
            error => error,
        });
        Ok((read?, version))
    }

    async fn open(
        &self,
        (envelope, version): &(Envelope, KeyVersion),
        item: &DecryptionItem<'_>,
    ) -> Result<Plaintext, TransitError> {
        let context = self.key.bound_context(&item.context)?;
        let aad = Aad { associated_data: &item.associated_data, context };
        let opened = self.transit.deployment.seals.decrypt(envelope, aad, self.transit).await?;
        self.note(envelope.header().created, *version);
        Ok(opened)
    }

    /// Has the server whose place we take decrypt what it once encrypted. Our own versions, and the
    /// oldest of them that decrypts, say nothing of its.
    async fn decrypt_foreign(
        &self,
        old: &OldKey,
        version: KeyVersion,
        item: &DecryptionItem<'_>,
    ) -> Result<Plaintext, TransitError> {
        let Self { transit, mount, key, .. } = self;
        let DecryptionItem { ciphertext, associated_data, context } = item;
        let foreign = ForeignCiphertext { ciphertext, version, context, associated_data };
        let opened = old.decrypt(foreign, transit.until, &*transit.clock).await;
        let opened = opened.map_err(|error| match (takeover::ciphertext_fault(&error), error) {
            (Some(CiphertextFault::TooOld), _) => TransitError::VersionTooOld,
            (Some(CiphertextFault::TooNew), _) => TransitError::VersionTooNew,
            (Some(CiphertextFault::NoContext), _) => TransitError::ContextMissing,
            (None, error @ KmsError::Rejected(_)) => TransitError::OldServerRejected(error),
            (None, trouble) => {
                let (mount, key) = (mount.as_str(), key.name.as_str());
                transit.note(|trail| trail.wanted_foreign(mount, key, version));
                SealError { seal: old.label.clone(), source: trouble.into() }.into()
            }
        })?;
        let (mount, key) = (mount.as_str(), key.name.as_str());
        transit.note(|trail| trail.decrypted_foreign(mount, key, &old.label, version));
        Ok(opened)
    }

    /// Keeps the evidence that this version is in use, if the age of the envelope is proven.
    fn note(&self, created: u64, version: KeyVersion) {
        let Self { transit, mount, key, .. } = self;
        let is_age_proven = transit.deployment.origin_key.is_some();
        transit.note(|trail| {
            let age = transit.clock.unix_seconds().saturating_sub(created);
            let envelope = DecryptedEnvelope { version, age, is_age_proven };
            trail.decrypted(mount.as_str(), key.name.as_str(), envelope);
        });
        if transit.deployment.origin_key.is_none() {
            return;
        }
        transit.metrics.decrypted(created, transit.clock.unix_seconds(), || Decrypted {
            client: transit.client,
            mount: mount.clone(),
            key: key.name.as_str().to_owned(),
            version,
        });
    }

    /// The key's latest version where `version`, which this replica does not know, is newer.
    ///
    /// What is newer is opened all the same (invariant I1): the envelope proves which version made it
    /// and carries what opens it, so a restored store, a retired master key that no longer counts or
    /// a replica that is behind must not keep a Vault sealed. Vault, which has no key for such a
    /// version, refuses it; its words are kept for what does not open.
    ///
    /// Another replica may have rotated the key a moment ago: the store is asked, so that this one
    /// follows, once for all items of a request. While it is away nobody can tell.
    async fn latest_below(&self, version: i64) -> Result<Option<KeyVersion>, TransitError> {
        if self.key.source == KeySource::Declared {
            return Ok(Some(self.key.latest));
        }
        match self.in_store.get_or_try_init(|| self.look()).await? {
            InStore::Key(key) => {
                key.admit_version(version)?;
                Ok(key.is_newer(version).then_some(key.latest))
            }
            InStore::Gone => Err(TransitError::KeyNotFound),
            InStore::Unknown => Ok(None),
        }
    }

    async fn look(&self) -> Result<InStore, TransitError> {
        let Transit { keys, client, clock, .. } = self.transit;
        if !keys.may_ask_at_will() && !keys.looks.spend(client, clock.unix_seconds()) {
            return Ok(InStore::Unknown);
        }
        match keys.refresh(&self.mount, &self.key.name).await {
            Ok(Some(key)) => Ok(InStore::Key(key)),
            Ok(None) => Ok(InStore::Gone),
            Err(TransitError::Store(_)) => Ok(InStore::Unknown),
            Err(error) => Err(error),
        }
    }

    /// Nothing is lost yet, but no Vault moves to a newer version before the key has passed this one.
    fn tell_newer(&self, version: i64, latest: KeyVersion) {
        let Self { transit, mount, key, .. } = self;
        let minute = transit.clock.unix_seconds() / 60;
        let Some(not_told) = transit.keys.told_newer.spend(minute) else { return };
        let advice = match key.source {
            KeySource::Declared => {
                "raise its \"generation\" (or \"version\") until it is at that version again; if \
                 another replica is ahead, give this one the same configuration"
            }
            KeySource::Managed => {
                "the store is older than the ciphertext, as after a restore: rotate the key until it \
                 is at that version again"
            }
        };
        tracing::warn!(
            %mount, key = %key.name, version, %latest, not_told, advice,
            "a ciphertext of a newer version than the key's latest was decrypted"
        );
    }

    pub(super) fn parse(&self, json: &[u8], version: KeyVersion) -> Result<Envelope, TransitError> {
        let deployment = &self.transit.deployment;
        let mount = deployment.mounts.at(&self.mount);
        let expected = Expected {
            purpose: Purpose::Client,
            realms: &deployment.realms,
            mounts: mount.map_or(&[], |mount| &mount.accepted_paths),
            key: self.key.name.as_str(),
            version,
            origin_key: deployment.origin_key.as_deref(),
        };
        Envelope::parse(json, &expected)
            .map_err(|error| TransitError::Refused(error.refusal_for_log()))
    }
}
