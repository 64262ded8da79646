//! The versions of the key, from a get of the newest and a list of all.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use azure_security_keyvault_keys::models::KeyProperties;
use futures_util::StreamExt;
use selkie_crypto::{KekId, WrapAlgorithm};
use tracing::warn;

use super::key_facts::{KeyFacts, listed, version};
use super::key_vault::{Answered, AzureKeyVault};
use super::{Diagnosis, Hop, Outcome};
use crate::{KekDescription, KekState, KekVersion, KmsError, Wrapping};

/// A rotation each hour for a year is below this.
const MOST_VERSIONS: usize = 10_000;
const MOST_PAGES: usize = 1_000;

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
                self.described(&self.newest().await?, &list)
            }
            (Ok(facts), Ok(list)) => self.described(&facts, &list),
            (Ok(facts), Err(error)) if is_list_denied(&error) => {
                self.tell_of_list(&error);
                self.described(&facts, &[]).map(KekDescription::incomplete)
            }
            (Ok(_), Err(error)) => Err(error),
            (Err((state, _)), Ok(list)) => Box::pin(self.described_by_list(state, &list)).await,
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

    pub(super) async fn list(&self) -> Result<Vec<KeyProperties>, KmsError> {
        let pages = self.ask(Hop::Get, || self.pages()).await?;
        pages.ok_or_else(|| self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()))
    }

    /// All pages; `None` if they do not end.
    async fn pages(&self) -> azure_core::Result<Option<Vec<KeyProperties>>> {
        let pager = self.client.list_key_properties_versions(self.own.name.as_str(), None)?;
        let mut pages = pager.into_pages().take(MOST_PAGES + 1);
        let (mut versions, mut page_count) = (Vec::new(), 0);
        loop {
            self.token.fetch().await?;
            let Some(page) = pages.next().await else { break };
            versions.extend(page?.into_model()?.value);
            page_count += 1;
            if page_count > MOST_PAGES || versions.len() > MOST_VERSIONS {
                return Ok(None);
            }
        }
        Ok(Some(versions))
    }

    /// With the current version as the get describes it, and in place of what the list says of it.
    fn described(
        &self,
        facts: &KeyFacts,
        list: &[KeyProperties],
    ) -> Result<KekDescription, KmsError> {
        let mut versions = self.listed(list, facts.shape().algorithm)?;
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
        list: &[KeyProperties],
    ) -> Result<KekDescription, KmsError> {
        let algorithm = self.algorithm_of_any(list).await;
        let mut versions = self.listed(list, algorithm)?;
        let newest =
            versions.values_mut().max_by_key(|version| (version.created, version.id.clone()));
        let Some(newest) = newest else {
            return Err(self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()));
        };
        newest.state = state;
        let id = newest.id.clone();
        self.sorted(versions, &id)
    }

    /// A list does not say of which type the key is: what we learned before, or what a version
    /// that can be read is of; else what nearly all are.
    async fn algorithm_of_any(&self, list: &[KeyProperties]) -> WrapAlgorithm {
        if let Some(algorithm) = self.any_algorithm() {
            return algorithm;
        }
        let is_enabled = |version: &&KeyProperties| {
            version.attributes.as_ref().is_some_and(|found| found.enabled == Some(true))
        };
        let enabled = list.iter().rfind(is_enabled).and_then(|version| version.kid.as_deref());
        let Some(id) = enabled.and_then(|kid| self.own.answered_id(kid)) else {
            return WrapAlgorithm::RsaOaep256;
        };
        let got = self.get(Some(&id.version)).await;
        got.map_or(WrapAlgorithm::RsaOaep256, |facts| facts.shape().algorithm)
    }

    /// Each version once, as one of `algorithm` that is wrapped for remotely: nobody wraps under an
    /// old version, so their public keys are not worth a call each; and what was wrapped under one
    /// says itself by which algorithm.
    fn listed(
        &self,
        list: &[KeyProperties],
        algorithm: WrapAlgorithm,
    ) -> Result<BTreeMap<KekId, KekVersion>, KmsError> {
        let now = self.now();
        let of_ours = |properties| {
            let version = listed(properties, &self.own, algorithm, now);
            version.map(|version| (version.id.clone(), version))
        };
        let versions: Option<BTreeMap<KekId, KekVersion>> = list.iter().map(of_ours).collect();
        versions.ok_or_else(|| self.refuse(Hop::Get, Outcome::AnswerWrong, Answered::default()))
    }

    fn sorted(
        &self,
        versions: BTreeMap<KekId, KekVersion>,
        current: &KekId,
    ) -> Result<KekDescription, KmsError> {
        let mut versions: Vec<KekVersion> = versions.into_values().collect();
        // The sort is stable, and they come sorted by id.
        versions.sort_by_key(|version| version.created);
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
fn is_outdated(facts: &KeyFacts, list: &[KeyProperties]) -> bool {
    let created = |properties: &KeyProperties| properties.attributes.as_ref()?.created;
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
