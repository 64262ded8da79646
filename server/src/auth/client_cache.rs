//! Spares the compiling of templated policies. An entry counts only for the very token and policies
//! that it was made of.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use selkie_access::{Alias, Identity, Policy};
use selkie_kms::ClientTag;

use super::policies::Policies;
use super::tokens::{Admitted, Founder, Token, TokenId};
use super::{Client, Origin, declared};
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
    founder: Founder,
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
        let Admitted { id, token, founder } = admitted;
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
                    && entry.founder.is(&founder)
                    && Arc::ptr_eq(&entry.policies, &deployment.policies)
            });
            if let Some(entry) = found {
                return Arc::clone(&entry.client);
            }
        }
        let client = Arc::new(Client {
            acl: policies.acl(deployment, &token.made.policies, &identity(&founder)),
            tag: ClientTag::from_digest(id.as_bytes()),
            origin: Origin::Token(Arc::clone(&token)),
        });
        let policies = Arc::clone(&deployment.policies);
        let held_client = Arc::clone(&client);
        let mut held = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= MOST_CLIENTS {
            held.clear();
        }
        let entry = Entry { token, founder, policies, policies_as_of: as_of, client: held_client };
        held.insert(id, entry);
        client
    }
}

/// Who has a token: whoever logged in for it or for what it came from, or the declared client that
/// it came from. Else a client would be rid of what its policies deny to it by making a token. The name
/// and metadata of any other token were chosen by whoever made it, who could be anybody's entity.
fn identity(founder: &Founder) -> Identity {
    let orphan = match founder {
        Founder::Declared(_, client) => {
            return declared::identity(client.name(), &BTreeMap::new());
        }
        Founder::Orphan(orphan) => &orphan.made,
    };
    let Some(login) = &orphan.login else { return Identity::default() };
    let metadata = orphan.meta.clone();
    let alias = Alias { name: login.alias.clone(), metadata: metadata.clone() };
    Identity {
        id: login.entity_id.clone(),
        name: login.entity_name(),
        // What others are called too: the path of a mount and a name, which may have dashes of their
        // own, joined by a dash; or the name of a role.
        token_display_name: String::new(),
        token_metadata: metadata.clone(),
        metadata,
        aliases: [(login.mount_accessor.clone(), alias)].into(),
        certificate: login.certificate.clone(),
    }
}

impl fmt::Debug for ClientCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCache").finish_non_exhaustive()
    }
}
