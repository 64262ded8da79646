//! What `serve` wraps for: all that the ciphertexts at hand were made for, or nothing.

use std::path::{Path, PathBuf};

use selkie_config::{BreakGlassSeal, ConfigAtHand, Seal, SealKind};
use selkie_crypto::SealName;
use selkie_kms::{KekDescription, Wrapping};

use super::blob::Blob;
use super::error::{BreakGlassError, WrapObstacle};
use super::key_file::Unlocked;
use super::recipients::{Group, groups, own_names};
use crate::cli::{CommandError, read_text};
use crate::clock::{Clock, SystemClock};
use crate::seal::{Keeping, Known, PinError, PinFile, SealFault, Target};

/// What is known of the seals from before.
#[derive(Debug, Default)]
pub(super) struct KnownSeals {
    /// The deployment's own configuration, to take its static seals and `origin_key` from, as far as
    /// their keys are at hand.
    pub(super) config: Option<ConfigAtHand>,
    /// Where its servers kept their pin files.
    keeping: Keeping,
    pins: Option<PathBuf>,
}

impl KnownSeals {
    pub(super) fn read(config: Option<&Path>, pins: Option<PathBuf>) -> Result<Self, CommandError> {
        // Where the servers are gone, so are the files of some of their secrets. Nothing is connected
        // to, and what would serve for that alone is not looked at.
        let read = |path: &Path| {
            let text = read_text(path)?;
            let config = ConfigAtHand::parse(&path.display().to_string(), &text);
            config.map_err(CommandError::Config)
        };
        let config = config.map(read).transpose()?;
        Ok(Self { pins, ..Self::of(config) })
    }

    fn of(mut config: Option<ConfigAtHand>) -> Self {
        let keeping = config.as_mut().map(|config| {
            let local_key = config.local_key.take();
            Keeping::new(config.data_dir.clone(), local_key)
        });
        let keeping = keeping.unwrap_or_default();
        Self { config, keeping, pins: None }
    }

    /// The seals to serve with: the unlocked one first, then one for each other that `blobs` were made
    /// for but those that are given up.
    pub(super) fn seals_of(
        &mut self,
        blobs: &[Blob],
        key: Unlocked,
        given_up: &[SealName],
    ) -> Result<Vec<Seal>, BreakGlassError> {
        let own = own_names(blobs, &key.kek, self.config.as_ref());
        let groups = groups(blobs, &key.kek, self.config.as_ref());
        let is_there =
            |name: &SealName| own.contains(name) || groups.iter().any(|one| one.has_name(name));
        if let Some(seal) = given_up.iter().find(|name| !is_there(name)).cloned() {
            return Err(BreakGlassError::NotARecipient { seal });
        }
        let mut seals = vec![unlocked(key, own.clone())?];
        for group in groups {
            if given_up.iter().any(|name| group.has_name(name)) || self.is_left_out(&group) {
                continue;
            }
            let is_own = group.recipients.iter().any(|one| own.contains(&one.seal));
            let kind = match is_own {
                true => Err(WrapObstacle::OtherKey),
                false => self.seal(&group),
            };
            let kind = kind.map_err(|reason| group.cannot_wrap(reason))?;
            let names = group.names.into_iter().filter(|name| !own.contains(name));
            seals.extend(seal(names, seals.len(), kind));
        }
        Ok(seals)
    }

    /// Whether the servers would not wrap for it either: it is revoked or disabled.
    fn is_left_out(&self, group: &Group<'_>) -> bool {
        let Some(config) = &self.config else { return false };
        config.revoked_seals.iter().any(|seal| group.is_of(|name| seal.is_known_as(name)))
            || config
                .seals
                .iter()
                .any(|seal| seal.disabled && group.is_of(|name| seal.is_known_as(name)))
            || config
                .unread_seals
                .iter()
                .any(|seal| seal.disabled && group.is_of(|name| seal.is_known_as(name)))
    }

    /// Whether nothing but pin files tells of the seals: they do not say which ones are revoked.
    pub(super) const fn is_of_pins_alone(&self) -> bool {
        self.pins.is_some() && self.config.is_none()
    }

    fn seal(&mut self, group: &Group<'_>) -> Result<SealKind, WrapObstacle> {
        let obstacle = match self.configured(group) {
            Err(
                obstacle
                @ (WrapObstacle::Unknown | WrapObstacle::Untrusted | WrapObstacle::Damaged),
            ) => obstacle,
            outcome => return outcome,
        };
        match self.vouched(group) {
            Err(WrapObstacle::Unknown) => Err(obstacle),
            outcome => outcome,
        }
    }

    /// By the deployment's configuration: the key itself, or what its trusted pin file says.
    fn configured(&mut self, group: &Group<'_>) -> Result<SealKind, WrapObstacle> {
        let config = self.config.as_mut().ok_or(WrapObstacle::Unknown)?;
        if config.unread_seals.iter().any(|seal| group.is_of(|name| seal.is_known_as(name))) {
            return Err(WrapObstacle::KeyNotAtHand);
        }
        let mut seals = config.seals.iter();
        let at = seals.position(|seal| group.is_of(|name| seal.is_known_as(name)));
        let kind = config.seals.swap_remove(at.ok_or(WrapObstacle::Unknown)?).kind;
        match kind {
            SealKind::Static(_) => Ok(kind),
            SealKind::BreakGlass(seal) if group.has_kek(&seal.kek) => {
                Ok(SealKind::BreakGlass(seal))
            }
            SealKind::BreakGlass(_) => Err(WrapObstacle::OtherKey),
            SealKind::AzureKeyVault(_) | SealKind::Pkcs11(_) | SealKind::Transit(_) => {
                let target = Target::of(kind).ok_or(WrapObstacle::Unknown)?;
                trusted(&target, &group.names, &self.keeping)
            }
        }
    }

    /// By a pin file that the operator has named.
    fn vouched(&self, group: &Group<'_>) -> Result<SealKind, WrapObstacle> {
        let pins = self.pins.as_ref().ok_or(WrapObstacle::Unknown)?;
        first_pin(&group.names, |name| {
            let keks = PinFile::read_unproven(pins, name);
            let keks = keks.map_err(|_damage| WrapObstacle::Damaged)?;
            let keks = keks.ok_or(WrapObstacle::Unknown)?;
            let is_there = keks.versions().iter().any(|version| group.has_kek(&version.id));
            if is_there { wrapped_locally(&keks) } else { Err(WrapObstacle::OtherKey) }
        })
    }
}

/// By the pin file of the master key `target`, if the configuration trusts it.
fn trusted(
    target: &Target,
    names: &[SealName],
    keeping: &Keeping,
) -> Result<SealKind, WrapObstacle> {
    first_pin(names, |name| {
        let file = keeping.pin(name, &target.name).ok_or(WrapObstacle::Unknown)?;
        let pinned = match file.read() {
            Ok(pinned) => pinned.ok_or(WrapObstacle::Unknown)?,
            Err(PinError::WrongMac | PinError::OtherKey { .. } | PinError::OtherSeal { .. }) => {
                return Err(WrapObstacle::Untrusted);
            }
            Err(PinError::Unreadable(_) | PinError::Malformed(_) | PinError::Unwritable(_)) => {
                return Err(WrapObstacle::Damaged);
            }
        };
        let known = Known::pinned(pinned, &target.fingerprints);
        let (current, now) = (&known.keks.current().id, SystemClock.unix_seconds());
        match known.wrapping_version(current, now) {
            Ok(_) => wrapped_locally(&known.keks),
            Err(SealFault::NotUsable { .. }) => Err(WrapObstacle::NotUsable),
            // Nobody vouches for what the configuration contradicts.
            Err(_fault) if !target.fingerprints.is_empty() => Err(WrapObstacle::NotDeclared),
            Err(_fault) => Err(WrapObstacle::Untrusted),
        }
    })
}

/// What the first of the names with a pin file gives. What is wrong with that one is not made good by
/// an older one under a former name, which may be of a version that was rotated away.
fn first_pin(
    names: &[SealName],
    mut read: impl FnMut(&SealName) -> Result<SealKind, WrapObstacle>,
) -> Result<SealKind, WrapObstacle> {
    for name in names {
        match read(name) {
            Err(WrapObstacle::Unknown) => {}
            found => return found,
        }
    }
    Err(WrapObstacle::Unknown)
}

fn wrapped_locally(keks: &KekDescription) -> Result<SealKind, WrapObstacle> {
    let current = keks.current();
    match &current.wrapping {
        Wrapping::Remote(_) => Err(WrapObstacle::Remote),
        Wrapping::Local(key) => Ok(SealKind::BreakGlass(BreakGlassSeal {
            public_key: key.clone(),
            kek: current.id.clone(),
            private_key: None,
        })),
    }
}

/// The seal of the key that is unlocked here.
pub(super) fn unlocked(key: Unlocked, names: Vec<SealName>) -> Result<Seal, BreakGlassError> {
    let Unlocked { private_key, public_key, kek } = key;
    let private_key = Some(Box::new(private_key));
    let kind = SealKind::BreakGlass(BreakGlassSeal { public_key, kek, private_key });
    seal(names.into_iter(), 0, kind).ok_or(BreakGlassError::NoKey)
}

/// The seal that has the first of these `names`, and had the others before, at the place `at`.
fn seal(mut names: impl Iterator<Item = SealName>, at: usize, kind: SealKind) -> Option<Seal> {
    let priority = u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1);
    Some(Seal { name: names.next()?, aliases: names.collect(), priority, disabled: false, kind })
}
