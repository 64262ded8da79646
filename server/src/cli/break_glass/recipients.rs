//! Whose the recipients of the ciphertexts at hand are: a seal that was renamed has several names.

use std::cmp::Reverse;

use selkie_config::{ConfigAtHand, SealKind};
use selkie_crypto::envelope::Recipient;
use selkie_crypto::{KekId, SealName};

use super::blob::Blob;
use super::error::{BreakGlassError, WrapObstacle};

/// The recipients that are of one seal.
pub(super) struct Group<'b> {
    /// The seal's name, by the configuration if that tells, and then those that it had before.
    pub(super) names: Vec<SealName>,
    pub(super) recipients: Vec<&'b Recipient>,
}

impl Group<'_> {
    /// Whether one of its recipients is of a seal that goes by such a name.
    pub(super) fn is_of(&self, is_name: impl Fn(&SealName) -> bool) -> bool {
        self.recipients.iter().any(|recipient| is_name(&recipient.seal))
    }

    pub(super) fn has_name(&self, name: &SealName) -> bool {
        self.names.contains(name)
    }

    /// Whether something was wrapped under this version of its key.
    pub(super) fn has_kek(&self, kek: &KekId) -> bool {
        self.recipients.iter().any(|recipient| recipient.kek == *kek)
    }

    pub(super) fn cannot_wrap(&self, reason: WrapObstacle) -> BreakGlassError {
        match self.recipients.first() {
            None => BreakGlassError::NoBlob,
            Some(Recipient { seal, kek, .. }) => {
                let (seal, kek) = (seal.clone(), kek.clone());
                BreakGlassError::CannotWrap { seal, kek, reason }
            }
        }
    }
}

/// All recipients but those of the key `own`, by seals.
pub(super) fn groups<'b>(
    blobs: &'b [Blob],
    own: &KekId,
    config: Option<&ConfigAtHand>,
) -> Vec<Group<'b>> {
    let mut groups: Vec<Group<'b>> = Vec::new();
    for recipient in newest_first(blobs).filter(|recipient| recipient.kek != *own) {
        match groups.iter_mut().find(|group| group.has_name(&recipient.seal)) {
            Some(group) => group.recipients.push(recipient),
            None => {
                let names = names_of(&recipient.seal, config);
                groups.push(Group { names, recipients: vec![recipient] });
            }
        }
    }
    groups
}

/// The names of the seal whose key is `own`.
pub(super) fn own_names(
    blobs: &[Blob],
    own: &KekId,
    config: Option<&ConfigAtHand>,
) -> Vec<SealName> {
    let is_own = |kind: &SealKind| matches!(kind, SealKind::BreakGlass(seal) if seal.kek == *own);
    let declared = config.into_iter().flat_map(|config| &config.seals);
    let declared = declared.filter(|seal| is_own(&seal.kind));
    let declared = declared.flat_map(|seal| std::iter::once(&seal.name).chain(&seal.aliases));
    let told = newest_first(blobs).filter(|recipient| recipient.kek == *own);
    let mut names: Vec<SealName> = Vec::new();
    for name in declared.chain(told.map(|recipient| &recipient.seal)) {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

/// What was made last names a seal by the name that it has now.
fn newest_first(blobs: &[Blob]) -> impl Iterator<Item = &Recipient> {
    let mut blobs: Vec<_> = blobs.iter().collect();
    blobs.sort_by_key(|blob| {
        Reverse((blob.envelope.header().version, blob.envelope.header().created))
    });
    blobs.into_iter().flat_map(|blob| blob.envelope.recipients())
}

/// All names of the seal that goes by `name`.
fn names_of(name: &SealName, config: Option<&ConfigAtHand>) -> Vec<SealName> {
    let Some(config) = config else { return vec![name.clone()] };
    let sound = config.seals.iter().map(|seal| (&seal.name, &seal.aliases));
    let unread = config.unread_seals.iter().map(|seal| (&seal.name, &seal.aliases));
    let revoked = config.revoked_seals.iter().map(|seal| (&seal.name, &seal.aliases));
    let mut all = sound.chain(unread).chain(revoked);
    let found = all.find(|(one, aliases)| *one == name || aliases.contains(name));
    let names = found.map(|(one, aliases)| std::iter::once(one).chain(aliases).cloned().collect());
    names.unwrap_or_else(|| vec![name.clone()])
}
