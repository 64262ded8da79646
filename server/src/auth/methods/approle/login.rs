//! Logins with role id and secret id. Nobody learns from an answer which role ids there are, and a
//! use is counted before anything is given for it.

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use super::role::Role;
use super::secret_id::SecretId;
use super::{AppRole, AppRoleProblem, LoginFault};
use crate::auth::address::is_within;
use crate::auth::methods::login::require_possible;
use crate::auth::methods::parameters::narrowed;
use crate::auth::methods::{AnswerKind, Login, MethodError, MethodReply, MethodRequest};
use crate::state::records::{Batch, RecordsError, soon};

/// How often a use is counted anew because another login was first.
const ATTEMPTS: usize = 16;

impl AppRole {
    /// `login`
    pub(super) async fn login(
        &self,
        request: MethodRequest<'_, '_>,
    ) -> Result<MethodReply, MethodError> {
        let role_id = request.fields.text("role_id")?.unwrap_or_default();
        let role_id = role_id.trim();
        if role_id.is_empty() {
            return Err(MethodError::refused(AppRoleProblem::NoRoleId));
        }
        let secret = request.fields.secret("secret_id")?;
        let secret = secret.as_ref().map_or("", |text| text.expose_to_decode().trim());
        let refused = |fault| invalid(secret, fault);
        soon(self.hear_of(&request, role_id, secret)).await?;
        let found = self.role_of_id(request.mount, role_id)?;
        let (name, role) = found.ok_or_else(|| refused(LoginFault::RoleId))?;
        if !role.bind_secret_id && !takes(&role, request.credentials.address) {
            return Err(refused(LoginFault::Address));
        }
        let mut login = Login {
            alias: role.role_id.clone(),
            parameters: role.token.clone(),
            ..Login::default()
        };
        if role.bind_secret_id {
            let used = self.use_secret_id(&request, (&role, &login), secret).await?;
            login.metadata.extend(used.metadata.clone());
            let bound = bound_cidrs(&role, &used);
            login.parameters.bound_cidrs = bound.ok_or_else(|| refused(LoginFault::Widened))?;
        }
        login.metadata.insert("role_name".to_owned(), name);
        Ok(MethodReply::login(login))
    }

    /// Has the store asked for the role and the secret id of a login that would be refused without, as
    /// another replica may have made them a moment ago. Nobody learns by it which role ids there are: the
    /// same is asked, at the same price, for those that are none.
    async fn hear_of(
        &self,
        request: &MethodRequest<'_, '_>,
        role_id: &str,
        secret: &str,
    ) -> Result<(), MethodError> {
        let (mount, tools, address) = (request.mount, request.tools, request.credentials.address);
        let key = super::state_key(tools)?;
        let role = || Ok::<_, MethodError>(self.role_of_id(mount, role_id)?.map(|(_, role)| role));
        let document = |role: Option<&Role>| {
            SecretId::name(key, mount.uuid, role.map_or("", |role| &role.uuid), secret)
        };
        let held = role()?;
        let is_enough = |role: &Role| !role.bind_secret_id && takes(role, address);
        if held.as_deref().is_some_and(is_enough)
            || self.secret_ids.get(&document(held.as_deref()))?.is_some()
        {
            return Ok(());
        }
        tools.records.hear_what_judges(&self.secret_ids, Some(address)).await?;
        // It was paid for.
        let document = document(role()?.as_deref());
        tools.records.find(&self.secret_ids, &document, None).await?;
        Ok(())
    }

    /// Counts a use, in the store and before anything is given for it: of two logins with the last
    /// use one wins.
    async fn use_secret_id(
        &self,
        request: &MethodRequest<'_, '_>,
        (role, login): (&Role, &Login),
        text: &str,
    ) -> Result<Arc<SecretId>, MethodError> {
        let (mount, tools) = (request.mount, request.tools);
        if text.is_empty() {
            return Err(invalid(text, LoginFault::SecretId));
        }
        let document = SecretId::name(super::state_key(tools)?, mount.uuid, &role.uuid, text);
        for _ in 0..ATTEMPTS {
            let found = self.secret_ids.get(&document)?;
            let found = found.ok_or_else(|| invalid(text, LoginFault::SecretId))?;
            let now = tools.clock.unix_seconds();
            if found.value.has_ended(now) {
                return Err(invalid(text, LoginFault::Ended));
            }
            require_address(role, &found.value, request.credentials.address)?;
            // Not before the secret id is known: strangers would learn of the role.
            require_possible(&role.token, mount)?;
            request.claim_room(login)?;
            let mut batch = Batch::default();
            match found.value.uses {
                0 => return Ok(found.value),
                1 => batch.delete::<SecretId>(&document, found.revision)?,
                uses => {
                    let next = SecretId::clone(&found.value);
                    let next = SecretId { uses: uses.saturating_sub(1), updated: now, ..next };
                    batch.put(&document, &next, Some(found.revision))?;
                }
            }
            match tools.records.commit(&batch).await {
                Ok(()) => return Ok(found.value),
                Err(RecordsError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(RecordsError::Conflict.into())
    }
}

/// Whether the role lets in who comes from there.
fn takes(role: &Role, address: IpAddr) -> bool {
    is_within(&role.secret_id_bound_cidrs, address) && is_within(&role.token.bound_cidrs, address)
}

/// Whoever has the secret id may know what stands in the way.
fn require_address(role: &Role, secret_id: &SecretId, address: IpAddr) -> Result<(), MethodError> {
    let refused = |of| MethodError::refused(AppRoleProblem::Address { of, address });
    if !is_within(&role.secret_id_bound_cidrs, address) {
        return Err(refused("role"));
    }
    if !is_within(&secret_id.cidr_list, address) {
        return Err(refused("secret ID"));
    }
    match is_within(&role.token.bound_cidrs, address) {
        true => Ok(()),
        false => Err(MethodError::told(AnswerKind::Forbidden, AppRoleProblem::PermissionDenied)),
    }
}

/// Where the token is good from: the secret id may narrow what the role says by now, and widens
/// nothing. `None`: nowhere.
fn bound_cidrs(role: &Role, secret_id: &SecretId) -> Option<Vec<IpNet>> {
    let (of_role, own) = (&role.token.bound_cidrs, &secret_id.token_bound_cidrs);
    if own.is_empty() || of_role.is_empty() {
        return Some(if own.is_empty() { of_role } else { own }.clone());
    }
    let both = narrowed(of_role, own);
    (!both.is_empty()).then_some(both)
}

/// One answer, whatever is wrong: nobody learns which role ids there are.
fn invalid(secret: &str, fault: LoginFault) -> MethodError {
    let told = match secret.is_empty() {
        true => AppRoleProblem::NoSecretId,
        false => AppRoleProblem::Invalid,
    };
    MethodError::refused_because(told, fault)
}
