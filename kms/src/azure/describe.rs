//! The versions of the key, from a get of the newest and a list of all.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use futures_util::StreamExt;
use selkie_crypto::{KekId, WrapAlgorithm};
use tracing::warn;

use super::key_facts::{KeyFacts, ListedVersion, version};
use super::key_id::KeyVersion;
use super::key_vault::{Answered, AzureKeyVault};
use super::{Diagnosis, Hop, Outcome};
use crate::{KekDescription, KekState, KekVersion, KmsError, Wrapping};

/// A rotation each hour for a year is below this.
const MOST_VERSIONS: usize = 10_000;
const MOST_PAGES: usize = 1_000;
/// Of all pages together: the longest list of versions of 3 KiB each, tags and all.
const MOST_BYTES: usize = 32 * 1024 * 1024;

impl AzureKeyVault {
    pub(super) async fn describe_key(&self) -> Result<KekDescription, KmsError> {
        let current = match self.newest().await {
            Ok(facts) => Ok(facts),
            // The list still tells which version it is, and of which state.
            Err(error) => Err((refused_state(&error).ok_or_else(|| error.clone())?, error)),
        };
        let listed = Box::pin(self.list()).await;
        match (current, listed) {
            // Else the count of versions would rise now, and the current one change later.
            (Ok(facts), Ok(list)) if is_outdated(&facts, &list) => {
                let description = self.described(&self.newest().await?, &list)?;
                Ok(self.with_key_due(description).await)
            }
            (Ok(facts), Ok(list)) => Ok(self.with_key_due(self.described(&facts, &list)?).await),
            (Ok(facts), Err(error)) if is_list_denied(&error) => {
                self.tell_of_list(&error);
                self.described(&facts, &[]).map(KekDescription::incomplete)
            }
            (Ok(_), Err(error)) => Err(error),
            (Err((state, _)), Ok(list)) => {
                let description = Box::pin(self.described_by_list(state, &list)).await?;
                Ok(self.with_key_due(description).await)
            }
            (Err((_, error)), Err(_)) => Err(error),
        }
    }

    async fn newest(&self) -> Result<KeyFacts, KmsError> {
        let facts = Box::pin(self.get(None)).await?;
        self.check_use(&facts)?;
        Ok(facts)
    }

    /// # Errors
    /// [`Outcome::OperationNotAllowed`] if the key's `key_ops` forbid what we need it for.
    pub(super) fn check_use(&self, facts: &KeyFacts) -> Result<(), KmsError> {
        let wraps_here = matches!(facts.wrapping(self.wrap_remotely), Wrapping::Local(_));
        if facts.allows("unwrapKey") && (wraps_here || facts.allows("wrapKey")) {
            return Ok(());
        }
        Err(self.refuse(Hop::Get, Outcome::OperationNotAllowed, Answered::default()))
    }

    pub(super) async fn list(&self) -> Result<Vec<ListedVersion>, KmsError> {
        let pages = self.ask(Hop::Get, || self.pages()).await?;
        pages.ok_or_else(|| self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()))
    }

    /// What we need of all pages, which is little of each; `None` if they do not end, or speak of
    /// another key.
    async fn pages(&self) -> azure_core::Result<Option<Vec<ListedVersion>>> {
        let pager = self.client.list_key_properties_versions(self.own.name.as_str(), None)?;
        let mut pages = pager.into_pages().take(MOST_PAGES + 1);
        let (mut versions, mut page_count, mut bytes) = (Vec::new(), 0, 0);
        loop {
            self.token.fetch().await?;
            let Some(page) = pages.next().await else { return Ok(Some(versions)) };
            let page = page?;
            bytes += page.body().len();
            page_count += 1;
            let found = page.into_model()?.value;
            let is_too_long = page_count > MOST_PAGES
                || bytes > MOST_BYTES
                || versions.len() + found.len() > MOST_VERSIONS;
            let found: Option<Vec<_>> =
                found.iter().map(|found| ListedVersion::read(found, &self.own)).collect();
            match found {
                Some(found) if !is_too_long => versions.extend(found),
                _ => return Ok(None),
            }
        }
    }

    /// With the current version as the get describes it, and in place of what the list says of it.
    fn described(
        &self,
        facts: &KeyFacts,
        list: &[ListedVersion],
    ) -> Result<KekDescription, KmsError> {
        let mut versions = self.listed(list, facts.shape().algorithm);
        let wrapping = facts.wrapping(self.wrap_remotely);
        let current = version(facts.kek_id.clone(), wrapping, &facts.attributes, self.now());
        versions.insert(facts.kek_id.clone(), current);
        let description = self.sorted(versions, &facts.kek_id)?;
        Ok(match facts.is_purgeable() {
            Some(is_purgeable) => description.purgeable(is_purgeable),
            None => description,
        })
    }

    /// Where the newest cannot be read, because it is in `state`.
    async fn described_by_list(
        &self,
        state: KekState,
        list: &[ListedVersion],
    ) -> Result<KekDescription, KmsError> {
        let algorithm = self.algorithm_of_any(list).await;
        let mut versions = self.listed(list, algorithm);
        let newest =
            versions.values_mut().max_by_key(|version| (version.created, version.id.clone()));
        let Some(newest) = newest else {
            return Err(self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()));
        };
        newest.state = state;
        let id = newest.id.clone();
        self.sorted(versions, &id)
    }

    /// With the public key of the version that is in use until the time of the newest one comes: under
    /// that we wrap too. Where it cannot be read the vault wraps.
    async fn with_key_due(&self, description: KekDescription) -> KekDescription {
        if description.current().state != KekState::NotYetValid {
            return description;
        }
        let mut versions = description.versions().to_vec();
        let Some(due) = self.due(&versions) else { return description };
        let Ok(facts) = Box::pin(self.get(Some(&due))).await else { return description };
        if self.check_use(&facts).is_err() {
            return description;
        }
        for version in versions.iter_mut().filter(|version| version.id == facts.kek_id) {
            version.wrapping = facts.wrapping(self.wrap_remotely);
        }
        let Ok(with_key) = KekDescription::new(versions, &description.current().id) else {
            return description;
        };
        match description.is_purgeable() {
            Some(is_purgeable) => with_key.purgeable(is_purgeable),
            None => with_key,
        }
    }

    /// Of these, in Key Vault's words, the newest one whose time has come, if it may be used.
    pub(super) fn due(&self, versions: &[KekVersion]) -> Option<KeyVersion> {
        let due = versions.iter().rfind(|version| version.state != KekState::NotYetValid);
        let due = due.filter(|version| version.state == KekState::Enabled)?;
        Some(self.own.id(due.id.as_str())?.version)
    }

    /// A list does not say of which type the key is: what we learned before, or what a version
    /// that can be read is of; else what nearly all are.
    async fn algorithm_of_any(&self, list: &[ListedVersion]) -> WrapAlgorithm {
        if let Some(algorithm) = self.any_algorithm() {
            return algorithm;
        }
        let enabled = list.iter().rfind(|version| version.attributes.enabled == Some(true));
        let Some(ListedVersion { id, .. }) = enabled else {
            return WrapAlgorithm::RsaOaep256;
        };
        let got = self.get(Some(&id.version)).await;
        got.map_or(WrapAlgorithm::RsaOaep256, |facts| facts.shape().algorithm)
    }

    /// Each version once, as one of `algorithm` that is wrapped for remotely: hardly anybody wraps under
    /// an old version, so their public keys are not worth a call each; and what was wrapped under one
    /// says itself by which algorithm.
    fn listed(
        &self,
        list: &[ListedVersion],
        algorithm: WrapAlgorithm,
    ) -> BTreeMap<KekId, KekVersion> {
        let now = self.now();
        let of = |listed: &ListedVersion| {
            let wrapping = Wrapping::Remote(algorithm);
            let id = listed.kek_id.clone();
            (id.clone(), version(id, wrapping, &listed.attributes, now))
        };
        list.iter().map(of).collect()
    }

    fn sorted(
        &self,
        versions: BTreeMap<KekId, KekVersion>,
        current: &KekId,
    ) -> Result<KekDescription, KmsError> {
        let mut versions: Vec<KekVersion> = versions.into_values().collect();
        // The sort is stable, and they come sorted by id. Of those made in one second Key Vault's newest
        // is the last.
        versions.sort_by_key(|version| (version.created, version.id == *current));
        KekDescription::new(versions, current)
            .ok()
            .ok_or_else(|| self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()))
    }

    fn tell_of_list(&self, error: &KmsError) {
        if !self.has_told_of_list.swap(true, Ordering::Relaxed) {
            let what = Diagnosis::of(error).map(ToString::to_string);
            warn!(what, "Key Vault does not let us list the key's versions");
        }
    }
}

/// Whether there was a rotation between the get and the list.
fn is_outdated(facts: &KeyFacts, list: &[ListedVersion]) -> bool {
    let created = |listed: &ListedVersion| listed.attributes.created;
    list.iter().filter_map(created).max() > facts.attributes.created
}

/// The state of a newest version that the vault refuses to show.
fn refused_state(error: &KmsError) -> Option<KekState> {
    match Diagnosis::of(error)?.outcome {
        Outcome::KeyDisabled => Some(KekState::Disabled),
        Outcome::KeyExpired => Some(KekState::Expired),
        Outcome::KeyNotYetValid => Some(KekState::NotYetValid),
        _ => None,
    }
}

/// Whether all that is missing is the right to list.
pub(super) fn is_list_denied(error: &KmsError) -> bool {
    let denied = [Outcome::RoleMissing, Outcome::PolicyMissing, Outcome::Forbidden];
    Diagnosis::of(error).is_some_and(|diagnosis| denied.contains(&diagnosis.outcome))
}
