//! Roles as they are kept, and found by role id.

use std::collections::HashMap;

use ipnet::IpNet;
use selkie_config::{DeclaredAppRole, TokenParameters};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AppRoleProblem;
use crate::api::fields::Fields;
use crate::auth::methods::documents::{Document, DocumentName};
use crate::auth::methods::parameters::{self, Alias, network_texts, networks};
use crate::auth::methods::{MethodData, MethodError};
use crate::auth::policies::ManagedPolicy;
use crate::stable_uuid::stable_uuid;
use crate::state::records::{Index, Kept};

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Role {
    /// Tells it from another role that had its name: what was given out for that is no good here.
    pub(super) uuid: String,
    pub(super) role_id: String,
    pub(super) bind_secret_id: bool,
    pub(super) local_secret_ids: bool,
    #[serde(with = "parameters::kept_networks")]
    pub(super) secret_id_bound_cidrs: Vec<IpNet>,
    /// 0: any number.
    pub(super) secret_id_num_uses: u32,
    /// In seconds; 0: for ever.
    pub(super) secret_id_ttl: u64,
    #[serde(with = "parameters::kept")]
    pub(super) token: TokenParameters,
}

impl Document for Role {
    const ROOT: &'static str = "auth-approle";
    type Index = RoleIds;
    const JUDGED_BY: &'static [&'static str] = &[ManagedPolicy::ROOT];
}

/// Finds roles by their ids.
#[derive(Debug, Default)]
pub(super) struct RoleIds(HashMap<(Uuid, Box<str>), Box<str>>);

impl RoleIds {
    /// The name of the role of this mount that has this id.
    pub(super) fn name(&self, mount: Uuid, role_id: &str) -> Option<Box<str>> {
        self.0.get(&(mount, role_id.into())).cloned()
    }
}

impl Index<Role> for RoleIds {
    fn note(&mut self, name: &DocumentName, old: Option<&Role>, new: Option<&Role>) {
        if let Some(old) = old {
            let key = (name.mount, Box::from(&*old.role_id));
            if self.0.get(&key) == Some(&name.name) {
                self.0.remove(&key);
            }
        }
        if let Some(new) = new {
            self.0.insert((name.mount, Box::from(&*new.role_id)), name.name.clone());
        }
    }
}

impl Role {
    /// A role of which nothing is set yet.
    pub(super) fn new(uuid: Uuid, role_id: Uuid) -> Self {
        Self {
            uuid: uuid.to_string(),
            role_id: role_id.to_string(),
            bind_secret_id: true,
            local_secret_ids: false,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: 0,
            token: TokenParameters::default(),
        }
    }

    /// A declared role of the mount `mount`.
    pub(super) fn declared(mount: Uuid, declared: &DeclaredAppRole) -> Self {
        let uuid = stable_uuid("approle role", &format!("{mount}\0{}", declared.name));
        Self {
            uuid: uuid.to_string(),
            role_id: declared.role_id.clone(),
            bind_secret_id: declared.bind_secret_id,
            local_secret_ids: false,
            secret_id_bound_cidrs: declared.secret_id_bound_cidrs.clone(),
            secret_id_num_uses: declared.secret_id_num_uses,
            secret_id_ttl: declared.secret_id_ttl.as_secs(),
            token: declared.token.clone(),
        }
    }

    /// Takes the fields of a request; what is absent stays.
    pub(super) fn update(
        &mut self,
        fields: &mut Fields<'_>,
        is_new: bool,
    ) -> Result<(), MethodError> {
        if let Some(local) = fields.bool("local_secret_ids")? {
            if !is_new && local != self.local_secret_ids {
                return Err(MethodError::refused(AppRoleProblem::LocalIsFixed));
            }
            self.local_secret_ids = local;
        }
        if let Some(role_id) = fields.text("role_id")? {
            self.set_role_id(&role_id)?;
        }
        self.bind_secret_id = fields.bool("bind_secret_id")?.unwrap_or(self.bind_secret_id);
        let old_name = fields.list("bound_cidr_list")?;
        let bound = fields.list("secret_id_bound_cidrs")?.or(old_name);
        if let Some(bound) = bound {
            self.secret_id_bound_cidrs = networks(&bound)?;
        }
        if let Some(uses) = fields.int("secret_id_num_uses")? {
            let negative = |_out_of_range| MethodError::refused(AppRoleProblem::NegativeRoleUses);
            self.secret_id_num_uses = u32::try_from(uses).map_err(negative)?;
        }
        if let Some(ttl) = fields.seconds("secret_id_ttl")? {
            self.secret_id_ttl = ttl.unsigned_abs();
        }
        parameters::update(&mut self.token, fields, &[Alias::Policies, Alias::Period])?;
        self.require_constraint()
    }

    pub(super) fn set_role_id(&mut self, role_id: &str) -> Result<(), MethodError> {
        if role_id.is_empty() || role_id.len() > 4096 {
            return Err(MethodError::refused(AppRoleProblem::RoleId));
        }
        role_id.clone_into(&mut self.role_id);
        Ok(())
    }

    /// A role id alone is no secret.
    pub(super) fn require_constraint(&self) -> Result<(), MethodError> {
        let is_bound = self.bind_secret_id
            || !self.secret_id_bound_cidrs.is_empty()
            || !self.token.bound_cidrs.is_empty();
        match is_bound {
            true => Ok(()),
            false => Err(MethodError::refused(AppRoleProblem::NoConstraint)),
        }
    }

    /// What a read answers.
    pub(super) fn show(&self) -> MethodData {
        let mut data = MethodData::default();
        let bound = network_texts(&self.secret_id_bound_cidrs);
        data.set("bind_secret_id", self.bind_secret_id);
        data.set("local_secret_ids", self.local_secret_ids);
        match bound.is_empty() {
            true => data.set("secret_id_bound_cidrs", ()),
            false => data.set("secret_id_bound_cidrs", bound),
        }
        data.set("secret_id_num_uses", self.secret_id_num_uses);
        data.set("secret_id_ttl", self.secret_id_ttl);
        parameters::show(&self.token, &mut data);
        data
    }
}
