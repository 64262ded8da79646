//! Whether the state is open: what health, metrics and operators are told of it.

use selkie_crypto::KeyVersion;

/// How it stands with the state that is kept in storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateStatus {
    /// No storage is configured: there is none, and none is missing.
    None,
    /// Not open yet; it is tried again and again.
    Sealed {
        /// What it waits for.
        why: WhySealed,
    },
    /// Open: the managed keys are served.
    Open {
        /// How many times it was changed, by all replicas together.
        sequence: u64,
    },
    /// It cannot be served as it is, and no waiting will change that.
    Refused {
        /// What is wrong with it.
        why: WhyRefused,
    },
}

/// What a sealed state waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhySealed {
    /// Nobody has tried to open it yet.
    Starting,
    /// The store cannot be reached.
    StoreAway,
    /// No seal opens the state key.
    NoSealOpens,
    /// A restore or a migration is writing the store.
    Filling,
}

/// Why a state is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyRefused {
    /// The store is of another deployment.
    OtherRealm,
    /// The store is of a later Selkie.
    LaterFormat,
    /// The records are not those that were committed.
    Altered,
    /// The store is an older one than was seen before.
    RolledBack,
}

impl StateStatus {
    /// Whether managed keys are served, or may be made.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// In one word.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sealed { .. } => "sealed",
            Self::Open { .. } => "open",
            Self::Refused { .. } => "refused",
        }
    }

    /// What is missing, for anybody: it names no seal and no address. `None` if nothing is.
    #[must_use]
    pub const fn reason(&self) -> Option<&'static str> {
        Some(match self {
            Self::None | Self::Open { .. } => return None,
            Self::Sealed { why } => match why {
                WhySealed::Starting => "the state has not been opened yet",
                WhySealed::StoreAway => "the storage cannot be reached",
                WhySealed::NoSealOpens => "no seal opens the state key",
                WhySealed::Filling => "a restore or a migration is writing the storage",
            },
            Self::Refused { why } => match why {
                WhyRefused::OtherRealm => "the storage belongs to another deployment",
                WhyRefused::LaterFormat => "the storage was written by a later version",
                WhyRefused::Altered => "the storage does not hold what was written to it",
                WhyRefused::RolledBack => "the storage is older than what was seen before",
            },
        })
    }

    /// What an operator can do about it.
    #[must_use]
    pub const fn advice(&self) -> Option<&'static str> {
        Some(match self {
            Self::None | Self::Open { .. } => return None,
            Self::Sealed { why } => match why {
                WhySealed::Starting => "nothing yet: it is being opened",
                WhySealed::StoreAway => "check the way to the storage; it is tried again by itself",
                WhySealed::NoSealOpens => "mend a seal: \"selkie status\" says what each lacks",
                WhySealed::Filling => "wait for the restore or the migration, or run it again",
            },
            Self::Refused { why } => match why {
                WhyRefused::OtherRealm => "check the address and prefix of the storage, and realm",
                WhyRefused::LaterFormat => "run the later Selkie",
                WhyRefused::Altered | WhyRefused::RolledBack => {
                    "find out who changed the storage, and restore a backup"
                }
            },
        })
    }
}

/// The state key in its envelope, as it stands in the store, and where it says it belongs: a drill
/// opens it through each seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateKeyEnvelope {
    /// The envelope, as JSON.
    pub json: Vec<u8>,
    /// The mount in its header.
    pub mount: String,
    /// The key in its header.
    pub key: String,
    /// The version in its header.
    pub version: KeyVersion,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_open_has_a_reason_and_an_advice() {
        let missing = [
            StateStatus::Sealed { why: WhySealed::NoSealOpens },
            StateStatus::Refused { why: WhyRefused::Altered },
        ];
        for status in missing {
            assert!(status.reason().is_some() && status.advice().is_some() && !status.is_open());
        }
        for status in [StateStatus::None, StateStatus::Open { sequence: 1 }] {
            assert_eq!((status.reason(), status.advice()), (None, None));
        }
    }
}
