//! What a later configuration breaks of what an earlier one promised, as it is told to people.

use std::fmt;

use selkie_access::{KeyName, MountPath};
use selkie_crypto::{KekId, KeyFingerprint, SealName};

use crate::promises::Promises;
use crate::seal::DistantKey;

/// Something that the previous configuration promised and this one does not keep.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Regression {
    /// What a key's envelopes are made for changed, and its counted version did not rise (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its current master keys or quorum changed but its \
         version does not rise above {was}; set \"generation\" to {needed} or more, or Vaults that use it never \
         move to the new ones"
    )]
    GenerationNotRaised {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// Its version under the previous configuration.
        was: u32,
        /// The lowest generation that will do.
        needed: u32,
    },
    /// The version number of a key would go back (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its version would go back by {by}; set {field:?} to \
         {needed} or more"
    )]
    VersionGoesBack {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// By how much.
        by: u32,
        /// `generation` or `version`.
        field: &'static str,
        /// The lowest value of that field that will do.
        needed: u32,
    },
    /// What a key's envelopes are made for changed, and its stated version did not rise (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": its current master keys or quorum changed but its \
         version does not rise above {was}; set \"version\" to {needed} or more, or Vaults that use it never \
         move to the new ones"
    )]
    VersionNotRaised {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// Its version under the previous configuration.
        was: u32,
        /// The lowest version that will do.
        needed: u32,
    },
    /// How high the version of a key was cannot be told, so it is sure to rise only so (I7).
    #[error(
        "key \"{key}\" in mount \"{mount}\": it counts the versions of a key in Key Vault, which \
         these files do not tell, so its version may have been up to {most}; set {field:?} to \
         {needed} or more, or it may go back"
    )]
    VersionMayGoBack {
        /// The key.
        key: KeyName,
        /// Its mount.
        mount: MountPath,
        /// The highest version that it may have had under the previous configuration.
        most: u32,
        /// `generation` or `version`.
        field: &'static str,
        /// The lowest value of that field that will do.
        needed: u32,
    },
    /// A key is gone.
    #[error(
        "key \"{key}\" in mount \"{mount}\" is no longer declared{}: its ciphertexts do not open",
        but_is(.alike.as_ref())
    )]
    KeyRemoved {
        /// The key.
        key: KeyName,
        /// The mount it was in.
        mount: MountPath,
        /// A key there with a name like it: it may have been misspelt.
        alike: Option<KeyName>,
    },
    /// A seal is gone.
    #[error(
        "no seal has the name or alias \"{seal}\" any more{}: envelopes made for it alone do not open, \
         those made for other declared seals as well still do; if the seal was renamed, add this name \
         to its \"aliases\"", but_is(.alike.as_ref())
    )]
    SealRemoved {
        /// The seal.
        seal: SealName,
        /// A seal with a name like it.
        alike: Option<SealName>,
    },
    /// None of the seals of a key opens anything any more.
    #[error(
        "key \"{key}\" in mount \"{mount}\": none of its seals opens anything any more, as each is \
         revoked or no longer declared ({}): what was made for them is lost; first let another seal \
         join the key, raise its \"generation\", and have each Vault encrypt anew", .seals.join(", ")
    )]
    OnlyOpenersGone {
        /// The key.
        key: KeyName,
        /// The mount it was in.
        mount: MountPath,
        /// The seals.
        seals: Vec<String>,
    },
    /// Fewer of the seals of a key are left than its quorum needs.
    #[error(
        "key \"{key}\" in mount \"{mount}\": its quorum needs {needed} seals, of which {left} are \
         left: what was made for them is lost; first change its seals, raise its \"generation\", \
         and have each Vault encrypt anew"
    )]
    QuorumGone {
        /// The key.
        key: KeyName,
        /// The mount it was in.
        mount: MountPath,
        /// How many are needed.
        needed: u8,
        /// How many are left.
        left: usize,
    },
    /// A version of a static seal is gone.
    #[error(
        "seal \"{seal}\": key id \"{id}\" is no longer declared: what it wrapped does not open"
    )]
    KeyIdRemoved {
        /// The seal.
        seal: SealName,
        /// The version's id.
        id: KekId,
    },
    /// Another key stands under the id of a version of a static seal.
    #[error(
        "seal \"{seal}\": key id \"{id}\" now names another key: what the one before it wrapped does \
         not open; give the new key an id of its own, and declare the one before as \"previous\""
    )]
    OtherKeyUnderId {
        /// The seal.
        seal: SealName,
        /// The version's id.
        id: KekId,
    },
    /// The key under an id is read from elsewhere, and the one before cannot be read.
    #[error(
        "seal \"{seal}\": the key of the id \"{id}\" is read from elsewhere now, and what it was read \
         from cannot be read here to compare them: what another key wrapped does not open"
    )]
    KeyNotCompared {
        /// The seal.
        seal: SealName,
        /// The version's id.
        id: KekId,
    },
    /// A seal has another master key, which somebody else holds.
    #[error(
        "seal \"{seal}\": the key {was} is no longer its master key{}: what that one wrapped does \
         not open", but_is_now(.now.as_ref())
    )]
    MasterKeyRemoved {
        /// The seal.
        seal: SealName,
        /// The key that it had.
        was: DistantKey,
        /// The key that it has now, if somebody else holds it.
        now: Option<DistantKey>,
    },
    /// A version of a seal in an HSM is gone.
    #[error(
        "seal \"{seal}\": CKA_ID \"{id}\" is no longer in \"key_id\" or \"previous_key_ids\": what it \
         wrapped does not open"
    )]
    HsmKeyRemoved {
        /// The seal.
        seal: SealName,
        /// The version's id, in hex.
        id: String,
    },
    /// The versions of a seal in an HSM have another label.
    #[error(
        "seal \"{seal}\": CKA_LABEL {was:?} is no longer its \"key_label\": what a key of that label \
         wrapped does not open"
    )]
    HsmLabelChanged {
        /// The seal.
        seal: SealName,
        /// The label that it had.
        was: String,
    },
    /// The token of a seal in an HSM is chosen in other words. It may be the same, or another one
    /// that holds a copy of the keys.
    #[error(
        "seal \"{seal}\": its token is no longer chosen by {was}: unless the token that is chosen now \
         holds the same keys, what they wrapped does not open"
    )]
    HsmTokenChanged {
        /// The seal.
        seal: SealName,
        /// What it was chosen by, as the file says it.
        was: String,
    },
    /// A mount is neither mounted nor an alias.
    #[error("mount \"{mount}\" is neither declared nor an alias: its ciphertexts do not open")]
    MountRemoved {
        /// The mount.
        mount: MountPath,
    },
    /// A realm is neither the realm nor an alias.
    #[error(
        "realm {realm:?} is neither the realm, which is {now:?} now, nor an alias: its ciphertexts do \
         not open"
    )]
    RealmRemoved {
        /// The realm.
        realm: String,
        /// The one in its place.
        now: String,
    },
    /// There was no origin key and now one is required.
    #[error("\"origin_key\" is new: ciphertexts made before it do not open")]
    OriginKeyAdded,
    /// The origin key is another one.
    #[error("\"origin_key\" changed: ciphertexts made with the previous one do not open")]
    OriginKeyChanged,
    /// The origin key is read from elsewhere, and the one before cannot be read.
    #[error(
        "\"origin_key\" is read from elsewhere now, and what it was read from cannot be read here to \
         compare them: ciphertexts made with another one do not open"
    )]
    OriginKeyNotCompared,
    /// What was kept in a storage is not there.
    #[error(
        "there is no \"storage\" any more that outlives a restart: the keys that were made through the \
         API are not there, so what they encrypted does not open, nor are its policies and tokens"
    )]
    StorageRemoved,
}

impl Regression {
    /// What becomes of `previous` where the origin key is `now`.
    pub(crate) fn of_origin_key(
        now: Option<&KeyFingerprint>,
        previous: Option<&KeyFingerprint>,
    ) -> Option<Self> {
        match (now?, previous) {
            (_, None) => Some(Self::OriginKeyAdded),
            (now, Some(was)) => (now != was).then_some(Self::OriginKeyChanged),
        }
    }

    /// The same, or that nobody can tell, where the key that `previous` was read with is the one that
    /// stands in for its reference in `by_reference`.
    #[must_use]
    pub fn as_far_as_read(self, previous: &Promises, by_reference: &Promises) -> Self {
        let origin_keys = previous.origin_key.as_ref().zip(by_reference.origin_key.as_ref());
        match self {
            Self::OtherKeyUnderId { seal, id }
                if previous.shares_static_key(by_reference, &seal, &id) =>
            {
                Self::KeyNotCompared { seal, id }
            }
            Self::OriginKeyChanged if origin_keys.is_some_and(|(one, other)| one == other) => {
                Self::OriginKeyNotCompared
            }
            told => told,
        }
    }

    /// Whether ciphertexts open no more. Else a version number does not rise as it should, or a token
    /// that is chosen in other words may be the same.
    #[must_use]
    pub const fn is_loss(&self) -> bool {
        !matches!(
            self,
            Self::GenerationNotRaised { .. }
                | Self::VersionNotRaised { .. }
                | Self::VersionGoesBack { .. }
                | Self::VersionMayGoBack { .. }
                | Self::HsmTokenChanged { .. }
        )
    }

    /// What to write into the file to have it back.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::GenerationNotRaised { .. } | Self::VersionMayGoBack { .. } => {
                "raise the \"generation\" of the key as said"
            }
            Self::VersionNotRaised { .. } | Self::VersionGoesBack { .. } => {
                "raise the \"version\" or \"generation\" of the key as said"
            }
            Self::KeyRemoved { .. } => "declare the key again, under this name",
            Self::SealRemoved { .. } => {
                "declare the seal again, or with \"revoked = true\" if its key was stolen"
            }
            Self::OnlyOpenersGone { .. } | Self::QuorumGone { .. } => "declare those seals again",
            Self::KeyIdRemoved { .. } => "declare the id again, as a \"previous\" key of the seal",
            Self::OtherKeyUnderId { .. } | Self::KeyNotCompared { .. } => {
                "put the key back under its id, and give the new one an id of its own"
            }
            Self::MasterKeyRemoved { was: DistantKey::InKeyVault { .. }, .. } => {
                "lead the seal back to that key, and declare the new one as a seal of its own; if it \
                 was restored into another vault, add the old one's host to \"former_vaults\""
            }
            Self::MasterKeyRemoved { .. } => {
                "lead the seal back to that key, and declare the new one as a seal of its own"
            }
            Self::HsmKeyRemoved { .. } => "put the id into \"previous_key_ids\"",
            Self::HsmLabelChanged { .. } | Self::HsmTokenChanged { .. } => {
                "put it back, and declare the new one as a seal of its own"
            }
            Self::MountRemoved { .. } => {
                "declare the mount again, or put it into the \"aliases\" of the one in its place"
            }
            Self::RealmRemoved { .. } => "put it back as \"realm\", or into \"realm_aliases\"",
            Self::OriginKeyAdded => "take \"origin_key\" out again",
            Self::OriginKeyChanged | Self::OriginKeyNotCompared => {
                "put the previous \"origin_key\" back"
            }
            Self::StorageRemoved => "put the \"storage\" stanza back",
        }
    }
}

fn but_is<N: fmt::Display>(alike: Option<&N>) -> String {
    alike.map_or_else(String::new, |alike| format!(", but \"{alike}\" is there"))
}

fn but_is_now(now: Option<&DistantKey>) -> String {
    now.map_or_else(String::new, |now| format!(", which is {now} now"))
}
