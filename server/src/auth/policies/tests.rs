use selkie_access::Capability;
use selkie_config::Config;
use selkie_storage::{MemoryStore, RecordValue, Store, Write};

use super::*;
use crate::seal::Seals;
use crate::state::records::{Batch, Records};

fn deployment(declared: &[(&str, &str)]) -> Deployment {
    let policies = declared
        .iter()
        .map(|(name, text)| Policy::parse(name.parse().unwrap(), name, text).unwrap());
    let config = Config { policies: policies.collect(), ..config() };
    Deployment::assemble(config, Seals::new(Vec::new())).unwrap()
}

fn config() -> Config {
    crate::transit::tests::config_of(&[], &[])
}

fn names(texts: &[&str]) -> Vec<PolicyName> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn read(path: &str) -> String {
    format!("path {path:?} {{ capabilities = [\"read\"] }}")
}

struct Site {
    policies: Policies,
    records: Records,
    deployment: Deployment,
}

impl Site {
    fn new(expects_store: bool, declared: &[(&str, &str)]) -> Self {
        let policies = Policies::new(expects_store);
        let records =
            Records::new(expects_store, policies.mirrors(), Arc::new(crate::clock::SystemClock));
        Self { policies, records, deployment: deployment(declared) }
    }

    async fn open(declared: &[(&str, &str)]) -> Self {
        let site = Self::new(true, declared);
        site.attach(Arc::new(MemoryStore::new())).await;
        site
    }

    async fn attach(&self, store: Arc<dyn Store>) {
        self.records.attach(store).await.unwrap();
        self.policies.are_loaded();
    }

    async fn put(&self, name: &str, text: &str) {
        let name: PolicyName = name.parse().unwrap();
        let at = self.policies.managed.get(&name).unwrap().map(|current| current.revision);
        let policy = ManagedPolicy::parse(&name, text).unwrap();
        let mut batch = Batch::default();
        batch.put(&name, &policy, at).unwrap();
        self.records.commit(&batch).await.unwrap();
    }

    fn acl(&self, policies: &[&str]) -> Arc<Acl> {
        self.policies.acl(&self.deployment, &names(policies), &Identity::default())
    }

    fn may_read(&self, policies: &[&str], path: &str) -> bool {
        self.acl(policies).reaches(path, Capability::Read)
    }
}

#[tokio::test]
async fn the_same_set_is_compiled_once_until_a_policy_changes() {
    let site = Site::open(&[("d", &read("d"))]).await;
    site.put("m", &read("m")).await;
    let first = site.acl(&["d", "m"]);
    assert!(Arc::ptr_eq(&first, &site.acl(&["d", "m"])));
    assert!(Arc::ptr_eq(&first, &site.acl(&["m", "d"])), "the order does not matter");
    assert!(site.may_read(&["d", "m"], "m") && site.may_read(&["d", "m"], "d"));
    site.put("m", "").await;
    assert!(!site.may_read(&["d", "m"], "m"));
    let next = Site { deployment: deployment(&[("d", "")]), ..site };
    assert!(!next.may_read(&["d", "m"], "d"), "a reload counts at once");
}

#[tokio::test]
async fn a_declared_policy_wins_over_a_managed_one_of_its_name() {
    let site = Site::open(&[("p", &read("declared"))]).await;
    site.put("p", &read("managed")).await;
    assert!(site.may_read(&["p"], "declared"));
    assert!(!site.may_read(&["p"], "managed"));
}

#[tokio::test]
async fn a_managed_default_takes_the_place_of_the_built_in_one() {
    let site = Site::open(&[]).await;
    assert!(site.may_read(&["default"], "auth/token/lookup-self"));
    site.put("default", &read("other")).await;
    assert!(!site.may_read(&["default"], "auth/token/lookup-self"));
    assert!(site.may_read(&["default"], "other"));
}

#[tokio::test]
async fn while_the_store_is_not_open_an_unknown_policy_makes_nothing_allowed() {
    let site = Site::new(true, &[("d", &read("d"))]);
    assert!(site.may_read(&["d"], "d"));
    assert!(!site.may_read(&["d", "m"], "d"), "m might deny it");
    site.attach(Arc::new(MemoryStore::new())).await;
    assert!(site.may_read(&["d", "m"], "d"), "m does not exist");
    let without = Site::new(false, &[("d", &read("d"))]);
    assert!(without.may_read(&["d", "m"], "d"), "there never will be an m");
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_makes_nothing_allowed() {
    let site = Site::new(true, &[("d", &read("d"))]);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let damaged = RecordValue::new(b"damaged".as_slice()).unwrap();
    store.commit(&[], &[Write::Put("policy/m".parse().unwrap(), damaged)]).await.unwrap();
    site.attach(store).await;
    assert!(!site.may_read(&["d", "m"], "d"));
    assert!(site.may_read(&["d"], "d"));
    assert!(site.may_read(&["root", "m"], "d"));
}

#[tokio::test]
async fn more_sets_than_are_held_are_compiled_anew_and_right() {
    let site = Site::open(&[("d", &read("d"))]).await;
    for number in 0..5000 {
        let other = format!("other-{number}");
        assert!(site.may_read(&["d", &other], "d"));
    }
    assert!(site.policies.compiled.count() <= 4096);
}
