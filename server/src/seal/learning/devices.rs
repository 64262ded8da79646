//! Whether an HSM with another serial number holds the keys of the one before it.

use selkie_kms::{KekDescription, KekState, KekVersion, KmsError, Wrapping, pkcs11};

use super::Learner;
use super::canaries::Doubt;
use crate::seal::connection::Connection;
use crate::seal::error::{Contradiction, SealFault};
use crate::seal::known::{Known, rebuilt};
use crate::seal::round_trip;

impl Learner {
    /// What the KMS describes, under the ids that its versions had on the device before, if that had
    /// another serial number and the keys are shown to be the same. So no version of a transit key
    /// moves, and what names the old device opens on the new one, which goes by label and id.
    pub(super) async fn recognised(
        &self,
        connection: &Connection,
        before: Option<&Known>,
        fresh: &KekDescription,
    ) -> Result<Option<KekDescription>, Doubt> {
        let Some(before) = before else { return Ok(None) };
        // First, as it says most of the device: others may have wrapped nothing here.
        let own = fresh.current();
        let own_was = moved(before, fresh, own);
        if let Some(was) = own_was {
            self.recognise(connection, was, own, false).await?;
        }
        let mut versions = Vec::with_capacity(fresh.versions().len());
        for is in fresh.versions() {
            let id = match moved(before, fresh, is) {
                Some(was) => {
                    self.recognise(connection, was, is, own_was.is_some()).await?;
                    was.id.clone()
                }
                None => is.id.clone(),
            };
            versions.push(KekVersion { id, ..is.clone() });
        }
        let current = own_was.map_or(&own.id, |was| &was.id);
        let renamed = rebuilt(versions, current, fresh.is_complete(), fresh.is_purgeable());
        Ok(renamed.ok())
    }

    /// Once for each version, unless the device was away.
    async fn recognise(
        &self,
        connection: &Connection,
        was: &KekVersion,
        is: &KekVersion,
        is_device_shown: bool,
    ) -> Result<(), Doubt> {
        if !connection.recognised(|all| all.contains(&is.id)) {
            self.require_same_key(connection, was, is, is_device_shown).await?;
            tell_recognised(connection, was, is);
            connection.recognised(|all| all.insert(is.id.clone()));
        }
        Ok(())
    }

    /// The new device has to open what was wrapped on the old one, or for the same public key. Of a
    /// version that wrapped nothing here it is enough that the device holds the current one.
    async fn require_same_key(
        &self,
        connection: &Connection,
        was: &KekVersion,
        is: &KekVersion,
        is_device_shown: bool,
    ) -> Result<(), Doubt> {
        if is.state == KekState::Disabled {
            return Ok(());
        }
        let other_key = || Doubt::Replaced(Contradiction::OpensNothing(was.id.clone()));
        if let (Wrapping::Local(was_key), Wrapping::Local(is_key)) = (&was.wrapping, &is.wrapping) {
            if was_key != is_key {
                return Err(Doubt::Replaced(Contradiction::OtherKey(was.id.clone())));
            }
            let confirmed = round_trip::confirm(connection, was, &*self.random).await;
            return confirmed.map(drop).map_err(Doubt::Open);
        }
        let Some(canary) = connection.canary(&was.id) else {
            let unshown = Doubt::Replaced(Contradiction::OtherDevice(was.id.clone()));
            return if is_device_shown { Ok(()) } else { Err(unshown) };
        };
        match canary.is_unwrapped_by(connection.kms()).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(KmsError::Rejected(_)) => Err(other_key()),
            Err(error) => Err(Doubt::Open(SealFault::Kms(error))),
        }
    }
}

/// What the version `is` was on the device before, if it has not been known by its new id.
fn moved<'k>(before: &'k Known, fresh: &KekDescription, is: &KekVersion) -> Option<&'k KekVersion> {
    if before.keks.version(&is.id).is_some() {
        return None;
    }
    let is_it = |was: &&KekVersion| {
        pkcs11::differ_in_serial_alone(&was.id, &is.id) && fresh.version(&was.id).is_none()
    };
    before.keks.versions().iter().find(is_it)
}

fn tell_recognised(connection: &Connection, was: &KekVersion, is: &KekVersion) {
    tracing::warn!(
        seal = %connection.name(),
        kek = %was.id,
        device = %is.id,
        advice = "nothing, if the device was replaced: envelopes go on to name the old serial number, \
                  which does not count where they are opened",
        "the device has another serial number, and holds the same key"
    );
}
