//! Seals that keys have been left without, as they were away, and when they come back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use selkie_crypto::SealName;
use tokio::time::sleep;

use super::ManagedKeys;
use crate::jitter::jittered;
use crate::seal::{Learner, Probe, Seals};

/// How often seals that were left out are tried, and keys take back those that are steadily there.
const LOOK: Duration = Duration::from_secs(30);

/// A seal that the latest version of a key is without, as it was away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) seal: SealName,
    /// `mount/key`.
    pub(crate) key: String,
    /// Since when, in Unix seconds.
    pub(crate) since: u64,
}

/// Versions of a key that are on record, still decrypted, and that no server opens: too few of
/// their seals can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    /// `mount/key`.
    pub(crate) key: String,
    /// Which, for people.
    pub(crate) versions: String,
    /// The seals that they were made for.
    pub(crate) seals: Vec<String>,
    /// The first version behind them; `None` if there is none yet.
    pub(crate) behind: Option<u32>,
}

impl Lost {
    /// What to do: to have them back, or to let them go.
    pub(crate) fn advice(&self) -> String {
        let let_go = match self.behind {
            Some(behind) => format!("set \"min_decryption_version\" of the key to {behind}"),
            None => "rotate the key, and set its \"min_decryption_version\" to its latest version"
                .to_owned(),
        };
        format!(
            "take the seal back into the configuration; or, if nothing needs those versions any more, \
             {let_go}"
        )
    }
}

impl ManagedKeys {
    /// Which seals are left out of which keys.
    pub(crate) fn left_out(&self) -> Vec<LeftOut> {
        let holding = self.holding();
        let of_key = holding.lacking().flat_map(|(mount, key)| {
            key.left_out().iter().map(move |seal| LeftOut {
                seal: seal.clone(),
                key: format!("{mount}/{}", key.name),
                since: key.left_out_since(seal),
            })
        });
        of_key.collect()
    }

    /// The versions that `seals` do not open, of the keys that have such.
    pub(crate) fn lost_versions(&self, seals: &Seals) -> Vec<Lost> {
        let lost = self.pages().flatten().filter_map(|(mount, key)| {
            let on_record = key.versions.range(key.min_decryption..);
            let lost: Vec<_> = on_record
                .filter(|(_, version)| {
                    let asked = version.keks.iter().filter(|kek| seals.is_asked(&kek.seal));
                    !version.keks.is_empty() && asked.count() < usize::from(key.quorum)
                })
                .collect();
            let (first, last) = (lost.first()?.0.get(), lost.last()?.0.get());
            let made_for = lost.iter().flat_map(|(_, version)| &version.keks);
            let made_for: BTreeSet<_> = made_for.map(|kek| kek.seal.to_string()).collect();
            let versions =
                if first == last { first.to_string() } else { format!("{first} to {last}") };
            let behind = last.checked_add(1).filter(|behind| *behind <= key.latest.get());
            let key = format!("{mount}/{}", key.name);
            Some(Lost { key, versions, seals: made_for.into_iter().collect(), behind })
        });
        lost.collect()
    }

    /// Tries the seals that keys were made without, and gives those keys a version with them once
    /// they are steadily back; as long as this is polled.
    pub(crate) async fn take_back_seals(self: Arc<Self>, learner: Learner) {
        loop {
            sleep(jittered(&*learner.random, LOOK)).await;
            let left_out: BTreeSet<_> = self.left_out().into_iter().map(|one| one.seal).collect();
            if left_out.is_empty() {
                continue;
            }
            let deployment = learner.current.load_full();
            for seal in left_out.iter().filter_map(|name| deployment.seals.find(name)) {
                Probe::begin(seal, &learner.random);
            }
            self.advance(&learner.current, learner.clock.unix_seconds()).await;
        }
    }
}
