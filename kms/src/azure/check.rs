//! The walk of `selkie doctor`: each hop on the way to Key Vault and back.

use std::fmt;
use std::future::Future;
use std::time::{Duration, SystemTime};

use base16ct::HexDisplay;
use selkie_crypto::{Random, RandomError, RecipientSecret};
use subtle::ConstantTimeEq;
use tokio::time::{Instant, timeout};

use super::classify::failure;
use super::describe::is_list_denied;
use super::key_facts::{KeyFacts, Material, version};
use super::key_id::KeyVersion;
use super::key_vault::AzureKeyVault;
use super::on_the_way::on_the_way;
use super::{Diagnosis, Hop, Outcome};
use crate::http::{HttpError, HttpHop, ProbeFact};
use crate::{Call, ClientTag, KekState, Kms, KmsError, Wrapping};

const PATIENCE: Duration = Duration::from_secs(15);
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// `hsmPlatform` of a key that no hardware guards.
const SOFTWARE: &str = "0";

/// One step of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub hop: Hop,
    /// What was found there.
    pub finding: Finding,
}

/// What a step has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// All is well; a few words on what was seen.
    Passed(String),
    /// It works, and deserves a thought.
    Warned(Warning),
    /// It does not work.
    Failed(Diagnosis),
}

/// What is no failure today.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The vault has no purge protection: a deleted key can be destroyed for good at once.
    Purgeable,
    /// The current version expires.
    ExpiresSoon {
        /// In so many whole days.
        days: u64,
    },
    /// We may not list the key's versions.
    VersionsNotListed,
    /// The key allows operations that Selkie has no need of.
    OperationsWide(Vec<String>),
    /// No hardware guards the key.
    SoftwareKey,
    /// The newest version is not valid yet. Servers use the one before it until then, except where
    /// they have used the newest one before its date was moved.
    Staged,
}

impl AzureKeyVault {
    /// Walks to Key Vault and back with a random DEK and tells `report` of each step; what makes
    /// the rest meaningless ends the walk.
    ///
    /// # Errors
    /// [`RandomError`] if there is no DEK to walk with.
    pub async fn check(
        &self,
        random: &Random,
        report: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), RandomError> {
        let dek = RecipientSecret::try_init_with(|bytes| random(bytes))?;
        let walk = Box::pin(self.walk(&dek, report));
        if let Err(failed) = walk.await {
            report(Step { hop: failed.hop, finding: Finding::Failed(failed) });
        }
        Ok(())
    }

    async fn walk(
        &self,
        dek: &RecipientSecret,
        report: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), Diagnosis> {
        self.check_way(report).await?;
        self.check_token(report).await?;
        let facts = self.check_key(report).await?;
        self.check_list(report).await;
        let wrapped = self.check_wrap(&facts, dek, report).await?;
        self.check_unwrap(&facts, &wrapped, dek, report).await
    }

    async fn check_way(&self, report: &mut (dyn FnMut(Step) + Send)) -> Result<(), Diagnosis> {
        let Some(client) = &self.way else { return Ok(()) };
        let fits = http::Uri::try_from(self.endpoint.as_str());
        let url =
            fits.or(Err(Diagnosis::unanswered(Hop::Get, Outcome::AnswerWrong, &self.host)))?;
        let mut failed = Ok(());
        let mut observe = |step, seen: Result<ProbeFact, HttpError>| match seen {
            // Of what is answered without a token, the status says nothing.
            Ok(ProbeFact::Answered(_)) => {}
            Ok(fact) => passed(report, walked(step), fact.to_string()),
            Err(error) => failed = Err(on_the_way(&error, Hop::Get)),
        };
        client.probe(&url, &mut observe).await;
        failed
    }

    async fn check_token(&self, report: &mut (dyn FnMut(Step) + Send)) -> Result<(), Diagnosis> {
        let (hop, kind) = self.identity;
        let scopes = [&*self.scope];
        let token = timeout(PATIENCE, self.credential.get_token(&scopes, None)).await;
        let late = Diagnosis::unanswered(hop, Outcome::TimedOut, kind);
        token
            .or(Err(late))?
            .map_err(|error| self.diagnosis(hop, &failure(&error, hop, kind, self.now())))?;
        passed(report, hop, format!("a token for {} by {kind}", self.scope));
        Ok(())
    }

    async fn check_key(
        &self,
        report: &mut (dyn FnMut(Step) + Send),
    ) -> Result<KeyFacts, Diagnosis> {
        let facts = match self.usable(None).await {
            Err(newest) if newest.outcome == Outcome::KeyNotYetValid => {
                let before = self.usable_before_its_time().await.ok_or(newest)?;
                report(Step { hop: Hop::Get, finding: Finding::Warned(Warning::Staged) });
                before
            }
            newest => newest?,
        };
        passed(report, Hop::Get, facts.to_string());
        let (now, wrapping) = (self.now(), facts.wrapping(self.wrap_remotely));
        let expires = version(facts.kek_id.clone(), wrapping, &facts.attributes, now).expires;
        for warning in warnings(&facts, expires, now) {
            report(Step { hop: Hop::Get, finding: Finding::Warned(warning) });
        }
        Ok(facts)
    }

    /// The version, or the newest one, if it may be used.
    async fn usable(&self, wanted: Option<&KeyVersion>) -> Result<KeyFacts, Diagnosis> {
        let got = self.in_time(Hop::Get, self.get(wanted)).await;
        let facts = got.map_err(|error| self.diagnosis(Hop::Get, &error))?;
        self.check_use(&facts).map_err(|error| self.diagnosis(Hop::Get, &error))?;
        let wrapping = facts.wrapping(self.wrap_remotely);
        let current = version(facts.kek_id.clone(), wrapping, &facts.attributes, self.now());
        match unusable(current.state) {
            Some(outcome) => Err(Diagnosis::unanswered(Hop::Get, outcome, &self.host)),
            None => Ok(facts),
        }
    }

    /// The version that is in use while the newest one is staged.
    async fn usable_before_its_time(&self) -> Option<KeyFacts> {
        let described = self.in_time(Hop::Get, self.describe()).await.ok()?;
        self.usable(Some(&self.due(described.versions())?)).await.ok()
    }

    async fn check_list(&self, report: &mut (dyn FnMut(Step) + Send)) {
        let finding = match self.in_time(Hop::Get, self.list()).await {
            Ok(versions) => {
                Finding::Passed(format!("versions that are listed: {}", versions.len()))
            }
            Err(error) if is_list_denied(&error) => Finding::Warned(Warning::VersionsNotListed),
            Err(error) => Finding::Failed(self.diagnosis(Hop::Get, &error)),
        };
        report(Step { hop: Hop::Get, finding });
    }

    async fn check_wrap(
        &self,
        facts: &KeyFacts,
        dek: &RecipientSecret,
        report: &mut (dyn FnMut(Step) + Send),
    ) -> Result<Vec<u8>, Diagnosis> {
        if let Wrapping::Local(key) = facts.wrapping(self.wrap_remotely) {
            let wrapped = key.wrap_dek(dek);
            let wrapped = wrapped.or(Err(Diagnosis::unanswered(
                Hop::Wrap,
                Outcome::KeyUnsuitable,
                &self.host,
            )))?;
            passed(report, Hop::Wrap, "a random DEK is wrapped here, under the public key".into());
            return Ok(wrapped);
        }
        let wrapped = self.wrap_dek(&facts.kek_id, dek, probe()).await;
        let wrapped = wrapped.map_err(|error| self.diagnosis(Hop::Wrap, &error))?;
        passed(report, Hop::Wrap, "a random DEK is wrapped in Key Vault".into());
        Ok(wrapped)
    }

    async fn check_unwrap(
        &self,
        facts: &KeyFacts,
        wrapped: &[u8],
        dek: &RecipientSecret,
        report: &mut (dyn FnMut(Step) + Send),
    ) -> Result<(), Diagnosis> {
        let algorithm = facts.shape().algorithm;
        let found = self.unwrap_dek(&facts.kek_id, algorithm, wrapped, probe()).await;
        let found = found.map_err(|error| self.diagnosis(Hop::Unwrap, &error))?;
        let is_same: bool = found.expose_for_wrap().ct_eq(dek.expose_for_wrap()).into();
        if !is_same {
            return Err(Diagnosis::unanswered(Hop::Unwrap, Outcome::AnswerWrong, &self.host));
        }
        passed(report, Hop::Unwrap, "the same DEK comes back".into());
        Ok(())
    }

    async fn in_time<T>(
        &self,
        hop: Hop,
        work: impl Future<Output = Result<T, KmsError>>,
    ) -> Result<T, KmsError> {
        let late = || Diagnosis::unanswered(hop, Outcome::TimedOut, &self.host);
        timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late().into()))
    }

    fn diagnosis(&self, hop: Hop, error: &KmsError) -> Diagnosis {
        let unknown = || Diagnosis::unanswered(hop, Outcome::AnswerWrong, &self.host);
        Diagnosis::of(error).cloned().unwrap_or_else(unknown)
    }
}

const fn walked(step: HttpHop) -> Hop {
    match step {
        HttpHop::Dns => Hop::Dns,
        HttpHop::Tcp => Hop::Tcp,
        HttpHop::Proxy => Hop::Proxy,
        HttpHop::Tls => Hop::Tls,
        HttpHop::Request | HttpHop::Exchange => Hop::Get,
    }
}

fn probe() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + PATIENCE }
}

fn passed(report: &mut (dyn FnMut(Step) + Send), hop: Hop, what: String) {
    report(Step { hop, finding: Finding::Passed(what) });
}

const fn unusable(state: KekState) -> Option<Outcome> {
    match state {
        KekState::Enabled => None,
        KekState::Disabled => Some(Outcome::KeyDisabled),
        KekState::NotYetValid => Some(Outcome::KeyNotYetValid),
        KekState::Expired => Some(Outcome::KeyExpired),
    }
}

fn warnings(facts: &KeyFacts, expires: Option<SystemTime>, now: SystemTime) -> Vec<Warning> {
    let left = expires.map(|expires| expires.duration_since(now).unwrap_or_default());
    let soon = left.filter(|left| *left < SOON);
    let surplus: Vec<String> = facts.operations.iter().flatten().cloned().collect();
    let is_needed = |name: &String| {
        ["wrapKey", "unwrapKey"].iter().any(|needed| needed.eq_ignore_ascii_case(name))
    };
    let surplus: Vec<String> = surplus.into_iter().filter(|name| !is_needed(name)).collect();
    [
        (facts.is_purgeable() == Some(true)).then_some(Warning::Purgeable),
        soon.map(|left| Warning::ExpiresSoon { days: left.as_secs() / (24 * 60 * 60) }),
        (!surplus.is_empty()).then_some(Warning::OperationsWide(surplus)),
        is_software(facts).then_some(Warning::SoftwareKey),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_software(facts: &KeyFacts) -> bool {
    match facts.attributes.hsm_platform.as_deref() {
        Some(platform) => platform == SOFTWARE,
        None => !facts.is_in_hsm,
    }
}

impl fmt::Display for KeyFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.material {
            Material::Rsa(key) => {
                let (id, bits, sha256) = (&self.kek_id, key.bits(), key.fingerprint());
                write!(f, "{id}, an RSA key of {bits} bits, SHA-256 {:x}", HexDisplay(&sha256))
            }
            Material::Symmetric => write!(f, "{}, a symmetric key", self.kek_id),
        }
    }
}

impl Warning {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Purgeable => {
                "az keyvault update --name VAULT --enable-purge-protection true (for good)"
            }
            Self::ExpiresSoon { .. } => "az keyvault key rotate --vault-name VAULT --name KEY",
            Self::VersionsNotListed => {
                "allow `list` for keys, or declare `version` for each key of this seal"
            }
            Self::OperationsWide(_) => {
                "az keyvault key set-attributes --vault-name VAULT --name KEY --ops wrapKey unwrapKey"
            }
            Self::SoftwareKey => {
                "a key made with --kty RSA-HSM, in a premium vault or a managed HSM, is guarded"
            }
            Self::Staged => {
                "nothing, if it had that date (`nbf`) from its creation; if it was in use before, move \
                 the date back"
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Purgeable => f.write_str(
                "without purge protection a deleted key can be destroyed at once, and all that is \
                 wrapped under it with it",
            ),
            Self::ExpiresSoon { days } => write!(f, "the current version expires in {days} days"),
            Self::VersionsNotListed => f.write_str("the versions of the key may not be listed"),
            Self::OperationsWide(surplus) => {
                write!(f, "the key also allows {}", surplus.join(", "))
            }
            Self::SoftwareKey => f.write_str("no hardware guards the key"),
            Self::Staged => f.write_str(
                "the newest version is not valid yet: servers use the one before it until then, and \
                 encrypt nothing where they have used the newest one already",
            ),
        }
    }
}
