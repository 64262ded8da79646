//! From the stanzas to the old servers. No network is touched.

use std::sync::Arc;

use selkie_config::{Config, Takeover};
use selkie_crypto::{os_random, sha256};
use selkie_kms::transit::{TransitClient, TransitKeyName, TransitMountPath, TransitSetupError};

use super::old_key::OldKeySetup;
use super::old_server::RemoteKey;
use super::{OldKey, Takeovers};
use crate::deployment::DeploymentError;
use crate::seal::transit_settings;

impl Takeovers {
    /// What `config` takes over, with the connections of `before` where nothing has changed.
    ///
    /// # Errors
    ///
    /// [`DeploymentError::Takeover`].
    pub(crate) fn connect(
        config: &mut Config,
        before: Option<&Self>,
    ) -> Result<Self, DeploymentError> {
        let connected = std::mem::take(&mut config.takeovers).into_iter().map(|stanza| {
            let key = stanza.key.clone();
            let old = connect(stanza);
            let old = old.map_err(|source| DeploymentError::Takeover { key, source })?;
            let was = before.and_then(|before| before.find(&old.mount, &old.name));
            let was = was.filter(|was| was.is_same(&old));
            Ok(was.map_or_else(|| Arc::new(old), Arc::clone))
        });
        Ok(Self::new(connected.collect::<Result<_, DeploymentError>>()?))
    }
}

fn connect(stanza: Takeover) -> Result<OldKey, TransitSetupError> {
    let Takeover { mount, key, name, server, last_version } = stanza;
    // Both were checked when the configuration was read.
    let (Some(old_mount), Some(old_key)) =
        (TransitMountPath::new(&server.mount_path), TransitKeyName::new(&server.key_name))
    else {
        return Err(TransitSetupError::UnfitAddress);
    };
    let address = format!("{}{old_mount}/{old_key}", server.address);
    let settings = transit_settings(server, old_mount);
    let digest = settings.digest();
    let client = TransitClient::new(settings, Arc::new(os_random))?;
    Ok(OldKey::new(OldKeySetup {
        mount,
        name: key,
        label: name,
        settings: sha256(&[&digest[..], address.as_bytes()].concat()),
        address,
        declared: last_version,
        server: Arc::new(RemoteKey { client, key: old_key }),
    }))
}
