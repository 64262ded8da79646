//! The methods by which clients log in: where they are mounted, what their roles are, and what a
//! login comes to. Beside the API this is the one room that knows wire names: a method's fields are
//! its language, in the configuration as in a request.

mod approle;
mod cert;
pub mod documents;
mod error;
mod login;
mod mount;
pub(crate) mod mounts;
pub(crate) mod parameters;
mod reply;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use selkie_crypto::{Random, StateKey};
use selkie_listener::ShownCertificate;
use uuid::Uuid;

pub use self::error::{AnswerKind, MethodError};
pub use self::login::{Login, LoginIdentity};
pub(crate) use self::mount::MountRecord;
pub use self::mount::{AuthMount, DeclaredMounts, MountSource, Tune};
pub(crate) use self::mounts::{AuthTable, PathInMount};
pub(crate) use self::reply::{MethodData, MethodReply, Outcome};
use super::Credentials;
use super::azure::Azure;
use super::configured::ConfiguredMethod;
use super::jwt::{Internet, Jwt, KeySources, Outside};
use super::kubernetes::Kubernetes;
use super::wrapping::Room;
use crate::api::fields::Fields;
use crate::api::route::Operation;
use crate::clock::Clock;
use crate::state::records::{Mirror, Mirrors, Records, RecordsError};

/// What logs clients in and keeps what it needs for that. One for all its mounts.
#[async_trait]
pub(crate) trait Method: fmt::Debug + Send + Sync {
    /// Vault's name of its type, as `approle`.
    fn kind(&self) -> &'static str;

    /// What follows the store.
    fn mirrors(&self) -> Vec<Arc<dyn Mirrors>>;

    /// Whether this is asked without a token. `rest` is the path below the mount, which ends in a
    /// slash for a list.
    fn is_login(&self, rest: &str, operation: Operation) -> bool;

    /// Whether a write to `rest` would make something that is not there, for which a policy must
    /// grant `create` instead of `update`. Vault asks that of few paths.
    fn creates(&self, mount: &AuthMount, rest: &str) -> bool;

    /// Answers what is asked below a mount: by somebody who may ask it, or by anybody where
    /// [`Method::is_login`] says so. A login that fails changes nothing.
    async fn answer(&self, request: MethodRequest<'_, '_>) -> Result<MethodReply, MethodError>;

    /// Whether a token that was got at `mount` may live on: its role is there still, and would take
    /// what is shown. One whose record cannot be read is there.
    fn may_renew(&self, mount: &AuthMount, renewal: Renewal<'_>) -> bool;

    /// Gets ready for logins at a declared mount, in the background.
    fn prepare(&self, _mount: &AuthMount) {}

    /// Deletes all that is kept for the mount `uuid`, which nobody uses any more.
    async fn forget(&self, records: &Records, uuid: Uuid) -> Result<(), RecordsError>;
}

/// What is asked of a method.
#[derive(Debug)]
pub(crate) struct MethodRequest<'a, 'b> {
    /// Where it is mounted, with what is declared of it.
    pub(crate) mount: &'a AuthMount,
    /// The path below the mount; ends in a slash for a list.
    pub(crate) rest: &'a str,
    /// What is wanted of it.
    pub(crate) operation: Operation,
    /// Take those that the path knows; the client is warned of the others.
    pub(crate) fields: &'a mut Fields<'b>,
    /// What the request shows of who sends it.
    pub(crate) credentials: Credentials<'a>,
    /// What it works with.
    pub(crate) tools: Tools<'a>,
    /// For the answer, if that is to be wrapped.
    pub(crate) room: Option<&'a Room<'a>>,
}

impl MethodRequest<'_, '_> {
    /// Has the room for the answer be in the share of whoever logs in by `login`: before that spends
    /// anything.
    pub(crate) fn claim_room(&self, login: &Login) -> Result<(), MethodError> {
        let Some(room) = self.room else { return Ok(()) };
        let owner = LoginIdentity::of(self.mount, login).entity_id;
        room.claim(&owner).map_err(|_full| MethodError::NoRoom)
    }
}

/// The renewal of a token that was got by a login.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Renewal<'a> {
    /// What the login knew.
    pub(crate) metadata: &'a BTreeMap<String, String>,
    /// The certificate of who renews.
    pub(crate) certificate: Option<&'a ShownCertificate>,
    /// In seconds since 1970.
    pub(crate) now: u64,
}

/// What methods work with.
#[derive(Clone, Copy)]
pub(crate) struct Tools<'a> {
    /// Where their records are kept.
    pub(crate) records: &'a Records,
    /// Under which secrets are hashed; there once the state is open.
    pub(crate) state_key: Option<&'a StateKey>,
    /// Wall time.
    pub(crate) clock: &'a dyn Clock,
    /// What the token clock says, once it has begun.
    pub(crate) token_time: Option<u64>,
    /// Randomness.
    pub(crate) random: &'a Random,
}

impl Tools<'_> {
    /// Wall time for deleting what has ended by it, which no leap of the wall clock takes along.
    pub(crate) fn time_to_delete(&self) -> u64 {
        let wall = self.clock.unix_seconds();
        self.token_time.map_or(wall, |time| time.min(wall))
    }

    /// A UUID that nobody else has.
    pub(crate) fn uuid(&self) -> Result<Uuid, MethodError> {
        let mut bytes = [0; 16];
        (self.random)(&mut bytes)?;
        Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl fmt::Debug for Tools<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tools").finish_non_exhaustive()
    }
}

/// All methods, and the mounts made through the API.
#[derive(Debug)]
pub struct Methods {
    internet: Arc<Internet>,
    all: Vec<Arc<dyn Method>>,
    mounts: Arc<Mirror<MountRecord>>,
}

impl Default for Methods {
    fn default() -> Self {
        let internet = Arc::new(Internet::default());
        let sources = || KeySources::new(Arc::clone(&internet) as Arc<dyn Outside>);
        let all: Vec<Arc<dyn Method>> = vec![
            Arc::new(approle::AppRole::default()),
            Arc::new(cert::Cert::default()),
            Arc::new(ConfiguredMethod::new(Jwt::new(sources()))),
            Arc::new(ConfiguredMethod::new(Kubernetes::new(sources()))),
            Arc::new(ConfiguredMethod::new(Azure::new(sources()))),
        ];
        Self { internet, all, mounts: Arc::default() }
    }
}

impl Methods {
    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        let mounts = Arc::clone(&self.mounts) as Arc<dyn Mirrors>;
        let methods = self.all.iter().flat_map(|method| method.mirrors());
        std::iter::once(mounts).chain(methods).collect()
    }

    /// Reads the system's certificates, which providers are trusted by from now on: at the start,
    /// before the process is confined, and at a reload.
    pub(crate) fn read_certificates(&self) {
        self.internet.read_certificates();
    }

    /// Gets ready for logins at the declared mounts, in the background, so that the first need not
    /// wait for a provider. Called in a tokio runtime, at the start and with every new deployment.
    pub fn prepare(&self, declared: &DeclaredMounts) {
        for mount in declared.iter() {
            if let Some(method) = self.of_kind(&mount.kind) {
                method.prepare(mount);
            }
        }
    }

    /// The method of this type; `None` for one that this version does not know.
    pub(crate) fn of_kind(&self, kind: &str) -> Option<&Arc<dyn Method>> {
        self.all.iter().find(|method| method.kind() == kind)
    }
}
