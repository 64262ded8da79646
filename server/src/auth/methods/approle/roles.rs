//! What is asked of roles.

use std::sync::Arc;

use super::role::Role;
use super::{AppRole, AppRoleProblem, Place};
use crate::api::route::Operation;
use crate::auth::methods::documents::{DocumentName, forget};
use crate::auth::methods::{AuthMount, MethodData, MethodError, MethodReply, MethodRequest};
use crate::state::records::Batch;

impl AppRole {
    /// The role of this name; what is declared wins.
    pub(super) fn role(
        &self,
        mount: &AuthMount,
        name: &str,
    ) -> Result<Option<Arc<Role>>, MethodError> {
        if let Some(declared) = declared(mount).iter().find(|role| role.name == name) {
            return Ok(Some(Arc::new(Role::declared(mount.uuid, declared))));
        }
        let found = self.roles.get(&DocumentName::new(mount.uuid, name))?;
        Ok(found.map(|found| found.value))
    }

    /// The role that has this id, with its name.
    pub(super) fn role_of_id(
        &self,
        mount: &AuthMount,
        role_id: &str,
    ) -> Result<Option<(String, Arc<Role>)>, MethodError> {
        if let Some(declared) = declared(mount).iter().find(|role| role.role_id == role_id) {
            let role = Arc::new(Role::declared(mount.uuid, declared));
            return Ok(Some((declared.name.clone(), role)));
        }
        let Some(name) = self.roles.find(|ids| ids.name(mount.uuid, role_id)) else {
            return Ok(None);
        };
        // A managed role is out of use where a declared one has its name.
        let role = self.role(mount, &name)?.filter(|role| role.role_id == role_id);
        Ok(role.map(|role| (name.into_string(), role)))
    }

    pub(super) fn list(&self, mount: &AuthMount) -> MethodReply {
        let managed = self.roles.names().into_iter().filter(|name| name.mount == mount.uuid);
        let mut names: Vec<String> = managed.map(|name| name.name.into_string()).collect();
        names.extend(declared(mount).iter().map(|role| role.name.clone()));
        names.sort();
        names.dedup();
        MethodReply::keys(names)
    }

    /// `role/:name`
    pub(super) async fn whole_role(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let reply = match request.operation {
            Operation::Read => {
                let role = self.role(request.mount, name)?.ok_or(MethodError::NotFound)?;
                MethodReply::data(role.show())
            }
            Operation::Update => self.write(request, name).await?,
            Operation::Delete => self.delete(request, name).await?,
            _ => return Err(MethodError::UnsupportedOperation),
        };
        Ok(reply.captured(&["role_name"]))
    }

    async fn write(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, fields, tools, .. } = request;
        refuse_declared(mount, name)?;
        tools.records.store()?;
        let current = self.roles.get(&DocumentName::new(mount.uuid, name))?;
        let is_new = current.is_none();
        let mut role = match &current {
            Some(current) => Role::clone(&current.value),
            None => Role::new(tools.uuid()?, tools.uuid()?),
        };
        role.update(fields, is_new)?;
        let revision = current.map(|current| current.revision);
        self.keep(&Place { mount, tools }, name, &role, revision).await?;
        let max = role.token.max_ttl.as_secs();
        let of_mount = mount.tune.max_lease_ttl;
        Ok(match of_mount > 0 && max > of_mount {
            true => MethodReply::done().warn(
                "token_max_ttl is greater than the backend mount's maximum TTL value; issued \
                 tokens' max TTL value will be truncated"
                    .to_owned(),
            ),
            false => MethodReply::done(),
        })
    }

    pub(super) async fn keep(
        &self,
        place: &Place<'_>,
        name: &str,
        role: &Role,
        at: Option<selkie_storage::Revision>,
    ) -> Result<(), MethodError> {
        let of_id = self.role_of_id(place.mount, &role.role_id)?;
        if of_id.is_some_and(|(other, _)| other != name) {
            return Err(MethodError::refused(AppRoleProblem::RoleIdInUse));
        }
        let mut batch = Batch::default();
        batch.put(&DocumentName::new(place.mount.uuid, name), role, at)?;
        Ok(place.tools.records.commit(&batch).await?)
    }

    async fn delete(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, tools, .. } = request;
        refuse_declared(mount, name)?;
        let document = DocumentName::new(mount.uuid, name);
        // From then on its secret ids are good for nothing, whatever becomes of them.
        if let Some(current) = tools.records.find(&self.roles, &document, None).await? {
            let mut batch = Batch::default();
            batch.delete::<Role>(&document, current.revision)?;
            tools.records.commit(&batch).await?;
            let accessors = self.secret_ids.find(|ids| ids.of_role(&current.value));
            let names = accessors.iter().filter_map(|accessor| {
                self.secret_ids.find(|ids| ids.by_accessor(mount.uuid, accessor))
            });
            forget(tools.records, &self.secret_ids, names.collect()).await?;
        }
        Ok(MethodReply::done())
    }

    /// `role/:name/role-id`
    pub(super) async fn role_id(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, fields, tools, .. } = request;
        match request.operation {
            Operation::Read => {
                let role = self.role(mount, name)?.ok_or(MethodError::NotFound)?;
                let mut data = MethodData::default();
                data.set("role_id", role.role_id.as_str());
                Ok(MethodReply::data(data))
            }
            Operation::Update => {
                refuse_declared(mount, name)?;
                let current = self.roles.get(&DocumentName::new(mount.uuid, name))?;
                let current = current.ok_or(MethodError::UnsupportedPath)?;
                let mut role = Role::clone(&current.value);
                role.set_role_id(&fields.text("role_id")?.unwrap_or_default())?;
                let place = Place { mount, tools };
                self.keep(&place, name, &role, Some(current.revision)).await?;
                Ok(MethodReply::done())
            }
            _ => Err(MethodError::UnsupportedOperation),
        }
    }

    /// `role/:name/<field>`
    pub(super) async fn one_field(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
        field: RoleField,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, fields, tools, .. } = request;
        if request.operation == Operation::Read {
            let role = self.role(mount, name)?.ok_or(MethodError::NotFound)?;
            return Ok(MethodReply::data(role.show().only(field.member)));
        }
        if field.member == "local_secret_ids" {
            return Err(MethodError::UnsupportedOperation);
        }
        refuse_declared(mount, name)?;
        let document = DocumentName::new(mount.uuid, name);
        let current = tools.records.find(&self.roles, &document, None).await?;
        let current = current.ok_or(MethodError::UnsupportedPath)?;
        let mut role = Role::clone(&current.value);
        match request.operation {
            Operation::Update => role.update(fields, false)?,
            Operation::Delete => {
                (field.reset)(&mut role);
                role.require_constraint()?;
            }
            _ => return Err(MethodError::UnsupportedOperation),
        }
        let place = Place { mount, tools };
        self.keep(&place, name, &role, Some(current.revision)).await?;
        Ok(MethodReply::done())
    }
}

fn declared(mount: &AuthMount) -> &[selkie_config::DeclaredAppRole] {
    match mount.declaration() {
        Some(selkie_config::DeclaredMethod::AppRole(roles)) => roles,
        _ => &[],
    }
}

fn refuse_declared(mount: &AuthMount, name: &str) -> Result<(), MethodError> {
    let is_declared = declared(mount).iter().any(|role| role.name == name);
    match mount.declared_at().filter(|_| is_declared) {
        Some(at) => {
            Err(MethodError::Declared { what: format!("role \"{name}\""), at: at.to_owned() })
        }
        None => Ok(()),
    }
}

/// A field that has a path of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoleField {
    path: &'static str,
    /// What a read shows of it.
    member: &'static str,
    reset: fn(&mut Role),
}

impl RoleField {
    /// The field whose path this is.
    pub(super) fn at(path: &str) -> Option<Self> {
        FIELDS.into_iter().find(|field| field.path == path)
    }

    const fn new(path: &'static str, member: &'static str, reset: fn(&mut Role)) -> Self {
        Self { path, member, reset }
    }
}

const FIELDS: [RoleField; 12] = [
    RoleField::new("policies", "token_policies", |role| role.token.policies = Vec::new()),
    RoleField::new("period", "token_period", |role| role.token.period = Default::default()),
    RoleField::new("token-ttl", "token_ttl", |role| role.token.ttl = Default::default()),
    RoleField::new("token-max-ttl", "token_max_ttl", |role| {
        role.token.max_ttl = Default::default();
    }),
    RoleField::new("token-num-uses", "token_num_uses", |role| role.token.num_uses = 0),
    RoleField::new("token-bound-cidrs", "token_bound_cidrs", |role| {
        role.token.bound_cidrs = Vec::new();
    }),
    RoleField::new("bind-secret-id", "bind_secret_id", |role| role.bind_secret_id = true),
    RoleField::new("secret-id-num-uses", "secret_id_num_uses", |role| {
        role.secret_id_num_uses = 0;
    }),
    RoleField::new("secret-id-ttl", "secret_id_ttl", |role| role.secret_id_ttl = 0),
    RoleField::new("secret-id-bound-cidrs", "secret_id_bound_cidrs", |role| {
        role.secret_id_bound_cidrs = Vec::new();
    }),
    // The older name of the one before.
    RoleField::new("bound-cidr-list", "secret_id_bound_cidrs", |role| {
        role.secret_id_bound_cidrs = Vec::new();
    }),
    RoleField::new("local-secret-ids", "local_secret_ids", |_fixed| {}),
];
