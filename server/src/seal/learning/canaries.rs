//! Whether the versions of a master key that nobody can see are still the keys that they were.

use std::sync::Arc;

use selkie_crypto::KekId;
use selkie_kms::{KekDescription, KekState, KekVersion, KmsError, Wrapping};

use super::{Learner, Outlook};
use crate::seal::connection::Connection;
use crate::seal::error::{Contradiction, SealFault};
use crate::seal::health::Standing;
use crate::seal::known::{Known, Trust};
use crate::seal::pin::PinFile;
use crate::seal::round_trip;
use crate::telemetry::WithCauses;

/// What keeps a description from being followed.
pub(super) enum Doubt {
    /// A version is another key.
    Replaced(Contradiction),
    /// Whether it is cannot be found out now, and there is a reason to ask.
    Open(SealFault),
}

impl Doubt {
    /// What `known`, which the KMS has described after `before`, comes to.
    pub(super) fn outlook(
        self,
        known: Known,
        before: Option<&Known>,
        fresh: &KekDescription,
        fingerprints: &[[u8; 32]],
    ) -> Outlook {
        match self {
            Self::Replaced(contradiction) => {
                let known = before.unwrap_or(&known).contradicted(contradiction.clone());
                Outlook { known, fault: Some(SealFault::Contradicted(contradiction)) }
            }
            Self::Open(fault) => {
                let doubted = known.keks.current().id.clone();
                // What is relied on, or takes another's place, is not followed before that is known.
                let is_held = |was: &&Known| {
                    let is_moved = was.keks.current().id != known.keks.current().id;
                    is_moved || known.current_trust() >= Some(Trust::Confirmed)
                };
                let mut known = match before.filter(is_held) {
                    Some(was) => Known::described(was.with_states_of(fresh), before, fingerprints)
                        .passing_over(fresh),
                    None => known,
                };
                known.contradiction = before.and_then(|was| was.contradiction.clone());
                // A KMS that has confirmed a version and now rejects all may have trouble of its
                // own, in words that we do not know; one that gives another secret has not.
                let is_excused = known.trust_in(&doubted) >= Some(Trust::Confirmed);
                match fault {
                    SealFault::Unconfirmed(Some(_)) if is_excused => {}
                    SealFault::Unconfirmed(_) => known.distrust(&doubted),
                    _ => {}
                }
                Outlook { known, fault: Some(fault) }
            }
        }
    }
}

impl Learner {
    /// Lets the KMS unwrap what it wrapped when its versions were confirmed, where there is a reason
    /// to doubt.
    pub(super) async fn check_canaries(
        &self,
        connection: &Connection,
        before: Option<&Known>,
        known: &Known,
    ) -> Result<(), Doubt> {
        let remade = before.map(|was| remade(was, known)).unwrap_or_default();
        if let Some(id) = remade.iter().find(|id| connection.canary(id).is_none()) {
            return Err(Doubt::Replaced(Contradiction::MadeAnew(id.clone())));
        }
        tell_disabled(connection, known);
        let doubted = doubted(before, known).into_iter().chain(remade).collect::<Vec<_>>();
        let unopened = connection.doubted_canaries();
        let is_current = |id: &&KekId| **id == known.keks.current().id;
        let (own, others) = unopened.iter().partition::<Vec<_>, _>(is_current);
        let is_new = |id: &&KekId| !doubted.contains(id);
        for id in doubted.iter().chain(own.into_iter().filter(is_new)) {
            self.check_canary(connection, before, known, id, true).await?;
        }
        for id in others.into_iter().filter(is_new) {
            self.check_canary(connection, before, known, id, false).await?;
        }
        Ok(())
    }

    /// Lets a KMS that is well unwrap the canaries whose turn it is. Nobody waits for that; what does
    /// not open is learned of anew.
    pub(super) async fn ask_canaries(&self, connection: &Arc<Connection>) {
        let is_well = matches!(connection.health().fault, None | Some(SealFault::Unlisted))
            && connection.standing() == Standing::Well;
        let Some(known) = connection.known().filter(|_| is_well) else { return };
        for id in connection.take_turns(&known.keks) {
            let Some(canary) = connection.canary(&id) else { continue };
            let answer = canary.is_unwrapped_by(connection.kms()).await;
            let Some(version) = known.keks.version(&id) else { continue };
            let is_current = id == known.keks.current().id;
            let is_to_learn = match heard(connection, version, is_current, answer) {
                Answer::Settled => false,
                Answer::NotOpened(_) => true,
                // Encrypting goes on, and nothing that is wrapped opens: a fault of the seal.
                Answer::Nothing(KmsError::Denied(_) | KmsError::Disabled(_)) => is_current,
                Answer::Nothing(_) => false,
            };
            if is_to_learn {
                connection.doubt_canary(&id);
                self.learn_soon(connection).await;
            }
        }
    }

    async fn check_canary(
        &self,
        connection: &Connection,
        before: Option<&Known>,
        known: &Known,
        id: &KekId,
        is_doubted: bool,
    ) -> Result<(), Doubt> {
        let version = known.keks.version(id);
        let (Some(version), Some(canary)) = (version, connection.canary(id)) else { return Ok(()) };
        if version.state == KekState::Disabled {
            return Ok(());
        }
        let is_current = *id == known.keks.current().id;
        let ask = async || {
            let answer = canary.is_unwrapped_by(connection.kms()).await;
            heard(connection, version, is_current, answer)
        };
        let replaced = Contradiction::OpensNothing(id.clone());
        let is_proven = before.is_some_and(|was| was.contradiction.as_ref() == Some(&replaced));
        let refusal = match ask().await {
            Answer::Settled => return Ok(()),
            Answer::Nothing(error) if is_doubted => {
                return Err(Doubt::Open(SealFault::Kms(error)));
            }
            Answer::Nothing(_) => return Ok(()),
            Answer::NotOpened(_) if is_proven => return Err(Doubt::Replaced(replaced)),
            Answer::NotOpened(refusal) => refusal,
        };
        // A KMS that rejects all does not speak against the key, nor does a single answer.
        let fault = match round_trip::confirm(connection, version, &*self.random).await {
            Ok(_) => match ask().await {
                Answer::Settled => return Ok(()),
                Answer::NotOpened(_) => return Err(Doubt::Replaced(replaced)),
                Answer::Nothing(error) => SealFault::Kms(error),
            },
            Err(fault) => fault,
        };
        if is_current {
            connection.doubt_canary(id);
            return Err(Doubt::Open(fault));
        }
        if is_passing(&fault) {
            return if is_doubted { Err(Doubt::Open(fault)) } else { Ok(()) };
        }
        // Nothing wraps under it any more, and so nothing proves another key. Of the version that was
        // in use until now that is no matter of course.
        if before.is_some_and(|was| was.keks.current().id == *id) {
            tell_left_behind(connection, version, &refusal);
        } else {
            tell_retired(connection, version, &refusal);
        }
        Ok(())
    }

    /// Writes the file of the canaries if it does not say this already. One that was refused is kept
    /// aside.
    pub(super) async fn keep_canaries(&self, connection: &Arc<Connection>, file: PinFile) {
        let canaries = connection.canaries();
        let written = tokio::task::spawn_blocking(move || {
            match file.read_canaries() {
                Ok(kept) if kept == canaries => return Ok(()),
                Ok(_) => {}
                Err(_refused) => file.set_canaries_aside()?,
            }
            file.write_canaries(&canaries)
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.tell_unwritten(connection, &error),
            Err(error) => self.tell_unwritten(connection, &error),
        }
    }
}

/// What a KMS says when it is to unwrap a canary.
enum Answer {
    /// It is the same key, or an older one that it no longer uses: that is told.
    Settled,
    /// Another time, perhaps.
    Nothing(KmsError),
    /// It does not open, in these words.
    NotOpened(String),
}

/// Whether it says nothing of the key, and will be over.
pub(super) const fn is_passing(fault: &SealFault) -> bool {
    matches!(
        fault,
        SealFault::Kms(
            KmsError::Unavailable(_) | KmsError::TimedOut(_) | KmsError::Throttled { .. }
        )
    )
}

fn heard(
    connection: &Connection,
    version: &KekVersion,
    is_current: bool,
    answer: Result<bool, KmsError>,
) -> Answer {
    // What does not open may be another key, which is found out elsewhere.
    if !matches!(answer, Ok(false) | Err(KmsError::Rejected(_))) {
        connection.note_unwrap(&version.id, &answer);
    }
    match answer {
        Ok(true) => {
            connection.note_retired(&version.id, false);
            connection.settle_canary(&version.id);
            Answer::Settled
        }
        Ok(false) => Answer::NotOpened("it unwraps to another secret".into()),
        Err(error @ KmsError::Rejected(_)) => Answer::NotOpened(WithCauses(&error).to_string()),
        Err(error @ (KmsError::Disabled(_) | KmsError::UnknownKek(_))) if !is_current => {
            tell_retired(connection, version, &WithCauses(&error).to_string());
            Answer::Settled
        }
        Err(error) => Answer::Nothing(error),
    }
}

/// The versions that are not followed before their canaries say that they are the same: the current
/// one if nothing vouches for it yet, or the KMS was not what it is; the one before it, at a
/// rotation; the one that was found to be another key.
fn doubted(before: Option<&Known>, known: &Known) -> Vec<KekId> {
    let current = &known.keks.current().id;
    let contradiction = before.and_then(|was| was.contradiction.as_ref());
    let is_confirmed = known.trust_in(current) >= Some(Trust::Confirmed);
    let own = (!is_confirmed || contradiction.is_some()).then(|| current.clone());
    let moved = before.map(|was| &was.keks.current().id).filter(|was| *was != current).cloned();
    let replaced = match contradiction {
        Some(Contradiction::OpensNothing(id)) if id != current => Some(id.clone()),
        _ => None,
    };
    own.into_iter().chain(moved).chain(replaced).collect()
}

/// The versions that the KMS says it made at another time than it said before. It wraps for them
/// itself: a public key says more.
fn remade(before: &Known, known: &Known) -> Vec<KekId> {
    let is_remade = |is: &&KekVersion| {
        let was = before.keks.version(&is.id);
        let times = was.and_then(|was| Some((was.created?, is.created?)));
        matches!(is.wrapping, Wrapping::Remote(_)) && times.is_some_and(|(was, is)| was != is)
    };
    known.keks.versions().iter().filter(is_remade).map(|one| one.id.clone()).collect()
}

/// Of the older versions that we have wrapped under, those that the KMS says it no longer uses.
fn tell_disabled(connection: &Connection, known: &Known) {
    let current = &known.keks.current().id;
    let is_retired = |one: &&KekVersion| one.state == KekState::Disabled && one.id != *current;
    for version in known.keks.versions().iter().filter(is_retired) {
        if connection.canary(&version.id).is_some() {
            tell_retired(connection, version, "it is disabled");
        }
    }
}

/// As [`tell_retired`], of the version that everything was encrypted under until this rotation.
fn tell_left_behind(connection: &Connection, version: &KekVersion, reason: &str) {
    if connection.note_retired(&version.id, true) {
        tracing::error!(
            seal = %connection.name(),
            kek = %version.id,
            reason,
            advice = "stop and restart no Vault before you know why: what Vaults hold was wrapped \
                      under it. If the KMS only refuses it, let it be used again; if its key was \
                      replaced, bring the old one back",
            "the version before this rotation opens nothing, though it was in use until now"
        );
    }
    connection.settle_canary(&version.id);
}

/// Once in the life of the process, until it opens again.
fn tell_retired(connection: &Connection, version: &KekVersion, reason: &str) {
    if connection.note_retired(&version.id, true) {
        tracing::warn!(
            seal = %connection.name(),
            kek = %version.id,
            reason,
            advice = "let the KMS use it again if a Vault that has not encrypted its stored keys \
                      anew, or a backup, may need it; what is wrapped under it opens no more. \
                      Encrypting goes on under the current version",
            "an older version of the master key opens nothing"
        );
    }
    connection.settle_canary(&version.id);
}
