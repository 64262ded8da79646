use std::time::Duration;

use selkie_access::{Capability, PolicyName};

use super::transit::denied;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::ApiError;
use crate::api::fields::Fields;
use crate::api::reply::Reply;
use crate::api::request;
use crate::api::route::Operation;
use crate::auth::Origin;

/// A declared token never expires: nothing that a client or an outage does can strand a seal. With
/// a period it is renewable all the same, because seal clients look for that.
pub(super) fn renew_self(call: &Call<'_>, mut fields: Fields<'_>) -> Result<Reply, Refusal> {
    let _permit =
        call.acl(&fields).check("auth/token/renew-self", Capability::Update).map_err(denied)?;
    request::RenewSelf::decode(&mut fields)?;
    let period = period(call).ok_or(ApiError::InvalidLease)?;
    let policies = policy_names(call);
    let auth = data::Auth {
        client_token: client_token(call),
        accessor: &call.client.accessor,
        policies: &policies,
        token_policies: &policies,
        metadata: None,
        lease_duration: seconds(period),
        renewable: true,
        entity_id: "",
        token_type: "service",
        orphan: true,
        mfa_requirement: None,
        num_uses: 0,
    };
    let warnings = fields.into_warnings(&[]);
    Ok(call.envelope(&warnings).auth(&auth))
}

pub(super) fn lookup_self(
    call: &Call<'_>,
    operation: Operation,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let _permit = call
        .acl(&fields)
        .check("auth/token/lookup-self", operation.capability())
        .map_err(denied)?;
    request::decode_lookup_self(&mut fields)?;
    let client = &call.client;
    let period = period(call).map(seconds);
    let now = i64::try_from(call.node.clock().unix_seconds()).unwrap_or(i64::MAX);
    let token = data::Token {
        accessor: &client.accessor,
        creation_time: 0,
        creation_ttl: period.unwrap_or(0),
        display_name: &client.name,
        entity_id: "",
        expire_time: period.and_then(|period| rfc3339(now.saturating_add(period))),
        explicit_max_ttl: 0,
        id: client_token(call),
        issue_time: period.and_then(|_| rfc3339(0)),
        last_renewal: None,
        last_renewal_time: None,
        meta: None,
        num_uses: 0,
        orphan: true,
        path: "auth/token/create",
        period,
        policies: &policy_names(call),
        renewable: period.map(|_| true),
        ttl: period.unwrap_or(0),
        token_type: "service",
    };
    let warnings = fields.into_warnings(&[]);
    Ok(call.envelope(&warnings).token(&token))
}

fn period(call: &Call<'_>) -> Option<Duration> {
    match &call.client.origin {
        Origin::Declared { period } => *period,
        Origin::Token(token) => token.made.period,
    }
}

fn policy_names<'a>(call: &'a Call<'_>) -> Vec<&'a str> {
    call.client.policies.iter().map(PolicyName::as_str).collect()
}

/// The token itself: a seal client's watcher renews with what the reply says.
fn client_token<'a>(call: &'a Call<'_>) -> &'a str {
    call.token.as_ref().map_or("", |token| token.expose_for_reply())
}

fn seconds(period: Duration) -> i64 {
    i64::try_from(period.as_secs()).unwrap_or(i64::MAX)
}

fn rfc3339(unix_seconds: i64) -> Option<String> {
    jiff::Timestamp::from_second(unix_seconds).ok().map(|time| time.to_string())
}
