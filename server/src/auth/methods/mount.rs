//! Where a method answers, and how its tokens are tuned.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use selkie_access::MountPath;
use selkie_config::{DeclaredAuth, DeclaredMethod};
use selkie_storage::RecordValue;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::auth::tokens::GivenTokenType;
use crate::stable_uuid::stable_uuid;
use crate::state::records::{Index, Kept, TooLarge, to_record};

/// Where a method answers.
#[derive(Clone, Debug)]
pub struct AuthMount {
    /// Below `auth/`.
    pub path: MountPath,
    /// Vault's name of the method's type.
    pub kind: Box<str>,
    /// Its own; what is kept for it is kept under this.
    pub uuid: Uuid,
    /// `auth_<type>_<8 hexadecimal digits>`
    pub accessor: String,
    /// Free text.
    pub description: String,
    /// What is set of it.
    pub tune: Tune,
    /// Where it comes from.
    pub source: MountSource,
}

/// Where a mount comes from.
#[derive(Clone, Debug)]
pub enum MountSource {
    /// Made through the API.
    Managed,
    /// Declared, with all there is of its configuration.
    Declared(Arc<DeclaredAuth>),
}

/// What is set of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tune {
    /// How long tokens live whose role does not say it, in seconds; 0: the system's default.
    pub default_lease_ttl: u64,
    /// How long tokens live at most, in seconds; 0: the system's.
    pub max_lease_ttl: u64,
    /// Which type of tokens a login gives.
    pub token_type: GivenTokenType,
    /// `hidden` or `unauth`; shown, and otherwise without effect.
    pub listing_visibility: String,
    /// Shown, and otherwise without effect.
    pub options: BTreeMap<String, String>,
    /// Shown, and otherwise without effect.
    pub local: bool,
    /// Shown, and otherwise without effect.
    pub seal_wrap: bool,
}

impl AuthMount {
    pub(super) fn managed(path: MountPath, kind: &str, uuid: Uuid) -> Self {
        Self {
            path,
            kind: kind.into(),
            uuid,
            accessor: accessor(kind, uuid),
            description: String::new(),
            tune: Tune::default(),
            source: MountSource::Managed,
        }
    }

    fn declared(declared: DeclaredAuth) -> Self {
        let declared = Arc::new(declared);
        let kind = declared.method.kind();
        // The type is part of it: a path that another method takes over is another mount.
        let uuid = stable_uuid("auth mount", &format!("{kind}\0{}", declared.path));
        let seconds = |time: Option<std::time::Duration>| time.map_or(0, |time| time.as_secs());
        let tune = Tune {
            default_lease_ttl: seconds(declared.default_lease_ttl),
            max_lease_ttl: seconds(declared.max_lease_ttl),
            ..Tune::default()
        };
        Self {
            description: declared.description.clone(),
            tune,
            source: MountSource::Declared(Arc::clone(&declared)),
            ..Self::managed(declared.path.clone(), kind, uuid)
        }
    }

    /// What is declared of the method; `None` for a mount made through the API.
    #[must_use]
    pub fn declaration(&self) -> Option<&DeclaredMethod> {
        match &self.source {
            MountSource::Managed => None,
            MountSource::Declared(declared) => Some(&declared.method),
        }
    }

    /// Where it is declared, as `<file>:<line>:<column>`.
    #[must_use]
    pub fn declared_at(&self) -> Option<&str> {
        match &self.source {
            MountSource::Managed => None,
            MountSource::Declared(declared) => Some(&declared.at),
        }
    }
}

/// The same mount has the same path and the same records behind it.
impl PartialEq for AuthMount {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path && self.uuid == other.uuid
    }
}

impl Eq for AuthMount {}

fn accessor(kind: &str, uuid: Uuid) -> String {
    let digits = uuid.simple().to_string();
    format!("auth_{kind}_{}", digits.get(..8).unwrap_or_default())
}

/// The declared mounts, none inside another.
#[derive(Clone, Debug, Default)]
pub struct DeclaredMounts(Arc<[Arc<AuthMount>]>);

impl DeclaredMounts {
    /// `declared`, as configured.
    #[must_use]
    pub fn new(declared: Vec<DeclaredAuth>) -> Self {
        Self(declared.into_iter().map(|one| Arc::new(AuthMount::declared(one))).collect())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<AuthMount>> {
        self.0.iter()
    }
}

/// A mount made through the API, as it is kept: `auth-mount/<path>`.
#[derive(Debug)]
pub(crate) struct MountRecord {
    pub(super) mount: Arc<AuthMount>,
    /// Being deleted: it answers nothing any more, and deleting it again goes on.
    pub(super) tainted: bool,
}

/// Finds mounts by their accessors.
#[derive(Debug, Default)]
pub(crate) struct MountAccessors(HashMap<Box<str>, MountPath>);

impl MountAccessors {
    /// Where the mount of this accessor is.
    pub(super) fn path(&self, accessor: &str) -> Option<MountPath> {
        self.0.get(accessor).cloned()
    }
}

impl Index<MountRecord> for MountAccessors {
    fn note(&mut self, path: &MountPath, old: Option<&MountRecord>, new: Option<&MountRecord>) {
        if let Some(old) = old {
            self.0.remove(old.mount.accessor.as_str());
        }
        if let Some(new) = new {
            self.0.insert(new.mount.accessor.as_str().into(), path.clone());
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    format: u32,
    #[serde(rename = "type")]
    kind: Box<str>,
    uuid: String,
    description: String,
    tune: Tune,
    tainted: bool,
}

impl Kept for MountRecord {
    const ROOT: &'static str = "auth-mount";
    type Name = MountPath;
    type Index = MountAccessors;

    fn place(name: &MountPath) -> String {
        name.to_string()
    }

    fn name(place: &str) -> Option<MountPath> {
        place.parse().ok()
    }

    fn encode(&self) -> Result<RecordValue, TooLarge> {
        to_record(&Written {
            format: 1,
            kind: self.mount.kind.clone(),
            uuid: self.mount.uuid.to_string(),
            description: self.mount.description.clone(),
            tune: self.mount.tune.clone(),
            tainted: self.tainted,
        })
    }

    fn decode(name: &MountPath, value: &RecordValue) -> Option<Self> {
        let read: Written = serde_json::from_slice(value.as_bytes()).ok()?;
        if read.format != 1 {
            return None;
        }
        let mount = AuthMount::managed(name.clone(), &read.kind, read.uuid.parse().ok()?);
        let mount = AuthMount { description: read.description, tune: read.tune, ..mount };
        Some(Self { mount: Arc::new(mount), tainted: read.tainted })
    }
}
