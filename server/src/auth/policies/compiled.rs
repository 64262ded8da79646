//! Policies that were compiled together, good until any policy changes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_access::{Acl, Identity, Policy, PolicyName};

use super::InForce;

/// How many compiled sets are held: where clients have more, they are compiled anew.
const MOST: usize = 4096;

/// What sets of policies compile to, as long as no policy changes.
#[derive(Debug, Default)]
pub(super) struct Compiled(RwLock<Sets>);

/// All of one state of the policies.
#[derive(Debug, Default)]
struct Sets {
    declared: Arc<[Policy]>,
    managed: u64,
    acls: HashMap<Box<[PolicyName]>, Set>,
    count: usize,
}

#[derive(Debug)]
enum Set {
    /// The same for every client.
    Plain(Arc<Acl>),
    /// Something else for each.
    Templated(HashMap<Identity, Arc<Acl>>),
}

impl Set {
    fn get(&self, identity: &Identity) -> Option<&Arc<Acl>> {
        match self {
            Self::Plain(acl) => Some(acl),
            Self::Templated(acls) => acls.get(identity),
        }
    }
}

impl Sets {
    fn is_of(&self, declared: &Arc<[Policy]>, managed: u64) -> bool {
        Arc::ptr_eq(&self.declared, declared) && self.managed == managed
    }

    fn get(&self, names: &[PolicyName], identity: &Identity) -> Option<Arc<Acl>> {
        self.acls.get(names)?.get(identity).cloned()
    }

    fn hold(&mut self, names: &[PolicyName], identity: Option<&Identity>, acl: &Arc<Acl>) {
        if self.count >= MOST {
            self.acls.clear();
            self.count = 0;
        }
        self.count += 1;
        let Some(identity) = identity else {
            self.acls.insert(names.into(), Set::Plain(Arc::clone(acl)));
            return;
        };
        let empty = || Set::Templated(HashMap::new());
        if let Set::Templated(acls) = self.acls.entry(names.into()).or_insert_with(empty) {
            acls.insert(identity.clone(), Arc::clone(acl));
        }
    }
}

impl Compiled {
    /// What the policies `names` compile to, if it is held and the same for every client.
    pub(super) fn plain(
        &self,
        declared: &Arc<[Policy]>,
        managed: u64,
        names: &[PolicyName],
    ) -> Option<Arc<Acl>> {
        let sets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if !sets.is_of(declared, managed) {
            return None;
        }
        match sets.acls.get(names)? {
            Set::Plain(acl) => Some(Arc::clone(acl)),
            Set::Templated(_) => None,
        }
    }

    /// What the policies `names` compile to for `identity`, which `find` finds where it is not held:
    /// `None` is a set of which nobody can say what it allows, and which therefore allows nothing.
    pub(super) fn look(
        &self,
        declared: &Arc<[Policy]>,
        managed: u64,
        names: &[PolicyName],
        identity: &Identity,
        find: impl FnOnce() -> Option<Vec<InForce>>,
    ) -> Arc<Acl> {
        let sets = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let found = sets.is_of(declared, managed).then(|| sets.get(names, identity)).flatten();
        drop(sets);
        if let Some(acl) = found {
            return acl;
        }
        // Not held: it is asked for anew until it is known.
        let Some(policies) = find() else { return Arc::new(Acl::new([])) };
        let acl = Arc::new(Acl::of(policies.iter().map(InForce::policy), identity));
        let is_templated = policies.iter().any(|one| one.policy().is_templated());
        let mut sets = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !sets.is_of(declared, managed) {
            *sets = Sets { declared: Arc::clone(declared), managed, ..Sets::default() };
        }
        if let Some(first) = sets.get(names, identity) {
            return first;
        }
        sets.hold(names, is_templated.then_some(identity), &acl);
        acl
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.read().unwrap().acls.len()
    }
}
