//! The canaries of a seal's versions, and which versions are shown to be on a new device.

use std::collections::BTreeSet;

use selkie_crypto::KekId;
use selkie_kms::KekDescription;

use super::Connection;
use crate::seal::canary::{Canaries, Canary};
use crate::seal::pin::PinFile;

impl Connection {
    /// Takes over the canaries of the seal that had this one's name, of whatever master key: if that
    /// has another place now, or other settings, its versions must prove to be the same.
    pub(in crate::seal) fn inherit_canaries(&self, other: &Self) {
        let canaries = other.state().canaries.unsettled();
        self.state().canaries = canaries;
    }

    pub(in crate::seal) fn read_canaries(&self, file: &PinFile) {
        match file.read_canaries() {
            Ok(canaries) => self.state().canaries = Canaries::kept(canaries),
            Err(error) => tracing::error!(
                seal = %self.name(),
                file = %file.canaries_path().display(),
                reason = %crate::telemetry::WithCauses(&error),
                advice = "make sure by yourself that nobody has replaced the master key: this start \
                          cannot tell",
                "the file of the canaries is not used"
            ),
        }
    }

    /// What was wrapped under its versions when they were confirmed.
    pub(in crate::seal) fn canaries(&self) -> Vec<Canary> {
        self.state().canaries.listed()
    }

    /// The canary of the version `kek`.
    pub(in crate::seal) fn canary(&self, kek: &KekId) -> Option<Canary> {
        self.state().canaries.of(kek).cloned()
    }

    /// The versions whose canaries have their turn now.
    pub(in crate::seal) fn take_turns(&self, keks: &KekDescription) -> Vec<KekId> {
        self.state().canaries.take_turns(keks)
    }

    pub(in crate::seal) fn doubted_canaries(&self) -> Vec<KekId> {
        self.state().canaries.doubted()
    }

    pub(in crate::seal) fn doubt_canary(&self, kek: &KekId) {
        self.state().canaries.doubt(kek);
    }

    pub(in crate::seal) fn add_canary(&self, canary: Canary) {
        self.state().canaries.add(canary);
    }

    pub(in crate::seal) fn settle_canary(&self, kek: &KekId) {
        self.state().canaries.settle(kek);
    }

    /// Nothing that the KMS has said of them counts any more.
    pub(in crate::seal) fn unsettle_canaries(&self) {
        let mut state = self.state();
        state.canaries = state.canaries.unsettled();
        state.recognised.clear();
    }

    /// Notes whether the version `kek` is retired; true if that is new.
    pub(in crate::seal) fn note_retired(&self, kek: &KekId, is_retired: bool) -> bool {
        self.state().canaries.note_retired(kek, is_retired)
    }

    /// The older versions whose canaries say that they open nothing.
    pub(crate) fn retired(&self) -> Vec<KekId> {
        self.state().canaries.retired()
    }

    pub(in crate::seal) fn recognised<R>(&self, look: impl FnOnce(&mut BTreeSet<KekId>) -> R) -> R {
        look(&mut self.state().recognised)
    }
}
