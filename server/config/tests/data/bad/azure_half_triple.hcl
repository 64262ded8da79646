listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
}
#! 4:1: field "tenant_id" and field "client_id" are set but no client secret: set "client_secret" (or AZURE_CLIENT_SECRET), "client_certificate_file" or "federated_token_file", or for a managed identity remove field "tenant_id"
