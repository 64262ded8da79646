//! Which methods are mounted where, and how that is changed through the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use selkie_access::MountPath;

use super::mount::{AuthMount, DeclaredMounts, MountRecord, Tune};
use super::{MethodError, Methods, Tools};
use crate::api::route::Operation;
use crate::state::records::{Batch, Current, RecordsError};

/// All mounts as of now. What is declared wins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AuthTable<'a> {
    pub(crate) declared: &'a DeclaredMounts,
    pub(crate) methods: &'a Methods,
}

/// A mount and the path below it.
#[derive(Debug)]
pub(crate) struct PathInMount<'p> {
    pub(crate) mount: Arc<AuthMount>,
    pub(crate) rest: &'p str,
}

impl AuthTable<'_> {
    /// The mount that a path below `auth/` lies in. The path may lack the mount's final slash.
    pub(crate) fn find<'p>(&self, path: &'p str) -> Option<PathInMount<'p>> {
        // Also inside a managed one, which was there before it.
        let declared = self.declared.iter().find_map(|mount| {
            let rest = path.strip_prefix(mount.path.as_str())?;
            let rest = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some(PathInMount { mount: Arc::clone(mount), rest })
        });
        if declared.is_some() {
            return declared;
        }
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        // No mount's path is longer; a request's may be, and have very many slashes.
        for end in ends.take_while(|end| *end <= 256) {
            let Some((head, rest)) = path.split_at_checked(end) else { continue };
            if let Some(mount) = self.at(head) {
                return Some(PathInMount { mount, rest: rest.strip_prefix('/').unwrap_or(rest) });
            }
        }
        None
    }

    /// The mount at exactly `path`, without a final slash.
    pub(crate) fn at(&self, path: &str) -> Option<Arc<AuthMount>> {
        let declared = self.declared.iter().find(|mount| mount.path.as_str() == path);
        if let Some(mount) = declared {
            return Some(Arc::clone(mount));
        }
        let record = self.methods.mounts.get(&path.parse().ok()?).ok()??.value;
        (!record.tainted).then(|| Arc::clone(&record.mount))
    }

    /// All mounts, by path.
    pub(crate) fn all(&self) -> Vec<Arc<AuthMount>> {
        let mut all = BTreeMap::new();
        self.methods.mounts.for_each(|path, record| {
            if !record.tainted {
                all.insert(path.clone(), Arc::clone(&record.mount));
            }
        });
        all.extend(self.declared.iter().map(|mount| (mount.path.clone(), Arc::clone(mount))));
        all.into_values().collect()
    }

    /// Whether a mount has this accessor, and answers. A record that cannot be read may be its.
    pub(crate) fn has(&self, accessor: &str) -> bool {
        if self.declared.iter().any(|mount| mount.accessor == accessor) {
            return true;
        }
        let mounts = &self.methods.mounts;
        match mounts.find(|accessors| accessors.path(accessor)) {
            Some(path) => self.at(path.as_str()).is_some_and(|mount| mount.accessor == accessor),
            None => mounts.names().iter().any(|path| mounts.get(path).is_err()),
        }
    }

    /// Whether what is asked of `found` is a login, which needs no token.
    pub(crate) fn is_login(&self, found: &PathInMount<'_>, operation: Operation) -> bool {
        let method = self.methods.of_kind(&found.mount.kind);
        method.is_some_and(|method| method.is_login(found.rest, operation))
    }

    /// A mount that `path` is, lies in, or lies around.
    fn in_the_way_of(&self, path: &MountPath) -> Option<MountPath> {
        let overlap = |one: &str, other: &str| {
            let rest = one.strip_prefix(other);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let (all, path) = (self.all(), path.as_str());
        let other = all.iter().find(|mount| {
            let other = mount.path.as_str();
            overlap(path, other) || overlap(other, path)
        });
        other.map(|mount| mount.path.clone())
    }
}

/// How long the system lets tokens live, in seconds.
pub(crate) const SYSTEM_SECONDS: u64 = 768 * 3600;

/// Why a mount was not made, changed or deleted. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MountProblem {
    #[error("path is already in use at {path}/")]
    InUse { path: MountPath },
    #[error("plugin not found in the catalog: {kind}")]
    UnknownKind { kind: String },
    #[error("token credential backend cannot be instantiated")]
    TokenKind,
    #[error("token credential backend cannot be disabled")]
    TokenPath,
    #[error("backend type must be specified as a string")]
    NoKind,
    #[error("plugin_name must be provided for plugin backend")]
    NoPluginName,
    #[error("auth method {kind:?} does not allow setting a version")]
    Versioned { kind: String },
    #[error("unable to parse {which} TTL of {value}: {reason}")]
    NewTtl { which: &'static str, value: String, reason: String },
    #[error("{reason}")]
    Ttl { reason: String },
    #[error("given default lease TTL greater than given max lease TTL")]
    DefaultAboveMax,
    #[error("given default lease TTL greater than system max lease TTL of {SYSTEM_SECONDS}")]
    DefaultAboveSystem,
    #[error(
        "backend max lease TTL of {max} would be less than backend default lease TTL of {default}"
    )]
    MaxBelowDefault { max: u64, default: u64 },
    #[error("invalid value for 'token_type'")]
    TokenType,
    #[error("invalid listing_visibility {name}")]
    Visibility { name: String },
    #[error("No auth engine at {path}/")]
    NoMount { path: String },
    #[error("cannot fetch sysview for path \"auth/{path}/\"")]
    NoView { path: String },
    #[error("tune of path \"auth/{path}/\" failed: no mount entry found")]
    NotTuned { path: String },
    #[error("'token_type' cannot be set for 'token' or 'ns_token' auth mounts")]
    TokenTypeOfTokens,
    #[error(
        "the mount of tokens has no settings in Selkie: a token, or its role below \
         auth/token/roles, says how long it lives"
    )]
    TuneOfTokens,
    #[error("the path of a mount: {source}")]
    Path { source: selkie_access::NameError },
    #[error("others are changing the mount at the same time; try again")]
    Contended,
}

/// The path of a mount as a request names it.
pub(crate) fn mount_path(path: &str) -> Result<MountPath, MountProblem> {
    let path: MountPath = path.parse().map_err(|source| MountProblem::Path { source })?;
    match path.as_str().split('/').next() {
        Some("token") => Err(MountProblem::InUse { path }),
        _ => Ok(path),
    }
}

impl Methods {
    /// Mounts a method.
    pub(crate) async fn enable(
        &self,
        table: AuthTable<'_>,
        tools: Tools<'_>,
        mount: NewMount,
    ) -> Result<(), MethodError> {
        let NewMount { path, kind, description, tune } = mount;
        let refused = |problem: MountProblem| MethodError::refused(problem);
        if tune.max_lease_ttl > 0 && tune.default_lease_ttl > tune.max_lease_ttl {
            return Err(refused(MountProblem::DefaultAboveMax));
        }
        if tune.max_lease_ttl == 0 && tune.default_lease_ttl > SYSTEM_SECONDS {
            return Err(refused(MountProblem::DefaultAboveSystem));
        }
        if tune.options.get("version").is_some_and(|version| !version.is_empty()) {
            return Err(refused(MountProblem::Versioned { kind }));
        }
        if kind == "token" {
            return Err(refused(MountProblem::TokenKind));
        }
        if self.of_kind(&kind).is_none() {
            return Err(refused(MountProblem::UnknownKind { kind }));
        }
        if let Some(path) = table.in_the_way_of(&path) {
            return Err(refused(MountProblem::InUse { path }));
        }
        let mount = AuthMount::managed(path.clone(), &kind, tools.uuid()?);
        let mount = Arc::new(AuthMount { description, tune, ..mount });
        let mut batch = Batch::default();
        batch.put(&path, &MountRecord { mount, tainted: false }, None)?;
        match tools.records.commit(&batch).await {
            Err(RecordsError::Conflict) => Err(MethodError::refused(MountProblem::InUse { path })),
            outcome => Ok(outcome?),
        }
    }

    /// Changes what is set of a managed mount.
    pub(crate) async fn tune(
        &self,
        tools: Tools<'_>,
        path: &MountPath,
        change: impl Fn(&mut AuthMount) + Send,
    ) -> Result<(), MethodError> {
        let Current { value, revision } = self.managed(path)?;
        let mut mount = AuthMount::clone(&value.mount);
        change(&mut mount);
        let (max, default) = (mount.tune.max_lease_ttl, mount.tune.default_lease_ttl);
        if max > 0 && default > max {
            return Err(MethodError::refused(MountProblem::MaxBelowDefault { max, default }));
        }
        let record = MountRecord { mount: Arc::new(mount), tainted: value.tainted };
        let mut batch = Batch::default();
        batch.put(path, &record, Some(revision))?;
        commit(tools, &batch).await
    }

    /// The first half of unmounting: the mount answers nothing any more. `None` if there is none.
    pub(crate) async fn taint(
        &self,
        tools: Tools<'_>,
        path: &MountPath,
    ) -> Result<Option<Arc<AuthMount>>, MethodError> {
        let found = tools.records.find(&self.mounts, path, None).await?;
        let Some(Current { value, revision }) = found else { return Ok(None) };
        if !value.tainted {
            let mount = Arc::clone(&value.mount);
            let mut batch = Batch::default();
            batch.put(path, &MountRecord { mount, tainted: true }, Some(revision))?;
            commit(tools, &batch).await?;
        }
        Ok(Some(Arc::clone(&value.mount)))
    }

    /// The second half: deletes all that is kept for the tainted mount, and the mount at last.
    pub(crate) async fn remove(
        &self,
        tools: Tools<'_>,
        mount: &AuthMount,
    ) -> Result<(), MethodError> {
        if let Some(method) = self.of_kind(&mount.kind) {
            method.forget(tools.records, mount.uuid).await?;
        }
        let Some(Current { value, revision }) = self.mounts.get(&mount.path)? else {
            return Ok(());
        };
        if !value.tainted || value.mount.uuid != mount.uuid {
            return Ok(());
        }
        let mut batch = Batch::default();
        batch.delete::<MountRecord>(&mount.path, revision)?;
        commit(tools, &batch).await
    }

    fn managed(&self, path: &MountPath) -> Result<Current<MountRecord>, MethodError> {
        let found = self.mounts.get(path)?.filter(|found| !found.value.tainted);
        let path = path.to_string();
        found.ok_or_else(|| MethodError::refused(MountProblem::NotTuned { path }))
    }
}

async fn commit(tools: Tools<'_>, batch: &Batch) -> Result<(), MethodError> {
    match tools.records.commit(batch).await {
        Err(RecordsError::Conflict) => Err(MethodError::refused(MountProblem::Contended)),
        outcome => Ok(outcome?),
    }
}

/// A mount to be made.
#[derive(Debug)]
pub(crate) struct NewMount {
    pub(crate) path: MountPath,
    pub(crate) kind: String,
    pub(crate) description: String,
    pub(crate) tune: Tune,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use selkie_config::{DeclaredAuth, DeclaredMethod};
    use selkie_crypto::{StateKey, os_random};
    use selkie_storage::MemoryStore;

    use super::*;
    use crate::auth::Auth;
    use crate::clock::SystemClock;

    #[tokio::test]
    async fn what_is_declared_wins_inside_a_mount_made_before_it_too() {
        let auth = Auth::new(true, Arc::new(SystemClock), Arc::new(os_random));
        let key = Arc::new(StateKey::init_with(|key| key.fill(9)).unwrap());
        auth.attach(Arc::new(MemoryStore::new()), key).await.unwrap();
        let methods = auth.methods();
        let nothing = DeclaredMounts::default();
        let mount = NewMount {
            path: "team".parse().unwrap(),
            kind: "approle".into(),
            description: String::new(),
            tune: Tune::default(),
        };
        let before = AuthTable { declared: &nothing, methods };
        methods.enable(before, auth.tools(), mount).await.unwrap();
        let declared = DeclaredMounts::new(vec![DeclaredAuth {
            path: "team/approle".parse().unwrap(),
            description: String::new(),
            default_lease_ttl: None,
            max_lease_ttl: None,
            at: "test.hcl:1:1".into(),
            method: DeclaredMethod::AppRole(Vec::new()),
        }]);
        let table = AuthTable { declared: &declared, methods };
        let found = |path| table.find(path).map(|found| (found.mount.path.to_string(), found.rest));
        assert_eq!(found("team/approle/login"), Some(("team/approle".into(), "login")));
        assert_eq!(found("team/approle"), Some(("team/approle".into(), "")));
        assert_eq!(found("team/approles/x"), Some(("team".into(), "approles/x")));
        assert_eq!(found("teams/x"), None);
    }
}
