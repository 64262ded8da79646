listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  client_secret = "file:///keys/secret"
}
#! 4:1: identity client_secret needs "tenant_id" (or AZURE_TENANT_ID)
#! 4:1: identity client_secret needs "client_id" (or AZURE_CLIENT_ID)
