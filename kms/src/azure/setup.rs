//! What a provider is made of.

use std::sync::Arc;

use azure_core::credentials::TokenCredential;
use url::Url;

use super::identity::{Credential, IdentitySetupError};
use super::key_id::{KeyName, OwnKey};
use super::{AzureSettings, Diagnosis, Hop, Identity};
use crate::http::HttpSetupError;

/// A credential that can be told that Key Vault does not accept its token.
pub trait RevocableCredential: TokenCredential {
    /// Gives up the token that was handed out last.
    fn invalidate(&self);

    /// Why there is no token, while there is none: whoever waits, waits for that.
    fn trouble(&self) -> Option<Diagnosis>;
}

impl RevocableCredential for Credential {
    fn invalidate(&self) {
        Self::invalidate(self);
    }

    fn trouble(&self) -> Option<Diagnosis> {
        Self::trouble(self)
    }
}

/// Why there cannot be such a provider. The configuration causes each of them.
#[derive(Debug, thiserror::Error)]
pub enum AzureSetupError {
    /// The endpoint is not `https://HOST[:PORT]`.
    #[error("the endpoint is not https://HOST[:PORT]")]
    UnfitEndpoint,
    /// A former vault is not `https://HOST[:PORT]`.
    #[error("a former vault is not https://HOST[:PORT]")]
    UnfitFormerVault,
    /// The key's name is none.
    #[error("the key's name is not 1 to 127 of 0-9 A-Z a-z -")]
    UnfitKeyName,
    /// The SDK does not accept the endpoint.
    #[error("the endpoint is not accepted")]
    Endpoint(#[source] azure_core::Error),
    /// There is no client: its proxy or its certificates are unfit.
    #[error("there is no way to Key Vault")]
    Http(#[source] HttpSetupError),
    /// There is no credential.
    #[error("there is no identity")]
    Identity(#[source] IdentitySetupError),
}

/// The checked parts of [`AzureSettings`] that a provider keeps.
pub(super) struct Target {
    pub(super) own: Arc<OwnKey>,
    pub(super) endpoint: Url,
    /// What a token is asked for.
    pub(super) scope: String,
    /// Where our identity is proven, and what it is.
    pub(super) identity: (Hop, &'static str),
    pub(super) wrap_remotely: bool,
}

impl Target {
    pub(super) fn of(settings: &AzureSettings) -> Result<Self, AzureSetupError> {
        let name = KeyName::new(&settings.key_name).ok_or(AzureSetupError::UnfitKeyName)?;
        let endpoint = settings.endpoint.clone();
        let own = OwnKey::new(&endpoint, &settings.resource, name);
        let own = own.ok_or(AzureSetupError::UnfitEndpoint)?;
        let own = own.formerly_in(&settings.former_vaults);
        Ok(Self {
            own: Arc::new(own.ok_or(AzureSetupError::UnfitFormerVault)?),
            endpoint,
            scope: format!("https://{}/.default", settings.resource),
            identity: (hop(&settings.identity), settings.identity.kind()),
            wrap_remotely: settings.wrap_remotely,
        })
    }
}

const fn hop(identity: &Identity) -> Hop {
    match identity {
        Identity::ManagedIdentity { .. } | Identity::AppService { .. } => Hop::ManagedIdentity,
        Identity::WorkloadIdentity { .. }
        | Identity::ClientSecret { .. }
        | Identity::ClientCertificate { .. } => Hop::Entra,
    }
}
