//! The `token_*` fields that the roles of all methods have: from a request, into a reply, and as
//! they are kept.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{NameError, PolicyName};
use selkie_config::{TokenParameters, TokenType};
use serde_json::Value;

use super::{MethodData, MethodError};
use crate::api::fields::Fields;

/// A name from before all methods had the same ones; the new name wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// `policies`
    Policies,
    /// `ttl`
    Ttl,
    /// `max_ttl`
    MaxTtl,
    /// `period`
    Period,
    /// `bound_cidrs`
    BoundCidrs,
    /// `num_uses`
    NumUses,
}

/// What is wrong with them. The texts are Vault's where it has one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ParameterProblem {
    #[error("invalid 'token_type' value \"{name}\"")]
    TokenType { name: String },
    #[error("'token_num_uses' cannot be negative")]
    NegativeUses,
    #[error("'token_num_uses' is too large")]
    ManyUses,
    #[error("error parsing address \"{text}\": expected an IP address or a network")]
    Network { text: String },
    #[error("policy \"{name}\": {source}")]
    Policy { name: String, source: NameError },
}

/// Takes the fields of a request into `parameters`; what is absent stays. `aliases` are the old
/// names that the method has.
pub(crate) fn update(
    parameters: &mut TokenParameters,
    fields: &mut Fields<'_>,
    aliases: &[Alias],
) -> Result<(), MethodError> {
    let mut named = Named { fields, aliases };
    set(&mut parameters.ttl, named.time("token_ttl", Some(("ttl", Alias::Ttl)))?);
    set(&mut parameters.max_ttl, named.time("token_max_ttl", Some(("max_ttl", Alias::MaxTtl)))?);
    set(&mut parameters.period, named.time("token_period", Some(("period", Alias::Period)))?);
    set(&mut parameters.explicit_max_ttl, named.time("token_explicit_max_ttl", None)?);
    let listed = named.list("token_policies", ("policies", Alias::Policies))?;
    set(&mut parameters.policies, listed.map(policies).transpose()?);
    let listed = named.list("token_bound_cidrs", ("bound_cidrs", Alias::BoundCidrs))?;
    set(&mut parameters.bound_cidrs, listed.map(|list| networks(&list)).transpose()?);
    set(&mut parameters.num_uses, named.uses()?);
    set(&mut parameters.no_default_policy, named.fields.bool("token_no_default_policy")?);
    if let Some(name) = named.fields.text("token_type")? {
        let unknown = || ParameterProblem::TokenType { name: name.clone().into_owned() };
        parameters.token_type = token_type(&name).ok_or_else(|| MethodError::refused(unknown()))?;
    }
    parameters.check().map_err(MethodError::refused)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Vault takes the types of mounts as well, which say the same here.
fn token_type(name: &str) -> Option<TokenType> {
    match name {
        "default-service" | "default-batch" => Some(TokenType::Default),
        name => TokenType::named(name),
    }
}

struct Named<'f, 'b> {
    fields: &'f mut Fields<'b>,
    aliases: &'f [Alias],
}

impl Named<'_, '_> {
    fn time(
        &mut self,
        name: &'static str,
        old: Option<(&'static str, Alias)>,
    ) -> Result<Option<Duration>, MethodError> {
        let new = self.fields.seconds(name)?;
        let old = match old.filter(|(_, alias)| self.aliases.contains(alias)) {
            Some((old, _)) => self.fields.seconds(old)?,
            None => None,
        };
        // Negative ones were refused when they were read.
        Ok(new.or(old).map(|seconds| Duration::from_secs(seconds.unsigned_abs())))
    }

    fn list(
        &mut self,
        name: &'static str,
        (old, alias): (&'static str, Alias),
    ) -> Result<Option<Vec<String>>, MethodError> {
        let new = self.fields.list(name)?;
        let old = match self.aliases.contains(&alias) {
            true => self.fields.list(old)?,
            false => None,
        };
        Ok(new.or(old))
    }

    fn uses(&mut self) -> Result<Option<u32>, MethodError> {
        let new = self.fields.int("token_num_uses")?;
        let old = match self.aliases.contains(&Alias::NumUses) {
            true => self.fields.int("num_uses")?,
            false => None,
        };
        new.or(old).map(uses).transpose()
    }
}

fn uses(number: i64) -> Result<u32, MethodError> {
    match u32::try_from(number) {
        Ok(uses) => Ok(uses),
        Err(_) if number < 0 => Err(MethodError::refused(ParameterProblem::NegativeUses)),
        Err(_) => Err(MethodError::refused(ParameterProblem::ManyUses)),
    }
}

fn policies(names: Vec<String>) -> Result<Vec<PolicyName>, MethodError> {
    let names = names.into_iter().filter(|name| !name.is_empty()).map(|name| {
        let parsed = name.parse();
        parsed.map_err(|source| MethodError::refused(ParameterProblem::Policy { name, source }))
    });
    let mut policies: Vec<PolicyName> = names.collect::<Result<_, _>>()?;
    policies.sort();
    policies.dedup();
    Ok(policies)
}

/// The networks that a field names, single addresses among them.
pub(crate) fn networks(texts: &[String]) -> Result<Vec<IpNet>, MethodError> {
    let texts = texts.iter().filter(|text| !text.is_empty());
    let networks = texts.map(|text| {
        let network = text.parse::<IpNet>().map(|network| network.trunc());
        let network = network.or_else(|_no_network| text.parse::<IpAddr>().map(IpNet::from));
        network.map_err(|_no_address| {
            MethodError::refused(ParameterProblem::Network { text: text.clone() })
        })
    });
    networks.collect()
}

/// Networks as Vault writes them: a single address without its length.
pub(crate) fn network_texts(networks: &[IpNet]) -> Vec<String> {
    let text = |network: &IpNet| match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    };
    networks.iter().map(text).collect()
}

/// Sets all `token_*` members of what a role's read answers.
pub(crate) fn show(parameters: &TokenParameters, data: &mut MethodData) {
    let policies = parameters.policies.iter().map(|name| Value::from(name.as_str()));
    data.set("token_bound_cidrs", network_texts(&parameters.bound_cidrs));
    data.set("token_explicit_max_ttl", parameters.explicit_max_ttl.as_secs());
    data.set("token_max_ttl", parameters.max_ttl.as_secs());
    data.set("token_no_default_policy", parameters.no_default_policy);
    data.set("token_num_uses", parameters.num_uses);
    data.set("token_period", parameters.period.as_secs());
    data.set("token_policies", policies.collect::<Vec<_>>());
    data.set("token_ttl", parameters.ttl.as_secs());
    data.set("token_type", parameters.token_type.name());
}

/// What lies in both.
pub(crate) fn narrowed(networks: &[IpNet], others: &[IpNet]) -> Vec<IpNet> {
    let inner = |one: &IpNet, other: &IpNet| match (other.contains(one), one.contains(other)) {
        (true, _) => Some(*one),
        (_, true) => Some(*other),
        (false, false) => None,
    };
    let with_others = |one| others.iter().filter_map(move |other| inner(one, other));
    networks.iter().flat_map(with_others).collect()
}

/// How networks are kept: `#[serde(with = "parameters::kept_networks")]`.
pub(crate) mod kept_networks {
    use super::{IpNet, network_texts};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    pub(crate) fn serialize<S: Serializer>(
        networks: &[IpNet],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        network_texts(networks).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<IpNet>, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        super::networks(&texts).map_err(D::Error::custom)
    }
}

/// How a role keeps them: `#[serde(with = "parameters::kept")]`.
pub(crate) mod kept {
    use super::{Duration, PolicyName, TokenParameters, TokenType, network_texts};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Written {
        ttl: u64,
        max_ttl: u64,
        explicit_max_ttl: u64,
        period: u64,
        policies: Vec<String>,
        bound_cidrs: Vec<String>,
        no_default_policy: bool,
        num_uses: u32,
        #[serde(rename = "type")]
        token_type: String,
    }

    pub(crate) fn serialize<S: Serializer>(
        parameters: &TokenParameters,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Written {
            ttl: parameters.ttl.as_secs(),
            max_ttl: parameters.max_ttl.as_secs(),
            explicit_max_ttl: parameters.explicit_max_ttl.as_secs(),
            period: parameters.period.as_secs(),
            policies: parameters.policies.iter().map(ToString::to_string).collect(),
            bound_cidrs: network_texts(&parameters.bound_cidrs),
            no_default_policy: parameters.no_default_policy,
            num_uses: parameters.num_uses,
            token_type: parameters.token_type.name().to_owned(),
        }
        .serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<TokenParameters, D::Error> {
        let read = Written::deserialize(deserializer)?;
        let policies = read.policies.iter().map(|name| name.parse::<PolicyName>());
        Ok(TokenParameters {
            ttl: Duration::from_secs(read.ttl),
            max_ttl: Duration::from_secs(read.max_ttl),
            explicit_max_ttl: Duration::from_secs(read.explicit_max_ttl),
            period: Duration::from_secs(read.period),
            policies: policies.collect::<Result<_, _>>().map_err(D::Error::custom)?,
            bound_cidrs: super::networks(&read.bound_cidrs).map_err(D::Error::custom)?,
            no_default_policy: read.no_default_policy,
            num_uses: read.num_uses,
            token_type: TokenType::named(&read.token_type)
                .ok_or_else(|| D::Error::custom("unknown token type"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(serde::Serialize, serde::Deserialize)]
    struct Role(#[serde(with = "kept")] TokenParameters);

    fn fields_of(json: &str, aliases: &[Alias]) -> Result<TokenParameters, MethodError> {
        let mut fields = Fields::parse(json.as_bytes(), None).unwrap();
        let mut parameters = TokenParameters::default();
        update(&mut parameters, &mut fields, aliases).map(|()| parameters)
    }

    #[test]
    fn an_old_name_counts_where_the_method_has_it_and_the_new_one_is_absent() {
        let json = r#"{"ttl":5,"policies":"b,A,b","period":"1m"}"#;
        let old = fields_of(json, &[Alias::Ttl, Alias::Policies]).unwrap();
        assert_eq!((old.ttl, old.period), (Duration::from_secs(5), Duration::ZERO));
        assert_eq!(old.policies, ["a".parse().unwrap(), "b".parse().unwrap()]);
        let both = fields_of(r#"{"ttl":5,"token_ttl":6}"#, &[Alias::Ttl]).unwrap();
        assert_eq!(both.ttl, Duration::from_secs(6));
        assert_eq!(fields_of(json, &[]).unwrap(), TokenParameters::default());
    }

    #[test]
    fn what_contradicts_itself_is_refused_in_vaults_words() {
        let batch = "'token_type' cannot be 'batch' or 'default_batch' when set to generate ";
        for (json, text) in [
            (r#"{"token_type":"batch","token_period":1}"#, format!("{batch}periodic tokens")),
            (
                r#"{"token_type":"batch","token_num_uses":1}"#,
                format!("{batch}tokens with limited use count"),
            ),
            (
                r#"{"token_bound_cidrs":"x"}"#,
                "error parsing address \"x\": expected an IP address or a network".to_owned(),
            ),
        ] {
            assert_eq!(fields_of(json, &[]).unwrap_err().to_string(), text, "{json}");
        }
    }

    fn any_parameters() -> impl Strategy<Value = TokenParameters> {
        let times = proptest::array::uniform4(0..=1_000_000_u64);
        let policies = proptest::collection::btree_set("[a-z]{1,8}", 0..4);
        let networks = proptest::collection::vec((any::<IpAddr>(), 0..=32_u8), 0..4);
        let rest = (any::<bool>(), any::<u32>(), 0..3_usize);
        (times, policies, networks, rest).prop_map(|(times, policies, networks, rest)| {
            let [ttl, max_ttl, explicit_max_ttl, period] = times.map(Duration::from_secs);
            let network = |(address, length)| IpNet::new(address, length).unwrap().trunc();
            TokenParameters {
                ttl,
                max_ttl,
                explicit_max_ttl,
                period,
                policies: policies.iter().map(|name| name.parse().unwrap()).collect(),
                bound_cidrs: networks.into_iter().map(network).collect(),
                no_default_policy: rest.0,
                num_uses: rest.1,
                token_type: [TokenType::Default, TokenType::Service, TokenType::Batch][rest.2],
            }
        })
    }

    proptest! {
        #[test]
        fn parameters_are_kept_as_they_are(parameters in any_parameters()) {
            let json = serde_json::to_string(&Role(parameters.clone())).unwrap();
            let Role(read) = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, parameters);
        }

        #[test]
        fn what_a_read_shows_is_what_a_write_takes(parameters in any_parameters()) {
            prop_assume!(parameters.check().is_ok());
            let mut data = MethodData::default();
            show(&parameters, &mut data);
            let written = fields_of(&serde_json::to_string(&data).unwrap(), &[]).unwrap();
            prop_assert_eq!(written, parameters);
        }
    }
}
