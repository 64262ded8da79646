listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name = "a"
  priority = 1
  vault_name = "kv1"
  key_name = "selkie"
}
seal "azurekeyvault" {
  name = "b"
  priority = 2
  endpoint = "https://KV1.vault.azure.net/"
  key_name = "selkie"
}
#! 10:6: the seal "a" has this master key already
