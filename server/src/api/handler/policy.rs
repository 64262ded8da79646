//! `sys/policies/acl` and, as it was before, `sys/policy`.

use selkie_access::PolicyName;

use super::methods::told_of_records;
use super::transit::{denied, require_in_any_case};
use crate::api::base64;
use crate::api::call::{Call, Refusal};
use crate::api::data;
use crate::api::error::{ApiError, PolicyFault};
use crate::api::fields::{Fields, Warnings};
use crate::api::reply::Reply;
use crate::api::route::{Operation, PolicyPath};
use crate::auth::policies::PolicyChangeError;

/// The names of all policies.
pub(super) fn list(
    call: &Call<'_>,
    path: PolicyPath,
    operation: Operation,
    fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let checked = path.path("");
    let checked = match operation {
        Operation::List => &checked,
        _ => checked.trim_end_matches('/'),
    };
    let permit = call.acl(&fields).check(checked, operation.capability());
    let _permit = permit.map_err(denied)?;
    let names = call.node.auth().policies().names(&call.deployment);
    let names: Vec<_> = names.iter().map(PolicyName::as_str).collect();
    let warnings = fields.into_warnings(&[]);
    Ok(match path {
        PolicyPath::Acl => call.frame(&warnings).data(&data::KeyList { keys: &names }),
        PolicyPath::Legacy => {
            call.frame(&warnings).data_twice(&[("keys", &names), ("policies", &names)])
        }
    })
}

/// Shows, changes or removes a policy.
pub(super) async fn answer(
    call: &Call<'_>,
    path: PolicyPath,
    name: &str,
    operation: Operation,
    mut fields: Fields<'_>,
) -> Result<Reply, Refusal> {
    let named = path.path(name);
    require_in_any_case(call, &fields, &named, name, operation.capability())?;
    let name: PolicyName = name.parse().map_err(|error| refusal(PolicyFault::Name(error)))?;
    let (policies, records) = (call.node.auth().policies(), call.node.auth().records());
    match operation {
        Operation::Update => {
            let mut warnings = Warnings::default();
            let text = text(path, &mut fields, &mut warnings)?;
            let put = policies.put(records, &call.deployment, &name, &text).await;
            put.map_err(|error| refused(error, &name, PolicyFault::UpdateRoot))?;
            // Vault has no answer to tell of fields that it did not know.
            match warnings == Warnings::default() {
                true => Ok(Reply::no_content()),
                false => Ok(call.frame(&warnings).nothing()),
            }
        }
        Operation::Delete => {
            let deleted = policies.delete(records, &call.deployment, &name).await;
            deleted.map_err(|error| refused(error, &name, PolicyFault::DeleteRoot))?;
            Ok(Reply::no_content())
        }
        _ => {
            let shown = policies
                .text(&call.deployment, &name)
                .map_err(|error| Refusal::of_records(error.into(), ApiError::Internal))?;
            let text = shown.ok_or(ApiError::NotFound)?;
            let warnings = fields.into_warnings(&["name"]);
            Ok(match path {
                PolicyPath::Acl => {
                    let policy = data::Policy { name: name.as_str(), policy: &text };
                    call.frame(&warnings).data(&policy)
                }
                PolicyPath::Legacy => {
                    let members = [("name", name.as_str()), ("rules", &text)];
                    call.frame(&warnings).data_twice(&members)
                }
            })
        }
    }
}

/// The text of a policy, as it is or in base64.
fn text(
    path: PolicyPath,
    fields: &mut Fields<'_>,
    warnings: &mut Warnings,
) -> Result<String, Refusal> {
    let given = fields.text("policy").map_err(ApiError::from)?;
    let rules = fields.text("rules").map_err(ApiError::from)?;
    let is_given = given.as_ref().is_some_and(|text| !text.is_empty());
    let text = match (is_given, path) {
        (false, PolicyPath::Legacy) => {
            warnings.add("'rules' is deprecated, please use 'policy' instead".to_owned());
            rules
        }
        _ => given,
    };
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| refusal(PolicyFault::Missing))?;
    let decoded = base64::decode(&text).ok();
    let decoded =
        decoded.and_then(|text| String::from_utf8(text.expose_for_own_use().to_vec()).ok());
    Ok(decoded.unwrap_or_else(|| text.into_owned()))
}

fn refusal(fault: PolicyFault) -> Refusal {
    ApiError::from(fault).into()
}

fn refused(error: PolicyChangeError, name: &PolicyName, root: PolicyFault) -> Refusal {
    refusal(match error {
        PolicyChangeError::Declared { at } => {
            PolicyFault::Declared { name: name.as_str().into(), at }
        }
        PolicyChangeError::Root => root,
        PolicyChangeError::Default => PolicyFault::DeleteDefault,
        PolicyChangeError::Malformed(error) => PolicyFault::Malformed(error.to_string().into()),
        PolicyChangeError::Records(error) => {
            let own = [PolicyFault::NoStorage.into(), PolicyFault::TooLarge.into()];
            let told = told_of_records(&error, own);
            return Refusal::of_records(error, told);
        }
    })
}
