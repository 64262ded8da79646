//! Rotation policies: Key Vault's JSON, its rules, and when a rotation is due.

use jiff::{Span, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// A rotation policy as it was set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RotationPolicy {
    #[serde(skip_serializing)]
    id: Option<String>,
    lifetime_actions: Vec<LifetimeAction>,
    attributes: PolicyAttributes,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct LifetimeAction {
    trigger: Trigger,
    action: Action,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Trigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    time_after_create: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_before_expiry: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Action {
    r#type: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PolicyAttributes {
    #[serde(skip_serializing_if = "Option::is_none")]
    expiry_time: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated: Option<i64>,
}

/// Why a policy is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("a time in the policy is not an ISO 8601 duration such as P90D")]
    Duration,
    #[error("expiryTime must be at least 28 days")]
    Expiry,
    #[error("an action needs exactly one of timeAfterCreate and timeBeforeExpiry")]
    Trigger,
    #[error("timeBeforeExpiry needs an expiryTime")]
    BeforeWhat,
    #[error("an action must lie at least 7 days after creation and before expiry")]
    TooEarly,
    #[error("the action's type must be Rotate or Notify")]
    Action,
}

const DAY: i64 = 86_400;

impl RotationPolicy {
    /// Checks Key Vault's rules and stamps the policy.
    pub(crate) fn checked(mut self, now: i64) -> Result<Self, PolicyError> {
        let expiry = self.attributes.expiry_time.as_deref();
        let expiry = expiry.map(|text| after(now, text)).transpose()?;
        if expiry.is_some_and(|at| at - now < 28 * DAY) {
            return Err(PolicyError::Expiry);
        }
        for action in &self.lifetime_actions {
            action.check(now, expiry)?;
        }
        self.attributes.created = self.attributes.created.or(Some(now));
        self.attributes.updated = Some(now);
        Ok(self)
    }

    /// When a version made at `created` is replaced.
    pub(crate) fn rotates_at(&self, created: i64, expires: Option<i64>) -> Option<i64> {
        let rotations = self.lifetime_actions.iter().filter(|a| a.rotates());
        rotations
            .filter_map(|a| match (&a.trigger.time_after_create, &a.trigger.time_before_expiry) {
                (Some(text), _) => after(created, text).ok(),
                (None, Some(text)) => before(expires?, text).ok(),
                (None, None) => None,
            })
            .min()
    }

    /// When a version made by a rotation at `created` expires.
    pub(crate) fn expires_at(&self, created: i64) -> Option<i64> {
        self.attributes.expiry_time.as_deref().and_then(|text| after(created, text).ok())
    }
}

impl LifetimeAction {
    fn rotates(&self) -> bool {
        self.action.r#type.eq_ignore_ascii_case("rotate")
    }

    fn check(&self, now: i64, expiry: Option<i64>) -> Result<(), PolicyError> {
        if !self.rotates() && !self.action.r#type.eq_ignore_ascii_case("notify") {
            return Err(PolicyError::Action);
        }
        let at = match (&self.trigger.time_after_create, &self.trigger.time_before_expiry) {
            (Some(text), None) => after(now, text)?,
            (None, Some(text)) => before(expiry.ok_or(PolicyError::BeforeWhat)?, text)?,
            _ => return Err(PolicyError::Trigger),
        };
        let too_late = expiry.is_some_and(|expiry| expiry - at < 7 * DAY);
        if at - now < 7 * DAY || too_late { Err(PolicyError::TooEarly) } else { Ok(()) }
    }
}

fn after(seconds: i64, duration: &str) -> Result<i64, PolicyError> {
    let span: Span = duration.parse().map_err(|_e| PolicyError::Duration)?;
    let from = Timestamp::from_second(seconds).map_err(|_e| PolicyError::Duration)?;
    let at = from.to_zoned(TimeZone::UTC).checked_add(span);
    Ok(at.map_err(|_e| PolicyError::Duration)?.timestamp().as_second())
}

fn before(seconds: i64, duration: &str) -> Result<i64, PolicyError> {
    after(seconds, &format!("-{}", duration.trim_start_matches('-')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_790_000_000;

    fn policy(text: &str) -> RotationPolicy {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_version_rotates_after_creation_or_before_expiry_whichever_comes_first() {
        let p = policy(
            r#"{"lifetimeActions":[
                {"trigger":{"timeAfterCreate":"P60D"},"action":{"type":"Rotate"}},
                {"trigger":{"timeBeforeExpiry":"P40D"},"action":{"type":"Rotate"}},
                {"trigger":{"timeAfterCreate":"P10D"},"action":{"type":"Notify"}}],
               "attributes":{"expiryTime":"P90D"}}"#,
        )
        .checked(NOW)
        .unwrap();
        assert_eq!(p.expires_at(NOW), Some(NOW + 90 * DAY));
        assert_eq!(p.rotates_at(NOW, None), Some(NOW + 60 * DAY));
        assert_eq!(p.rotates_at(NOW, Some(NOW + 90 * DAY)), Some(NOW + 50 * DAY));
    }

    #[test]
    fn a_policy_outside_key_vaults_rules_is_refused() {
        let rotate = |trigger: &str, attributes: &str| {
            let text = format!(
                r#"{{"lifetimeActions":[{{"trigger":{trigger},"action":{{"type":"Rotate"}}}}],
                    "attributes":{attributes}}}"#
            );
            policy(&text).checked(NOW).unwrap_err()
        };
        assert_eq!(rotate(r#"{"timeAfterCreate":"P6D"}"#, "{}"), PolicyError::TooEarly);
        assert_eq!(rotate(r#"{"timeAfterCreate":"soon"}"#, "{}"), PolicyError::Duration);
        assert_eq!(rotate(r#"{"timeBeforeExpiry":"P30D"}"#, "{}"), PolicyError::BeforeWhat);
        assert_eq!(rotate("{}", "{}"), PolicyError::Trigger);
        assert_eq!(
            rotate(r#"{"timeAfterCreate":"P8D"}"#, r#"{"expiryTime":"P27D"}"#),
            PolicyError::Expiry
        );
    }
}
