//! The roles of a declared `auth "approle"`. Their secret ids are made through the API.

use std::time::Duration;

use ipnet::IpNet;
use selkie_hcl::{Located, Section};

use super::parameters::{self, TokenParameters};
use super::{LONGEST_LEASE, role_name};
use crate::network::networks;
use crate::quantity::{duration, number};

/// A declared role of `approle`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredAppRole {
    /// Its name, in lower case as Vault keeps it.
    pub name: String,
    /// `role_id`
    pub role_id: String,
    /// `bind_secret_id`: whether a login takes a secret id.
    pub bind_secret_id: bool,
    /// `secret_id_bound_cidrs`: from where secret ids are good; empty: from anywhere.
    pub secret_id_bound_cidrs: Vec<IpNet>,
    /// `secret_id_num_uses`; 0: any number.
    pub secret_id_num_uses: u32,
    /// `secret_id_ttl`; zero: for ever.
    pub secret_id_ttl: Duration,
    /// The `token_*` fields.
    pub token: TokenParameters,
}

#[derive(Debug, thiserror::Error)]
enum AppRoleError {
    #[error("field \"role_id\": a role id has 1 to 4096 bytes")]
    RoleId,
    #[error("field \"role_id\": another role has this role id already")]
    RepeatedRoleId,
    #[error("role {name:?} is declared twice; upper and lower case are the same")]
    RepeatedName { name: String },
    #[error("without a secret id, \"token_bound_cidrs\" must say from where the role logs in")]
    NoConstraint,
}

/// All `role` blocks.
pub(super) fn decode(section: &mut Section<'_>) -> Vec<DeclaredAppRole> {
    let mut roles: Vec<DeclaredAppRole> = Vec::new();
    for (label, block) in section.uniquely_labelled("role") {
        let place = label.place;
        let Some(role) = role(label, block) else { continue };
        if roles.iter().any(|other| other.name == role.name) {
            place.report(AppRoleError::RepeatedName { name: role.name.clone() });
        }
        if roles.iter().any(|other| other.role_id == role.role_id) {
            place.report(AppRoleError::RepeatedRoleId);
        }
        roles.push(role);
    }
    roles
}

fn role(label: Located<'_, String>, mut block: Section<'_>) -> Option<DeclaredAppRole> {
    let name = label.try_map(|text| role_name(&text).map(|name| name.to_ascii_lowercase()));
    let role_id = block.field("role_id").required().string().and_then(|text| {
        let fits = |text: &String| (1..=4096).contains(&text.len());
        text.try_map(|text| if fits(&text) { Ok(text) } else { Err(AppRoleError::RoleId) })
    });
    let bind = block.field("bind_secret_id").boolean().is_none_or(|flag| flag.value);
    let bound = networks(block.field("secret_id_bound_cidrs"));
    let most = u64::from(u32::MAX);
    let uses = number(&mut block, "secret_id_num_uses", 0..=most).map_or(0, |uses| uses.value);
    let ttl = duration(&mut block, "secret_id_ttl", LONGEST_LEASE).unwrap_or_default();
    let token = parameters::decode(&mut block);
    if !bind && token.bound_cidrs.is_empty() {
        block.place().report(AppRoleError::NoConstraint);
    }
    block.finish();
    Some(DeclaredAppRole {
        name: name?.value,
        role_id: role_id?.value,
        bind_secret_id: bind,
        secret_id_bound_cidrs: bound.map(|list| list.value).unwrap_or_default(),
        secret_id_num_uses: uses,
        secret_id_ttl: ttl,
        token,
    })
}
