//! Spares the compiling of templated policies. An entry counts only for the very token and policies
//! that it was made of.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_access::{Alias, Identity, Policy};
use selkie_kms::ClientTag;

use super::methods::LoginIdentity;
use super::policies::Policies;
use super::tokens::{Admitted, Token, TokenId};
use super::{Client, Origin};
use crate::deployment::Deployment;

/// How many clients are remembered. When there are more, all are forgotten: making one anew costs
/// less than keeping order among them.
const MOST_CLIENTS: usize = 16_384;

/// What tokens with templated policies come to as clients, which is made anew when the token or a
/// policy changes. Others cost nothing to make.
#[derive(Default)]
pub(super) struct ClientCache(RwLock<HashMap<TokenId, Entry>>);

struct Entry {
    token: Arc<Token>,
    policies: Arc<[Policy]>,
    policies_as_of: u64,
    client: Arc<Client>,
}

impl ClientCache {
    /// The client whose token was `admitted`.
    pub(super) fn client(
        &self,
        deployment: &Deployment,
        policies: &Policies,
        admitted: Admitted,
    ) -> Arc<Client> {
        let Admitted { id, token } = admitted;
        if let Some(acl) = policies.plain_acl(deployment, &token.made.policies) {
            return Arc::new(Client {
                acl,
                tag: ClientTag::from_digest(id.as_bytes()),
                origin: Origin::Token(token),
            });
        }
        let as_of = policies.as_of();
        {
            let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
            let found = held.get(&id).filter(|entry| {
                entry.policies_as_of == as_of
                    && Arc::ptr_eq(&entry.token, &token)
                    && Arc::ptr_eq(&entry.policies, &deployment.policies)
            });
            if let Some(entry) = found {
                return Arc::clone(&entry.client);
            }
        }
        let client = Arc::new(client(deployment, policies, &id, &token));
        let policies = Arc::clone(&deployment.policies);
        let held_client = Arc::clone(&client);
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST_CLIENTS {
            held.clear();
        }
        held.insert(id, Entry { token, policies, policies_as_of: as_of, client: held_client });
        client
    }
}

fn client(
    deployment: &Deployment,
    policies: &Policies,
    id: &TokenId,
    token: &Arc<Token>,
) -> Client {
    let made = &token.made;
    let alias = |login: &LoginIdentity| {
        let (name, metadata) = (login.alias.clone(), made.meta.clone());
        (login.mount_accessor.clone(), Alias { name, metadata })
    };
    // Only a login says who somebody is. The name and metadata of another token were chosen by whoever
    // made it, who could be anybody's entity otherwise.
    let login = made.login.as_ref();
    let metadata = login.map(|_| made.meta.clone()).unwrap_or_default();
    let certificate = login.map(|login| login.certificate.clone()).unwrap_or_default();
    let identity = Identity {
        id: login.map(|login| login.entity_id.clone()).unwrap_or_default(),
        name: login.map(|login| login.entity_name()).unwrap_or_default(),
        // What others are called too: the path of a mount and a name, which may have dashes of their
        // own, joined by a dash; or the name of a role.
        token_display_name: String::new(),
        token_metadata: metadata.clone(),
        metadata,
        aliases: login.map(|login| alias(login)).into_iter().collect(),
        certificate,
    };
    Client {
        acl: policies.acl(deployment, &made.policies, &identity),
        tag: ClientTag::from_digest(id.as_bytes()),
        origin: Origin::Token(Arc::clone(token)),
    }
}

impl fmt::Debug for ClientCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCache").finish_non_exhaustive()
    }
}
