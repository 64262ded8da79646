listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  tenant_id = "46646709-b63e-4747-be42-516edeaf1e14"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  identity = "managed_identity"
  client_secret = "file:///keys/secret"
}
#! 4:1: field "client_secret" has no part in identity managed_identity: remove it, or name another "identity"
