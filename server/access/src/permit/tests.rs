use static_assertions::assert_not_impl_any;

use super::*;
use crate::operation::{
    ConfigureKey, CreateKey, Decrypt, DeleteKey, ReadKey, Rewrap, RotateKey, TrimKey,
};
use crate::policy::Policy;
use crate::request::Bare;

assert_not_impl_any!(Permit<Encrypt>: Clone, Copy, Default, From<(MountPath, KeyName)>);
assert_not_impl_any!(ListPermit: Clone, Copy, Default, From<MountPath>);
assert_not_impl_any!(PathPermit: Clone, Copy, Default);

fn acl(text: &str) -> Acl {
    let policy = Policy::parse("test".parse().expect("a name"), "test.hcl", text);
    Acl::new([&policy.expect("a policy")])
}

fn mount() -> MountPath {
    "team/transit".parse().expect("a mount")
}

fn key() -> KeyName {
    "Key.1".parse().expect("a key name")
}

/// Allowed by exactly one capability on exactly one path, and by all the others nowhere.
fn assert_takes<O: KeyOperation + Copy>(operation: O, capability: Capability, path: &str) {
    let only = format!("path {path:?} {{ capabilities = [{:?}] }}", capability.name());
    let permit = acl(&only).on(Bare).permit(operation, mount(), key()).expect("allowed");
    assert_eq!((permit.mount(), permit.key(), permit.path()), (&mount(), &key(), path));

    let others = Capability::ALL.into_iter().filter(|other| *other != capability);
    let names: Vec<_> = others.map(Capability::name).collect();
    let all_but = format!(
        "path {path:?} {{ capabilities = {names:?} }}\n\
         path \"*\" {{ capabilities = [{:?}] }}",
        capability.name()
    );
    assert_eq!(acl(&all_but).on(Bare).permit(operation, mount(), key()).err(), Some(Denied));
}

#[test]
fn every_operation_takes_vaults_capability_on_vaults_path() {
    assert_takes(Encrypt, Capability::Update, "team/transit/encrypt/Key.1");
    assert_takes(EncryptUpsert, Capability::Create, "team/transit/encrypt/Key.1");
    assert_takes(Decrypt, Capability::Update, "team/transit/decrypt/Key.1");
    assert_takes(Rewrap, Capability::Update, "team/transit/rewrap/Key.1");
    assert_takes(ReadKey, Capability::Read, "team/transit/keys/Key.1");
    assert_takes(CreateKey, Capability::Update, "team/transit/keys/Key.1");
    assert_takes(DeleteKey, Capability::Delete, "team/transit/keys/Key.1");
    assert_takes(ConfigureKey, Capability::Update, "team/transit/keys/Key.1/config");
    assert_takes(RotateKey, Capability::Update, "team/transit/keys/Key.1/rotate");
    assert_takes(TrimKey, Capability::Update, "team/transit/keys/Key.1/trim");
}

#[test]
fn upsert_permit_turns_into_an_encrypt_permit_for_the_same_key() {
    let acl = Acl::new([&Policy::root()]);
    let upsert = acl.on(Bare).permit(EncryptUpsert, mount(), key()).expect("allowed");
    let permit: Permit<Encrypt> = upsert.into_encrypt();
    assert_eq!((permit.mount(), permit.key()), (&mount(), &key()));
    assert_eq!(permit.path(), "team/transit/encrypt/Key.1");
}

#[test]
fn keys_are_listed_with_or_without_the_slash_in_the_rule() {
    for path in ["team/transit/keys", "team/transit/keys/", "team/+/keys", "team/transit/*"] {
        let text = format!("path {path:?} {{ capabilities = [\"list\"] }}");
        let permit = acl(&text).on(Bare).permit_list(mount()).expect("allowed");
        assert_eq!((permit.mount(), permit.path()), (&mount(), "team/transit/keys/"));
    }
    for path in ["team/transit/keys/+/x", "transit/keys", "team/transit/keys/a"] {
        let text = format!("path {path:?} {{ capabilities = [\"list\"] }}");
        assert_eq!(acl(&text).on(Bare).permit_list(mount()).err(), Some(Denied));
    }
    let read_only = acl("path \"team/transit/keys\" { capabilities = [\"read\"] }");
    assert_eq!(read_only.on(Bare).permit_list(mount()).err(), Some(Denied));
}

#[test]
fn path_permit_says_what_was_checked() {
    let acl = acl("path \"sys/mounts\" { capabilities = [\"read\", \"list\"] }");
    let permit = acl.on(Bare).check("sys/mounts", Capability::Read).expect("allowed");
    assert_eq!((permit.path(), permit.capability()), ("sys/mounts", Capability::Read));
    let permit = acl.on(Bare).check("sys/mounts", Capability::List).expect("allowed");
    assert_eq!((permit.path(), permit.capability()), ("sys/mounts/", Capability::List));
    let permit = acl.on(Bare).check("sys/mounts/", Capability::List).expect("allowed");
    assert_eq!(permit.path(), "sys/mounts/");
    assert_eq!(acl.on(Bare).check("sys/mounts", Capability::Update).err(), Some(Denied));
    assert_eq!(acl.on(Bare).check("sys/mounts/", Capability::Read).err(), Some(Denied));
}

#[test]
fn debug_names_capability_and_path() {
    let acl = Acl::new([&Policy::root()]);
    let permit = acl.on(Bare).permit(Decrypt, mount(), key()).expect("allowed");
    assert_eq!(format!("{permit:?}"), "Permit(Update on team/transit/decrypt/Key.1)");
}
