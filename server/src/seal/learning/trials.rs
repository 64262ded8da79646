//! Whether a KMS that refuses one thing does others, where nothing has shown that yet.

use selkie_kms::{KekState, KekVersion, KmsError, Wrapping};
use tokio::time::timeout;

use super::{DESCRIBE_PATIENCE, Learner};
use crate::seal::connection::{Connection, LastAnswer};
use crate::seal::error::SealFault;
use crate::seal::known::Trust;
use crate::seal::round_trip;

/// How many versions are tried, the newest first.
const MOST_TRIED: usize = 8;

impl Learner {
    /// Tries the other versions where the one in use is refused and has not unwrapped in this process.
    pub(super) async fn try_unproven(&self, connection: &Connection) {
        let Some(fault) = connection.health().fault else { return };
        let is_confirmed =
            connection.known().is_some_and(|known| known.current_trust() >= Some(Trust::Confirmed));
        if !is_confirmed {
            self.try_refused(connection, &fault).await;
        }
    }

    /// Tries what a KMS that has refused something may do all the same: who takes a server for one
    /// that opens nothing keeps away the decrypt that would show otherwise.
    pub(super) async fn try_refused(&self, connection: &Connection, fault: &SealFault) {
        let is_refused = matches!(
            fault,
            SealFault::Kms(KmsError::Denied(_) | KmsError::Rejected(_) | KmsError::Disabled(_))
                | SealFault::Unconfirmed(Some(_))
        );
        if is_refused {
            let _done_or_late = timeout(DESCRIBE_PATIENCE, self.try_versions(connection)).await;
        }
    }

    /// Has it unwrap under one version after the other, until it does.
    async fn try_versions(&self, connection: &Connection) {
        let Some(known) = connection.known() else { return };
        let current = known.keks.current();
        let mut is_all_refused = match self.is_unwrapped(connection, current, true).await {
            Some(true) => return,
            answer => answer == Some(false),
        };
        // One that did unwrap in this process, and does no more, speaks for all.
        if known.current_trust() >= Some(Trust::Confirmed) {
            return;
        }
        let is_other = |one: &&KekVersion| one.id != current.id && one.state != KekState::Disabled;
        for (index, version) in known.keks.versions().iter().rev().filter(is_other).enumerate() {
            if index + 1 == MOST_TRIED {
                return;
            }
            match self.is_unwrapped(connection, version, false).await {
                Some(true) => return,
                answer => is_all_refused &= answer == Some(false),
            }
        }
        if is_all_refused {
            connection.note_unwraps_nothing();
        }
    }

    /// Whether something under `version` is unwrapped; `None` if there is nothing to try it with, or
    /// no answer that says so.
    async fn is_unwrapped(
        &self,
        connection: &Connection,
        version: &KekVersion,
        is_current: bool,
    ) -> Option<bool> {
        let is_local = matches!(version.wrapping, Wrapping::Local(_));
        // Under older versions a KMS need not wrap.
        let confirmed = if is_local || is_current {
            Some(round_trip::confirm(connection, version, &*self.random).await)
        } else {
            None
        };
        if let Some(Ok(_)) = confirmed {
            return Some(true);
        }
        // It may be that it unwraps, and only wraps no more.
        if let Some(canary) = connection.canary(&version.id) {
            let answer = canary.is_unwrapped_by(connection.kms()).await;
            // Another secret is another key's.
            if let Ok(false) = answer {
                return None;
            }
            connection.note_unwrap(&version.id, &answer);
            return LastAnswer::of(&answer).map(|answer| answer == LastAnswer::Done);
        }
        let is_asked = is_local || connection.last_wrap() != LastAnswer::Refused;
        let is_refused = match confirmed?.err()? {
            SealFault::Unconfirmed(Some(_)) => true,
            SealFault::Kms(error) => !error.is_transient(),
            _ => false,
        };
        (is_asked && is_refused).then_some(false)
    }
}
