//! The walk of `selkie doctor`: each step on the way to the key and back.

use std::time::Duration;

use selkie_crypto::{Random, RandomError, RecipientSecret};
use selkie_pkcs11_protocol::{SlotChoice, Stage};
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::Pkcs11Kms;
use super::diagnosis;
use super::diagnosis::{Diagnosis, Fault};
use super::keys::Key;
use crate::{Call, ClientTag, Kms, KmsError, Wrapping};

const PATIENCE: Duration = Duration::from_secs(40);

/// One step of the walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Where.
    pub hop: &'static str,
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
    /// The token gives the key away, wrapped under another one.
    Extractable,
    /// Slots are numbered anew when a token comes or goes.
    SlotByNumber,
    /// A previous version opens nothing.
    PreviousUnusable(Diagnosis),
}

type Report<'r> = &'r mut (dyn FnMut(Step) + Send);

impl Pkcs11Kms {
    /// Walks to the token and back with a random DEK and tells `report` of each step; what fails
    /// ends the walk.
    ///
    /// # Errors
    /// [`RandomError`] if there is no DEK to walk with.
    pub async fn check(&self, random: &Random, report: Report<'_>) -> Result<(), RandomError> {
        let dek = RecipientSecret::try_init_with(|bytes| random(bytes))?;
        if let Err((stage, error)) = self.walk(&dek, report).await {
            let late = || Diagnosis::new(stage, Fault::Hung);
            let failed = Diagnosis::of(&error).cloned().unwrap_or_else(late);
            let hop = diagnosis::stage(failed.stage);
            report(Step { hop, finding: Finding::Failed(failed) });
        }
        Ok(())
    }

    async fn walk(
        &self,
        dek: &RecipientSecret,
        report: Report<'_>,
    ) -> Result<(), (Stage, KmsError)> {
        let deadline = Instant::now() + PATIENCE;
        let at = |stage| move |error| (stage, error);
        let token = self.supervisor.token(deadline).await.map_err(at(Stage::Library))?;
        let settings = &self.supervisor.settings;
        passed(report, Stage::Library, settings.library.display().to_string());
        let slot = format!("{}: token {:?}, serial {}", token.slot, token.label, token.serial);
        passed(report, Stage::Slot, format!("{slot}, {}", token.model));
        let SlotChoice { token_label, serial, .. } = &settings.slot;
        if token_label.is_none() && serial.is_none() {
            warned(report, Stage::Slot, Warning::SlotByNumber);
        }
        passed(report, Stage::Login, "the PIN is right".into());
        let keys = self.find(deadline).await.map_err(at(Stage::Key))?;
        let key = keys.current();
        passed(report, Stage::Key, format!("{}, {}", key.id, key.wrapping.algorithm().jose_name()));
        if key.extractable {
            warned(report, Stage::Key, Warning::Extractable);
        }
        for trouble in keys.troubles() {
            warned(report, Stage::Key, Warning::PreviousUnusable(trouble.clone()));
        }
        let wrapped = self.check_wrap(key, dek, report).await.map_err(at(Stage::Wrap))?;
        self.check_unwrap(key, &wrapped, dek, report).await.map_err(at(Stage::Unwrap))
    }

    async fn check_wrap(
        &self,
        key: &Key,
        dek: &RecipientSecret,
        report: Report<'_>,
    ) -> Result<Vec<u8>, KmsError> {
        let wrapped = self.wrap_dek(&key.id, dek, call()).await?;
        let place = match key.wrapping {
            Wrapping::Local(_) => "here, under the public key",
            Wrapping::Remote(_) => "in the token",
        };
        passed(report, Stage::Wrap, format!("a random DEK is wrapped {place}"));
        Ok(wrapped)
    }

    async fn check_unwrap(
        &self,
        key: &Key,
        wrapped: &[u8],
        dek: &RecipientSecret,
        report: Report<'_>,
    ) -> Result<(), KmsError> {
        let algorithm = key.wrapping.algorithm();
        let found = self.unwrap_dek(&key.id, algorithm, wrapped, call()).await?;
        let is_same: bool = found.expose_for_wrap().ct_eq(dek.expose_for_wrap()).into();
        if !is_same {
            return Err(Diagnosis::new(Stage::Unwrap, Fault::Nonsense).into());
        }
        passed(report, Stage::Unwrap, "the same DEK comes back".into());
        Ok(())
    }
}

fn call() -> Call {
    Call { client: ClientTag::SELKIE, deadline: Instant::now() + PATIENCE }
}

fn passed(report: Report<'_>, stage: Stage, what: String) {
    report(Step { hop: diagnosis::stage(stage), finding: Finding::Passed(what) });
}

fn warned(report: Report<'_>, stage: Stage, warning: Warning) {
    report(Step { hop: diagnosis::stage(stage), finding: Finding::Warned(warning) });
}

impl Warning {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::PreviousUnusable(diagnosis) => diagnosis.remedy(),
            Self::Extractable => "make the next version with CKA_EXTRACTABLE false",
            Self::SlotByNumber => "name the token by \"token_label\" or \"serial\"",
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::PreviousUnusable(diagnosis) => return diagnosis.fmt(f),
            Self::Extractable => "the key can be taken out of the token",
            Self::SlotByNumber => "slots may be numbered anew when a token comes or goes",
        })
    }
}
