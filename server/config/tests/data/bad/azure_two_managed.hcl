listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  vault_name = "kv1"
  key_name = "selkie"
  client_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6e"
  object_id = "03dc33fc-16d9-4b77-8152-3ec568f8af6f"
}
#! 4:1: field "client_id" and field "object_id" name two identities: remove one of them
