//! What is left of a configuration whose servers are gone. It is a type of its own so that nobody can
//! serve with it: it may lack seals that every envelope would have to be made for.

use std::path::PathBuf;

use selkie_crypto::{AuditKey, OriginKey, PinKey};
use selkie_hcl::Problems;

use crate::config::{Config, Read};
use crate::seal::{RevokedSeal, Seal, UnreadSeal};
use crate::secret::{Purpose, Reading};
use crate::sources::stand_ins::AtHand;

/// What can be read on this machine of a configuration whose servers are gone.
///
/// Keys are read or left out, never made up. What only serves to reach a master key far away (a PIN,
/// a client's secret, a CA) is made up: it is no use to ask a KMS with.
#[derive(Debug)]
pub struct ConfigAtHand {
    /// As in [`Config::origin_key`]; `None` also where it is not at hand.
    pub origin_key: Option<OriginKey>,
    /// `audit_key`, or the key that follows from another; `None` also where it is not at hand.
    pub audit_key: Option<AuditKey>,
    /// As in [`Config::data_dir`].
    pub data_dir: Option<PathBuf>,
    /// As in [`Config::local_key`]; `None` also where it is not at hand.
    pub local_key: Option<PinKey>,
    /// The seals whose keys are at hand or far away.
    pub seals: Vec<Seal>,
    /// Those that are revoked.
    pub revoked_seals: Vec<RevokedSeal>,
    /// Those whose keys should be here and are not.
    pub unread_seals: Vec<UnreadSeal>,
}

impl ConfigAtHand {
    /// Reads the text of a configuration; `file` is the name its problems are reported under.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with what is there, in order of position.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problems> {
        let Read { config, unread_seals } =
            Config::read(file, text, Reading::new(&AtHand, Purpose::Rescue))?;
        Ok(Self { unread_seals, ..Self::from(config) })
    }
}

impl From<Config> for ConfigAtHand {
    /// All of it is at hand.
    fn from(config: Config) -> Self {
        Self {
            origin_key: config.origin_key,
            audit_key: config.audit.key,
            data_dir: config.data_dir,
            local_key: config.local_key,
            seals: config.seals,
            revoked_seals: config.revoked_seals,
            unread_seals: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "listener \"tcp\" {\n  tls_disable = true\n}\n\
                        seal \"azurekeyvault\" {\n  disabled = true\n  \
                        tenant_id = \"46646709-b63e-4747-be42-516edeaf1e14\"\n  \
                        client_id = \"03dc33fc-16d9-4b77-8152-3ec568f8af6e\"\n  \
                        client_secret = \"file:///nonexistent/secret\"\n  \
                        vault_name = \"kv1\"\n  key_name = \"selkie\"\n}\n";

    /// No server starts with that. Whoever has only that file left is not to mend it first.
    #[test]
    fn seals_that_are_no_use_to_a_server_are_read_in_an_emergency() {
        let gone = "seal \"break-glass\" {\n  public_key = \"/nonexistent/key.pem\"\n}\n";
        let config = ConfigAtHand::parse("x", &format!("{REST}{gone}")).unwrap();
        assert_eq!(config.seals.len(), 1);
        assert_eq!(config.unread_seals.len(), 1);
        let alone = ConfigAtHand::parse("x", REST).unwrap();
        assert!(alone.seals.iter().all(|seal| seal.disabled));
    }
}
