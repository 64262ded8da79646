listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  identity = "app_service"
}
#! 4:1: identity app_service needs the environment variable IDENTITY_ENDPOINT
#! 4:1: identity app_service needs the environment variable IDENTITY_HEADER
