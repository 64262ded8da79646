//! What `serve` wraps for: all that the ciphertexts at hand were made for, or nothing.

use std::path::{Path, PathBuf};

use selkie_config::{AtHand, BreakGlassSeal, Config, Placeholders, Seal, SealKind};
use selkie_crypto::SealName;
use selkie_crypto::envelope::Recipient;
use selkie_kms::{KekDescription, Wrapping};

use super::blob::Blob;
use super::error::{BreakGlassError, WrapObstacle};
use super::key_file::Unlocked;
use crate::cli::{CommandError, read_config, read_config_with};
use crate::clock::{Clock, SystemClock};
use crate::deployment::Deployment;
use crate::seal::PinFile;

/// What is known of the seals from before.
#[derive(Debug, Default)]
pub(super) struct KnownSeals {
    /// The deployment's own configuration, to take its static seals and `origin_key` from.
    pub(super) config: Option<Config>,
    deployment: Option<Deployment>,
    /// The static seals of `config` whose key is not at hand.
    pub(super) unread: Vec<SealName>,
    pins: Option<PathBuf>,
}

impl KnownSeals {
    pub(super) fn read(config: Option<&Path>, pins: Option<PathBuf>) -> Result<Self, CommandError> {
        let Some(path) = config else { return Ok(Self { pins, ..Self::default() }) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CommandError::Runtime)?;
        // Where the servers are gone, so are the files of some of their secrets.
        let is_whole = read_config(path).is_ok();
        let read = || if is_whole { read_config(path) } else { read_config_with(path, &AtHand) };
        // Once for what is known of its seals, pin files included, and once to take keys out of it.
        let deployment = runtime.block_on(Deployment::resume(read()?, None, None))?;
        let mut config = read()?;
        let unread = match is_whole {
            true => Vec::new(),
            false => config.take_out_unread(&read_config_with(path, &Placeholders)?),
        };
        Ok(Self { config: Some(config), deployment: Some(deployment), unread, pins })
    }

    /// The seals to serve with: the unlocked one first, then one for each other recipient of `blobs`
    /// but those that are given up.
    pub(super) fn seals_of(
        &mut self,
        blobs: &[Blob],
        key: Unlocked,
        given_up: &[SealName],
    ) -> Result<Vec<Seal>, BreakGlassError> {
        let recipients = || blobs.iter().flat_map(|blob| blob.envelope.recipients());
        let is_there = |name: &&SealName| recipients().any(|recipient| recipient.seal == **name);
        if let Some(seal) = given_up.iter().find(|name| !is_there(name)).cloned() {
            return Err(BreakGlassError::NotARecipient { seal });
        }
        let mut seals = Vec::new();
        let mut own = None;
        for recipient in recipients() {
            let name = &recipient.seal;
            if recipient.kek == key.kek {
                own = Some(name.clone());
            } else if !given_up.contains(name)
                && !self.is_revoked(name)
                && !self.is_disabled(name)
                && !seals.iter().any(|one: &Seal| one.name == *name)
            {
                let priority = u32::try_from(seals.len()).unwrap_or(u32::MAX).saturating_add(2);
                let cannot = |reason| BreakGlassError::CannotWrap {
                    seal: name.clone(),
                    kek: recipient.kek.clone(),
                    reason,
                };
                let kind = self.seal(recipient).map_err(cannot)?;
                let name = name.clone();
                let aliases = Vec::new();
                seals.push(Seal { name, aliases, priority, disabled: false, kind });
            }
        }
        let Unlocked { private_key, public_key, kek } = key;
        let private_key = Some(Box::new(private_key));
        let kind = SealKind::BreakGlass(BreakGlassSeal { public_key, kek, private_key });
        let name = own.ok_or(BreakGlassError::NoKey)?;
        let aliases = Vec::new();
        seals.insert(0, Seal { name, aliases, priority: 1, disabled: false, kind });
        Ok(seals)
    }

    /// Whether the servers would not wrap for it either.
    fn is_revoked(&self, name: &SealName) -> bool {
        self.deployment.as_ref().is_some_and(|known| known.seals.is_revoked(name))
    }

    /// Whether it wraps nothing more by the servers' own configuration.
    fn is_disabled(&self, name: &SealName) -> bool {
        let mut seals = self.config.iter().flat_map(|config| &config.seals);
        seals.any(|seal| seal.is_known_as(name) && seal.disabled)
    }

    /// Whether nothing but pin files tells of the seals: they do not say which ones are revoked.
    pub(super) const fn is_of_pins_alone(&self) -> bool {
        self.pins.is_some() && self.config.is_none()
    }

    fn seal(&mut self, recipient: &Recipient) -> Result<SealKind, WrapObstacle> {
        match self.configured(recipient) {
            Err(WrapObstacle::Unknown) => self.pinned(recipient),
            outcome => outcome,
        }
    }

    /// By the deployment's configuration: the key itself, or what its trusted pin file says.
    fn configured(&mut self, recipient: &Recipient) -> Result<SealKind, WrapObstacle> {
        let name = &recipient.seal;
        if self.unread.contains(name) {
            return Err(WrapObstacle::KeyNotAtHand);
        }
        if let Some(config) = &mut self.config
            && let Some(at) = config.seals.iter().position(|seal| seal.is_known_as(name))
            && matches!(config.seals.get(at), Some(Seal { kind: SealKind::Static(_), .. }))
        {
            return Ok(config.seals.swap_remove(at).kind);
        }
        let seal = self.deployment.as_ref().and_then(|known| known.seals.find(name));
        let known = seal.and_then(|seal| seal.known.as_ref()).ok_or(WrapObstacle::Unknown)?;
        let current = &known.keks.current().id;
        let now = SystemClock.unix_seconds();
        known.wrapping_version(current, now).map_err(|_fault| WrapObstacle::Untrusted)?;
        wrapped_locally(&known.keks)
    }

    /// By a pin file that the operator has named.
    fn pinned(&self, recipient: &Recipient) -> Result<SealKind, WrapObstacle> {
        let pins = self.pins.as_ref().ok_or(WrapObstacle::Unknown)?;
        let keks = PinFile::read_unproven(pins, &recipient.seal);
        let keks = keks.map_err(|_damage| WrapObstacle::Damaged)?.ok_or(WrapObstacle::Unknown)?;
        keks.version(&recipient.kek).ok_or(WrapObstacle::OtherKey)?;
        wrapped_locally(&keks)
    }
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
