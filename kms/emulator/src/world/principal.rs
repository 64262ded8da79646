//! Who can hold a token: managed identities and applications.

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

/// A managed identity.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) system_assigned: bool,
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    pub(crate) resource_id: String,
    /// The machine that a user-assigned identity is used on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) machine_id: Option<String>,
}

/// An application registered in Entra.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct App {
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) certificates: Vec<String>,
    pub(crate) federated_tokens: Vec<String>,
}

/// What the two have in common.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) client_id: String,
    pub(crate) object_id: String,
    /// The resource whose identity it is: `xms_mirid` of its tokens.
    pub(crate) resource_id: Option<String>,
    /// `xms_az_rid` of its tokens.
    pub(crate) machine_id: Option<String>,
}

impl Principal {
    /// Whether a text names it: by name, client id or object id.
    pub(crate) fn is(&self, text: &str) -> bool {
        [&self.name, &self.client_id, &self.object_id].iter().any(|t| t.eq_ignore_ascii_case(text))
    }
}

impl Identity {
    /// Fills in what was left out.
    pub(crate) fn completed(mut self) -> Self {
        fill(&mut self.client_id, "client", &self.name);
        fill(&mut self.object_id, "object", &self.name);
        if self.resource_id.is_empty() {
            let of = match self.system_assigned {
                true => "Microsoft.Compute/virtualMachines",
                false => "Microsoft.ManagedIdentity/userAssignedIdentities",
            };
            self.resource_id = format!(
                "/subscriptions/{}/resourcegroups/emulator/providers/{of}/{}",
                crate::SUBSCRIPTION,
                self.name
            );
        }
        self
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal {
            name: self.name.clone(),
            client_id: self.client_id.clone(),
            object_id: self.object_id.clone(),
            resource_id: Some(self.resource_id.clone()),
            machine_id: self.machine_id.clone(),
        }
    }
}

impl App {
    /// Fills in what was left out.
    pub(crate) fn completed(mut self) -> Self {
        fill(&mut self.client_id, "client", &self.name);
        fill(&mut self.object_id, "object", &self.name);
        self
    }

    pub(crate) fn principal(&self) -> Principal {
        Principal {
            name: self.name.clone(),
            client_id: self.client_id.clone(),
            object_id: self.object_id.clone(),
            resource_id: None,
            machine_id: None,
        }
    }
}

/// The same id for the same name at every start.
fn fill(id: &mut String, kind: &str, name: &str) {
    if id.is_empty() {
        let hash = digest(&SHA256, format!("selkie-emulator {kind} {name}").as_bytes());
        let mut bytes = [0; 16];
        bytes.iter_mut().zip(hash.as_ref()).for_each(|(to, from)| *to = *from);
        *id = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
    }
}
