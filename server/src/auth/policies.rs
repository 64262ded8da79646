//! The policies made through the API, and what sets of policies compile to.

mod changes;
mod compiled;
mod record;
mod set;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use selkie_access::{Acl, Identity, Policy, PolicyName};

pub use self::changes::PolicyChangeError;
use self::compiled::Compiled;
pub use self::record::{Changes, ManagedPolicy};
pub use self::set::PolicySet;
use crate::deployment::Deployment;
use crate::state::records::{Mirror, Mirrors, Unreadable};

/// All policies that are not declared, and what sets of policies compile to.
pub struct Policies {
    managed: Arc<Mirror<ManagedPolicy>>,
    compiled: Compiled,
    default_name: PolicyName,
    expects_store: bool,
    is_loaded: AtomicBool,
}

/// Why nobody can say what a set of policies allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unknown {
    /// It may be in the store, which is not open yet.
    StateSealed,
    /// It is in the store, and cannot be read.
    Unreadable,
}

impl From<Unreadable> for Unknown {
    fn from(Unreadable: Unreadable) -> Self {
        Self::Unreadable
    }
}

/// All policies as of now. What is declared wins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PolicyTable<'a> {
    pub(crate) deployment: &'a Deployment,
    pub(crate) policies: &'a Policies,
}

impl PolicyTable<'_> {
    /// Whether there is a policy of this name, readable or not.
    pub(crate) fn has(&self, name: &PolicyName) -> bool {
        name.is_root() || !matches!(self.policies.in_force(self.deployment, name), Ok(None))
    }
}

/// A policy that is in force, and where it comes from.
enum InForce {
    Declared(Policy),
    Managed(Arc<ManagedPolicy>),
    BuiltIn(Policy),
}

impl InForce {
    fn policy(&self) -> &Policy {
        match self {
            Self::Declared(policy) | Self::BuiltIn(policy) => policy,
            Self::Managed(managed) => managed.policy(),
        }
    }
}

impl Policies {
    /// No policies but the declared ones, until a store is attached.
    pub(super) fn new(expects_store: bool) -> Self {
        Self {
            managed: Arc::default(),
            compiled: Compiled::default(),
            default_name: PolicyName::default_policy(),
            expects_store,
            is_loaded: AtomicBool::new(false),
        }
    }

    /// What follows the store.
    pub(super) fn mirrors(&self) -> Vec<Arc<dyn Mirrors>> {
        vec![Arc::clone(&self.managed) as _]
    }

    /// From now on a policy that is not held does not exist.
    pub(super) fn are_loaded(&self) {
        self.is_loaded.store(true, Ordering::Release);
    }

    /// Changes with every change of a managed policy.
    pub(super) fn as_of(&self) -> u64 {
        self.managed.find(|changes| changes.count())
    }

    /// What the policies `names` allow together to any client, if that is known already and the same
    /// for all.
    pub(super) fn plain_acl(
        &self,
        deployment: &Deployment,
        names: &[PolicyName],
    ) -> Option<Arc<Acl>> {
        self.compiled.plain(&deployment.policies, self.as_of(), names)
    }

    /// What the policies `names` allow together to a client of whom `identity` is known. The same
    /// set has the same answer until a policy changes. A policy that does not exist allows nothing,
    /// as in Vault; one of which nobody can say what it denies makes nothing allowed.
    pub fn acl(
        &self,
        deployment: &Deployment,
        names: &[PolicyName],
        identity: &Identity,
    ) -> Arc<Acl> {
        if names.iter().any(PolicyName::is_root) {
            static ROOT: OnceLock<Arc<Acl>> = OnceLock::new();
            return Arc::clone(ROOT.get_or_init(|| Arc::new(Acl::new([&Policy::root()]))));
        }
        if !names.is_sorted() {
            let mut sorted = names.to_vec();
            sorted.sort();
            return self.acl(deployment, &sorted, identity);
        }
        let as_of = self.as_of();
        self.compiled.look(&deployment.policies, as_of, names, identity, || {
            let known: Result<Vec<_>, _> =
                names.iter().map(|name| self.in_force(deployment, name)).collect();
            known.ok().map(|all| all.into_iter().flatten().collect())
        })
    }

    /// The policy that is in force under `name`: declared wins (I6), then what is managed.
    fn in_force(
        &self,
        deployment: &Deployment,
        name: &PolicyName,
    ) -> Result<Option<InForce>, Unknown> {
        if let Some(declared) = deployment.policies.iter().find(|one| one.name() == name) {
            return Ok(Some(InForce::Declared(declared.clone())));
        }
        if let Some(managed) = self.managed.get(name)? {
            return Ok(Some(InForce::Managed(managed.value)));
        }
        if *name == self.default_name {
            return Ok(Some(InForce::BuiltIn(Policy::default_policy())));
        }
        match self.expects_store && !self.is_loaded.load(Ordering::Acquire) {
            true => Err(Unknown::StateSealed),
            false => Ok(None),
        }
    }

    /// Whether there is a managed policy `default`, readable or not, which takes the place of the
    /// built-in one.
    pub(super) fn has_other_default(&self) -> bool {
        !matches!(self.managed.get(&self.default_name), Ok(None))
    }

    /// The text of the policy `name`, if there is one; `root` has an empty one.
    ///
    /// # Errors
    ///
    /// [`Unreadable`].
    pub fn text(
        &self,
        deployment: &Deployment,
        name: &PolicyName,
    ) -> Result<Option<String>, Unreadable> {
        if name.is_root() {
            return Ok(Some(String::new()));
        }
        match self.in_force(deployment, name) {
            Ok(found) => Ok(found.map(|one| one.policy().text().to_owned())),
            Err(Unknown::Unreadable) => Err(Unreadable),
            Err(Unknown::StateSealed) => Ok(None),
        }
    }

    /// The names of all policies that there are, in order.
    #[must_use]
    pub fn names(&self, deployment: &Deployment) -> BTreeSet<PolicyName> {
        let declared = deployment.policies.iter().map(|policy| policy.name().clone());
        let built_in = [PolicyName::root(), PolicyName::default_policy()];
        declared.chain(self.managed.names()).chain(built_in).collect()
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policies").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
