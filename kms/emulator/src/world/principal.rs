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
            self.resource_id = format!(
                "/subscriptions/{}/resourcegroups/emulator/providers/\
                 Microsoft.ManagedIdentity/userAssignedIdentities/{}",
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
