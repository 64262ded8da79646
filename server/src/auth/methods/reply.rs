//! What a method answers; whatever in it may be secret is wiped.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::Login;

/// What a method answers.
#[derive(Debug)]
pub(crate) struct MethodReply {
    /// The answer itself.
    pub(crate) outcome: Outcome,
    /// What the client should know, before what it is told of unknown fields.
    pub(crate) warnings: Vec<String>,
    /// The fields that the path has given already.
    pub(crate) captured: &'static [&'static str],
}

/// The answer itself.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Done, and nothing to say.
    Done,
    /// `data`
    Data(MethodData),
    /// `data` of a list, sorted; without any, 404.
    Keys(Vec<String>),
    /// Somebody has logged in.
    Login(Box<Login>),
}

impl MethodReply {
    /// 204.
    pub(crate) const fn done() -> Self {
        Self::of(Outcome::Done)
    }

    /// 200 with `data`.
    pub(crate) const fn data(data: MethodData) -> Self {
        Self::of(Outcome::Data(data))
    }

    /// 200 with `keys`, in order.
    pub(crate) fn keys(mut keys: Vec<String>) -> Self {
        keys.sort();
        Self::of(Outcome::Keys(keys))
    }

    /// 200 with `auth`.
    pub(crate) fn login(login: Login) -> Self {
        Self::of(Outcome::Login(Box::new(login)))
    }

    const fn of(outcome: Outcome) -> Self {
        Self { outcome, warnings: Vec::new(), captured: &[] }
    }

    /// The same, where the path has given these fields.
    pub(crate) const fn captured(mut self, fields: &'static [&'static str]) -> Self {
        self.captured = fields;
        self
    }

    /// The same with a warning.
    pub(crate) fn warn(mut self, warning: String) -> Self {
        self.warnings.push(warning);
        self
    }
}

/// Members of `data`, in the order of their names as Go writes them; one may be secret.
#[derive(Default)]
pub(crate) struct MethodData {
    public: BTreeMap<&'static str, Value>,
    secret: Option<(&'static str, Zeroizing<String>)>,
}

impl MethodData {
    /// Sets a member that is no secret.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.public.insert(name, value.into());
    }

    /// Nothing but this member.
    pub(crate) fn only(mut self, name: &str) -> Self {
        self.public.retain(|member, _| *member == name);
        self
    }

    /// The same data with a secret in it, which is written into a buffer that wipes itself.
    pub(crate) fn with_secret(mut self, name: &'static str, secret: Zeroizing<String>) -> Self {
        self.secret = Some((name, secret));
        self
    }

    /// Whether a secret is in it.
    pub(crate) const fn is_secret(&self) -> bool {
        self.secret.is_some()
    }
}

impl Serialize for MethodData {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let mut secret = self.secret.as_ref();
        for (name, value) in &self.public {
            if let Some((secret_name, text)) = secret.filter(|(secret, _)| secret < name) {
                map.serialize_entry(secret_name, text.as_str())?;
                secret = None;
            }
            map.serialize_entry(name, value)?;
        }
        if let Some((name, text)) = secret {
            map.serialize_entry(name, text.as_str())?;
        }
        map.end()
    }
}

/// The names alone: values may be secret, or long.
impl fmt::Debug for MethodData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.public.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_stands_in_its_place_and_nowhere_in_debug() {
        let mut data = MethodData::default();
        data.set("secret_id_accessor", "a");
        data.set("role", "r");
        data.set("ttl", 0);
        let data = data.with_secret("secret_id", Zeroizing::new("hidden".into()));
        let json = serde_json::to_string(&data).unwrap();
        assert_eq!(json, r#"{"role":"r","secret_id":"hidden","secret_id_accessor":"a","ttl":0}"#);
        assert!(!format!("{data:?}").contains("hidden"));
    }
}
