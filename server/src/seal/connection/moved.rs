//! Ids that the versions of a master key had where it was before.

use selkie_crypto::KekId;

use super::Connection;

impl Connection {
    /// The id that the version `kek` has now: another one than `kek` if that is of a place that the
    /// master key was in before, and the version is known.
    pub(in crate::seal) fn present_id(&self, kek: &KekId) -> KekId {
        let former = |target: &String| kek.as_str().strip_prefix(&**target)?.strip_prefix('/');
        let version = self.setup.former_targets.iter().find_map(former);
        let known = version.and_then(|version| Some((version, self.known()?)));
        let present = known.and_then(|(version, known)| {
            let mut ids = known.keks.versions().iter().map(|one| &one.id);
            ids.find(|id| id.as_str().rsplit('/').next() == Some(version)).cloned()
        });
        present.unwrap_or_else(|| kek.clone())
    }
}
