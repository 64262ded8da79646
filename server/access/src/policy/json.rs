//! Policies as JSON: `{"path": {"transit/encrypt/a": {"capabilities": ["update"]}}}`.
//!
//! Objects are read member by member: a map type would drop one of two rules for the same path, and
//! that may be the one that denies.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::{NARROWING_FIELDS, Rule, RuleError, granted_by_legacy_policy, granted_by_word};
use crate::capability::Grant;
use crate::pattern::RulePath;

pub(super) fn rules(text: &str) -> Result<Vec<Rule>, serde_json::Error> {
    let file: File = serde_json::from_str(text)?;
    Ok(file.path.0)
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "name")]
    _name: Option<String>,
    #[serde(default)]
    path: Paths,
}

#[derive(Default)]
struct Paths(Vec<Rule>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(PathsVisitor)
    }
}

struct PathsVisitor;

impl<'de> Visitor<'de> for PathsVisitor {
    type Value = Paths;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of paths")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut paths: A) -> Result<Paths, A::Error> {
        let mut rules = Vec::new();
        while let Some(text) = paths.next_key::<String>()? {
            let path = RulePath::parse(&text).map_err(Error::custom)?;
            let body: Body = paths.next_value()?;
            rules.push(Rule { path, grant: body.grant() });
        }
        Ok(Paths(rules))
    }
}

#[derive(Default)]
struct Body {
    capabilities: Option<Vec<Word>>,
    policy: Option<LegacyPolicy>,
}

impl Body {
    fn grant(self) -> Grant {
        let words = self.capabilities.into_iter().flatten().map(|word| word.0);
        words.chain(self.policy.map(|policy| policy.0)).fold(Grant::NOTHING, Grant::union)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object with capabilities")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Body, A::Error> {
        let mut body = Body::default();
        while let Some(name) = fields.next_key::<String>()? {
            match name.as_str() {
                "capabilities" if body.capabilities.is_none() => {
                    body.capabilities = Some(fields.next_value()?);
                }
                "policy" if body.policy.is_none() => body.policy = Some(fields.next_value()?),
                "capabilities" => return Err(Error::duplicate_field("capabilities")),
                "policy" => return Err(Error::duplicate_field("policy")),
                "comment" => drop(fields.next_value::<String>()?),
                other => return Err(refusal(other)),
            }
        }
        Ok(body)
    }
}

fn refusal<E: Error>(name: &str) -> E {
    match NARROWING_FIELDS.into_iter().find(|field| *field == name) {
        Some(field) => E::custom(RuleError::NotSupported { field }),
        None => E::unknown_field(name, &["capabilities", "policy", "comment"]),
    }
}

struct Word(Grant);

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let word = String::deserialize(input)?;
        granted_by_word(&word).map(Self).map_err(Error::custom)
    }
}

struct LegacyPolicy(Grant);

impl<'de> Deserialize<'de> for LegacyPolicy {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let word = String::deserialize(input)?;
        granted_by_legacy_policy(&word).map(Self).map_err(Error::custom)
    }
}
