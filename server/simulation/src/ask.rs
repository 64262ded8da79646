//! What clients and operators ask of a replica.

use serde_json::{Value, json};

use crate::facts::Facts;
use crate::planted::Planted;
use crate::server::{DECLARED, ROOT, Server, VAULT};

/// One request.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Encrypt { by: By, key: String, plaintext: String },
    Decrypt { by: By, blob: usize },
    Rewrap { by: By, blob: usize },
    CreateKey { key: String },
    Rotate { key: String },
    Configure { key: String, min_decryption: u32 },
    WritePolicy { key: String },
    CreateToken { key: String, is_periodic: bool },
    Renew { token: usize },
    Revoke { token: usize },
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The declared seal client.
    Vault,
    /// One with a token that was made.
    Token(usize),
    /// Nobody.
    Stranger,
}

impl By {
    fn token(self, facts: &Facts) -> &str {
        match self {
            Self::Vault => VAULT,
            Self::Token(number) => &facts.tokens[number].text,
            Self::Stranger => "hvs.aaaaaaaaaaaaaaaaaaaaaaaa",
        }
    }

    /// The one key that this may use.
    pub(crate) fn key(self, facts: &Facts) -> Option<&str> {
        match self {
            Self::Vault => Some(DECLARED),
            Self::Token(number) => Some(&facts.tokens[number].key),
            Self::Stranger => None,
        }
    }
}

/// A request as it goes out.
pub(crate) struct Request {
    token: String,
    method: &'static str,
    path: String,
    body: Value,
}

impl Ask {
    pub(crate) fn request(&self, facts: &Facts, planted: Option<Planted>) -> Request {
        let token = match self {
            Self::Decrypt { .. } if planted == Some(Planted::NoPermit) => ROOT,
            Self::Encrypt { by, .. } | Self::Decrypt { by, .. } | Self::Rewrap { by, .. } => {
                by.token(facts)
            }
            _ => ROOT,
        };
        let (path, body) = match self {
            Self::Encrypt { key, plaintext, .. } => {
                (format!("transit/encrypt/{key}"), json!({ "plaintext": plaintext }))
            }
            Self::Decrypt { blob, .. } => {
                let blob = &facts.blobs[*blob];
                let body = json!({ "ciphertext": blob.ciphertext });
                (format!("transit/decrypt/{}", blob.key), body)
            }
            Self::Rewrap { blob, .. } => {
                let blob = &facts.blobs[*blob];
                let body = json!({ "ciphertext": blob.ciphertext });
                (format!("transit/rewrap/{}", blob.key), body)
            }
            Self::CreateKey { key } => (format!("transit/keys/{key}"), json!({})),
            Self::Rotate { key } => (format!("transit/keys/{key}/rotate"), json!({})),
            Self::Configure { key, min_decryption } => {
                let body = match planted {
                    Some(Planted::MinimumLost) => json!({}),
                    _ => json!({ "min_decryption_version": min_decryption }),
                };
                (format!("transit/keys/{key}/config"), body)
            }
            Self::WritePolicy { key } => {
                let rule = |what: &str| {
                    format!("path \"transit/{what}/{key}\" {{ capabilities = [\"update\"] }}\n")
                };
                let policy = ["encrypt", "decrypt", "rewrap"].map(rule).concat();
                (format!("sys/policies/acl/use-{key}"), json!({ "policy": policy }))
            }
            Self::CreateToken { key, is_periodic } => {
                let policies = [format!("use-{key}")];
                let body = match is_periodic {
                    true => json!({ "policies": policies, "period": "24h", "no_parent": true }),
                    false => json!({ "policies": policies, "ttl": "240h", "no_parent": true }),
                };
                ("auth/token/create".to_owned(), body)
            }
            Self::Renew { token } => {
                ("auth/token/renew".to_owned(), json!({ "token": facts.tokens[*token].text }))
            }
            Self::Revoke { token } => {
                ("auth/token/revoke".to_owned(), json!({ "token": facts.tokens[*token].text }))
            }
        };
        Request { token: token.to_owned(), method: "POST", path, body }
    }

    /// For the trace: no token's text.
    pub(crate) fn line(&self, facts: &Facts) -> String {
        match self {
            Self::Encrypt { by, key, .. } => format!("{by:?} encrypts under {key}"),
            Self::Decrypt { by, blob } => {
                let Blob { key, version, .. } = &facts.blobs[*blob];
                format!("{by:?} decrypts #{blob} of {key} v{version}")
            }
            Self::Rewrap { by, blob } => format!("{by:?} rewraps #{blob}"),
            other => format!("operator: {other:?}"),
        }
    }
}

use crate::facts::Blob;

impl Request {
    pub(crate) async fn send(self, server: Server) -> crate::server::Answer {
        server.send(&self.token, self.method, &self.path, self.body).await
    }
}
