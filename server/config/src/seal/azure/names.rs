//! The settings of the stanza that have a variable in the environment.

use super::setting::{Name, named};

pub(super) const TENANT_ID: Name = named("tenant_id", &["AZURE_TENANT_ID"]);
pub(super) const CLIENT_ID: Name = named("client_id", &["AZURE_CLIENT_ID"]);
pub(super) const CLIENT_SECRET: Name = named("client_secret", &["AZURE_CLIENT_SECRET"]);
pub(super) const ENVIRONMENT: Name = named("environment", &["AZURE_ENVIRONMENT"]);
pub(super) const RESOURCE: Name = named("resource", &["AZURE_AD_RESOURCE"]);
pub(super) const VAULT_NAME: Name =
    named("vault_name", &["AZUREKEYVAULT_WRAPPER_VAULT_NAME", "VAULT_AZUREKEYVAULT_VAULT_NAME"]);
pub(super) const KEY_NAME: Name =
    named("key_name", &["AZUREKEYVAULT_WRAPPER_KEY_NAME", "VAULT_AZUREKEYVAULT_KEY_NAME"]);
pub(super) const AUTH_METHOD: Name = named("auth_method", &["VAULT_AZUREKEYVAULT_AUTH_METHOD"]);
pub(super) const CERT_PATH: Name = named("cert_path", &["VAULT_AZUREKEYVAULT_CERTIFICATE_PATH"]);
pub(super) const MANAGED_ID_KIND: Name =
    named("managed_id_kind", &["VAULT_AZUREKEYVAULT_MANAGED_IDENTITY_KIND"]);
pub(super) const RESOURCE_ID: Name = named("resource_id", &["VAULT_AZUREKEYVAULT_RESOURCE_ID"]);
/// Set by the webhook of AKS, like the certificate authorities of the machine: a fact about the
/// machine, not about one seal, so it may serve several.
pub(super) const TOKEN_FILE: Name = named("federated_token_file", &["AZURE_FEDERATED_TOKEN_FILE"]);

/// Those whose variables say something about one seal.
pub(in crate::seal) const OF_ONE_SEAL: [Name; 11] = [
    TENANT_ID,
    CLIENT_ID,
    CLIENT_SECRET,
    ENVIRONMENT,
    RESOURCE,
    VAULT_NAME,
    KEY_NAME,
    AUTH_METHOD,
    CERT_PATH,
    MANAGED_ID_KIND,
    RESOURCE_ID,
];
