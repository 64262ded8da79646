//! From the stanza `seal "azurekeyvault"` to what the provider is told.

use selkie_config::{
    AzureCertificate, AzureIdentity, AzureKeyVaultSeal, ProxyUrl, UserAssignedIdentity, WrapPlace,
};
use selkie_kms::azure::{self, AzureSettings, ClientCertificate, Identity};

/// What the provider is told of the seal.
#[must_use]
pub fn settings(seal: AzureKeyVaultSeal) -> AzureSettings {
    AzureSettings {
        endpoint: seal.endpoint,
        resource: seal.resource,
        key_name: seal.key_name,
        wrap_remotely: seal.wrap == WrapPlace::Remote,
        identity: identity(seal.identity),
        authority: seal.authority,
        ca_certificates: seal.ca_certificates,
        proxy: seal.key_vault_proxy.map(ProxyUrl::into_url),
    }
}

fn identity(identity: AzureIdentity) -> Identity {
    match identity {
        AzureIdentity::ManagedIdentity { user_assigned: id, endpoint } => {
            Identity::ManagedIdentity { user_assigned: id.map(user_assigned), endpoint }
        }
        AzureIdentity::AppService { user_assigned: id, endpoint, header } => {
            Identity::AppService { user_assigned: id.map(user_assigned), endpoint, header }
        }
        AzureIdentity::WorkloadIdentity { tenant_id, client_id, token_file } => {
            Identity::WorkloadIdentity { tenant_id, client_id, token_file }
        }
        AzureIdentity::ClientSecret { tenant_id, client_id, client_secret } => {
            Identity::ClientSecret { tenant_id, client_id, client_secret }
        }
        AzureIdentity::ClientCertificate { tenant_id, client_id, certificate } => {
            let AzureCertificate { chain, key } = certificate;
            let certificate = ClientCertificate { chain, key };
            Identity::ClientCertificate { tenant_id, client_id, certificate }
        }
    }
}

fn user_assigned(identity: UserAssignedIdentity) -> azure::UserAssignedIdentity {
    match identity {
        UserAssignedIdentity::ClientId(id) => azure::UserAssignedIdentity::ClientId(id),
        UserAssignedIdentity::ObjectId(id) => azure::UserAssignedIdentity::ObjectId(id),
        UserAssignedIdentity::ResourceId(id) => azure::UserAssignedIdentity::ResourceId(id),
    }
}
