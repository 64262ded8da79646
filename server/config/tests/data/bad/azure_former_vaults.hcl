listener "tcp" {
  tls_disable = true
}
seal "azurekeyvault" {
  name          = "a"
  priority      = 1
  vault_name    = "kv2"
  key_name      = "selkie"
  former_vaults = [
    "kv1",
    "",
    "https://kv1.vault.azure.net",
    "kv1.vault.azure.net/keys",
    "user@kv1.vault.azure.net",
    "kv1.vault.azure.net:443",
    "KV2.vault.azure.net",
    "kv1.vault.azure.net",
    "KV1.vault.azure.net",
  ]
}
seal "azurekeyvault" {
  name          = "b"
  priority      = 2
  vault_name    = "kv3"
  key_name      = "selkie"
  former_vaults = ["kv4.vault.azure.net"]
}
seal "azurekeyvault" {
  name       = "c"
  priority   = 3
  vault_name = "kv4"
  key_name   = "selkie"
}
#! 10:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 11:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 12:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 13:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 14:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 15:5: field "former_vaults": expected a vault's whole host name as key ids have it, such as "kv1.vault.azure.net"
#! 16:5: field "former_vaults": that is the vault in which the key is now
#! 18:5: field "former_vaults": that vault is listed already
#! 28:6: the seal "b" has this master key already
