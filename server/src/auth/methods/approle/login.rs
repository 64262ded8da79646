use std::sync::Arc;

use super::role::Role;
use super::secret_id::SecretId;
use super::{AppRole, AppRoleProblem, LoginFault};
use crate::auth::methods::parameters::is_within;
use crate::auth::methods::{Login, MethodError, MethodReply, MethodRequest, Told};
use crate::state::records::{Batch, RecordsError};

/// How often a use is counted anew because another login was first.
const ATTEMPTS: usize = 16;

impl AppRole {
    /// `login`
    pub(super) async fn login(
        &self,
        request: MethodRequest<'_, '_>,
    ) -> Result<MethodReply, MethodError> {
        let role_id = request.fields.text("role_id")?.unwrap_or_default();
        if role_id.is_empty() {
            return Err(MethodError::refused(AppRoleProblem::NoRoleId));
        }
        let secret = request.fields.secret("secret_id")?;
        let found = self.role_of_id(request.mount, &role_id)?;
        let (name, role) = found.ok_or_else(|| invalid(LoginFault::RoleId))?;
        let address = request.credentials.address;
        if !is_within(&role.secret_id_bound_cidrs, address) {
            return Err(MethodError::refused(AppRoleProblem::Address { of: "role", address }));
        }
        if !is_within(&role.token.bound_cidrs, address) {
            let told = AppRoleProblem::PermissionDenied;
            return Err(MethodError::told(Told::Forbidden, told));
        }
        let mut login = Login {
            alias: role.role_id.clone(),
            parameters: role.token.clone(),
            ..Login::default()
        };
        if role.bind_secret_id {
            let secret = secret.as_ref().map(|text| text.expose_to_decode().trim());
            let secret = secret.filter(|text| !text.is_empty());
            let secret = secret.ok_or_else(|| MethodError::refused(AppRoleProblem::NoSecretId))?;
            let used = self.use_secret_id(&request, &role, secret).await?;
            login.metadata.extend(used.metadata.clone());
            if !used.token_bound_cidrs.is_empty() {
                login.parameters.bound_cidrs.clone_from(&used.token_bound_cidrs);
            }
        }
        login.metadata.insert("role_name".to_owned(), name);
        Ok(MethodReply::login(login))
    }

    /// Counts a use, in the store and before anything is given for it: of two logins with the last
    /// use one wins.
    async fn use_secret_id(
        &self,
        request: &MethodRequest<'_, '_>,
        role: &Role,
        text: &str,
    ) -> Result<Arc<SecretId>, MethodError> {
        let (mount, tools) = (request.mount, request.tools);
        let document = SecretId::name(super::state_key(tools)?, mount.uuid, role, text);
        for _ in 0..ATTEMPTS {
            let found = self.secret_ids.get(&document)?;
            let found = found.ok_or_else(|| invalid(LoginFault::SecretId))?;
            let now = tools.clock.unix_seconds();
            if found.value.has_ended(now) {
                return Err(invalid(LoginFault::Ended));
            }
            let address = request.credentials.address;
            if !is_within(&found.value.cidr_list, address) {
                let told = AppRoleProblem::Address { of: "secret ID", address };
                return Err(MethodError::refused(told));
            }
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

/// One answer for both: nobody learns which of the two is wrong.
fn invalid(fault: LoginFault) -> MethodError {
    MethodError::refused_because(AppRoleProblem::Invalid, fault)
}
