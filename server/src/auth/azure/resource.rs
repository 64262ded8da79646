//! On which machine an identity was used, as Entra has signed it.

use std::collections::BTreeMap;

use crate::auth::jwt::Claims;

/// The resource that an identity was used on, as Entra has signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) subscription: String,
    pub(super) resource_group: String,
    /// As `microsoft.compute/virtualmachines`.
    kind: String,
    name: String,
    id: String,
}

/// Why a token does not say where it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoMachine {
    #[error(
        "the token names no resource (xms_mirid, xms_az_rid): it is not of a managed identity, so \
         only 'bound_service_principal_ids' and 'bound_group_ids' can be verified"
    )]
    NoClaim,
    #[error(
        "the token names a user-assigned identity and not the machine that uses it, which only \
         Azure Resource Manager knows, whom Selkie does not ask: bind \
         'bound_service_principal_ids' to the identity"
    )]
    UserAssigned,
    #[error("the token names no resource in the form of Azure Resource Manager")]
    Malformed,
}

const USER_ASSIGNED: &str = "microsoft.managedidentity/userassignedidentities";
const SCALE_SET: &str = "microsoft.compute/virtualmachinescalesets";
const VIRTUAL_MACHINE: &str = "microsoft.compute/virtualmachines";

impl Machine {
    /// `xms_az_rid` names the machine that uses a user-assigned identity, `xms_mirid` the resource
    /// whose identity it is: the machine itself, where that is assigned by the system.
    pub(super) fn of(claims: &Claims) -> Result<Self, NoMachine> {
        let named = claims.text("xms_az_rid").or_else(|| claims.text("xms_mirid"));
        let machine = Self::parse(named.ok_or(NoMachine::NoClaim)?).ok_or(NoMachine::Malformed)?;
        if machine.kind == USER_ASSIGNED { Err(NoMachine::UserAssigned) } else { Ok(machine) }
    }

    /// `/subscriptions/<id>/resourcegroups/<name>/providers/<namespace>/<type>/<name>`, of which
    /// something may follow that belongs to the resource.
    fn parse(id: &str) -> Option<Self> {
        let parts: Vec<&str> = id.strip_prefix('/')?.split('/').collect();
        let [subscriptions, subscription, groups, group, providers, namespace, kind, name, ..] =
            parts.as_slice()
        else {
            return None;
        };
        let is = |text: &str, wanted| text.eq_ignore_ascii_case(wanted);
        let formed = is(subscriptions, "subscriptions")
            && is(groups, "resourcegroups")
            && is(providers, "providers")
            && parts.iter().all(|part| !part.is_empty());
        formed.then(|| Self {
            subscription: (*subscription).to_owned(),
            resource_group: (*group).to_owned(),
            kind: format!("{namespace}/{kind}").to_ascii_lowercase(),
            name: (*name).to_owned(),
            id: id.to_owned(),
        })
    }

    /// The scale set, if it is one or of one.
    pub(super) fn scale_set(&self) -> Option<&str> {
        (self.kind == SCALE_SET).then_some(self.name.as_str())
    }

    fn virtual_machine(&self) -> Option<&str> {
        (self.kind == VIRTUAL_MACHINE).then_some(self.name.as_str())
    }

    /// Whether a field of a login says of it what is so.
    pub(super) fn is_called(&self, field: &str, text: &str) -> bool {
        let actual = match field {
            "subscription_id" => Some(self.subscription.as_str()),
            "resource_group_name" => Some(self.resource_group.as_str()),
            "vm_name" => self.virtual_machine(),
            "vmss_name" => self.scale_set(),
            "resource_id" => Some(self.id.as_str()),
            _ => None,
        };
        actual.is_some_and(|actual| actual.eq_ignore_ascii_case(text))
    }

    /// Vault's metadata of a login.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("subscription_id", Some(self.subscription.as_str())),
            ("resource_group_name", Some(self.resource_group.as_str())),
            ("resource_id", Some(self.id.as_str())),
            ("vm_name", self.virtual_machine()),
            ("vmss_name", self.scale_set()),
        ];
        let set = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}
