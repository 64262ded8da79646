//! Whether a KMS that refuses one thing does others, where nothing has shown that yet.

use selkie_crypto::KekId;
use selkie_kms::{KekState, KekVersion, KmsError, Wrapping};
use tokio::time::timeout;

use super::{DESCRIBE_PATIENCE, Learner};
use crate::seal::connection::{Connection, LastAnswer, is_of_one_version, speaks_for_all};
use crate::seal::error::SealFault;
use crate::seal::known::Trust;
use crate::seal::round_trip;

/// How many versions are tried, the newest first.
const MOST_TRIED: usize = 8;

impl Learner {
    /// After a description with the version `described` in use: tries the other versions where the
    /// one in use is refused and has not unwrapped in this process, or is disabled; and all of them
    /// where they are in doubt and something else kept the one in use from being tried.
    pub(super) async fn try_unproven(&self, connection: &Connection, described: &KekId) {
        let (fault, known) = (connection.health().fault, connection.known());
        let (Some(fault), Some(known)) = (fault, known) else { return };
        let is_untried = known.keks.current().id != *described
            || matches!(fault, SealFault::NotUsable { .. } | SealFault::Contradicted(_));
        let is_disabled = matches!(fault, SealFault::Kms(KmsError::Disabled(_)));
        if is_untried && connection.is_in_doubt() || is_disabled {
            self.try_in_time(connection).await;
        } else if known.current_trust() < Some(Trust::Confirmed) {
            self.try_refused(connection, &fault).await;
        }
    }

    /// Tries what a KMS that has refused something may do all the same: who takes a server for one
    /// that opens nothing keeps away the decrypt that would show otherwise.
    pub(super) async fn try_refused(&self, connection: &Connection, fault: &SealFault) {
        if is_refusal(fault) {
            self.try_in_time(connection).await;
        }
    }

    async fn try_in_time(&self, connection: &Connection) {
        let _done_or_late = timeout(DESCRIBE_PATIENCE, self.try_versions(connection)).await;
    }

    /// Has it unwrap under one version after the other, until it does.
    async fn try_versions(&self, connection: &Connection) {
        let Some(known) = connection.known() else { return };
        let current = known.keks.current();
        let mut is_all_refused = match self.unwraps(connection, current, true).await {
            Ok(()) => return,
            Err(Some(error)) if speaks_for_all(&known, &current.id, &error) => {
                return connection.note_unwraps_nothing();
            }
            // One that did unwrap in this process tells more than the others.
            Err(None) if known.current_trust() >= Some(Trust::Confirmed) => return,
            // Versions that are not listed may be there all the same.
            Err(refusal) => refusal.is_some_and(|error| {
                known.keks.is_complete() || !is_of_one_version(&known, &error)
            }),
        };
        let is_other = |one: &&KekVersion| one.id != current.id && one.state != KekState::Disabled;
        for (index, version) in known.keks.versions().iter().rev().filter(is_other).enumerate() {
            if index + 1 == MOST_TRIED {
                return;
            }
            match self.unwraps(connection, version, false).await {
                Ok(()) => return,
                Err(refusal) => is_all_refused &= refusal.is_some(),
            }
        }
        if is_all_refused {
            connection.note_unwraps_nothing();
        }
    }

    /// Whether something under `version` is unwrapped, or how it is refused; no error if there is
    /// nothing to try it with, or no answer that says so.
    async fn unwraps(
        &self,
        connection: &Connection,
        version: &KekVersion,
        is_current: bool,
    ) -> Result<(), Option<KmsError>> {
        let is_local = matches!(version.wrapping, Wrapping::Local(_));
        // Under older versions a KMS need not wrap.
        let confirmed = if is_local || is_current {
            Some(round_trip::confirm(connection, version, &*self.random).await)
        } else {
            None
        };
        if let Some(Ok(_)) = confirmed {
            return Ok(());
        }
        let lasting = |error: KmsError| Some(error).filter(|error| !error.is_transient());
        // It may be that it unwraps, and only wraps no more.
        if let Some(canary) = connection.canary(&version.id) {
            let answer = canary.is_unwrapped_by(connection.kms()).await;
            // Another secret is another key's.
            if let Ok(false) = answer {
                return Err(None);
            }
            connection.note_unwrap(&version.id, &answer);
            return answer.map(drop).map_err(lasting);
        }
        let is_asked = is_local || connection.last_wrap() != LastAnswer::Refused;
        Err(match confirmed {
            Some(Err(SealFault::Unconfirmed(refusal))) if is_asked => refusal,
            Some(Err(SealFault::Kms(error))) if is_asked => lasting(error),
            _ => None,
        })
    }
}

/// Whether a KMS answers so that it refuses, and says nothing of the rest that it may do.
pub(super) const fn is_refusal(fault: &SealFault) -> bool {
    matches!(
        fault,
        SealFault::Kms(KmsError::Denied(_) | KmsError::Rejected(_) | KmsError::Disabled(_))
            | SealFault::Unconfirmed(Some(_))
    )
}
