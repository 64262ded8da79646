//! How the DEK of a new envelope is wrapped for the seals of its key, and what becomes of those that
//! are away.

use std::sync::Arc;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::envelope::{Draft, Quorum, Recipient};
use selkie_crypto::{KeyVersion, SealName};
use selkie_kms::{Call, LONG_CALL};
use tokio::time::{Instant, timeout_at};

use super::encryption::Encryption;
use super::keys::Change;
use super::{KeySource, Transit, TransitError, TransitKey};
use crate::seal::{KekRef, SealCall, SealError, listed};
use crate::telemetry::WithCauses;

/// Who a DEK is wrapped for, and the version that this makes the envelope one of.
pub(super) struct Wrapped {
    pub(super) key: Arc<TransitKey>,
    pub(super) version: KeyVersion,
    pub(super) draft: Draft,
    pub(super) recipients: Vec<Recipient>,
}

impl Encryption<'_> {
    /// Wraps a fresh DEK, or its shares, for each seal behind the version `requested`. Where the key's
    /// settings allow it, a seal that is away is left out, with a new version of the key: what was
    /// made without it must be told from what was made with it (invariant I7).
    pub(super) async fn wrap(&self, requested: Option<i64>) -> Result<Wrapped, TransitError> {
        let key = self.key_now();
        let version = key.encryption_version(requested)?;
        let quorum = Quorum::new(key.quorum, key.keks(version).len())?;
        let draft = Draft::with_quorum(quorum, &*self.transit.random)?;
        let now = Instant::now();
        let deadline = (now + self.patience).min(self.transit.until);
        // What is left then is for the new version.
        let first = deadline.saturating_duration_since(now) * 2 / 3;
        // A seal that had less than a call takes is not away: the request is nearly over.
        if !key.may_leave_out(version) || first < LONG_CALL {
            let keks = key.keks(version);
            let seals = &self.deployment.seals;
            let recipients = seals.wrap(&draft, keks, self.asked(deadline)).await?;
            return Ok(Wrapped { key, version, draft, recipients });
        }
        // In a box of its own: no other request need be as large as it.
        Box::pin(self.wrap_what_is_there(key, version, draft, now + first, deadline)).await
    }

    /// Wraps for the seals that answer until the first of the two moments; what is left of the time
    /// is for the version without the others.
    async fn wrap_what_is_there(
        &self,
        key: Arc<TransitKey>,
        version: KeyVersion,
        draft: Draft,
        first: Instant,
        deadline: Instant,
    ) -> Result<Wrapped, TransitError> {
        let (wrapped, away) = self.wrap_present(&draft, key.keks(version), first).await?;
        let Some(error) = away.first().cloned() else {
            return Ok(Wrapped { key, version, draft, recipients: wrapped });
        };
        let away = away.into_iter().map(|error| error.seal).collect();
        let key = self.leave_out(&key.name, away, &error, deadline).await?;
        let version = key.latest;
        let recipients = self.complete(&draft, key.keks(version), wrapped, deadline).await?;
        Ok(Wrapped { key, version, draft, recipients })
    }

    fn asked(&self, deadline: Instant) -> SealCall<'_> {
        let call = Call { client: self.transit.client, deadline };
        SealCall { now: self.transit.clock.unix_seconds(), call, metrics: &self.transit.metrics }
    }

    /// An item before this one may have left a seal out, which need not be waited for again.
    fn key_now(&self) -> Arc<TransitKey> {
        let now = || self.transit.keys.managed(&self.mount, self.key.name.as_str());
        let newer = self.key.allow_missing_seals.then(now).flatten();
        newer.unwrap_or_else(|| Arc::clone(&self.key))
    }

    /// The recipients for those of `keks` whose seals are there, and the failures of those that are
    /// away.
    async fn wrap_present(
        &self,
        draft: &Draft,
        keks: &[KekRef],
        deadline: Instant,
    ) -> Result<(Vec<Recipient>, Vec<SealError>), TransitError> {
        let seals = &self.deployment.seals;
        let (mut wrapped, mut away) = (Vec::new(), Vec::new());
        for outcome in seals.wrap_each(draft, keks, self.asked(deadline)).await {
            match outcome {
                Ok(recipient) => wrapped.push(recipient),
                Err(error) if seals.is_away(&error) => away.push(error),
                Err(error) => return Err(error.into()),
            }
        }
        Ok((wrapped, away))
    }

    async fn leave_out(
        &self,
        name: &KeyName,
        away: Vec<SealName>,
        error: &SealError,
        deadline: Instant,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let deployment = Arc::clone(&self.deployment);
        let transit = Transit { deployment, ..self.transit.clone() };
        let left_out = transit.leave_out(&self.mount, name, away);
        match timeout_at(deadline, left_out).await {
            Ok(Ok(key)) => Ok(key),
            Ok(Err(failed)) => {
                tracing::error!(
                    key = %format_args!("{}/{name}", self.mount),
                    seal = %error.seal,
                    reason = %WithCauses(&failed),
                    "a seal is away and could not be left out"
                );
                Err(error.clone().into())
            }
            Err(_late) => Err(error.clone().into()),
        }
    }

    /// The recipients for all of `keks`, of which some are `wrapped` already. Only managed keys leave
    /// seals out, and those have no quorum: each seal wraps the same.
    async fn complete(
        &self,
        draft: &Draft,
        keks: &[KekRef],
        mut wrapped: Vec<Recipient>,
        deadline: Instant,
    ) -> Result<Vec<Recipient>, TransitError> {
        let is_for = |kek: &KekRef, one: &Recipient| one.seal == kek.seal && one.kek == kek.kek;
        let is_lacking = |kek: &&KekRef| !wrapped.iter().any(|one| is_for(kek, one));
        let lacking: Vec<_> = keks.iter().filter(is_lacking).cloned().collect();
        wrapped.retain(|one| keks.iter().any(|kek| is_for(kek, one)));
        let seals = &self.deployment.seals;
        wrapped.extend(seals.wrap(draft, &lacking, self.asked(deadline)).await?);
        let place = |one: &Recipient| keks.iter().position(|kek| is_for(kek, one));
        wrapped.sort_by_key(place);
        Ok(wrapped)
    }
}

impl TransitKey {
    /// Whether an envelope of `version` may become one of a new version without a seal.
    fn may_leave_out(&self, version: KeyVersion) -> bool {
        let is_any_of_all = self.source == KeySource::Managed && self.quorum == 1;
        self.allow_missing_seals && is_any_of_all && version == self.latest
    }
}

impl Transit {
    /// Gives the key a version without the seals `away`, if it is not without them already.
    async fn leave_out(
        &self,
        mount: &MountPath,
        name: &KeyName,
        away: Vec<SealName>,
    ) -> Result<Arc<TransitKey>, TransitError> {
        let (transit, mount, name) = (self.clone(), mount.clone(), name.clone());
        super::changes::in_its_own_task(async move {
            let _one_at_a_time = transit.turn().await?;
            transit.require_managed(&mount, &name)?;
            let (seals, now) = (&transit.current.load_full().seals, transit.clock.unix_seconds());
            let mut is_news = false;
            let key = transit.keys.commit(&mount, &name, |key| {
                let next = key.ok_or(TransitError::KeyNotFound)?.without(seals, &away, now)?;
                is_news = next.is_some();
                Ok(next.map_or(Change::Keep, Change::Put))
            });
            let key = key.await?.ok_or(TransitError::KeyNotFound)?;
            if is_news {
                tracing::warn!(
                    key = %format_args!("{mount}/{name}"),
                    version = key.latest.get(),
                    seals = %listed(key.left_out()),
                    advice = "see why the seals are away; the version rises again when they are \
                              steadily back",
                    "seals are away, and a key goes on without them"
                );
            }
            Ok(key)
        })
        .await
    }
}
