//! What tells whether a version of a master key that nobody can see is still the key that it was.

use std::time::Duration;

use selkie_crypto::{KekId, RecipientSecret, WrapAlgorithm, sha256};
use selkie_kms::{Call, ClientTag, KekDescription, KekState, KekVersion, Kms, KmsError};
use tokio::time::{Instant, timeout_at};

/// How long the KMS may take to unwrap one.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often the one of the current version is unwrapped, and one of an older version.
const PAUSE: Duration = Duration::from_secs(86_400);
/// The same for a version that is retired: it may be put to use again.
const RETIRED_PAUSE: Duration = Duration::from_secs(3_600);
/// Of so many versions one is kept, the newest; what is older is hardly in use.
const MOST: usize = 256;

/// What was wrapped under a version when that was confirmed. A KMS that no longer unwraps it has
/// another key under the version's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Canary {
    /// The version.
    pub(super) kek: KekId,
    /// How it was wrapped.
    pub(super) algorithm: WrapAlgorithm,
    /// What was wrapped: as good as any wrapped DEK, and of no use.
    pub(super) wrapped: Vec<u8>,
    /// SHA-256 of the 32 random bytes that are in it, which were used for nothing else.
    pub(super) digest: [u8; 32],
}

impl Canary {
    /// One of `version`, which has wrapped `secret` as `wrapped`.
    pub(super) fn new(version: &KekVersion, secret: &RecipientSecret, wrapped: Vec<u8>) -> Self {
        Self {
            kek: version.id.clone(),
            algorithm: version.wrapping.algorithm(),
            wrapped,
            digest: sha256(secret.expose_for_wrap()),
        }
    }

    /// Whether `kms` unwraps it to what it was.
    ///
    /// # Errors
    ///
    /// [`KmsError`], of which [`KmsError::Rejected`] alone speaks against the key.
    pub(super) async fn is_unwrapped_by(&self, kms: &dyn Kms) -> Result<bool, KmsError> {
        let deadline = Instant::now() + PATIENCE;
        let call = Call { client: ClientTag::SELKIE, deadline };
        let unwrapped = kms.unwrap_dek(&self.kek, self.algorithm, &self.wrapped, call);
        let unwrapped = timeout_at(deadline, unwrapped).await;
        let unwrapped = unwrapped
            .unwrap_or_else(|late| Err(KmsError::TimedOut(Some(std::sync::Arc::new(late)))))?;
        Ok(sha256(unwrapped.expose_for_wrap()) == self.digest)
    }
}

/// The canaries of a seal.
#[derive(Clone, Debug, Default)]
pub(super) struct Canaries(Vec<Watched>);

#[derive(Clone, Debug)]
struct Watched {
    canary: Canary,
    /// When the KMS last said something that settles it, in this process and at this address.
    settled: Option<Instant>,
    /// When it last had its turn, whatever came of it.
    tried: Option<Instant>,
    /// The KMS did not open it, which is not settled.
    is_doubted: bool,
    /// Its version is retired, which was told.
    is_retired: bool,
}

impl Watched {
    const fn new(canary: Canary) -> Self {
        Self { canary, settled: None, tried: None, is_doubted: false, is_retired: false }
    }

    fn is_over(&self, pause: Duration) -> bool {
        self.settled.is_none_or(|at| at.elapsed() >= pause)
    }
}

impl Canaries {
    /// Those that were kept.
    pub(super) fn kept(canaries: Vec<Canary>) -> Self {
        Self(canaries.into_iter().map(Watched::new).collect())
    }

    /// The same before anyone has asked. What people were told, they still know.
    pub(super) fn unsettled(&self) -> Self {
        let unsettled = |one: &Watched| Watched { settled: None, ..one.clone() };
        Self(self.0.iter().map(unsettled).collect())
    }

    /// All of them.
    pub(super) fn listed(&self) -> Vec<Canary> {
        self.0.iter().map(|one| one.canary.clone()).collect()
    }

    /// The one of the version `kek`.
    pub(super) fn of(&self, kek: &KekId) -> Option<&Canary> {
        self.0.iter().map(|one| &one.canary).find(|one| one.kek == *kek)
    }

    /// Keeps `canary`, which the KMS has just unwrapped, unless its version has one.
    pub(super) fn add(&mut self, canary: Canary) {
        if self.of(&canary.kek).is_some() {
            return;
        }
        self.0.push(Watched { settled: Some(Instant::now()), ..Watched::new(canary) });
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// The KMS has said what there is to say of the version `kek` for now.
    pub(super) fn settle(&mut self, kek: &KekId) {
        if let Some(one) = self.watched(kek) {
            one.settled = Some(Instant::now());
            one.is_doubted = false;
        }
    }

    /// The KMS did not open that of the version `kek`: it is asked again before anything else.
    pub(super) fn doubt(&mut self, kek: &KekId) {
        if let Some(one) = self.watched(kek) {
            one.is_doubted = true;
        }
    }

    /// The versions whose canaries did not open.
    pub(super) fn doubted(&self) -> Vec<KekId> {
        self.0.iter().filter(|one| one.is_doubted).map(|one| one.canary.kek.clone()).collect()
    }

    /// Notes whether the version `kek` is retired; true if that is new.
    pub(super) fn note_retired(&mut self, kek: &KekId, is_retired: bool) -> bool {
        let watched = self.watched(kek);
        watched.is_some_and(|one| std::mem::replace(&mut one.is_retired, is_retired) != is_retired)
    }

    /// The versions that are retired.
    pub(super) fn retired(&self) -> Vec<KekId> {
        self.0.iter().filter(|one| one.is_retired).map(|one| one.canary.kek.clone()).collect()
    }

    /// The versions of `keks` whose turn it is, and now was: the current one every day, and of the
    /// others one, each of them once at first. One of which the KMS says nothing comes again after
    /// all others.
    pub(super) fn take_turns(&mut self, keks: &KekDescription) -> Vec<KekId> {
        let current = &keks.current().id;
        let is_asked = |one: &&mut Watched| {
            // One that is retired counts as disabled, and is asked whether it still is.
            let version = keks.version(&one.canary.kek);
            version.is_some_and(|version| one.is_retired || version.state != KekState::Disabled)
        };
        let (of_current, others): (Vec<_>, Vec<_>) =
            self.0.iter_mut().filter(is_asked).partition(|one| one.canary.kek == *current);
        let pause = PAUSE.saturating_mul(u32::try_from(others.len()).unwrap_or(u32::MAX));
        let is_over = |one: &&mut Watched| {
            one.is_over(if one.is_retired { RETIRED_PAUSE.min(pause) } else { pause })
        };
        let other = others.into_iter().filter(is_over);
        let other = other.min_by_key(|one| one.settled.max(one.tried));
        let own = of_current.into_iter().filter(|one| one.is_over(PAUSE));
        let have_turn = own.chain(other).map(|one| {
            one.tried = Some(Instant::now());
            one.canary.kek.clone()
        });
        have_turn.collect()
    }

    fn watched(&mut self, kek: &KekId) -> Option<&mut Watched> {
        self.0.iter_mut().find(|one| one.canary.kek == *kek)
    }
}

#[cfg(test)]
mod tests {
    use selkie_kms::Wrapping;
    use tokio::time::sleep;

    use super::*;

    fn id(number: usize) -> KekId {
        KekId::new(&number.to_string()).unwrap()
    }

    fn canary(number: usize) -> Canary {
        let algorithm = WrapAlgorithm::A256Kw;
        Canary { kek: id(number), algorithm, wrapped: vec![7], digest: [7; 32] }
    }

    /// The last of `numbers` is current; of what `retired` lists, all are disabled.
    fn keks(numbers: &[usize], retired: &[usize]) -> KekDescription {
        let version = |number: &usize| KekVersion {
            id: id(*number),
            wrapping: Wrapping::Remote(WrapAlgorithm::A256Kw),
            state: if retired.contains(number) { KekState::Disabled } else { KekState::Enabled },
            created: None,
            expires: None,
        };
        let current = id(*numbers.last().unwrap());
        KekDescription::new(numbers.iter().map(version).collect(), &current).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_current_version_has_its_turn_each_day_and_the_others_take_turns() {
        let mut canaries = Canaries::kept(vec![canary(1), canary(2), canary(3)]);
        let keks = keks(&[1, 2, 3], &[]);
        assert_eq!(canaries.take_turns(&keks), [id(3), id(1)]);
        for settled in [3, 1] {
            canaries.settle(&id(settled));
        }
        assert_eq!(canaries.take_turns(&keks), [id(2)], "each of them once at first");
        canaries.settle(&id(2));
        assert!(canaries.take_turns(&keks).is_empty());
        sleep(PAUSE).await;
        assert_eq!(canaries.take_turns(&keks), [id(3)]);
        canaries.settle(&id(3));
        sleep(PAUSE).await;
        assert_eq!(canaries.take_turns(&keks), [id(3), id(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_version_of_which_nothing_is_said_keeps_no_other_from_its_turn() {
        let mut canaries = Canaries::kept((1..=5).map(canary).collect());
        let keks = keks(&[2, 3, 4, 5], &[4]);
        canaries.settle(&id(5));
        for turn in [2, 3, 2, 3] {
            assert_eq!(canaries.take_turns(&keks), [id(turn)], "1 is not there, 4 is disabled");
            sleep(Duration::from_secs(1)).await;
        }
        canaries.settle(&id(2));
        for _ in 0..2 {
            assert_eq!(canaries.take_turns(&keks), [id(3)]);
        }
    }

    #[test]
    fn what_was_told_of_a_version_stays_told_when_it_is_asked_of_anew() {
        let mut canaries = Canaries::kept(vec![canary(1)]);
        assert!(canaries.note_retired(&id(1), true));
        let mut canaries = canaries.unsettled();
        assert!(!canaries.note_retired(&id(1), true));
        assert!(canaries.note_retired(&id(1), false) && canaries.note_retired(&id(1), true));
    }

    #[test]
    fn a_version_keeps_its_first_canary_and_only_the_newest_have_one() {
        let mut canaries = Canaries::default();
        for number in 0..=MOST {
            canaries.add(canary(number));
        }
        assert!(canaries.of(&id(0)).is_none() && canaries.of(&id(1)).is_some());
        canaries.add(Canary { digest: [8; 32], ..canary(1) });
        assert_eq!(canaries.of(&id(1)), Some(&canary(1)));
    }
}
