//! Policies as JSON: `{"path": {"transit/encrypt/a": {"capabilities": ["update"]}}}`.
//!
//! Objects are read member by member: a map type would drop one of two rules for the same path, and
//! that may be the one that denies.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use selkie_hcl::Scalar;

use super::rule::{self, PathText, RuleError, granted_by_legacy_policy, granted_by_word};
use super::{REFUSED_FIELDS, Rule};
use crate::capability::Grant;
use crate::constraints::{Constraints, Value, Values, lower_case};

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
            let path = PathText::parse(&text).map_err(Error::custom)?;
            let body: Body = paths.next_value()?;
            rules.push(body.rule(path));
        }
        Ok(Paths(rules))
    }
}

#[derive(Default)]
struct Body {
    seen: Vec<String>,
    grant: Option<Grant>,
    constraints: Constraints,
}

impl Body {
    fn rule(self, path: PathText) -> Rule {
        Rule::new(path, self.grant.unwrap_or(Grant::NOTHING), self.constraints)
    }

    fn add(&mut self, grant: &Grant) {
        self.grant = Some(self.grant.take().unwrap_or(Grant::NOTHING).union(grant));
    }

    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, fields: &mut A) -> Result<(), A::Error> {
        let constraints = &mut self.constraints;
        match name {
            "comment" => drop(fields.next_value::<String>()?),
            "policy" => {
                let LegacyPolicy(grant) = fields.next_value()?;
                self.add(&grant);
            }
            "capabilities" => {
                let words: Vec<Word> = fields.next_value()?;
                words.iter().for_each(|Word(grant)| self.add(grant));
            }
            "allowed_parameters" => constraints.allowed = parameters(fields)?,
            "denied_parameters" => constraints.denied = parameters(fields)?,
            "required_parameters" => {
                let names: Vec<String> = fields.next_value()?;
                constraints.required = names.iter().map(|name| lower_case(name).into()).collect();
            }
            "min_wrapping_ttl" => {
                constraints.min_wrapping_ttl = ttl("min_wrapping_ttl", fields)?;
            }
            "max_wrapping_ttl" => {
                constraints.max_wrapping_ttl = ttl("max_wrapping_ttl", fields)?;
            }
            other => return Err(refusal(other)),
        }
        Ok(())
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
            if body.seen.contains(&name) {
                return Err(Error::custom(format_args!("duplicate field `{name}`")));
            }
            body.take(&name, &mut fields)?;
            body.seen.push(name);
        }
        rule::check_ttls(&body.constraints).map_err(Error::custom)?;
        Ok(body)
    }
}

fn parameters<'de, A: MapAccess<'de>>(fields: &mut A) -> Result<Values, A::Error> {
    let Lists(lists) = fields.next_value()?;
    let lists = lists.into_iter().map(|(name, values)| {
        (name, values.into_iter().map(|ParameterValue(value)| value).collect())
    });
    rule::values(lists).map_err(Error::custom)
}

fn ttl<'de, A: MapAccess<'de>>(
    field: &'static str,
    fields: &mut A,
) -> Result<Option<Duration>, A::Error> {
    let text = match fields.next_value()? {
        Ttl::Seconds(seconds) => seconds.to_string(),
        Ttl::Text(text) => text,
    };
    rule::ttl(field, &text).map_err(Error::custom)
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Ttl {
    Seconds(u64),
    Text(String),
}

/// A map, of which each member is kept.
struct Lists(Vec<(String, Vec<ParameterValue>)>);

impl<'de> Deserialize<'de> for Lists {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_map(ListsVisitor)
    }
}

struct ListsVisitor;

impl<'de> Visitor<'de> for ListsVisitor {
    type Value = Lists;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object of lists")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Lists, A::Error> {
        let mut lists = Vec::new();
        while let Some(entry) = members.next_entry()? {
            lists.push(entry);
        }
        Ok(Lists(lists))
    }
}

struct ParameterValue(Value);

impl<'de> Deserialize<'de> for ParameterValue {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let scalar = match serde_json::Value::deserialize(input)? {
            serde_json::Value::Null => return Ok(Self(Value::Null)),
            serde_json::Value::Bool(truth) => Scalar::Boolean(truth),
            serde_json::Value::Number(number) => Scalar::Number(number.to_string()),
            serde_json::Value::String(text) => Scalar::String(text),
            serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                return Err(Error::custom("a value is a string, a number, true, false or null"));
            }
        };
        rule::value(scalar).map(Self).map_err(Error::custom)
    }
}

const KNOWN_FIELDS: &[&str] = &[
    "capabilities",
    "policy",
    "comment",
    "allowed_parameters",
    "denied_parameters",
    "required_parameters",
    "min_wrapping_ttl",
    "max_wrapping_ttl",
];

fn refusal<E: Error>(name: &str) -> E {
    match REFUSED_FIELDS.into_iter().find(|field| *field == name) {
        Some(field) => E::custom(RuleError::NotSupported { field }),
        None => E::unknown_field(name, KNOWN_FIELDS),
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
