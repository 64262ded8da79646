listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
}
#$ AZURE_TENANT_ID=46646709-b63e-4747-be42-516edeaf1e14
#$ AZURE_CLIENT_ID=03dc33fc-16d9-4b77-8152-3ec568f8af6e
#! 4:1: environment variable AZURE_TENANT_ID and environment variable AZURE_CLIENT_ID are set but no client secret: set "client_secret" (or AZURE_CLIENT_SECRET), "client_certificate_file" or "federated_token_file", or for a managed identity remove environment variable AZURE_TENANT_ID
