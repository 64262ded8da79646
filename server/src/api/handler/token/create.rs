//! `auth/token/create`, in all its forms.

use std::time::Duration;

use ipnet::IpNet;
use selkie_access::{Capability, PolicyName, TokenHash, TokenText};
use selkie_crypto::sha256;

use super::{AuthOf, refused, token_refused};
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::duration::go_text;
use crate::api::error::{ApiError, TokenFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::request::token::CreateToken;
use crate::auth::Origin;
use crate::auth::tokens::{
    GivenTokenType, Issued, LifetimeWarning, NewToken, Parent, RoleName, TokenKind, TokenRole,
};

/// How a token is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner<'a> {
    Child,
    Orphan,
    Role(&'a RoleName),
}

impl Manner<'_> {
    pub(super) fn path(self) -> String {
        match self {
            Self::Child => "auth/token/create".to_owned(),
            Self::Orphan => "auth/token/create-orphan".to_owned(),
            Self::Role(role) => format!("auth/token/create/{role}"),
        }
    }
}

pub(super) async fn create(
    call: &Call<'_>,
    manner: Manner<'_>,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let parent = parent(call)?;
    let role = match manner {
        Manner::Role(name) => Some(role(call, name)?),
        Manner::Child | Manner::Orphan => None,
    };
    let request = CreateToken::decode(&mut fields)?;
    let path = manner.path();
    let is_sudo = call.client.acl.reaches(&path, Capability::Sudo);
    let asked = Creation { call, request: &request, role: role.as_deref(), is_sudo, manner };
    let mut warnings = Warnings::default();
    let new = asked.new_token(path, parent, &mut warnings)?;
    if new.policies.iter().any(PolicyName::is_root) && is_endless(&new) && ends(call) {
        return Err(TokenFault::ExpiringRoot.into_refusal());
    }
    let auth = call.node.auth();
    let issued = match &request.id {
        None => auth.issue(new).await,
        Some(id) => auth.issue_as(new, chosen(id.expose_to_decode(), is_sudo)?).await,
    };
    let issued = issued.map_err(token_refused)?;
    let mut all = fields.into_warnings(&["role_name"]);
    all.extend(warnings);
    add_warnings(call, &issued, &mut all);
    Ok(reply(call, &issued, &all))
}

impl TokenFault {
    fn into_refusal(self) -> Refusal {
        ApiError::from(self).into()
    }
}

/// Whom the token dies with, if it is no orphan.
fn parent(call: &Call<'_>) -> Result<Option<Parent>, Refusal> {
    let text = call.token;
    match &call.client.origin {
        Origin::Token(token) if token.made.kind == TokenKind::Batch => {
            Err(TokenFault::BatchCannotCreate.into_refusal())
        }
        Origin::Token(token) if token.made.num_uses > 0 => {
            Err(TokenFault::RestrictedUse.into_refusal())
        }
        Origin::Token(_) => {
            let auth = call.node.auth();
            let found = text.map(|text| auth.find(&call.deployment, text)).transpose();
            let found = found.map_err(refused)?.flatten().ok_or(TokenFault::NoParent);
            Ok(Some(Parent::Token(found.map_err(ApiError::from)?.id)))
        }
        Origin::Declared { .. } => {
            let hash = text.map(|text| TokenHash::new(sha256(text.expose_for_hash())));
            let declared = hash.filter(|hash| call.deployment.clients.has(hash));
            Ok(declared.map(Parent::Declared))
        }
        // Else a token would outlive the certificate that it was got with.
        Origin::Certificate { .. } => Err(TokenFault::NoParent.into_refusal()),
    }
}

fn role(call: &Call<'_>, name: &RoleName) -> Result<std::sync::Arc<TokenRole>, Refusal> {
    let found = call.node.auth().tokens().roles().get(name);
    let found = found.map_err(|unreadable| refused(unreadable.into()))?;
    let unknown = || TokenFault::UnknownRole(name.as_str().into()).into_refusal();
    found.map(|current| current.value).ok_or_else(unknown)
}

fn is_endless(new: &NewToken) -> bool {
    new.ttl.is_none() && new.period.is_none() && new.explicit_max_ttl.is_none()
}

/// Whether the client's own token runs out.
fn ends(call: &Call<'_>) -> bool {
    matches!(&call.client.origin, Origin::Token(token) if token.expires.is_some())
}

/// The text that a client has chosen for a token.
fn chosen(id: &str, is_sudo: bool) -> Result<TokenText, Refusal> {
    if !is_sudo {
        return Err(TokenFault::NeedsSudo("specify token id").into_refusal());
    }
    if id.contains('.') {
        return Err(TokenFault::UnfitId.into_refusal());
    }
    TokenText::from_header(id.as_bytes()).map_err(|_unfit| TokenFault::UnfitId.into_refusal())
}

struct Creation<'a> {
    call: &'a Call<'a>,
    request: &'a CreateToken<'a>,
    role: Option<&'a TokenRole>,
    is_sudo: bool,
    manner: Manner<'a>,
}

impl Creation<'_> {
    fn new_token(
        &self,
        path: String,
        parent: Option<Parent>,
        warnings: &mut Warnings,
    ) -> Result<NewToken, ApiError> {
        let request = self.request;
        let kind = self.kind()?;
        let num_uses = self.num_uses(kind)?;
        self.check_entity_alias()?;
        let policies = self.policies(kind)?;
        let parent = self.parent(parent)?;
        let explicit_max_ttl = positive("explicit_max_ttl", request.explicit_max_ttl)?;
        let period = positive("period", request.period)?;
        if period.is_some() && !self.is_sudo {
            return Err(TokenFault::NeedsSudo("create periodic token").into());
        }
        let of_role = self.role.filter(|_| kind == TokenKind::Service);
        let most = of_role.and_then(TokenRole::explicit_max_ttl);
        let most = lesser("Explicit max TTL", explicit_max_ttl, most, warnings);
        let its_period = of_role.and_then(TokenRole::period);
        let suffix = self.role.map(|role| role.path_suffix.as_str()).unwrap_or_default();
        Ok(NewToken {
            display_name: display_name(&request.display_name),
            policies: policies.into(),
            meta: request.meta.clone(),
            path: if suffix.is_empty() { path } else { format!("{path}/{suffix}") },
            kind,
            parent,
            ttl: positive("ttl", request.ttl)?,
            explicit_max_ttl: most,
            period: lesser("Period", period, its_period, warnings),
            renewable: kind == TokenKind::Service
                && request.renewable.unwrap_or(true)
                && self.role.is_none_or(|role| role.renewable),
            num_uses,
            bound_cidrs: self.bound_cidrs(parent),
            role: match self.manner {
                Manner::Role(name) => Some(name.to_string()),
                Manner::Child | Manner::Orphan => None,
            },
            // A child is good for nobody for whom its parent is not.
            bound_certificate: match (parent, &self.call.client.origin) {
                (Some(Parent::Token(_)), Origin::Token(own)) => own.made.bound_certificate,
                _ => None,
            },
            login: None,
        })
    }

    /// What the role says, else what the parent has: in Vault any role frees from that.
    fn bound_cidrs(&self, parent: Option<Parent>) -> Vec<IpNet> {
        match (self.role, parent, &self.call.client.origin) {
            (Some(role), ..) if !role.bound_cidrs.is_empty() => role.bound_cidrs.clone(),
            (_, Some(Parent::Token(_)), Origin::Token(own)) => own.made.bound_cidrs.clone(),
            (_, Some(Parent::Declared(token)), _) => {
                self.call.deployment.clients.bound_cidrs(&token).to_vec()
            }
            _ => Vec::new(),
        }
    }

    fn kind(&self) -> Result<TokenKind, ApiError> {
        let request = self.request;
        let wanted = match self.role.map(|role| role.token_type) {
            None | Some(GivenTokenType::DefaultService) => &*request.token_type,
            Some(GivenTokenType::DefaultBatch) if request.token_type.is_empty() => "batch",
            Some(GivenTokenType::DefaultBatch) => &*request.token_type,
            Some(GivenTokenType::Service) => "service",
            Some(GivenTokenType::Batch) => "batch",
        };
        match wanted {
            "" | "service" => return Ok(TokenKind::Service),
            "batch" => {}
            _ => return Err(TokenFault::InvalidType.into()),
        }
        let unfit = [
            ("explicit_max_ttl", request.explicit_max_ttl),
            ("num_uses", request.num_uses),
            ("period", request.period),
        ];
        match unfit.into_iter().find(|(_, value)| *value != 0) {
            Some((field, _)) => Err(TokenFault::BatchCannotHave(field).into()),
            None => Ok(TokenKind::Batch),
        }
    }

    /// As Vault: uses of a batch token, which is kept nowhere, are not counted, whatever its role says.
    fn num_uses(&self, kind: TokenKind) -> Result<u32, ApiError> {
        let asked = u32::try_from(self.request.num_uses);
        let asked = asked.map_err(|_negative| TokenFault::NegativeUses)?;
        Ok(match self.role.map_or(0, |role| role.num_uses) {
            _ if kind == TokenKind::Batch => 0,
            0 => asked,
            most if asked == 0 => most,
            most => asked.min(most),
        })
    }

    fn check_entity_alias(&self) -> Result<(), ApiError> {
        match (self.request.entity_alias.is_empty(), self.role) {
            (true, _) => Ok(()),
            (false, None) => Err(TokenFault::EntityAliasWithoutRole.into()),
            // There are no entities: one that was taken would promise something.
            (false, Some(_)) => Err(TokenFault::InvalidEntityAlias.into()),
        }
    }

    fn parent(&self, parent: Option<Parent>) -> Result<Option<Parent>, ApiError> {
        match (self.role, self.manner) {
            (Some(role), _) => Ok(parent.filter(|_| !role.orphan)),
            (None, _) if self.request.no_parent => match self.is_sudo {
                true => Ok(None),
                false => Err(TokenFault::NeedsSudo("create orphan token").into()),
            },
            (None, Manner::Orphan) => Ok(None),
            (None, Manner::Child | Manner::Role(_)) => Ok(parent),
        }
    }

    fn policies(&self, kind: TokenKind) -> Result<Vec<PolicyName>, ApiError> {
        let asked = policy_names(&self.request.policies)?;
        let own = self.call.client.policies();
        let default_policy = "default".parse::<PolicyName>().or(Err(ApiError::Internal))?;
        let wants_default = !self.request.no_default_policy;
        let mut policies = match self.role {
            Some(role) if role.rules_policies() => self.policies_of_role(role, asked)?,
            _ if asked.is_empty() => own.to_vec(),
            _ => {
                let is_subset = asked.iter().all(|one| own.contains(one));
                if !self.is_sudo && !is_subset {
                    return Err(TokenFault::NotSubset.into());
                }
                let mut policies = asked;
                if wants_default && (self.is_sudo || own.contains(&default_policy)) {
                    policies.push(default_policy.clone());
                }
                policies
            }
        };
        if !wants_default {
            policies.retain(|one| *one != default_policy);
        }
        if policies.iter().any(PolicyName::is_root) {
            if !self.call.client.is_root() {
                return Err(TokenFault::RootFromOther.into());
            }
            if kind == TokenKind::Batch {
                return Err(TokenFault::BatchRoot.into());
            }
            // Beside it every other policy is void.
            policies.retain(PolicyName::is_root);
        }
        policies.sort();
        policies.dedup();
        Ok(policies)
    }

    /// The role alone says what is allowed, whatever the client itself may do.
    fn policies_of_role(
        &self,
        role: &TokenRole,
        asked: Vec<PolicyName>,
    ) -> Result<Vec<PolicyName>, ApiError> {
        let adds_default = !self.request.no_default_policy
            && !role.no_default_policy
            && !role.disallows("default");
        let with_default = |mut policies: Vec<PolicyName>| {
            if adds_default {
                policies.extend("default".parse());
            }
            policies.sort();
            policies.dedup();
            policies
        };
        let policies = if !asked.is_empty() {
            let policies = with_default(asked);
            let is_allowed = |one: &PolicyName| {
                role.allows(one.as_str()) || (adds_default && one.as_str() == "default")
            };
            if role.allows_some() && !policies.iter().all(is_allowed) {
                return Err(outside(role, &policies));
            }
            policies
        } else if role.allows_some() {
            with_default(policy_names(&role.allowed_policies)?)
        } else {
            with_default(self.call.client.policies().to_vec())
        };
        match policies.iter().find(|one| role.disallows(one.as_str())) {
            Some(one) => Err(TokenFault::DisallowedByRole(one.as_str().into()).into()),
            None => Ok(policies),
        }
    }
}

/// Vault's text, with lists as Go's `%q` prints them.
fn outside(role: &TokenRole, policies: &[PolicyName]) -> ApiError {
    let quoted = |names: Vec<&str>| {
        let names: Vec<_> = names.into_iter().map(|name| format!("{name:?}")).collect();
        format!("[{}]", names.join(" "))
    };
    let text = format!(
        "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies \
         ({})",
        quoted(policies.iter().map(PolicyName::as_str).collect()),
        quoted(role.allowed_policies.iter().map(String::as_str).collect()),
        quoted(role.allowed_policies_glob.iter().map(String::as_str).collect()),
    );
    TokenFault::OutsideRole { text: text.into() }.into()
}

/// Names as Vault takes them: trimmed, in lower case, empty ones left out.
pub(super) fn policy_names(names: &[String]) -> Result<Vec<PolicyName>, ApiError> {
    let named = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let parse =
        |name: &str| name.parse().map_err(|_unfit| TokenFault::BadPolicyName(name.into()).into());
    named.map(parse).collect()
}

fn positive(field: &'static str, seconds: i64) -> Result<Option<Duration>, ApiError> {
    let seconds = u64::try_from(seconds).map_err(|_negative| TokenFault::NotPositive(field))?;
    Ok((seconds > 0).then(|| Duration::from_secs(seconds)))
}

fn lesser(
    what: &str,
    asked: Option<Duration>,
    of_role: Option<Duration>,
    warnings: &mut Warnings,
) -> Option<Duration> {
    let (Some(one), Some(other)) = (asked, of_role) else { return asked.or(of_role) };
    let lesser = one.min(other);
    warnings.add(format!(
        "{what} specified both during creation call and in role; using the lesser value of {} \
         seconds",
        lesser.as_secs()
    ));
    Some(lesser)
}

/// `token`, or `token-` and what was asked for in letters, digits and dashes.
fn display_name(asked: &str) -> String {
    if asked.is_empty() {
        return "token".to_owned();
    }
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let name: String = "token-".chars().chain(asked.chars().map(fit)).collect();
    name.strip_suffix('-').unwrap_or(&name).to_owned()
}

pub(in crate::api::handler) fn lifetime_warning(warning: &LifetimeWarning) -> String {
    match warning {
        LifetimeWarning::Period { asked, capped } => format!(
            "period of \"{}\" exceeded the effective max_ttl of \"{}\"; period value is capped \
             accordingly",
            go_text(*asked),
            go_text(*capped)
        ),
        LifetimeWarning::Ttl { asked, capped } => format!(
            "TTL of \"{}\" exceeded the effective max_ttl of \"{}\"; TTL value is capped \
             accordingly",
            go_text(*asked),
            go_text(*capped)
        ),
    }
}

fn add_warnings(call: &Call<'_>, issued: &Issued, warnings: &mut Warnings) {
    issued.warnings.iter().map(lifetime_warning).for_each(|one| warnings.add(one));
    let known = call.node.auth().policies().names(&call.deployment);
    let unknown = issued.token.made.policies.iter().filter(|name| !known.contains(*name));
    unknown.for_each(|name| warnings.add(format!("Policy \"{name}\" does not exist")));
}

fn reply(call: &Call<'_>, issued: &Issued, warnings: &Warnings) -> Reply {
    let token = &issued.token;
    let auth: AuthOf<'_> = AuthOf::new(token, issued.text.expose_for_reply());
    let lease = token.made.ttl.unwrap_or_default();
    let wire: data::Auth<'_> = auth.wire(lease);
    call.frame(warnings).auth(&wire)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_name_has_letters_digits_and_dashes_only() {
        for (asked, name) in [
            ("", "token"),
            ("vault eu", "token-vault-eu"),
            ("a_b.", "token-a-b"),
            ("x--", "token-x-"),
        ] {
            assert_eq!(display_name(asked), name, "{asked}");
        }
    }
}
