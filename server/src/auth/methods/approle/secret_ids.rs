//! What is asked of secret ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use serde_json::Value;
use zeroize::Zeroizing;

use super::role::Role;
use super::secret_id::SecretId;
use super::{AppRole, AppRoleProblem};
use crate::api::SecretText;
use crate::api::fields::Fields;
use crate::auth::methods::documents::{DocumentName, forget};
use crate::auth::methods::parameters::networks;
use crate::auth::methods::{
    AnswerKind, AuthMount, MethodData, MethodError, MethodReply, MethodRequest, Tools,
};
use crate::auth::tokens::LargeMetadata;
use crate::state::records::{Batch, RecordsError};

/// How many that have ended are removed along with the making of one.
const SWEPT: usize = 16;
/// From so many characters on a secret id is told nothing about. Shorter ones are not refused: Vault's
/// own tests have them, and many a script.
const LONG: usize = 16;
const SHORT: &str = "the secret_id is shorter than 16 characters: it may be guessed";

/// How a secret id is named in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NamedBy {
    /// `secret_id`
    Itself,
    /// `secret_id_accessor`
    Accessor,
}

impl AppRole {
    /// `role/:name/secret-id` and `role/:name/custom-secret-id`
    pub(super) async fn generate(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
        is_custom: bool,
    ) -> Result<MethodReply, MethodError> {
        let MethodRequest { mount, fields, tools, .. } = request;
        let missing = || AppRoleProblem::NoRole { name: name.to_owned() };
        let role = self.role(mount, name)?;
        let role = role.ok_or_else(|| MethodError::told(AnswerKind::NotFound, missing()))?;
        if !role.bind_secret_id {
            return Err(MethodError::refused(AppRoleProblem::NotBound));
        }
        let text = match is_custom {
            true => custom_text(fields.secret("secret_id")?)?,
            false => drawn_text(tools)?,
        };
        let now = tools.clock.unix_seconds();
        let asked = RequestedSecretId::decode(fields, &role)?;
        let secret_id = SecretId {
            accessor: tools.uuid()?.to_string(),
            role: role.uuid.clone(),
            uses: asked.num_uses,
            ttl: asked.ttl,
            created: now,
            updated: now,
            metadata: asked.metadata,
            cidr_list: asked.cidr_list,
            token_bound_cidrs: asked.token_bound_cidrs,
        };
        let document = SecretId::name(super::state_key(tools)?, mount.uuid, &role.uuid, &text);
        let mut batch = Batch::default();
        batch.put(&document, &secret_id, None)?;
        match tools.records.commit(&batch).await {
            Err(RecordsError::Conflict) => {
                return Err(MethodError::refused(AppRoleProblem::Registered));
            }
            outcome => outcome?,
        }
        self.sweep(tools, SWEPT).await?;
        let mut data = MethodData::default();
        data.set("secret_id_accessor", secret_id.accessor);
        data.set("secret_id_num_uses", secret_id.uses);
        data.set("secret_id_ttl", secret_id.ttl);
        let is_short = text.len() < LONG;
        let reply = MethodReply::data(data.with_secret("secret_id", text)).captured(&["role_name"]);
        Ok(if is_short { reply.warn(SHORT.to_owned()) } else { reply })
    }

    /// `role/:name/secret-id`, list: the accessors.
    pub(super) async fn list_secret_ids(
        &self,
        request: MethodRequest<'_, '_>,
        name: &str,
    ) -> Result<MethodReply, MethodError> {
        let role = self.existing(request.mount, request.tools, name).await?;
        Ok(MethodReply::keys(self.secret_ids.find(|ids| ids.of_role(&role))))
    }

    /// `role/:name/secret-id/lookup` and `role/:name/secret-id-accessor/lookup`
    pub(super) async fn look_up(
        &self,
        mut request: MethodRequest<'_, '_>,
        name: &str,
        by: NamedBy,
    ) -> Result<MethodReply, MethodError> {
        let document = self.named(&mut request, name, by).await?;
        match self.secret_ids.get(&document)? {
            Some(found) if !found.value.has_ended(request.tools.clock.unix_seconds()) => {
                Ok(MethodReply::data(found.value.show()).captured(&["role_name"]))
            }
            Some(_) | None => Ok(MethodReply::done()),
        }
    }

    /// `role/:name/secret-id/destroy` and `role/:name/secret-id-accessor/destroy`
    pub(super) async fn destroy(
        &self,
        mut request: MethodRequest<'_, '_>,
        name: &str,
        by: NamedBy,
    ) -> Result<MethodReply, MethodError> {
        let records = request.tools.records;
        // A role that was deleted and made anew has other secret ids, with the same texts perhaps.
        records.look_again::<Role>(&DocumentName::new(request.mount.uuid, name)).await?;
        let document = self.named(&mut request, name, by).await?;
        forget(records, &self.secret_ids, vec![document]).await?;
        Ok(MethodReply::done().captured(&["role_name"]))
    }

    /// `tidy/secret-id`
    pub(super) async fn tidy(&self, tools: Tools<'_>) -> Result<MethodReply, MethodError> {
        self.sweep(tools, usize::MAX).await?;
        Ok(MethodReply::done().warn("Tidy operation successfully finished.".to_owned()))
    }

    async fn sweep(&self, tools: Tools<'_>, most: usize) -> Result<(), MethodError> {
        let ended = self.secret_ids.find(|ids| ids.ended(tools.time_to_delete(), most));
        Ok(forget(tools.records, &self.secret_ids, ended).await?)
    }

    /// Which secret id of the role is meant; that there is none is for the store to say, as another
    /// replica may have made it a moment ago. Vault says nothing where there is none by its text, and
    /// 404 where there is none by its accessor.
    async fn named(
        &self,
        request: &mut MethodRequest<'_, '_>,
        name: &str,
        by: NamedBy,
    ) -> Result<DocumentName, MethodError> {
        let (mount, tools) = (request.mount, request.tools);
        let role = self.existing(mount, tools, name).await?;
        if by == NamedBy::Itself {
            let text = request.fields.secret("secret_id")?;
            let text = text.filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| MethodError::refused(AppRoleProblem::NoSecretId))?;
            let key = super::state_key(tools)?;
            let document = SecretId::name(key, mount.uuid, &role.uuid, text.expose_to_decode());
            tools.records.find(&self.secret_ids, &document, None).await?;
            return Ok(document);
        }
        let accessor = request.fields.text("secret_id_accessor")?.unwrap_or_default();
        if accessor.is_empty() {
            return Err(MethodError::refused(AppRoleProblem::NoAccessor));
        }
        let look = || {
            let found = self.secret_ids.find(|ids| ids.by_accessor(mount.uuid, &accessor))?;
            let of_role = self.secret_ids.find(|ids| ids.of_role(&role));
            of_role.iter().any(|one| *one == accessor).then_some(found)
        };
        if let Some(held) = look() {
            return Ok(held);
        }
        tools.records.hear_of_all(&self.secret_ids).await?;
        let missing = || AppRoleProblem::UnknownAccessor { accessor: accessor.clone().into() };
        look().ok_or_else(|| MethodError::told(AnswerKind::NotFound, missing()))
    }

    /// The role of this name, which the store is asked for where it is not held.
    async fn existing(
        &self,
        mount: &AuthMount,
        tools: Tools<'_>,
        name: &str,
    ) -> Result<Arc<Role>, MethodError> {
        if let Some(held) = self.role(mount, name)? {
            return Ok(held);
        }
        let document = DocumentName::new(mount.uuid, name);
        let found = tools.records.find(&self.roles, &document, None).await?;
        let missing = || MethodError::refused(AppRoleProblem::NoRole { name: name.to_owned() });
        Ok(found.ok_or_else(missing)?.value)
    }
}

/// What a secret id is asked to be, within what its role allows.
struct RequestedSecretId {
    num_uses: u32,
    ttl: u64,
    metadata: BTreeMap<String, String>,
    cidr_list: Vec<IpNet>,
    token_bound_cidrs: Vec<IpNet>,
}

impl RequestedSecretId {
    fn decode(fields: &mut Fields<'_>, role: &Role) -> Result<Self, MethodError> {
        let refused = |problem: AppRoleProblem| MethodError::refused(problem);
        let num_uses = match fields.int("num_uses")? {
            Some(uses) => u32::try_from(uses)
                .map_err(|_out_of_range| refused(AppRoleProblem::NegativeUses))?,
            None => role.secret_id_num_uses,
        };
        // 0 is any number, which is more than every other.
        let is_limited = role.secret_id_num_uses > 0;
        if is_limited && (num_uses == 0 || num_uses > role.secret_id_num_uses) {
            return Err(refused(AppRoleProblem::ManyUses));
        }
        let ttl = fields.seconds("ttl")?.map_or(role.secret_id_ttl, i64::unsigned_abs);
        if role.secret_id_ttl > 0 && (ttl == 0 || ttl > role.secret_id_ttl) {
            return Err(refused(AppRoleProblem::LongTtl));
        }
        let cidr_list = networks(&fields.list("cidr_list")?.unwrap_or_default())?;
        let token_bound_cidrs = networks(&fields.list("token_bound_cidrs")?.unwrap_or_default())?;
        require_subset(&cidr_list, &role.secret_id_bound_cidrs)?;
        require_subset(&token_bound_cidrs, &role.token.bound_cidrs)?;
        let metadata = metadata(fields.json("metadata")?)?;
        Ok(Self { num_uses, ttl, metadata, cidr_list, token_bound_cidrs })
    }
}

fn require_subset(networks: &[IpNet], bound: &[IpNet]) -> Result<(), MethodError> {
    let lies_within = |network: &IpNet| bound.iter().any(|bound| bound.contains(network));
    match bound.is_empty() || networks.iter().all(lies_within) {
        true => Ok(()),
        false => Err(MethodError::refused(AppRoleProblem::NoSubset)),
    }
}

/// An object of texts, or, as Vault's clients send it, a text with such an object in it.
fn metadata(value: Option<Value>) -> Result<BTreeMap<String, String>, MethodError> {
    let value = match value {
        None | Some(Value::Null) => return Ok(BTreeMap::new()),
        Some(Value::String(text)) if text.is_empty() => return Ok(BTreeMap::new()),
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
        Some(other) => other,
    };
    let malformed = || MethodError::refused(AppRoleProblem::Metadata);
    let Value::Object(members) = value else { return Err(malformed()) };
    let text = |(name, value)| match value {
        Value::String(text) => Ok((name, text)),
        _ => Err(malformed()),
    };
    let metadata = members.into_iter().map(text).collect::<Result<_, _>>()?;
    let large = |large| MethodError::refused(AppRoleProblem::LargeMetadata(large));
    LargeMetadata::check(&metadata).map_err(large)?;
    Ok(metadata)
}

/// As Vault makes them: a random UUID. Its text is never in memory that is not wiped.
fn drawn_text(tools: Tools<'_>) -> Result<Zeroizing<String>, MethodError> {
    let mut buffer = Zeroizing::new([0; uuid::fmt::Hyphenated::LENGTH]);
    let text: &str = tools.uuid()?.hyphenated().encode_lower(&mut *buffer);
    Ok(Zeroizing::new(text.to_owned()))
}

fn custom_text(text: Option<SecretText<'_>>) -> Result<Zeroizing<String>, MethodError> {
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| MethodError::refused(AppRoleProblem::NoSecretId))?;
    if text.expose_to_decode().len() > 4096 {
        return Err(MethodError::refused(AppRoleProblem::LongSecretId));
    }
    Ok(Zeroizing::new(text.expose_to_decode().to_owned()))
}
