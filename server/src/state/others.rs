//! Others in the place of the storage: how that shows, and what to do about it.

use selkie_storage::{EtcdDamage, StoreError};

/// Two deployments of which one keeps its state inside the place of the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {inner:?} lies inside {outer:?}, where another Selkie keeps its state")]
pub struct Nested {
    /// The place of both.
    pub outer: String,
    /// The place of one of them.
    pub inner: String,
}

impl Nested {
    fn of(one: &str, other: &str) -> Self {
        let (outer, inner) = if one.len() < other.len() { (one, other) } else { (other, one) };
        Self { outer: outer.to_owned(), inner: inner.to_owned() }
    }

    /// What to do.
    #[must_use]
    pub fn advice(&self) -> String {
        let Self { outer, inner } = self;
        format!(
            "give the deployment at {inner:?} a \"path\" that does not begin with {outer:?}: take \
             what state it has there with `selkie migrate`, then delete what it leaves at {inner:?} \
             with etcdctl; if nothing uses {outer:?} any more, delete {outer}format instead"
        )
    }
}

/// The two deployments, if `error` tells of a record of another one.
#[must_use]
pub fn nested(error: &StoreError) -> Option<Nested> {
    match damage(error)? {
        EtcdDamage::OtherStore { ours, other, .. } => Some(Nested::of(ours, other)),
        EtcdDamage::NoRecord { .. } => None,
    }
}

/// What to do about a pair in etcd that is no record of this storage; `None` of another error.
#[must_use]
pub fn advice(error: &StoreError) -> Option<String> {
    match damage(error)? {
        EtcdDamage::NoRecord { key, .. } => Some(format!(
            "if \"{key}\" is not Selkie's, {}, and find out who wrote it; if it is, it is damaged: \
             restore a backup with `selkie restore --force`",
            deletion(key)
        )),
        EtcdDamage::OtherStore { .. } => nested(error).map(|nested| nested.advice()),
    }
}

/// The same, for who puts in a copy that has no record in that place.
#[must_use]
pub fn removal(error: &StoreError) -> Option<String> {
    match damage(error)? {
        EtcdDamage::NoRecord { key, .. } => Some(format!(
            "the copy has no record at \"{key}\", which may belong to others: find out whose it is; \
             if nobody needs it, {}",
            deletion(key)
        )),
        EtcdDamage::OtherStore { .. } => nested(error).map(|nested| nested.advice()),
    }
}

fn damage(error: &StoreError) -> Option<&EtcdDamage> {
    match error {
        StoreError::Corrupt { source, .. } => source.downcast_ref(),
        _ => None,
    }
}

/// A command for a shell only if nothing in the key means anything to one, as others chose it, and if
/// it is not cut short, which names another key.
fn deletion(key: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    if key.bytes().all(is_plain) && !key.ends_with("...") {
        format!("delete it with `etcdctl del {key}`")
    } else {
        "delete that key with etcdctl".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(damage: EtcdDamage) -> String {
        advice(&StoreError::Corrupt { key: None, source: Box::new(damage) }).unwrap()
    }

    #[test]
    fn a_pair_of_others_is_named_with_both_of_its_remedies() {
        let found = |key: &str| told(EtcdDamage::NoRecord { key: key.into(), source: "x".into() });
        let plain = found("selkie/note");
        for said in ["`etcdctl del selkie/note`", "not Selkie's", "`selkie restore --force`"] {
            assert!(plain.contains(said), "{plain}");
        }
        for odd in ["selkie/\\'; reboot; \\'", "selkie/cut-at-its-thousandth-byt..."] {
            let told = found(odd);
            assert!(!told.contains("etcdctl del"), "{told}");
            assert!(told.contains("with etcdctl"), "{told}");
        }
    }

    #[test]
    fn who_restores_already_is_not_told_to_restore() {
        let found = EtcdDamage::NoRecord { key: "selkie/note".into(), source: "x".into() };
        let text = removal(&StoreError::Corrupt { key: None, source: Box::new(found) }).unwrap();
        assert!(text.contains("`etcdctl del selkie/note`"), "{text}");
        assert!(!text.contains("selkie restore"), "{text}");
    }

    #[test]
    fn of_two_nested_places_the_inner_one_is_to_move() {
        for (ours, other) in [("s/", "s/in/"), ("s/in/", "s/")] {
            let (ours, other) = (ours.to_owned(), other.to_owned());
            let text = told(EtcdDamage::OtherStore { key: "s/in/root".into(), ours, other });
            assert!(text.contains("deployment at \"s/in/\""), "{text}");
            assert!(text.contains("does not begin with \"s/\""), "{text}");
        }
    }
}
